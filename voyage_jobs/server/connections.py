"""How many connections may stand, how long one may take over a request, and which one goes when there is no room.

uvicorn waits for the head of a request for as long as the client likes, and its `limit_concurrency` counts those who
ask nothing: a few dozen silent connections would close the page and the health checks, and a few hundred would take
the file descriptors that the work needs. So:

- a request has to be whole `request_s` after its connection, or after its first byte on one that is kept alive,
  however steadily it trickles in; a client that does not take its answer is cut off after `stalled_s`;
- a client that has `per_client` connections gets another one for that of its own which has waited longest; when
  `in_all` stand, the client with most of those that wait gives one up. A connection with a request that is being
  answered is never closed to make room.

So whoever comes is let in and has time to ask, and `/healthz` answers to the very client that holds all the others.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from voyage_jobs.server.guard import client_of

_MOST, _MOST_PER_CLIENT = 256, 64
_SHARE_OF_DESCRIPTORS = 4  # one in four may be a connection; the others are for the work


@dataclass(frozen=True)
class Limits:
    """Of connections in all and of one client, and the seconds for a request and for a client that does not read."""

    in_all: int = _MOST
    per_client: int = _MOST_PER_CLIENT
    request_s: float = 10.0
    stalled_s: float = 30.0

    @property
    def requests(self) -> int:
        """How many of one client may be answered at once, health checks aside: fewer than it may have connections, so
        that one of these can always be closed to let a health check in."""
        return max(1, self.per_client * 3 // 4)


def limits_of_process() -> Limits:
    """As many as the process's file descriptors allow."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if soft == resource.RLIM_INFINITY else max(8, min(_MOST, soft // _SHARE_OF_DESCRIPTORS))
    return Limits(in_all=most, per_client=min(_MOST_PER_CLIENT, most // 2))


class Connection(Protocol):
    """What `Connections` has to know of one."""

    def abort(self) -> None:
        """Close it at once."""


class Connections:
    """Who is connected, and who of them waits. For one event loop."""

    def __init__(self, limits: Limits, log: Any) -> None:
        self._limits, self._log = limits, log
        self._standing: dict[Connection, str] = {}
        self._waiting: dict[Connection, str] = {}  # the longest waiting first

    def enter(self, connection: Connection, client: str) -> bool:
        """Take in a connection, if need be for another one; False if there is none that could go."""
        mine = Counter(self._standing.values())[client]
        if mine >= self._limits.per_client or len(self._standing) >= self._limits.in_all:
            loser = client
            if mine < self._limits.per_client and self._waiting:
                loser = Counter(self._waiting.values()).most_common(1)[0][0]
            self._log.warning("page.connection_dropped", client=loser, connections=len(self._standing))
            if not self._give_up_one_of(loser):
                return False
        self._standing[connection] = client
        self.waits(connection)
        return True

    def _give_up_one_of(self, client: str) -> bool:
        longest = next((found for found, owner in self._waiting.items() if owner == client), None)
        if longest is None:
            return False
        self.leave(longest)
        longest.abort()
        return True

    def waits(self, connection: Connection) -> None:
        """It has no request that is being answered; since now, unless it waits already."""
        if connection in self._standing:
            self._waiting.setdefault(connection, self._standing[connection])

    def works(self, connection: Connection) -> None:
        """Its request is being answered."""
        self._waiting.pop(connection, None)

    def leave(self, connection: Connection) -> None:
        """It is gone."""
        self._standing.pop(connection, None)
        self._waiting.pop(connection, None)


def protocol_within(limits: Limits, log: Any) -> type[BoundedProtocol]:
    """The protocol for uvicorn: all its connections share one count."""
    shared = Connections(limits, log)

    class Protocol(BoundedProtocol):
        connections_of_all = shared
        limits_of_all = limits

    return Protocol


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with deadlines and a bound on how many."""

    connections_of_all: Connections
    limits_of_all: Limits
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        if self.connections_of_all.enter(self, client_of(self.client[0] if self.client else "")):
            self._expect_request()
        else:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """More of a request: the deadline is that of its first byte."""
        self._expect_request()
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """The next request may come, or the connection ends once the answer has been taken."""
        super().on_response_complete()
        self._look()
        if self.transport.is_closing():
            self._expect_reading()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """It has read on."""
        super().resume_writing()
        if self._stalled is not None and not self.transport.is_closing():
            self._stalled.cancel()
            self._stalled = None

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()
        self.connections_of_all.leave(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once, whatever has not been sent."""
        self.transport.abort()

    def _expect_reading(self) -> None:
        """From now on the client has a while to take what it asked for."""
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.limits_of_all.stalled_s, self.abort)

    def _expect_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.limits_of_all.request_s, self.abort)

    def _look(self) -> None:
        """Is a whole request here, and is it being answered?"""
        is_whole = self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)
        if is_whole and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if is_whole and self.cycle is not None and not self.cycle.response_complete:
            self.connections_of_all.works(self)
        else:
            self.connections_of_all.waits(self)
