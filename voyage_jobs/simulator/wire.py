"""Answers that no server gives on purpose: broken off, reset, trickling in, or none at all.

Starlette and uvicorn see to it that an answer is whole, in form and in time. These are not, so they are written to the
connection beneath: the only place where the simulator touches one.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from voyage_jobs.simulator.messages import Loss, Response, Trickle

_INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger for no time


class Wire(H11Protocol):
    """uvicorn's HTTP/1.1; a request finds the connection that it came on as `request.state.wire`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "wire": self}

    async def send_odd(self, response: Response, receive: Any) -> None:
        """Give this answer or none, and close; where the client is to time out, wait until it hangs up."""
        gone = asyncio.ensure_future(_hung_up(receive))
        if response.reset or response.lost is Loss.READ_ERROR:
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if response.lost is None:
            await self._send_head(_head(response), response.trickle, gone)
            for piece in response.chunks():
                if gone.done():
                    break
                self.transport.write(piece)
                await self.flow.drain()
        if response.lost is not Loss.READ_TIMEOUT:
            self.transport.close()
        await gone

    async def _send_head(self, head: bytes, trickle: Trickle | None, gone: asyncio.Future[None]) -> None:
        """The head at once, or byte by byte, or interim answers for as long as the client stays."""
        if trickle is None:
            self.transport.write(head)
            return
        at = 0
        while (trickle.endless or at < len(head)) and not gone.done():
            self.transport.write(_INTERIM if trickle.endless else head[at : at + 1])
            at += 1
            await asyncio.wait({gone}, timeout=trickle.seconds)


def _head(response: Response) -> bytes:
    headers = {**response.headers, "content-length": response.length, "connection": "close"}
    lines = [f"HTTP/1.1 {response.status} ", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def _hung_up(receive: Any) -> None:
    """Until the connection is closed, by whichever side."""
    while (await receive())["type"] != "http.disconnect":
        pass
