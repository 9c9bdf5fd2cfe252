"""The calls to an OpenAI-compatible server: Voyage's client without jobs, without a key where none is set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import AuthError, ConfigError, InterceptedError, RefusedError, VendorError
from voyage_jobs.vendors.base import Embedded, Wanted
from voyage_jobs.vendors.no_jobs import NoJobs
from voyage_jobs.vendors.remote import RemoteBatch, RemoteFile
from voyage_jobs.vendors.voyage.client import VoyageClient
from voyage_jobs.vendors.voyage.embedding import read_embedded

if TYPE_CHECKING:
    import httpx

_PATH = "/embeddings"


class OpenAISyncClient(NoJobs, VoyageClient):
    """Speaks with the server at `base_url` (with its `/v1`)."""

    def list_files(self, limit: int = 0) -> Iterator[RemoteFile]:
        """No files."""
        del limit
        return NoJobs.list_files(self)

    def list_batches(self, limit: int = 0) -> Iterator[RemoteBatch]:
        """No jobs."""
        del limit
        return NoJobs.list_batches(self)

    @staticmethod
    def named(url: httpx.URL) -> str:
        """By its address: a port tells one server on a machine from another."""
        return f"OpenAI-compatible server at {url.netloc.decode('ascii')}"

    def check(self, response: httpx.Response, body: bytes, operation: str) -> None:
        """Raise the error that an answer means, with hints that name this provider's settings."""
        try:
            super().check(response, body, operation)
        except AuthError as exc:
            where = self._key.describe()
            exc.hint = f"The key comes from {where}; set OPENAI_SYNC_API_KEY, or OPENAI_SYNC_API_KEY_FILE."
            raise
        except VendorError as exc:
            exc.hint = exc.hint and exc.hint.replace("voyage.base_url", "openai_sync.base_url")
            raise

    def probe(self) -> int | None:
        """Ask for the list of models. A server that has none answers, too."""
        with contextlib.suppress(RefusedError, InterceptedError):
            self._ask("list the models", "GET", "/models")
        return self.server_date_us

    def embed_now(self, wanted: Sequence[Wanted], params: Mapping[str, Any], profile: Profile) -> bytes:
        """Post texts, each with the prefix of the profile; the answer as it came."""
        texts = [profile.prefix + each.texts[0] for each in wanted]
        return self._ask("embed texts", "POST", _PATH, json={**params, "input": texts})

    def embed(self, texts: Sequence[str], profile: Profile) -> Embedded:
        """Embed a few texts, each with the prefix of the profile."""
        asked = [profile.prefix + text for text in texts]
        operation, body = "embed a text", {"model": profile.model, "input": asked}
        answer = self._ask(operation, "POST", _PATH, json=body)
        return self._understand(operation, read_embedded, answer, len(texts), profile)

    def _usable_key(self) -> str:
        """The key, or nothing where none is set: most servers on a private network want none."""
        try:
            return self._key().strip()
        except ConfigError as exc:
            raise AuthError(exc.message, hint=exc.hint) from exc
