"""Waits for the network that end as a whole.

httpx bounds each wait for a byte, so a head that trickles in at one byte a minute, or informational answers (103)
without end, keep a call forever. Here every connection counts the time from the last byte of the request to the
end of the answer's head, however many bytes come in between, and no wait at all goes past `give_up_at`. A request
that is still being sent is bounded by its progress alone: an upload on a slow line takes what it takes. One that must
be sent by a certain time is looked at before each piece of it, so what is whole when it arrives was sent by then.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx

from voyage_jobs.core.clock import Clock

_SLICE_BYTES = 64 * 1024  # of a request: between two of them the time is looked at


class TooLateError(httpx.TransportError):
    """The time by which a request had to be sent is over; no more of it is sent, so it is never whole."""


class Bounds:
    """What the connections of one client may wait for: `head_s` for the head of an answer, `give_up_at` for all.

    `give_up_at` is in monotonic seconds of `clock`; None sets no bound.
    """

    def __init__(self, clock: Clock, head_s: float) -> None:
        self._clock = clock
        self._head_s = head_s
        self.give_up_at: float | None = None
        self._of_thread = threading.local()

    @property
    def send_by(self) -> float | None:
        """By when this thread's requests must have gone out, in seconds of `Clock.uptime`; None sets no bound."""
        found: float | None = getattr(self._of_thread, "send_by", None)
        return found

    @send_by.setter
    def send_by(self, uptime_s: float | None) -> None:
        self._of_thread.send_by = uptime_s

    def demand_in_time(self) -> None:
        """Raise `TooLateError` if what is about to be sent had to be sent before."""
        late_s = 0.0 if self.send_by is None else self._clock.uptime() - self.send_by
        if late_s > 0:
            raise TooLateError(f"it is {late_s:.1f} s too late for it (the machine slept, or was held up)")

    def head_until(self) -> float:
        """Until when the head of an answer must be here, if the request left now."""
        return self._clock.mono() + self._head_s

    def is_over(self) -> bool:
        """Whether nothing may be waited for any more."""
        return self.give_up_at is not None and self._clock.mono() >= self.give_up_at

    def within(self, wait_s: float | None, until: float | None = None) -> float | None:
        """A wait no longer than what is left until then and until `give_up_at`; None is without end."""
        now = self._clock.mono()
        waits = [end - now for end in (self.give_up_at, until) if end is not None]
        if wait_s is not None:
            waits.append(wait_s)
        return max(0.0, min(waits)) if waits else None


class BoundedStream:
    """A connection (httpcore's `NetworkStream`) whose reads end at `until`, and all of whose waits at `give_up_at`."""

    def __init__(self, stream: Any, bounds: Bounds) -> None:
        self._stream = stream
        self._bounds = bounds
        self.until: float | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come, up to so many bytes."""
        wait_s = self._bounds.within(timeout, self.until)
        if wait_s == 0:
            raise httpx.ReadTimeout("bytes came, and no whole answer in time")
        data: bytes = self._stream.read(max_bytes, timeout=wait_s)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send, and count the time for the head of the answer from here on, also where sending breaks off."""
        self.until = self._bounds.head_until()
        for piece in _slices(buffer):
            wait_s = self._bounds.within(timeout)
            if wait_s == 0:
                raise httpx.WriteTimeout("the request was not sent in time")
            self._bounds.demand_in_time()
            self._stream.write(piece, timeout=wait_s)
        self.until = self._bounds.head_until()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> BoundedStream:
        """The same connection, encrypted from here on."""
        wait_s = self._bounds.within(timeout)
        if wait_s == 0:
            self.close()
            raise httpx.ConnectTimeout("the connection was not there in time")
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, wait_s), self._bounds)

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """What is known of the connection below."""
        return self._stream.get_extra_info(info)


class _BoundedBackend:
    """Where connections come from (httpcore's `NetworkBackend`)."""

    def __init__(self, backend: Any, bounds: Bounds) -> None:
        self._backend = backend
        self._bounds = bounds

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **more: Any) -> BoundedStream:
        wait_s = self._bounds.within(timeout)
        if wait_s == 0:
            raise httpx.ConnectTimeout("the connection was not there in time")
        return BoundedStream(self._backend.connect_tcp(host, port, wait_s, **more), self._bounds)


def bound(http: httpx.Client, bounds: Bounds) -> None:
    """Let every connection that this client will make, by a proxy or not, keep to these bounds.

    httpx passes no backend through to httpcore, so it is put where the connections are made. A transport that is built
    in another way (a test's) keeps its own waits, which the timeouts of each request bound.
    """
    for transport in (http._transport, *http._mounts.values()):
        pool = getattr(transport, "_pool", None)
        backend = getattr(pool, "_network_backend", None)
        if pool is not None and backend is not None:
            pool._network_backend = _BoundedBackend(backend, bounds)


def read_until(response: httpx.Response, until: float | None) -> None:
    """Let the rest of an answer be read until then; None takes the bound of its head away."""
    stream = response.extensions.get("network_stream")
    if isinstance(stream, BoundedStream):
        stream.until = until


def _slices(buffer: bytes) -> Iterator[memoryview]:
    view = memoryview(buffer)
    for at in range(0, len(view), _SLICE_BYTES):
        yield view[at : at + _SLICE_BYTES]
