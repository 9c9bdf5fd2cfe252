"""The HTTP door: Starlette on uvicorn in front of a simulator, in a thread of its own."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from starlette import requests, responses
from starlette.types import ASGIApp, Receive, Scope, Send

from voyage_jobs.simulator.core import Simulator
from voyage_jobs.simulator.messages import Request, Response
from voyage_jobs.simulator.wire import Wire

_TICK_S = 0.25
_LINES_PER_TICK = 500
_KEEP_ALIVE_S = 3600  # a connection that ends between two requests would be a fault that nobody asked for


def _app(simulator: Simulator) -> ASGIApp:
    """The simulator's one router behind HTTP.

    A body is taken to its end first, as a client listens only then. No call gets a thread: the simulator lets one
    in at a time, and what waits (a held line, a head that trickles) waits here.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        asked = requests.Request(scope, receive)
        body = simulator.blobs.new()
        try:
            async for piece in asked.stream():
                body.append(piece)
        except requests.ClientDisconnect:
            return
        peer = scope["client"][0]
        query = dict(asked.query_params)
        request = Request(asked.method, scope["path"], query, asked.headers, body, peer=peer)
        response = simulator.handle(request)
        if response.is_odd:
            await asked.state.wire.send_odd(response, receive)
        else:
            await _sent(response)(scope, receive, send)

    return answer


def _sent(response: Response) -> responses.Response:
    headers = {**response.headers, "content-length": str(response.length)}
    if isinstance(response.body, bytes):
        return responses.Response(response.body, response.status, headers)
    return responses.StreamingResponse(response.body, response.status, headers)


class _Server(uvicorn.Server):
    """Ends at once: what waits on an open connection ends with it."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Break the connections that are open, and close the port."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


class HttpServer:
    """A simulator behind a port of its own, served from threads until `stop`. Raises OSError if it is taken."""

    def __init__(self, simulator: Simulator, host: str = "127.0.0.1", port: int = 0) -> None:
        self._simulator = simulator
        self._listener = _bound(host, port)
        self.port: int = self._listener.getsockname()[1]
        """The port that is listened on."""
        quiet: dict[str, Any] = {"log_config": None, "access_log": False}
        bare: dict[str, Any] = {"server_header": False, "date_header": False, "ws": "none", "lifespan": "off"}
        self._server = _Server(
            uvicorn.Config(
                _app(simulator), http=Wire, loop="asyncio", timeout_keep_alive=_KEEP_ALIVE_S, **quiet, **bare
            )
        )
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.run, args=([self._listener],), name="simulator"),
            threading.Thread(target=self._work, name="simulator-work", daemon=True),
        ]

    def start(self) -> None:
        """Begin to serve."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop serving, break open connections, and close the port."""
        self._stopped.set()
        self._server.should_exit = True
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> HttpServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _work(self) -> None:
        """Do the jobs' work as it falls due, so that no single poll has to do all of it."""
        while not self._stopped.wait(_TICK_S):
            self._simulator.tick(_LINES_PER_TICK)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(
        family, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # named, or asyncio leaves Nagle on
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def serve(simulator: Simulator, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is told the port (a free one if `port` is 0).

    Signals are caught only in the main thread; elsewhere use `HttpServer`. Raises OSError if the port is
    taken.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    with HttpServer(simulator, host, port) as server:
        before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            ready(server.port)
            stop.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
