"""The HTTP client: one method per call of the Files, Batches and embeddings APIs, nothing behind the caller's back.

No call is retried and no redirect is followed here, because only the caller knows whether a repeated call
would be paid twice. Every failure is sorted by phase: `NotSentError` before the request left,
`OutcomeUnknownError` while it was in flight, and the verdict on the answer afterwards. HTTP/1.1 only:
HTTP/2 streams to this host have been reported to stall under large requests.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, Self, TypeVar
from urllib.parse import quote

import httpx
import orjson

from voyage_jobs.core.clock import US, Clock
from voyage_jobs.core.observe import LOST, NOBODY, NOT_SENT, Observer
from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import (
    AuthError,
    BadAnswerError,
    ConfigError,
    NotSentError,
    OutcomeUnknownError,
    RefusedError,
)
from voyage_jobs.vendors.base import Access, Embedded, KeySource, Wanted
from voyage_jobs.vendors.remote import Downloaded, JobSpec, RemoteBatch, RemoteFile
from voyage_jobs.vendors.rest import bounded, wire
from voyage_jobs.vendors.rest.answer import call_body
from voyage_jobs.vendors.rest.embedding import read_embedded
from voyage_jobs.vendors.rest.verdict import CREATE, MAX_RETRY_AFTER_S, Api, judge
from voyage_jobs.version import __version__

# 1,000 vectors of 2,048 JSON floats take about 45 MB; the content of files is streamed past this.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
CONNECT_TIMEOUT_S = 10.0
FRESH_S = 120.0  # for so long after an answer the provider's clock is known from our own
_SHORT_PAGE = 20  # the provider's default page: a shorter one is the last, even where our `limit` was ignored
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")  # a simulator here is not behind the proxy
BATCHES_PER_PAGE, FILES_PER_PAGE = 100, 10_000  # the most that Voyage and OpenAI give
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item", bound=wire.HasId)


class RestClient(ABC):
    """Speaks with the API at `base_url` (with its `/v1`). What a provider calls otherwise is for those that inherit.

    `timeout_s` bounds each wait for the network, the time from the end of a request to the end of the answer's
    head, and the whole body of every answer but file content.
    `max_retry_after_s` bounds the wait that the provider may ask for. Methods raise the errors of `VendorError`;
    ConfigError comes from a wrong `base_url` alone.
    """

    api: ClassVar[Api]
    """Whom it speaks with."""

    def __init__(
        self,
        base_url: str,
        key: KeySource,
        *,
        clock: Clock,
        timeout_s: float = 60.0,
        max_retry_after_s: float = MAX_RETRY_AFTER_S,
        transport: httpx.BaseTransport | None = None,
        observer: Observer = NOBODY,
    ) -> None:
        self.base_url = _checked(base_url, self.api)
        self.observer = observer
        self.host = self.base_url.host
        self.name = self.named(self.base_url)
        self.timeout_s = timeout_s
        self.max_retry_after_s = max_retry_after_s
        self.clock = clock
        self._bounds = bounded.Bounds(clock, timeout_s)
        self.server_date_us: int | None = None
        """The provider's clock as of its last answer, in microseconds; None if it did not say."""
        self.skipped_entries = 0
        """Entries of lists that named nothing, over all lists so far."""
        self._heard_at = (0.0, 0.0)
        self._key = key
        self._transport = transport
        # At INFO it logs every URL, and a redirected download's URL is signed: as good as a key while it
        # lasts.
        logging.getLogger("httpx").setLevel(logging.WARNING)

    @functools.cached_property
    def _http(self) -> httpx.Client:
        """Made for the first call: to read the system's certificates takes longer than a scan that finds no news."""
        made = httpx.Client(
            transport=self._transport,
            mounts=dict.fromkeys(_LOOPBACK),
            follow_redirects=False,
            headers={"User-Agent": f"voyage-jobs/{__version__}"},
        )
        bounded.bound(made, self._bounds)
        return made

    @classmethod
    def of(cls, access: Access) -> Self:
        """The client for an access."""
        return cls(
            access.base_url,
            access.key,
            clock=access.clock,
            timeout_s=access.timeout_s,
            max_retry_after_s=access.max_retry_after_s,
            transport=access.transport,
            observer=access.observer,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.base_url)!r}, key in {self._key.describe()})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if "_http" in vars(self):
            self._http.close()

    @property
    def give_up_at(self) -> float | None:
        """When every call ends, in monotonic seconds of `clock`; None: each when its own time is over.

        A call that is being made then ends as if the network had failed; none is made from then on (NotSentError).
        """
        return self._bounds.give_up_at

    @give_up_at.setter
    def give_up_at(self, mono_s: float | None) -> None:
        self._bounds.give_up_at = mono_s

    @property
    def send_by(self) -> float | None:
        """By when the requests of this thread must have gone out, in seconds of `Clock.uptime`; None: whenever.

        One that has not is never sent (NotSentError), also where connecting took so long.
        """
        return self._bounds.send_by

    @send_by.setter
    def send_by(self, uptime_s: float | None) -> None:
        self._bounds.send_by = uptime_s

    @classmethod
    def named(cls, url: httpx.URL) -> str:
        """What messages call whoever answers at an address."""
        return f"{cls.api.title} ({url.host})"

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

    def vendor_now_us(self) -> int | None:
        """The provider's clock now, in microseconds, from a late answer; None if there was none, or it did not say.

        At most one second slow. Both local clocks must agree that the answer is fresh: neither a wall clock that is set
        nor a monotonic one that stands still while the machine sleeps can mislead it by more than that freshness.
        """
        if self.server_date_us is None:
            return None
        wall, mono = self._heard_at
        passed = (self.clock.wall() - wall, self.clock.mono() - mono)
        if not 0.0 <= min(passed) <= max(passed) <= FRESH_S:
            return None
        return self.server_date_us + int(max(passed) * US)

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

    # --- how every call is made ---

    @contextlib.contextmanager
    def stream(
        self,
        operation: str,
        method: str,
        url: httpx.URL,
        *,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> Iterator[httpx.Response]:
        """Send a request and hand over the answer as its head arrives; network errors are sorted by phase.

        The key goes along only to the origin (scheme, host and port) of `base_url`.
        """
        if self._bounds.is_over():
            raise NotSentError(f"{self.named(url)} was not asked to {operation}: the deadline has passed.")
        head = dict(headers or {})
        ours = self.is_ours(url)
        if ours and (key := self._usable_key()):
            head["Authorization"] = f"Bearer {key}"
        with self.observer.call(method, self._endpoint(url)) as call:
            try:
                with self._opened(method, url, head, content) as response:
                    call.code = str(response.status_code)
                    if ours:
                        self.server_date_us = wire.http_date_us(response.headers.get("date"))
                        self._heard_at = (self.clock.wall(), self.clock.mono())
                    yield response
            except bounded.TooLateError as exc:
                call.code = NOT_SENT
                late = f"The call to {operation} was never sent to {self.named(url)}: {exc}."
                raise NotSentError(late) from exc
            except _NOT_SENT as exc:
                call.code = NOT_SENT
                raise NotSentError(
                    f"{self.named(url)} could not be reached to {operation}: {_told(exc)}"
                ) from exc
            except httpx.RequestError as exc:
                call.code = LOST
                lost = f"The answer of {self.named(url)} to the call to {operation} was lost: {_told(exc)}"
                raise OutcomeUnknownError(lost) from exc
            except OutcomeUnknownError:  # the reader of the body gave up
                call.code = LOST
                raise

    @contextlib.contextmanager
    def _opened(
        self, method: str, url: httpx.URL, head: dict[str, str], content: dict[str, Any]
    ) -> Iterator[httpx.Response]:
        request = self._http.build_request(method, url, headers=head, timeout=self._timeouts(), **content)
        self._bounds.demand_in_time()
        try:
            response = self._http.send(request, stream=True)
        except (UnicodeError, OverflowError) as exc:  # from the resolver: a host or port that cannot exist
            raise httpx.ConnectError(f"no such address ({exc})", request=request) from exc
        bounded.read_until(response, None)
        with contextlib.closing(response):
            yield response

    def _timeouts(self) -> httpx.Timeout:
        """For each single wait; none is longer than what is left until `give_up_at`."""
        wait_s, connect_s = self._bounds.within(self.timeout_s), self._bounds.within(CONNECT_TIMEOUT_S)
        return httpx.Timeout(wait_s, connect=connect_s, pool=connect_s)

    def is_ours(self, url: httpx.URL) -> bool:
        """Whether a URL stands on the origin of `base_url`, the only one that may see the key."""
        base = self.base_url
        return (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)

    def _endpoint(self, url: httpx.URL) -> str:
        """Which call it is, without ids: `/files/{id}/content`; a host that a download leads to is `elsewhere`."""
        if not self.is_ours(url):
            return "elsewhere"
        path = url.path.removeprefix(self.base_url.path.rstrip("/"))
        collection, *rest = path.strip("/").split("/")
        return "/" + "/".join([collection, *(["{id}"] if rest else []), *rest[1:2]])

    def small_body(self, response: httpx.Response, operation: str) -> bytes:
        """The whole body of an answer, bounded in size and time."""
        deadline = self.clock.mono() + (self._bounds.within(self.timeout_s) or 0.0)
        bounded.read_until(response, deadline)  # also where what comes is no byte of the body yet
        body = bytearray()
        for block in response.iter_bytes():
            body += block
            if len(body) > MAX_ANSWER_BYTES:
                raise BadAnswerError(f"{self.name} answered the call to {operation} without end.")
            if self.clock.mono() > deadline:
                raise OutcomeUnknownError(f"{self.name} took too long to answer the call to {operation}.")
        return bytes(body)

    def check(self, response: httpx.Response, body: bytes, operation: str) -> None:
        """Raise the error that an answer means, with a hint on the key where that was refused."""
        key = response.request.headers.get("Authorization", "").removeprefix("Bearer ")
        status, headers = response.status_code, response.headers
        error = judge(
            status,
            headers,
            body,
            api=self.api,
            name=self.name,
            operation=operation,
            secret=key,
            max_retry_after_s=self.max_retry_after_s,
        )
        if isinstance(error, AuthError):
            error.hint = self.key_hint(key)
        if error is not None:
            raise error

    def key_hint(self, key: str) -> str:
        """What to do about a refused key."""
        del key
        where, section = self._key.describe(), self.api.section
        return f"Check the key in {where} and {section}.base_url; work resumes by itself once the key is accepted."

    def _ask(self, operation: str, method: str, path: str, *, json: Any = None, **content: Any) -> bytes:
        headers = {"Accept": "application/json"}
        if json is not None:
            headers["Content-Type"] = "application/json"
            content["content"] = orjson.dumps(json)
        with self.stream(operation, method, self._url(path), headers=headers, **content) as response:
            body = self.small_body(response, operation)
        self.check(response, body, operation)
        return body

    def _parsed(self, operation: str, body: bytes) -> Any:
        return self._understand(operation, wire.parse_json, body)

    def _understand(self, operation: str, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a pure reader; what it cannot read is told with host and operation."""
        try:
            return read(*args, **kwargs)
        except BadAnswerError as exc:
            odd = f"{self.name} answered the call to {operation} unexpectedly: {exc.message}."
            raise BadAnswerError(odd, status=200) from exc

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

    def _url(self, path: str) -> httpx.URL:
        return self.base_url.copy_with(path=self.base_url.path.rstrip("/") + path)

    def _usable_key(self) -> str:
        """The key; refused here if no header can carry it, because the error from below would quote it."""
        try:
            key = self._key().strip()
        except ConfigError as exc:
            raise AuthError(exc.message, hint=exc.hint) from exc
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise AuthError(
                f"The API key in {self._key.describe()} contains a space or a character that is not ASCII.",
                hint=f"Copy it again from {self.api.dashboard}; sending then resumes by itself.",
            )
        return key


def _checked(base_url: str, api: Api) -> httpx.URL:
    hint = f"The batch endpoints are documented at {api.usual_url}."
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as exc:
        raise ConfigError(f"{api.section}.base_url is not a URL: {exc}", hint=hint) from exc
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise ConfigError(
            f"{api.section}.base_url must be scheme, host and path, without user, query or fragment.",
            hint=hint,
        )
    return url


def _path(collection: str, name: str) -> str:
    return f"{collection}/{quote(name, safe='')}"


def _told(exc: httpx.RequestError) -> str:
    reason = wire.shorten(str(exc))
    return f"{type(exc).__name__} ({reason})." if reason else f"{type(exc).__name__}."
