"""The HTTP client: one method per call of the Files, Batches and embeddings APIs, nothing behind the caller's back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import BadAnswerError, OutcomeUnknownError, RefusedError
from voyage_jobs.vendors.base import Embedded, Wanted
from voyage_jobs.vendors.remote import Downloaded, JobSpec, RemoteBatch, RemoteFile
from voyage_jobs.vendors.rest import wire
from voyage_jobs.vendors.rest.answer import call_body
from voyage_jobs.vendors.rest.calls import Calls
from voyage_jobs.vendors.rest.embedding import read_embedded
from voyage_jobs.vendors.rest.verdict import CREATE

_SHORT_PAGE = 20  # the provider's default page: a shorter one is the last, even where our `limit` was ignored
BATCHES_PER_PAGE, FILES_PER_PAGE = 100, 10_000  # the most that Voyage and OpenAI give

Item = TypeVar("Item", bound=wire.HasId)


class RestClient(Calls):
    """Speaks with the Files, Batches and embeddings APIs. What a provider calls otherwise is for those that inherit."""

    skipped_entries = 0
    """Entries of lists that named nothing, over all lists so far."""

    @abstractmethod
    def create_body(self, job: JobSpec) -> dict[str, Any]:
        """What a create call posts. Raises ValueError for metadata beyond the provider's limits."""

    @abstractmethod
    def query_bodies(self, texts: Sequence[str], profile: Profile) -> list[tuple[dict[str, Any], int]]:
        """What is posted to embed a few texts at once: bodies, each with its number of texts."""

    # --- files ---

    def upload(self, path: Path, filename: str) -> RemoteFile:
        """Send a JSONL file, streamed from disk, under a name by which it can be found again."""
        operation = "upload a file"
        with open(path, "rb") as source:
            part = (filename, source, "application/jsonl")
            body = self._ask(operation, "POST", "/files", data={"purpose": "batch"}, files={"file": part})
        return self._understand(operation, wire.read_file, self._parsed(operation, body))

    def list_files(self, limit: int = FILES_PER_PAGE) -> Iterator[RemoteFile]:
        """All files to the end of the list, each once, asked for `limit` at a time."""
        return self._listed("list the files", "/files", limit, wire.read_listed_file)

    def get_file(self, file_id: str) -> RemoteFile:
        """A file's metadata."""
        operation = "describe a file"
        body = self._ask(operation, "GET", _path("/files", file_id))
        file = self._understand(operation, wire.read_file, self._parsed(operation, body))
        return self._about(file, file_id, operation)

    def delete_file(self, file_id: str) -> bool:
        """Whether the file is gone now; one that was gone before counts."""
        operation = "delete a file"
        try:
            body = self._ask(operation, "DELETE", _path("/files", file_id))
        except RefusedError as exc:
            if exc.is_gone:
                return True
            raise
        answer = self._parsed(operation, body)
        return isinstance(answer, dict) and answer.get("deleted") is True

    def download(
        self,
        file_id: str,
        dest: Path,
        *,
        expected_bytes: int | None,
        on_progress: Callable[[int], None] | None = None,
    ) -> Downloaded:
        """Fetch the content of a file to `dest`: see `download.py`."""
        from voyage_jobs.vendors.rest.download import download

        return download(self, file_id, dest, expected_bytes=expected_bytes, on_progress=on_progress)

    def content_url(self, file_id: str) -> httpx.URL:
        """Where the content of a file is asked for."""
        return self._url(_path("/files", file_id) + "/content")

    # --- batches ---

    def create_batch(self, job: JobSpec) -> RemoteBatch:
        """Create a job. Not idempotent, so never repeated here.

        An answer that cannot be read is an OutcomeUnknownError: the job may well exist.
        """
        try:
            return self._batch(CREATE, "POST", "/batches", self.create_body(job))
        except BadAnswerError as exc:
            raise OutcomeUnknownError(exc.message, status=exc.status, request_id=exc.request_id) from exc

    def list_batches(self, limit: int = BATCHES_PER_PAGE) -> Iterator[RemoteBatch]:
        """All jobs to the end of the list, each once, asked for `limit` at a time.

        A job whose status the list does not say is bare (`RemoteBatch.is_bare`). Entries that name no job are counted
        in `skipped_entries`; one of them that carries our mark is a BadAnswerError.
        """
        return self._listed("list the batches", "/batches", limit, self._read_listed_batch)

    def get_batch(self, batch_id: str) -> RemoteBatch:
        """A job as it stands."""
        operation = "look at a batch"
        return self._about(self._batch(operation, "GET", _path("/batches", batch_id)), batch_id, operation)

    def cancel_batch(self, batch_id: str) -> RemoteBatch:
        """Ask for a cancellation; it takes up to ten minutes, and what was finished before is billed."""
        operation = "cancel a batch"
        batch = self._batch(operation, "POST", _path("/batches", batch_id) + "/cancel")
        return self._about(batch, batch_id, operation)

    def probe(self) -> int | None:
        """Check key and host at no cost. Returns the provider's clock in microseconds, if it tells."""
        self._ask("list the batches", "GET", "/batches", params={"limit": 1})
        return self.server_date_us

    # --- embeddings ---

    def embed(self, texts: Sequence[str], profile: Profile) -> Embedded:
        """Embed a few texts at once and at the full price, as for a search query."""
        import numpy as np

        operation, parts = "embed a text", []
        for body, count in self.query_bodies(texts, profile):
            answer = self._ask(operation, "POST", profile.endpoint.removeprefix("/v1"), json=body)
            parts.append(self._understand(operation, read_embedded, answer, count, profile))
        tokens = [part.tokens for part in parts]
        total = None if None in tokens else sum(n for n in tokens if n is not None)
        return Embedded(np.concatenate([part.vectors for part in parts]), total)

    def embed_now(self, wanted: Sequence[Wanted], params: Mapping[str, Any], profile: Profile) -> bytes:
        """Post to the synchronous endpoint; its answer as it came.

        It is billed when it is answered, and cannot be looked up afterwards, so it is never repeated here. An
        OutcomeUnknownError or a BadAnswerError may have been billed; every other error was not.
        """
        body = call_body(wanted, params, profile)
        return self._ask("embed texts", "POST", profile.endpoint.removeprefix("/v1"), json=body)

    def _batch(self, operation: str, method: str, path: str, json: Any = None) -> RemoteBatch:
        body = self._ask(operation, method, path, json=json)
        return self._understand(operation, self._read_batch, self._parsed(operation, body))

    def _about(self, found: Item, wanted: str, operation: str) -> Item:
        """What was asked for; an answer about another job or file would be taken for the results of this one."""
        if found.id != wanted:
            odd = f"{self.name} answered the call to {operation} with another one: {wire.shorten(found.id)}."
            raise BadAnswerError(odd, status=200)
        return found

    def _read_batch(self, answer: object) -> RemoteBatch:
        return wire.read_batch(answer, self.server_date_us)

    def _read_listed_batch(self, answer: object) -> RemoteBatch | None:
        return wire.read_listed_batch(answer, self.server_date_us)

    def _listed(
        self,
        operation: str,
        path: str,
        limit: int,
        read_item: Callable[[object], Item | None],
    ) -> Iterator[Item]:
        """Page to the end. A job overlooked would be paid for twice, so a doubtful end is asked past."""
        after: str | None = None
        seen: set[str] = set()
        while True:
            query: dict[str, str | int] = (
                {"limit": limit} if after is None else {"limit": limit, "after": after}
            )
            body = self._ask(operation, "GET", path, params=query)
            answer = self._parsed(operation, body)
            page = self._understand(operation, lambda raw: wire.read_page(raw, read_item), answer)
            self.skipped_entries += page.skipped
            fresh = list({item.id: item for item in page.items if item.id not in seen}.values())
            if page.items and not fresh:
                raise BadAnswerError(
                    f"{self.name} returned the same page again when asked to {operation}.", status=200
                )
            seen.update(item.id for item in fresh)
            yield from fresh
            short = page.entries < min(limit, _SHORT_PAGE)
            if page.has_more is False or not page.entries or (page.has_more is None and short):
                return
            if page.last_id is None:
                odd = f"{self.name} returned a page without ids when asked to {operation}, and there is more."
                raise BadAnswerError(odd, status=200)
            after = page.last_id


def _path(collection: str, name: str) -> str:
    return f"{collection}/{quote(name, safe='')}"
