"""Calls over real connections come to their end, whatever trickles in: nothing here waits but the server."""

import contextlib
import itertools
import socket
import threading
import time

import httpx
import orjson
import pytest
from client_doubles import FixedKey, job_spec

from voyage_jobs.core.clock import SystemClock, VirtualClock
from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.errors import NotSentError, OutcomeUnknownError
from voyage_jobs.vendors import bounded
from voyage_jobs.vendors.base import Wanted
from voyage_jobs.vendors.rest.download import download
from voyage_jobs.vendors.voyage.client import VoyageClient

CREATE = job_spec()
QUERY = Profile(EMBEDDINGS, "voyage-4", 4, "float", "query")
PATIENCE_S = 15.0  # far more than it takes, far less than a server here would go on
TRICKLE_S = 0.05
JSON = b'{"id":"file-1","status":"in_progress","data":[]}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(JSON) + JSON


class Hasty(SystemClock):
    """A hundred seconds pass in one, so that no wait of a socket is short, and the whole is soon over."""

    def mono(self):
        return 100 * time.monotonic()


class Server:
    """Hands every connection to `serve`, in a thread of its own, until the client or the test closes it."""

    def __init__(self, serve, receive_bytes=None):
        self.connections = 0
        self._serve = serve
        self._socket = socket.socket()
        if receive_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._ends = threading.Event()

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self._ends.set()
        self._socket.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        with connection, contextlib.suppress(OSError):
            self._serve(self, connection)

    def pause(self, seconds=TRICKLE_S):
        if self._ends.wait(seconds):
            raise OSError("the test is over")

    def trickle(self, connection, pieces):
        for piece in pieces:
            connection.sendall(piece)
            self.pause()


def request_of(connection):
    got = b""
    while b"\r\n\r\n" not in got:
        block = connection.recv(65536)
        if not block:
            raise OSError("the client is gone")
        got += block
    return got


def head_in_bytes(server, connection):
    request_of(connection)
    head = b"HTTP/1.1 200 OK\r\nx-slow: " + b"a" * 90_000
    server.trickle(connection, (head[at : at + 1] for at in range(len(head))))


def only_hints(server, connection):
    """Informational answers without end, as fast as they can be sent."""
    request_of(connection)
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 1000)


def hints_now_and_then(server, connection):
    request_of(connection)
    server.trickle(connection, itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"))


def body_of_frames(server, connection):
    """A chunk whose frame never ends: bytes come, and none of the body."""
    request_of(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    server.trickle(connection, itertools.chain([b"5;x="], itertools.repeat(b"a")))


def body_in_bytes(server, connection):
    request_of(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n")
    server.trickle(connection, itertools.repeat(b" "))


def silence(server, connection):
    request_of(connection)
    server.pause(60)


TRICKLES = pytest.mark.parametrize(
    "serve", [head_in_bytes, only_hints, hints_now_and_then, body_of_frames, body_in_bytes]
)


def client_to(server, *, base="", **options):
    options.setdefault("clock", SystemClock())
    return VoyageClient(base or f"{server.address}/v1", FixedKey(), **options)


@contextlib.contextmanager
def soon():
    began = time.monotonic()
    yield
    assert time.monotonic() - began < PATIENCE_S


@TRICKLES
def test_an_answer_that_trickles_ends_within_the_time_of_its_call(serve):
    with Server(serve) as server, client_to(server, timeout_s=0.3) as client, soon():
        with pytest.raises(OutcomeUnknownError):
            client.create_batch(CREATE)
        with pytest.raises(OutcomeUnknownError):
            client.get_batch("batch-1")

    assert server.connections == 2


@pytest.mark.parametrize("serve", [head_in_bytes, only_hints])
def test_a_proxy_is_waited_for_no_longer(serve, monkeypatch):
    with Server(serve) as server:
        monkeypatch.setenv("HTTP_PROXY", server.address)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with client_to(server, base="http://voyage.example/v1", timeout_s=0.3) as client, soon():
            with pytest.raises(OutcomeUnknownError):
                client.get_batch("batch-1")

    assert server.connections == 1


@pytest.mark.parametrize("serve", [body_of_frames, body_in_bytes])
def test_the_content_of_a_file_that_trickles_is_given_up(serve, tmp_path):
    """Its own rule: so many bytes in a minute, also where what comes is no byte of it."""
    with Server(serve) as server, client_to(server, clock=Hasty(), timeout_s=60) as client, soon():
        with pytest.raises(OutcomeUnknownError):
            download(client, "file-1", tmp_path / "output.jsonl", expected_bytes=90_000)


@TRICKLES
def test_no_call_goes_past_the_end_that_is_set_from_outside(serve, tmp_path):
    with Server(serve) as server, client_to(server, timeout_s=60) as client, soon():
        client.give_up_at = client.clock.mono() + 0.3
        with pytest.raises(OutcomeUnknownError):
            client.create_batch(CREATE)


def test_a_silent_host_is_not_waited_for_past_that_end_and_none_is_asked_after_it(tmp_path):
    with Server(silence) as server, client_to(server, timeout_s=60) as client, soon():
        client.give_up_at = client.clock.mono() + 0.3
        with pytest.raises(OutcomeUnknownError):
            client.create_batch(CREATE)
        with pytest.raises(NotSentError, match="was not asked to create a batch: the deadline has passed"):
            client.create_batch(CREATE)
        with pytest.raises(NotSentError):
            download(client, "file-1", tmp_path / "output.jsonl", expected_bytes=1)

    assert server.connections == 1


def test_content_is_not_read_past_that_end(tmp_path):
    def endless(server, connection):
        request_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 900000000000\r\n\r\n")
        while True:
            connection.sendall(b"{}\n" * 10_000)
            server.pause(0.01)

    with Server(endless) as server, client_to(server, timeout_s=60) as client, soon():
        client.give_up_at = client.clock.mono() + 0.3
        with pytest.raises(OutcomeUnknownError):
            download(client, "file-1", tmp_path / "output.jsonl", expected_bytes=None)

    assert (tmp_path / "output.jsonl.part").stat().st_size > 0


def reads_the_body(server, connection, then):
    """Takes a request in, block by block; `then(share)` follows each."""
    head = request_of(connection)
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    got = len(head) - head.index(b"\r\n\r\n") - 4
    while got < length:
        got += len(connection.recv(262_144))
        then(got / length)
    connection.sendall(ANSWER)


def test_a_slow_upload_takes_longer_than_the_time_for_its_answer(tmp_path):
    """What counts begins when everything is sent; the second half is more than the sockets hold of it."""
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"x" * 32_000_000)
    clock = VirtualClock()

    def serve(server, connection):
        reads_the_body(server, connection, lambda share: clock.advance(10) if share < 0.5 else None)

    with (
        Server(serve, receive_bytes=131_072) as server,
        client_to(server, clock=clock, timeout_s=60) as client,
    ):
        assert client.upload(path, "ref.jsonl").id == "file-1"

    assert clock.mono() > 5 * client.timeout_s


def test_an_upload_is_not_sent_past_the_end_that_is_set_from_outside(tmp_path):
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"x" * 64_000_000)

    def serve(server, connection):
        reads_the_body(server, connection, lambda _share: server.pause())

    with (
        Server(serve, receive_bytes=131_072) as server,
        client_to(server, timeout_s=60) as client,
        soon(),
    ):
        client.give_up_at = client.clock.mono() + 0.3
        with pytest.raises(OutcomeUnknownError):
            client.upload(path, "ref.jsonl")


def test_a_connection_that_is_used_again_has_its_time_again():
    def answers(server, connection):
        while True:
            request_of(connection)
            connection.sendall(ANSWER)

    clock = VirtualClock()
    with Server(answers) as server, client_to(server, clock=clock, timeout_s=5) as client:
        for _ in range(3):
            assert client.get_file("file-1").id == "file-1"
            clock.advance(1000)

    assert server.connections == 1


def test_an_answer_before_everything_is_sent_is_heard():
    """A server may refuse a large request early, and close: its word counts, where it came through."""

    def refuses(server, connection):
        request_of(connection)
        refusal = orjson.dumps({"detail": "no"})
        connection.sendall(b"HTTP/1.1 400 No\r\ncontent-length: %d\r\n\r\n" % len(refusal) + refusal)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1_000_000):
            pass

    with Server(refuses) as server, client_to(server, timeout_s=30) as client, soon():
        with pytest.raises(Exception, match=r"\(400\): no"):
            client.embed_now([Wanted("a", ["x" * 5_000_000])], {}, QUERY)


def test_an_end_that_is_taken_back_holds_no_more():
    with Server(silence) as server, client_to(server, timeout_s=0.1) as client, soon():
        client.give_up_at = client.clock.mono() - 1
        with pytest.raises(NotSentError):
            client.probe()
        client.give_up_at = None
        with pytest.raises(OutcomeUnknownError):
            client.probe()

    assert server.connections == 1


# --- the steps of a connection, where time may be over between two of them ---


class Wire:
    """A connection, and the place it comes from, that notes how long each step was given."""

    def __init__(self):
        self.given = []
        self.is_closed = False

    def connect_tcp(self, host, port, timeout, **more):
        self.given.append(("connect", timeout))
        return self

    def start_tls(self, ssl_context, server_hostname, timeout):
        self.given.append(("encrypt", timeout))
        return self

    def write(self, buffer, timeout=None):
        self.given.append(("write", timeout))

    def read(self, max_bytes, timeout=None):
        self.given.append(("read", timeout))
        return b""

    def get_extra_info(self, info):
        return info

    def close(self):
        self.is_closed = True


def connected(clock, head_s=30.0):
    """A client's own way to a connection, over a wire that notes."""
    wire_below, bounds = Wire(), bounded.Bounds(clock, head_s)
    with httpx.Client() as http:
        http._transport._pool._network_backend = wire_below
        bounded.bound(http, bounds)
        return wire_below, bounds, http._transport._pool._network_backend


def test_an_encrypted_connection_is_bounded_like_any():
    clock = VirtualClock()
    below, bounds, backend = connected(clock)
    bounds.give_up_at = clock.mono() + 100

    stream = backend.connect_tcp("voyage.example", 443, 10.0).start_tls(None, "voyage.example", 10.0)
    stream.write(b"GET", 60.0)
    clock.advance(25)
    stream.read(1, 60.0)
    stream.until = None
    stream.read(1, 60.0)
    clock.advance(70)
    stream.read(1, 60.0)

    waits = [
        ("connect", 10.0),
        ("encrypt", 10.0),
        ("write", 60.0),
        ("read", 5.0),
        ("read", 60.0),
        ("read", 5.0),
    ]
    assert below.given == waits
    assert stream.get_extra_info("socket") == "socket"


def test_no_step_of_a_connection_begins_when_the_time_is_over():
    clock = VirtualClock()
    below, bounds, backend = connected(clock)
    stream = backend.connect_tcp("voyage.example", 443, None)
    bounds.give_up_at = clock.mono()
    below.given.clear()

    with pytest.raises(httpx.ConnectTimeout):
        backend.connect_tcp("voyage.example", 443, 10.0)
    with pytest.raises(httpx.WriteTimeout):
        stream.write(b"GET", 10.0)
    with pytest.raises(httpx.ReadTimeout):
        stream.read(1, 10.0)
    with pytest.raises(httpx.ConnectTimeout):
        stream.start_tls(None, "voyage.example", 10.0)

    assert below.given == []
    assert below.is_closed
