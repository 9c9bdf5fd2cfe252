"""Connections that ask nothing: the health checks answer beside them, and they end after a while."""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
import threading

import pytest
from served import PATIENCE_S, Served
from world import Log

from voyage_jobs.server import views
from voyage_jobs.server.connections import Connections, Limits, limits_of_process

HALF_OPEN = 240
BEGINNINGS = (b"", b"GET / HTT", b"GET /healthz HTTP/1.1\r\nHost: local", b"POST /login HTTP/1.1\r\n")
SHORT = Limits(request_s=0.5, stalled_s=0.5)


@contextlib.contextmanager
def half_open(port, count, source="127.0.0.1"):
    """Connections of one client that never send a whole head."""
    with contextlib.ExitStack() as stack:
        found = []
        for number in range(count):
            opened = socket.create_connection(("127.0.0.1", port), PATIENCE_S, source_address=(source, 0))
            found.append(stack.enter_context(opened))
            opened.sendall(BEGINNINGS[number % len(BEGINNINGS)])
        yield found


def ends(connection):
    """Read until the other side closes; what came."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65_536):
            got += piece
    return got


# --- over sockets ---


def test_health_checks_answer_the_client_that_holds_all_the_connections(world):
    with Served(world) as ask, half_open(ask.door.port, HALF_OPEN):
        assert ask("/healthz")[0] == 200
        assert ask("/readyz")[0] == 503  # nobody works here; but that is an answer
        assert b"No process works" in ask("/readyz")[2]
        assert ask("/api/status")[0] == 200
    assert {told["client"] for told in world.log.named("page.connection_dropped")} == {"127.0.0.1"}


def test_health_checks_answer_while_many_clients_hold_connections(world):
    limits = Limits(in_all=40, per_client=20)
    with Served(world, limits=limits) as ask, contextlib.ExitStack() as stack:
        for number in range(2, 8):
            stack.enter_context(half_open(ask.door.port, 20, f"127.0.0.{number}"))
        assert ask("/healthz")[0] == 200


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_connection_without_a_whole_request_ends(world, beginning):
    with (
        Served(world, limits=SHORT) as ask,
        socket.create_connection(("127.0.0.1", ask.door.port), PATIENCE_S) as found,
    ):
        found.sendall(beginning)
        assert ends(found) == b""


@pytest.mark.parametrize("kept", [False, True], ids=["first", "kept alive"])
def test_a_request_that_trickles_in_ends_at_the_same_time(world, kept):
    with (
        Served(world, limits=SHORT) as ask,
        socket.create_connection(("127.0.0.1", ask.door.port), PATIENCE_S) as found,
    ):
        if kept:
            found.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert found.recv(65_536).startswith(b"HTTP/1.1 200")
        trickle(found, b"GET / HTTP/1.1\r\nX: ", b"x")


def test_a_form_that_trickles_in_ends_too(world):
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\ntoken="
    with (
        Served(world, limits=SHORT) as ask,
        socket.create_connection(("127.0.0.1", ask.door.port), PATIENCE_S) as found,
    ):
        trickle(found, head, b"x")


def test_a_client_that_hangs_up_in_its_form_is_no_error(world):
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\ntoken="
    with Served(world) as ask:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", ask.door.port), PATIENCE_S) as found:
                found.sendall(head)
            assert ask("/healthz")[0] == 200
    assert world.log.named("page.failed") == []


def trickle(connection, beginning, drop):
    """Send a little now and then until the other side has closed; it has to before the test loses patience."""
    connection.sendall(beginning)
    connection.settimeout(0.02)
    for _ in range(int(PATIENCE_S / 0.02)):
        try:
            connection.sendall(drop)
            if connection.recv(65_536) == b"":
                return
        except TimeoutError:
            continue
        except ConnectionError:
            return
    raise AssertionError("it still stands")


def test_a_client_that_does_not_take_its_answers_is_cut_off(world):
    asked = b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with Served(world, limits=SHORT) as ask, socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        found.settimeout(PATIENCE_S)
        found.connect(("127.0.0.1", ask.door.port))
        with pytest.raises(ConnectionError):
            for _ in range(
                1_000_000
            ):  # until nothing more is taken: its answers fill every buffer on the way
                found.sendall(asked)


def test_a_connection_that_is_kept_alive_is_not_hurried(world):
    """Between two requests nothing but uvicorn's own limit runs."""
    with Served(world) as ask:
        connection = http.client.HTTPConnection("127.0.0.1", ask.door.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            for _ in range(3):
                connection.request("GET", "/healthz")
                assert connection.getresponse().read() == b"ok\n"
                (standing,) = ask.door._server.server_state.connections
                assert standing._deadline is None


def test_answers_under_way_are_not_given_up_for_others(world, monkeypatch):
    """The client's own connections are all waited on; a health check takes the place of one that asks nothing."""
    inside, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_):
        inside.release()
        assert go_on.wait(PATIENCE_S)
        return {}

    monkeypatch.setattr(
        views, "history_of", lambda *_, **__: type("Told", (), {"as_dict": staticmethod(slow)})
    )
    limits = Limits(in_all=20, per_client=8)
    with Served(world, limits=limits) as ask:
        found = []
        askers = [
            threading.Thread(target=lambda: found.append(ask("/api/history?ref=a")[0]))
            for _ in range(limits.requests)
        ]
        for asker in askers:
            asker.start()
        for _ in askers:
            assert inside.acquire(timeout=PATIENCE_S)
        code, headers, _ = ask("/api/status")
        assert (code, headers["retry-after"]) == (503, "1")
        with half_open(ask.door.port, 20):
            assert ask("/healthz")[0] == 200
            assert ask("/readyz")[0] == 503
        go_on.set()
        for asker in askers:
            asker.join(PATIENCE_S)
    assert found == [200] * limits.requests


def test_readiness_does_not_wait_for_the_threads_that_read(world, monkeypatch):
    """The pool has 40 threads; the requests of several clients take them all."""
    inside, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_):
        inside.release()
        assert go_on.wait(PATIENCE_S)
        return {}

    monkeypatch.setattr(
        views, "history_of", lambda *_, **__: type("Told", (), {"as_dict": staticmethod(slow)})
    )
    asked = b"GET /api/history?ref=a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with Served(world) as ask, contextlib.ExitStack() as stack:
        for number in range(45):
            source = (f"127.0.0.{2 + number % 2}", 0)
            opened = socket.create_connection(("127.0.0.1", ask.door.port), PATIENCE_S, source_address=source)
            stack.enter_context(opened).sendall(asked)
        for _ in range(40):
            assert inside.acquire(timeout=PATIENCE_S)
        assert ask("/readyz")[0] == 503
        go_on.set()


# --- who goes ---


class Standing:
    def __init__(self):
        self.aborted = False

    def abort(self):
        self.aborted = True


def entered(connections, client, count=1):
    made = [Standing() for _ in range(count)]
    assert all(connections.enter(one, client) for one in made)
    return made


def test_a_client_gives_up_the_one_of_its_own_that_has_waited_longest():
    connections = Connections(Limits(in_all=10, per_client=3), Log())
    (other,) = entered(connections, "b")
    first, second, third = entered(connections, "a", 3)
    connections.works(first)
    entered(connections, "a")
    assert [one.aborted for one in (other, first, second, third)] == [False, False, True, False]
    connections.waits(first)  # answered: it begins to wait, behind the others
    entered(connections, "a")
    assert (first.aborted, third.aborted) == (False, True)


def test_when_all_places_are_taken_the_client_with_most_gives_one_up():
    connections = Connections(Limits(in_all=4, per_client=3), Log())
    (early,) = entered(connections, "b")
    many = entered(connections, "a", 3)
    entered(connections, "c")
    assert (early.aborted, many[0].aborted) == (False, True)


def test_nobody_is_let_in_where_none_waits():
    connections = Connections(Limits(in_all=2, per_client=2), Log())
    for one in entered(connections, "a", 2):
        connections.works(one)
    assert not connections.enter(Standing(), "a")
    assert not connections.enter(Standing(), "b")


def test_connections_take_a_quarter_of_the_file_descriptors_at_most(monkeypatch):
    for soft, most in ((1024, 256), (256, 64), (resource.RLIM_INFINITY, 256), (16, 8)):
        monkeypatch.setattr(resource, "getrlimit", lambda _what, soft=soft: (soft, soft))
        found = limits_of_process()
        assert found.in_all == most
        assert found.requests < found.per_client < found.in_all
