"""The HTTP door: a server of the standard library in front of a simulator."""

from __future__ import annotations

import contextlib
import io
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Protocol

from voyage_jobs.simulator.core import Simulator
from voyage_jobs.simulator.messages import ApiError, Loss, Readable, Request, Response
from voyage_jobs.simulator.trickle import send_head

_CHUNK_BYTES = 1 << 20
_MAX_LINE_BYTES = 1 << 16
_TICK_S = 0.25
_HOLD_S = 3600.0
_LINES_PER_TICK = 500
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger for no time


class LineReadable(Readable, Protocol):
    """A connection: bytes and lines."""

    def readline(self, size: int = -1, /) -> bytes:
        """A line with its end, at most `size` bytes."""


class LimitedReader:
    """The `length` bytes of a request body on a connection that stays open."""

    def __init__(self, source: Readable, length: int) -> None:
        self._source = source
        self._left = length

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes of what is left."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._source.read(wanted) if wanted else b""
        self._left = self._left - len(data) if data else 0
        return data


class ChunkedReader:
    """A request body in chunked transfer coding."""

    def __init__(self, source: LineReadable) -> None:
        self._pieces = self._decoded(source)
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, or everything for -1."""
        if size < 0:
            whole, self._rest = self._rest + b"".join(self._pieces), b""
            return whole
        if not self._rest:
            self._rest = next(self._pieces, b"")
        got, self._rest = self._rest[:size], self._rest[size:]
        return got

    @staticmethod
    def _decoded(source: LineReadable) -> Iterator[bytes]:
        while True:
            head = source.readline(_MAX_LINE_BYTES).split(b";")[0].strip()
            try:
                left = int(head, 16)
            except ValueError:
                raise ApiError(400, "The chunked body is malformed.") from None
            if left <= 0:
                break
            while left > 0:
                piece = source.read(min(left, _CHUNK_BYTES))
                if not piece:
                    raise ApiError(400, "The chunked body is cut.")
                left -= len(piece)
                yield piece
            source.readline(_MAX_LINE_BYTES)
        while source.readline(_MAX_LINE_BYTES).strip():
            pass  # trailers


class _Handler(BaseHTTPRequestHandler):
    """One connection. A lost exchange closes or resets it without a word."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: _Server

    def _serve(self) -> None:
        """Answer one request of any method."""
        body = self._body()
        response = self.server.simulator.handle(self._request(body))
        if response.lost is not None:
            self._lose(response.lost)
            return
        try:
            while body.read(_CHUNK_BYTES):
                pass  # a client listens only when it has sent all
        except ApiError:
            self.close_connection = True
        if response.status == 400 and isinstance(body, ChunkedReader):
            self.close_connection = (
                True  # the chunks may be what was wrong: where the next request begins is unknown
            )
        self._send(response)

    def _lose(self, loss: Loss) -> None:
        """Give no answer; where the client is to time out, hold the line until it hangs up."""
        self.close_connection = True
        if loss is Loss.READ_ERROR:
            self.server.reset(self.connection)
        if loss is Loss.READ_TIMEOUT:
            self.connection.settimeout(_HOLD_S)
            while self.rfile.read1(_CHUNK_BYTES):
                pass

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = _serve  # noqa: N815 - names of the base class

    def _request(self, body: Readable) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        host = headers.get("host", "")
        return Request.of(self.command, self.path, headers, body, host=host, peer=self.client_address[0])

    def _body(self) -> Readable:
        source: LineReadable = self.rfile
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return ChunkedReader(source)
        length = self.headers.get("Content-Length", "0")
        return LimitedReader(source, int(length) if length.isdecimal() else 0)

    def _send(self, response: Response) -> None:
        head = self._head(response)
        if response.trickle is None:
            self.wfile.write(head)
        elif not send_head(self.connection, head, response.trickle):
            self.close_connection = True
            return
        for piece in response.chunks():
            if self.command != "HEAD":
                self.wfile.write(piece)
        if response.cut:
            self.close_connection = True
        if response.reset:
            self.wfile.flush()
            self.server.reset(self.connection)

    def _head(self, response: Response) -> bytes:
        """Status line and headers, as the base class writes them."""
        wire, written = self.wfile, io.BytesIO()
        self.wfile = written
        self.send_response_only(response.status)
        for name, value in response.headers.items():
            self.send_header(name.title(), value)
        self.send_header("Content-Length", str(response.length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile = wire
        return written.getvalue()

    def log_message(self, *args: object) -> None:
        """Stay silent: what was asked can be seen at /_simulator/state."""

    def handle(self) -> None:
        """Serve the connection until either side is done with it."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def finish(self) -> None:
        """Flush and close; the client may be gone already."""
        with contextlib.suppress(ConnectionError):
            super().finish()


class _Server(ThreadingHTTPServer):
    """A listener whose connection threads do not keep the process alive."""

    daemon_threads = True

    def __init__(self, simulator: Simulator, address: tuple[str, int]) -> None:
        self.simulator = simulator
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._connections: set[socket.socket] = set()
        self._resets: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without the name look-up of the base class, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection and remember it."""
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Forget a connection that is over."""
        if isinstance(request, socket.socket):
            self._connections.discard(request)
            if request in self._resets:
                self._resets.discard(request)
                self.close_request(request)  # without the farewell of the base class
                return
        super().shutdown_request(request)

    def reset(self, connection: socket.socket) -> None:
        """Let the client see a reset when the connection is closed, instead of an end in order."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._resets.add(connection)

    def hang_up(self) -> None:
        """Break the connections that are still open, so that their threads end."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class HttpServer:
    """A simulator behind a port of its own, served from threads until `stop`."""

    def __init__(self, simulator: Simulator, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = _Server(simulator, (host, port))
        self._simulator = simulator
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.1,), name="simulator"),
            threading.Thread(target=self._work, name="simulator-work", daemon=True),
        ]

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.server_port

    def start(self) -> None:
        """Begin to serve."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop serving, break open connections, and close the port."""
        self._stopped.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
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
