"""How every call is made: the request, the deadline, the key, and the error that an answer or its lack means.

No call is retried and no redirect is followed here, because only the caller knows whether a repeated call
would be paid twice. Every failure is sorted by phase: `NotSentError` before the request left,
`OutcomeUnknownError` while it was in flight, and the verdict on the answer afterwards. HTTP/1.1 only:
HTTP/2 streams to this host have been reported to stall under large requests.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

import httpx
import orjson

from voyage_jobs.core.clock import US, Clock
from voyage_jobs.core.observe import LOST, NOBODY, NOT_SENT, Observer
from voyage_jobs.errors import (
    AuthError,
    BadAnswerError,
    ConfigError,
    NotSentError,
    OutcomeUnknownError,
)
from voyage_jobs.vendors import bounded
from voyage_jobs.vendors.base import Access, KeySource
from voyage_jobs.vendors.rest import wire
from voyage_jobs.vendors.rest.verdict import MAX_RETRY_AFTER_S, Api, judge
from voyage_jobs.version import __version__

# 1,000 vectors of 2,048 JSON floats take about 45 MB; the content of files is streamed past this.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
CONNECT_TIMEOUT_S = 10.0
FRESH_S = 120.0  # for so long after an answer the provider's clock is known from our own
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")  # a simulator here is not behind the proxy
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)

P = ParamSpec("P")
T = TypeVar("T")


class Calls(ABC):
    """Calls to the API at `base_url` (with its `/v1`), with the key that it wants.

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
        """Call a pure parser; its errors get the host and the operation."""
        try:
            return read(*args, **kwargs)
        except BadAnswerError as exc:
            odd = f"{self.name} answered the call to {operation} unexpectedly: {exc.message}."
            raise BadAnswerError(odd, status=200) from exc

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


def _told(exc: httpx.RequestError) -> str:
    reason = wire.shorten(str(exc))
    return f"{type(exc).__name__} ({reason})." if reason else f"{type(exc).__name__}."
