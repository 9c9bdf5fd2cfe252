"""What is paid for is sent while its intent is young, or never: machines sleep, processes are stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from client_doubles import FixedKey, client_of, job_spec
from step_doors import attempts, settle, turns, until
from world import KEY, World

from voyage_jobs.core import crash
from voyage_jobs.core.clock import SystemClock, VirtualClock
from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.core.states import Attempt, Batch
from voyage_jobs.errors import NotSentError
from voyage_jobs.simulator import Options, Simulator
from voyage_jobs.simulator.server import HttpServer
from voyage_jobs.state.door import At, open_state
from voyage_jobs.vendors.base import Wanted
from voyage_jobs.vendors.intent import oldest_s, sent_while_young
from voyage_jobs.vendors.voyage.client import VoyageClient

QUARANTINE_S = 900.0
PATIENCE_S = 60.0
QUERY = Profile(EMBEDDINGS, "voyage-4", 256, "float", "query")
BODY_BYTES = 300_000


@contextlib.contextmanager
def sleeping(clock, point, seconds, times=1):
    """A machine that sleeps where it passes this point, so many times."""
    left = [seconds] * times

    def hook(name):
        if name == point and left:
            clock.suspend(left.pop())

    crash.arm(hook)
    try:
        yield
    finally:
        crash.arm(None)


def test_an_intent_lives_for_a_third_of_the_quarantine():
    assert oldest_s(900) == 300
    assert oldest_s(0) == 1  # an operator who wants no quarantine still wants batches


def test_the_machines_own_clock_counts_its_sleep():
    clock = SystemClock()
    assert clock.uptime() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5)
    assert clock.uptime() <= clock.uptime()


def test_a_machine_that_sleeps_before_the_create_call_does_not_send_it(tmp_path):
    world = World(tmp_path)
    world.write("a.md", "A text that is sent once.\n")
    with world.worker() as context, sleeping(world.clock, "attempt.committed", 301.0):
        batch = until(world, context, Batch.UPLOADED)
        while attempts(context, batch) == []:
            turns(world, context, 1)
        assert attempts(context, batch) == ["not_happened"]
        assert world.sim.calls["create_batch"] == 0
        [note] = world.log.named("batch.deferred")
        assert "never sent" in note["error"]
        before = world.clock.mono()

        settle(world, context)
        assert attempts(context, batch) == ["not_happened", "created"]
        assert world.clock.mono() - before < QUARANTINE_S  # nobody waited for a job that cannot be there
    assert not world.log.named("create.quarantined")
    assert not world.log.named("circuit.opened")
    assert len(world.sim.state()["batches"]) == 1
    assert not world.ledger.billed_more_than_once()


def test_a_short_sleep_changes_nothing(tmp_path):
    world = World(tmp_path)
    world.write("a.md", "A text that is sent once.\n")
    with world.worker() as context, sleeping(world.clock, "attempt.committed", 299.0):
        batch = settle(world, context)
        assert attempts(context, batch) == ["created"]


def test_the_time_that_the_clock_of_the_provider_takes_counts(tmp_path, monkeypatch):
    """What is asked before the attempt dates it: after a restart the quarantine is counted from that answer on."""
    world = World(tmp_path)
    world.write("a.md", "A text that is sent once.\n")
    with world.worker() as context:
        until(world, context, Batch.UPLOADED)
        probe = context.client.vendor_now_us
        slow = iter([400.0])

        def asked_slowly():
            world.clock.suspend(next(slow, 0.0))
            return probe()

        monkeypatch.setattr(context.client, "vendor_now_us", asked_slowly)
        batch = settle(world, context)
        assert attempts(context, batch) == ["not_happened", "created"]
    assert not world.ledger.billed_more_than_once()


def test_a_synchronous_call_is_not_sent_late(tmp_path):
    world = World(tmp_path)
    with world.worker() as context:
        client, clock = context.client, context.clock
        before = dict(world.sim.calls)
        for call in (
            lambda: client.embed_now([Wanted("0", ["x"])], {"model": "voyage-4"}, QUERY),
            lambda: client.embed(["x"], QUERY),
            lambda: client.rerank("x", ["y"], "rerank-2.5"),
            lambda: client.create_batch(job_spec()),
        ):
            since = clock.uptime()
            clock.suspend(QUARANTINE_S)
            with (
                pytest.raises(NotSentError, match="never sent"),
                sent_while_young(client, since, QUARANTINE_S),
            ):
                call()
        assert dict(world.sim.calls) == before
        assert client.send_by is None
        client.embed(["x"], QUERY)  # what comes after it is not bound by it


def test_another_thread_is_not_bound():
    client = client_of(httpx.Response(200, json={"data": []}))
    clock = client.clock
    found = []
    with sent_while_young(client, clock.uptime(), QUARANTINE_S):
        thread = threading.Thread(target=lambda: found.append(client.send_by))
        thread.start()
        thread.join(PATIENCE_S)
        assert client.send_by == clock.uptime() + QUARANTINE_S / 3
    assert found == [None]


class Slow:
    """Where connections come from; the machine sleeps while one is made, or between the pieces of a request."""

    def __init__(self, below, clock, connect_s=0.0, write_s=()):
        self.below, self.clock, self.connect_s, self.write_s = below, clock, connect_s, list(write_s)
        self.written = 0

    def connect_tcp(self, *args, **more):
        stream = self.below.connect_tcp(*args, **more)
        self.clock.suspend(self.connect_s)
        write = stream.write

        def slowly(buffer, timeout=None):
            write(bytes(buffer), timeout)
            self.written += len(buffer)
            self.clock.suspend(self.write_s.pop(0) if self.write_s else 0.0)

        stream.write = slowly
        return stream


@contextlib.contextmanager
def server():
    """Takes requests and never answers; `whole` says how many came with all of their body."""
    whole, listening = [], socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE_S)
            got = b""
            while block := connection.recv(65536):
                got += block
                head, _, body = got.partition(b"\r\n\r\n")
                if len(body) >= BODY_BYTES:
                    whole.append(head)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1", whole, thread
    finally:
        listening.close()


@pytest.mark.parametrize(
    ("connect_s", "write_s", "sent"),
    [(301.0, [], 0), (0.0, [301.0], 1), (0.0, [0.0, 200.0, 200.0], 3)],
    ids=["while connecting", "after the head", "in the middle of the body"],
)
def test_the_look_comes_after_connecting_and_before_every_piece(connect_s, write_s, sent):
    clock = VirtualClock()
    with (
        server() as (base, whole, thread),
        contextlib.closing(VoyageClient(base, FixedKey(), clock=clock, timeout_s=5)) as client,
    ):
        backend = client._http._transport._pool._network_backend
        slow = backend._backend = Slow(backend._backend, clock, connect_s, write_s)
        texts = ["x" * BODY_BYTES]
        with (
            pytest.raises(NotSentError, match="never sent"),
            sent_while_young(client, clock.uptime(), QUARANTINE_S),
        ):
            client.embed(texts, QUERY)
        assert (slow.written > 0) == (sent > 0)
        thread.join(PATIENCE_S)  # the connection is closed: the rest will not come
        assert not thread.is_alive()
        assert not whole


_STOPS_ITSELF = """
import os, signal, sys
from voyage_jobs.core import crash

left = [None]

def hook(name):
    if name == "attempt.committed" and left:
        left.pop()
        os.kill(os.getpid(), signal.SIGSTOP)

crash.arm(hook)
from voyage_jobs.cli.main import main
sys.argv = ["voyage-jobs", "--config", sys.argv[1], "sync", "--timeout", "120"]
main()
"""


@pytest.mark.parametrize(("stopped_s", "outcomes"), [(1.6, ["not_happened", "created"]), (0.0, ["created"])])
def test_a_real_process_that_was_stopped_does_not_send_what_is_old(tmp_path, stopped_s, outcomes):
    quarantine_s = 4.0
    world = World(tmp_path, dimension=256)
    world.write("a.md", "A text that is sent once.\n")
    simulator = Simulator(
        SystemClock(), api_key=KEY, batch_seconds=0.1, options=Options(small_dimensions=True)
    )
    with HttpServer(simulator) as served:
        config = world.config_file(
            voyage={
                "base_url": f"http://127.0.0.1:{served.port}/v1",
                "quarantine_s": quarantine_s,
                "timeout_s": 2,
            },
            polling={"interval_s": 0.2, "max_interval_s": 0.2},
        )
        process = subprocess.Popen(
            [sys.executable, "-c", _STOPS_ITSELF, str(config)],
            env={**os.environ, "VOYAGE_API_KEY": KEY},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), process.stderr.read()
            assert simulator.calls["create_batch"] == 0
            time.sleep(stopped_s)
            os.kill(process.pid, signal.SIGCONT)
            _, error = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        assert process.returncode == 0, error
        assert simulator.calls["create_batch"] == 1
    with open_state(At(world.data_dir)).read() as connection:
        found = connection.exec_driver_sql("SELECT state FROM attempts ORDER BY number").scalars()
        assert list(found) == [str(Attempt(word)) for word in outcomes]
    assert not simulator.ledger.billed_more_than_once()
