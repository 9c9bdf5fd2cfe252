"""Notifications: what is told, once, by whom; what becomes of those that nobody takes; and the sinks themselves."""

import hashlib
import hmac
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from world import KEY, Post, World

from voyage_jobs.cli.main import cli
from voyage_jobs.config import parse_settings
from voyage_jobs.config.secret import SecretSource
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.core.object_uri import SECRETS as STORE_SECRETS
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import ConfigError
from voyage_jobs.notify import notifier as notifier_module
from voyage_jobs.notify.delivery import Delivery, attempt
from voyage_jobs.notify.events import MEANINGS, PROBLEMS
from voyage_jobs.notify.notifier import GIVE_UP_S, LOOK_S, Notifier
from voyage_jobs.notify.sinks import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    CommandSink,
    NotDeliveredError,
    PingSink,
    WebhookSink,
    signature,
)
from voyage_jobs.report.status import look, status
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.state import batches, notices
from voyage_jobs.vendors.registry import VENDORS, by_type

SECRET = "a-secret-of-thirty-two-characters"
TEXT = "The quick brown fox is nobody's business."
PATIENCE_S = 30


def told_world(tmp_path, **sections):
    world = World(
        tmp_path,
        **{
            "batching": {"linger_s": 0},
            **sections,
            "notify": {"command": ["tell"], **sections.get("notify", {})},
        },
    )
    world.post = Post()
    world.write("a.md", f"# A\n\n{TEXT}\n")
    return world


def quiet_turns(world, context, count=3, notifier=None):
    """Turns far enough apart that each looks."""
    from voyage_jobs.steps.pipeline import Pipeline

    pipeline = Pipeline(context, notifier=notifier or Notifier(context, world.post))
    for _ in range(count):
        while pipeline.turn():
            pass
        world.clock.advance(LOOK_S + 1)


def later(world, count=3, **sections):
    """The same in a process of its own."""
    with world.worker(**sections) as context:
        quiet_turns(world, context, count)


# --- what is told ---


def test_the_end_of_work_is_told_once_whatever_is_restarted(tmp_path):
    world = told_world(tmp_path)
    world.run()
    later(world)
    later(world)
    [(_, message)] = world.post.sent
    assert message["event"] == "finished"
    assert message["numbers"]["documents_published"] == 1
    assert message["numbers"]["chunks_published"] == 1
    assert message["severity"] == "info"
    assert message["test"] is False
    world.write("b.md", "# B\n\nAnother.\n")
    world.clock.advance(400)
    world.run()
    later(world)
    assert world.post.told() == ["finished"] * 2
    assert len({message["id"] for _, message in world.post.sent}) == 2


def test_a_frozen_source_is_told_once_until_it_has_thawed(tmp_path):
    world = told_world(tmp_path, notify={"events": ["frozen"]})
    world.run()
    for _ in range(2):
        world.docs.rename(tmp_path / "away")
        world.clock.advance(400)
        later(world)
        later(world)
        (tmp_path / "away").rename(world.docs)
        world.clock.advance(400)
        later(world)
    assert world.post.told() == ["frozen"] * 2
    message = world.post.sent[0][1]
    assert message["source"] == "docs"
    assert "voyage-jobs confirm-deletes docs" in message["hint"]
    assert message["severity"] == "problem"


def test_failures_are_told_again_when_they_are_ten_times_as_many(tmp_path):
    world = told_world(
        tmp_path,
        notify={"events": ["failed"]},
        faults={"line_refused": {"contains": "poison", "message": "No poison."}},
    )
    world.write("p.md", "poison")
    world.run()
    later(world)
    for number in range(5):
        world.write(f"p{number}.md", f"poison {number}")
    world.clock.advance(400)
    world.run()
    later(world)
    assert world.post.told() == ["failed"]
    for number in range(10):
        world.write(f"q{number}.md", f"poison of another kind {number}")
    world.write("good.md", "a job that fails whole is another matter")
    world.clock.advance(400)
    world.run()
    later(world)
    assert [body["numbers"]["embeddings"] for _, body in world.post.sent] == [1, 16]
    assert "No poison" not in repr(world.post.sent), "the provider's words may quote a text"


def test_a_parked_batch_is_told_by_its_ref(tmp_path):
    world = told_world(tmp_path, options={"retired_models": {"voyage-4": "voyage-5"}})
    world.run(12, quiet=False)
    later(world)
    [message] = [body for _, body in world.post.sent if body["event"] == "parked"]
    with world.worker() as context, context.store.read() as connection:
        [batch] = batches.in_state(connection, Batch.PARKED)
    assert message["ref"] == message["key"] == batch.ref
    assert "voyage-5" not in repr(message)


def test_a_refused_key_is_told(tmp_path):
    world = told_world(tmp_path, faults={"auth_outage": {}})
    later(world)
    later(world)
    assert world.post.told() == ["refused"]
    assert KEY not in repr(world.post.sent)


def test_a_budget_that_is_used_up_is_told_until_it_is_raised(tmp_path):
    world = told_world(tmp_path, budget={"daily_tokens": 0}, notify={"events": ["budget"]})
    later(world)
    later(world)
    assert [body["key"] for _, body in world.post.sent] == ["budget.daily_tokens"]
    later(world, budget={"daily_tokens": 1_000_000})
    with world.worker() as context, context.store.read() as connection:
        assert notices.open_notices(connection) == []


def test_the_budget_of_a_source_is_told_by_its_name(tmp_path):
    source = {"name": "docs", "path": str(tmp_path / "docs"), "monthly_tokens": 0}
    world = told_world(tmp_path, sources=[source], notify={"events": ["budget"]})
    later(world)
    assert [body["key"] for _, body in world.post.sent] == ["monthly_tokens of source docs"]


def test_changes_that_wait_too_long_are_told(tmp_path):
    world = told_world(tmp_path, budget={"daily_tokens": 0}, notify={"events": ["stale"], "stale_s": 3600})
    later(world)
    assert world.post.told() == []
    world.clock.advance(3600)
    later(world)
    [(_, message)] = world.post.sent
    assert (message["event"], message["source"]) == ("stale", "docs")
    assert message["numbers"]["documents"] == 1
    world.clock.advance(86_400)
    later(world, notify={"stale_s": "none"})
    with world.worker() as context, context.store.read() as connection:
        assert notices.open_notices(connection) == []


def test_only_the_events_that_are_wanted_are_told(tmp_path):
    world = told_world(tmp_path, notify={"events": ["frozen"]})
    world.run()
    later(world)
    assert world.post.sent == []


def test_without_anybody_to_tell_nothing_is_noted(tmp_path):
    world = told_world(tmp_path, notify={"command": []})
    world.run()
    later(world)
    with world.worker() as context, context.store.read() as connection:
        assert notices.newest(connection, 9) == []
    assert world.post.sent == []


def test_no_text_and_no_key_is_in_any_message_or_log(tmp_path):
    world = told_world(
        tmp_path,
        notify={"webhook": "https://example.com/hook", "ping": "https://example.com/ping"},
        faults={"line_refused": {"contains": "fox", "message": f"Refused: {TEXT} {KEY}"}},
    )
    world.run()
    later(world)
    told = repr(world.post.sent) + repr(world.log.events)
    assert {body["event"] for sink, body in world.post.sent if sink == "webhook"} >= {"failed", "finished"}
    assert "quick brown" not in repr(world.post.sent)
    assert KEY not in told


# --- delivery ---


def test_what_is_not_taken_is_tried_again_with_growing_pauses(tmp_path):
    world = told_world(tmp_path)
    errors = ["no", "no", "no", None]
    world.post.refuse = lambda sink: errors.pop(0)
    world.run()
    later(world, 10)
    assert world.post.told() == ["finished"]
    waits = [fields["wait_s"] for fields in world.log.named("notice.put_off")]
    assert len(waits) == 3
    assert waits == sorted(waits)
    assert [fields["failures"] for fields in world.log.named("notice.put_off")] == [1, 2, 3]


def test_a_restart_goes_on_trying(tmp_path):
    world = told_world(tmp_path)
    world.post.refuse = lambda sink: "no"
    world.run()
    later(world)
    first = world.post
    assert first.sent == []
    world.post = Post()
    world.clock.advance(1000)
    later(world)
    assert world.post.told() == ["finished"]


def test_after_a_day_it_is_given_up_and_status_says_so(tmp_path):
    world = told_world(tmp_path)
    world.post.refuse = lambda sink: "the other end is gone"
    world.run()
    later(world, 8)
    _, found = look(world.settings(), world.clock)
    [problem] = [problem for problem in found if problem.code == "notify_failing"]
    assert problem.severity == "problem"
    assert "the other end is gone" in problem.message
    world.clock.advance(GIVE_UP_S)
    later(world)
    assert world.log.named("notice.given_up")
    _, found = look(world.settings(), world.clock)
    assert "given up" in next(problem for problem in found if problem.code == "notify_failing").message
    world.clock.advance(86_400)
    _, found = look(world.settings(), world.clock)
    assert "notify_failing" not in {problem.code for problem in found}


def test_what_waits_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(notifier_module, "MOST_WAITING", 2)
    world = told_world(tmp_path, notify={"events": ["frozen"]})
    world.post.refuse = lambda sink: "no"
    world.run()
    for _ in range(4):
        world.docs.rename(tmp_path / "away")
        world.clock.advance(400)
        later(world)
        (tmp_path / "away").rename(world.docs)
        world.clock.advance(400)
        later(world)
    with world.worker() as context, context.store.read() as connection:
        assert len(notices.waiting(connection)) <= 2
    assert len(world.log.named("notice.given_up")) >= 2


def test_what_waits_behind_a_sink_that_hangs_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(notifier_module, "MOST_WAITING", 2)
    world = told_world(tmp_path, notify={"events": ["frozen"]})
    monkeypatch.setattr(world.post, "take", list)
    world.run()
    with world.worker() as context:
        notifier = Notifier(context, world.post)
        for _ in range(4):
            world.docs.rename(tmp_path / "away")
            world.clock.advance(400)
            quiet_turns(world, context, notifier=notifier)
            (tmp_path / "away").rename(world.docs)
            world.clock.advance(400)
            quiet_turns(world, context, notifier=notifier)
        with context.store.read() as connection:
            assert len(notices.waiting(connection)) <= 2
    assert world.log.named("notice.given_up")


def test_a_sink_that_has_left_the_settings_is_waited_for_no_more(tmp_path):
    world = told_world(tmp_path)
    world.post.refuse = lambda sink: "no"
    world.run()
    later(world)
    later(world, notify={"command": []})
    with world.worker() as context, context.store.read() as connection:
        assert notices.waiting(connection) == []


def test_each_sink_gets_its_own_and_one_that_fails_does_not_keep_the_other(tmp_path):
    world = told_world(tmp_path, notify={"webhook": "https://example.com/hook"})
    world.post.refuse = lambda sink: "no" if sink == "webhook" else None
    world.run()
    later(world)
    assert world.post.told() == ["finished"]
    world.post.refuse = lambda sink: None
    world.clock.advance(1000)
    later(world)
    assert world.post.told("webhook") == ["finished"]
    assert len({body["id"] for _, body in world.post.sent}) == 1


def test_a_clock_that_is_set_back_keeps_nothing_waiting(tmp_path):
    world = told_world(tmp_path)
    world.post.refuse = lambda sink: "no"
    world.run()
    later(world)
    world.post.refuse = lambda sink: None
    world.clock.step(-1_000_000)
    later(world)
    assert world.post.told() == ["finished"]


def test_what_was_told_long_ago_is_forgotten(tmp_path):
    world = told_world(tmp_path, notify={"events": ["frozen"]})
    world.run()
    for _ in range(2):
        world.docs.rename(tmp_path / "away")
        world.clock.advance(400)
        later(world)
        (tmp_path / "away").rename(world.docs)
        world.clock.advance(40 * 86_400)
        later(world)
    with world.worker() as context, context.store.read() as connection:
        assert len(notices.newest(connection, 9)) == 1


def test_a_full_disk_is_lived_with(tmp_path, monkeypatch):
    from voyage_jobs.errors import DiskFullError

    world = told_world(tmp_path)

    def full(self):
        raise DiskFullError

    monkeypatch.setattr(Notifier, "look", full)
    monkeypatch.setattr("world.STRIDE_S", 0)  # a daemon has turns between two looks, in which it works
    world.run()
    assert len(world.table_rows()) == 1
    assert world.log.named("disk.paused")


def test_a_delivery_that_is_due_wakes_the_loop(tmp_path):
    world = told_world(tmp_path)
    with world.worker() as context:
        notifier = Notifier(context, world.post)
        assert notifier.due_s() == 0
        notifier.turn()
        assert 0 < notifier.due_s() <= LOOK_S
    with world.worker(notify={"command": []}) as context:
        assert Notifier(context, world.post).due_s() == float("inf")


# --- the pulse ---


def test_the_pulse_starts_beats_and_turns(tmp_path):
    world = told_world(tmp_path, notify={"command": [], "ping": "https://example.com/ping/uuid"})
    world.run()
    later(world, 12)
    kinds = [body.partition("\n")[0] for _, body in world.post.sent]
    assert kinds[:2] == ["start", "success"], "of the first process"
    second = kinds[kinds.index("start", 1) :]
    assert second[:2] == ["start", "success"]
    assert 2 <= second.count("success") <= 3, "every five minutes"
    world.docs.rename(tmp_path / "away")
    world.clock.advance(400)
    later(world)
    assert world.post.sent[-1][1].startswith("fail\nfrozen: Source docs is frozen")


def test_the_pulse_tells_what_keeps_work_back_and_the_sinks_what_they_were_promised(tmp_path):
    world = told_world(tmp_path, notify={"ping": "https://example.com/ping"})
    world.run()
    later(world)
    world.post.sent.clear()
    later(world, 3, voyage={"model": "voyage-4-large", "output_dimension": 256})
    report = status(world.settings(voyage={"model": "voyage-4-large"}), world.clock)
    assert "profile_changed" in [each["code"] for each in report["problems"]]
    pings = [body for sink, body in world.post.sent if sink == "ping"]
    assert pings[-1].startswith("fail\nproblem: ")
    assert world.post.told() == []


def test_a_beat_that_is_lost_is_made_up_for(tmp_path):
    world = told_world(tmp_path, notify={"command": [], "ping": "https://example.com/ping/uuid"})
    errors = [None, "no", None]
    world.post.refuse = lambda sink: errors.pop(0) if errors else None
    world.run()
    later(world, 4)
    assert world.log.named("ping.failed") == [{"error": "no"}]
    assert "uuid" not in repr(world.log.events)
    assert [body.partition("\n")[0] for _, body in world.post.sent][:2] == ["start", "success"]


def test_sync_ends_with_success_or_failure(tmp_path, monkeypatch):
    for faults, last in (({}, "success"), ({"auth_outage": {}}, "fail")):
        root = tmp_path / last
        root.mkdir()
        world = told_world(root, notify={"ping": "https://example.com/ping"}, faults=faults)
        monkeypatch.setattr("voyage_jobs.service.sync.Delivery", lambda woken, post=world.post: post)
        with world.worker() as context:
            Sync(context, Signals()).run()
        pings = [body for sink, body in world.post.sent if sink == "ping"]
        assert pings[0].startswith("start\n")
        assert pings[-1].startswith(f"{last}\n")
        assert world.post.told() == (["finished"] if last == "success" else ["refused"])


class SlowPost(Post):
    """Each delivery is on its way for a while."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def take(self):
        self.asked += 1
        return super().take() if self.asked % 5 == 0 else []


def pings_of_a_sync(world, monkeypatch, **how):
    monkeypatch.setattr("voyage_jobs.service.sync.Delivery", lambda woken: world.post)
    with world.worker() as context:
        outcome = Sync(context, Signals(), **how).run()
    return outcome.ending, [body for sink, body in world.post.sent if sink == "ping"]


def test_a_sync_that_ran_out_of_time_ends_with_failure(tmp_path, monkeypatch):
    world = told_world(tmp_path, notify={"command": [], "ping": "https://example.com/ping"})
    ending, pings = pings_of_a_sync(world, monkeypatch, timeout_s=2)
    assert ending is not Ending.DONE
    assert pings[-1].startswith("fail\n"), "nothing is wrong, but it did not come to its end"


def test_the_last_beat_of_a_quick_sync_waits_for_the_first(tmp_path, monkeypatch):
    world = told_world(tmp_path, notify={"command": [], "ping": "https://example.com/ping"})
    world.run()
    world.post = SlowPost()
    ending, pings = pings_of_a_sync(world, monkeypatch)
    assert ending is Ending.DONE
    assert pings == ["start\nvoyage-jobs has started", "success\nsync: done"]


# --- deliveries ---


class Slow:
    name = "command"

    def __init__(self):
        self.go = threading.Event()
        self.begun = threading.Event()

    def send(self, body):
        self.begun.set()
        assert self.go.wait(PATIENCE_S)
        if body == b"bad":
            raise RuntimeError("odd")


class Quick:
    name = "webhook"

    def send(self, body):
        pass


def test_a_sink_that_hangs_keeps_nobody_waiting():
    woken = threading.Event()
    delivery, slow = Delivery(woken.set), Slow()
    delivery.hand(slow, 1, b"good")
    delivery.hand(slow, 2, b"bad")
    assert slow.begun.wait(PATIENCE_S)
    assert delivery.take() == []
    delivery.hand(Quick(), 3, b"")
    assert woken.wait(PATIENCE_S)
    assert [each.job for each in delivery.take()] == [3]
    slow.go.set()
    done = []
    until = time.monotonic() + PATIENCE_S
    while len(done) < 2 and time.monotonic() < until:
        done += delivery.take()
        time.sleep(0.01)
    assert [(each.job, each.error) for each in done] == [(1, None), (2, "RuntimeError: odd")]
    delivery.close()


# --- the command ---


def script(tmp_path, body):
    path = tmp_path / "hook.py"
    path.write_text(body)
    return [sys.executable, str(path), str(tmp_path / "out"), "an argument; with $(blanks)"]


def test_a_command_gets_the_message_on_its_input_and_none_of_our_secrets(tmp_path, monkeypatch):
    secrets = (
        *(by_type(name).traits.key_variable for name in VENDORS),
        *(name.upper() for name in STORE_SECRETS),
        "AZURE_CLIENT_SECRET",
        "VOYAGE_JOBS_NOTIFY",
        "VOYAGE_JOBS_NOTIFY_SECRET",
        "VOYAGE_JOBS_NOTIFY__PING",
        "VOYAGE_JOBS_NOTIFY__WEBHOOK",
        "VOYAGE_JOBS_SERVER_TOKEN",
        "OTEL_EXPORTER_OTLP_HEADERS",
    )
    for name in secrets:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("VOYAGE_API_KEY_FILE", "/somewhere")
    monkeypatch.setenv("SLACK_TOKEN", "theirs")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    argv = script(
        tmp_path,
        "import json, os, sys\n"
        "json.dump([sys.stdin.read(), sys.argv[2], dict(os.environ)], open(sys.argv[1], 'w'))\n",
    )
    CommandSink(argv, 30).send(b'{"event": "finished"}')
    body, argument, environment = json.loads((tmp_path / "out").read_text())
    assert body == '{"event": "finished"}'
    assert argument == "an argument; with $(blanks)"
    assert SECRET not in environment.values()
    assert environment["SLACK_TOKEN"] == "theirs"
    assert environment["AWS_REGION"] == "eu-central-1"
    assert environment["VOYAGE_API_KEY_FILE"] == "/somewhere"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import sys; sys.exit('it is\\n\\x1b[2J odd')", "ended with 1: it is [2J odd"),
        ("import sys; sys.exit(3)", "ended with 3: it said nothing"),
        ("import sys; sys.stderr.write('x' * 9000); sys.exit(1)", "xxx"),
    ],
)
def test_a_command_that_fails_says_why(tmp_path, code, error):
    with pytest.raises(NotDeliveredError) as caught:
        CommandSink(script(tmp_path, code), 30).send(b"{}")
    assert error in caught.value.message
    assert len(caught.value.message) < 1000
    assert "\x1b" not in caught.value.message


def test_a_command_that_reads_nothing_is_fine(tmp_path):
    CommandSink(script(tmp_path, "pass"), 30).send(b"x" * 1_000_000)


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    argv = script(
        tmp_path,
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open(sys.argv[1], 'w').write(str(child.pid))\n"
        "time.sleep(600)\n",
    )
    began = time.monotonic()
    with pytest.raises(NotDeliveredError, match=r"took more than 3 s"):
        CommandSink(argv, 3).send(b"{}")
    assert time.monotonic() - began < PATIENCE_S
    out = tmp_path / "out"
    if out.exists():  # it came that far
        child = Path(f"/proc/{out.read_text()}/status")
        until = time.monotonic() + PATIENCE_S
        while child.exists() and "zombie" not in child.read_text() and time.monotonic() < until:
            time.sleep(0.05)
        assert not child.exists() or "zombie" in child.read_text()


def test_a_command_that_is_not_there_is_an_error_like_others():
    assert "cannot be started" in attempt(CommandSink(["/no/such/program"], 1), b"{}")


# --- over the network ---


class Receiver:
    """A web server that answers what it is told to, and keeps what it gets: (path, headers, body)."""

    def __init__(self):
        self.answers, self.got, self.location = [], [], None
        self.trickles, self.enough = False, threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((self.path, dict(self.headers.items()), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                if receiver.trickles:
                    self.flush_headers()
                    for _ in range(100):
                        self.wfile.write(b"x: y\r\n")
                        if receiver.enough.wait(0.05):
                            return
                if receiver.location:
                    self.send_header("location", receiver.location)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def webhook(url, secret=SECRET):
    return WebhookSink(url, lambda: secret, 30, SystemClock())


def test_a_webhook_is_signed_over_time_and_body(receiver):
    webhook(f"{receiver.url}/hook?token=1").send(b'{"event": "finished"}')
    [(path, headers, body)] = receiver.got
    assert path == "/hook?token=1"
    assert body == b'{"event": "finished"}'
    timestamp = headers[TIMESTAMP_HEADER]
    assert abs(int(timestamp) - time.time()) < 60
    expected = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE_HEADER] == f"v1={expected}"
    assert SECRET not in repr(headers)
    assert signature(SECRET, "1", body) != signature(SECRET, "2", body)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_anything_but_success_is_no_delivery(receiver, status):
    receiver.answers = [status]
    with pytest.raises(NotDeliveredError, match=f"127.0.0.1 answered {status}"):
        webhook(f"{receiver.url}/hook").send(b"{}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver, status):
    other = Receiver()
    receiver.answers, receiver.location = [status], f"{other.url}/elsewhere"
    with pytest.raises(NotDeliveredError, match="not followed"):
        webhook(f"{receiver.url}/hook").send(b"{}")
    other.close()
    assert other.got == []


def test_an_answer_that_trickles_in_is_waited_for_no_longer_than_any_other(receiver):
    receiver.trickles = True
    error = attempt(WebhookSink(receiver.url, lambda: SECRET, 0.5, SystemClock()), b"{}")
    receiver.enough.set()
    assert error == "127.0.0.1: ReadTimeout"


def test_nobody_there_is_an_error_that_does_not_show_the_address(receiver):
    receiver.close()
    error = attempt(webhook(f"{receiver.url}/path-that-is-a-secret"), b"{}")
    assert "127.0.0.1" in error
    assert "secret" not in error


def test_a_secret_that_has_gone_is_an_error_of_the_delivery():
    def gone():
        raise ConfigError("There is no secret to sign with.")

    assert "no secret" in attempt(WebhookSink("http://127.0.0.1:1/", gone, 1, SystemClock()), b"{}")


def test_health_checks_are_addressed_in_the_usual_manner(receiver):
    ping = PingSink(f"{receiver.url}/ping/uuid?x=1", 30)
    for kind in (b"start", b"success", b"fail"):
        ping.send(kind + b"\nwords")
    assert [path for path, _, _ in receiver.got] == [
        "/ping/uuid/start?x=1",
        "/ping/uuid?x=1",
        "/ping/uuid/fail?x=1",
    ]
    assert {body for _, _, body in receiver.got} == {b"words"}


# --- the settings ---


def settings_of(text, **environ):
    return parse_settings(
        f'[[sources]]\nname = "a"\npath = "/docs"\n[notify]\n{text}', Path("/x.toml"), environ
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('webhook = "ftp://example.com/h"', "notify.webhook: is not an address"),
        ('webhook = "http://[::1"', "notify.webhook: is not an address"),
        (
            'ping = "http://example.com/secret-uuid"',
            "notify.ping: would send messages over the network in clear",
        ),
        ('events = ["finish"]', "notify.events[0]"),
        ('command = "mail me"', "notify.command"),
        ('command = [" "]', "notify.command: begins with nothing"),
        ("timeout_s = 0", "notify.timeout_s"),
        ('secret = "x"', "secrets do not belong in this file"),
    ],
)
def test_settings_that_cannot_be_are_refused(text, told):
    with pytest.raises(ConfigError) as caught:
        settings_of(text)
    assert told in caught.value.message
    assert "secret-uuid" not in caught.value.message


def test_every_event_may_be_asked_for_and_is_explained():
    settings = settings_of(f"events = {json.dumps([event.upper() for event in MEANINGS])}")
    assert settings.notify.events == tuple(MEANINGS)
    assert settings_of("").notify.events == tuple(MEANINGS)
    assert set(PROBLEMS) < set(MEANINGS)


def test_the_environment_can_set_it():
    environ = {"VOYAGE_JOBS_NOTIFY__COMMAND": '["/bin/tell", "me"]', "VOYAGE_JOBS_NOTIFY_SECRET": SECRET}
    settings = settings_of("", **environ)
    assert settings.notify.command == ("/bin/tell", "me")
    assert settings.notify_secret() == SECRET


def test_where_the_secret_comes_from(tmp_path, monkeypatch):
    file = tmp_path / "voyage_jobs_notify_secret"
    file.write_text(f"{SECRET}\n")
    named = {"VOYAGE_JOBS_NOTIFY_SECRET_FILE": str(file)}
    assert SecretSource(named, "notify_secret")() == SECRET
    assert SecretSource({"CREDENTIALS_DIRECTORY": str(tmp_path)}, "notify_secret")() == SECRET
    assert SecretSource({}, "notify_secret", tmp_path)() == SECRET
    source = SecretSource(named, "notify_secret")
    file.write_text("another secret of some length")
    assert source() == "another secret of some length", "a rotated file counts at once"
    file.write_text("short")
    with pytest.raises(ConfigError, match="fewer than 16") as caught:
        source()
    assert "short" not in caught.value.message.replace("fewer", "")
    assert SECRET not in repr(source) + source.describe()
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        source()
    with pytest.raises(ConfigError, match="no secret to sign with") as caught:
        SecretSource({}, "notify_secret", tmp_path / "none")()
    assert "openssl rand" in caught.value.hint
    assert SecretSource({}, "notify_secret", tmp_path / "none").describe() == "Nothing"
    assert "variable" in SecretSource({"VOYAGE_JOBS_NOTIFY_SECRET": SECRET}, "notify_secret").describe()


# --- the command line ---


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    monkeypatch.delenv("VOYAGE_JOBS_NOTIFY_SECRET", raising=False)
    monkeypatch.setattr("voyage_jobs.cli.output._PLAIN_WIDTH", 80)
    world = World(tmp_path, dimension=256)

    def run(*args, code=0, **sections):
        config = str(world.config_file(**sections))
        result = CliRunner().invoke(cli, ["--config", config, *args], prog_name="voyage-jobs")
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    run.world = world
    return run


def test_notify_shows_what_was_told(run):
    shown = run("notify").stdout
    assert "none" in shown
    assert "No notification yet." in shown
    assert not run.world.data_dir.exists()
    run.world.post = Post(lambda sink: "no" if sink == "webhook" else None)
    run.world.write("a.md", "# A\n\nThe first.\n")
    notify = {"command": ["tell"], "webhook": "https://example.com/hook"}
    run.world.run(notify=notify)
    later(run.world, notify=notify)
    shown = run("notify", notify=notify).stdout
    assert "Sinks: command, webhook" in shown
    assert "finished" in shown
    assert max(map(len, shown.splitlines())) <= 80
    report = json.loads(run("notify", "--json", notify=notify).stdout)
    [notice] = report["notices"]
    assert {each["sink"]: each["state"] for each in notice["deliveries"]} == {
        "command": "delivered",
        "webhook": "waiting",
    }
    run.world.data_dir.joinpath("state.db").write_bytes(b"no database")
    assert json.loads(run("notify", "--json", notify=notify).stdout)["notices"] is None
    assert "cannot be read" in run("notify", notify=notify).stdout


def test_notify_sends_a_test_to_every_sink(run, receiver, tmp_path, monkeypatch):
    monkeypatch.setenv("VOYAGE_JOBS_NOTIFY_SECRET", SECRET)
    argv = script(tmp_path, "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())")
    notify = {"command": argv, "webhook": f"{receiver.url}/hook", "ping": f"{receiver.url}/ping"}
    shown = run("notify", "--test", "--event", "frozen", notify=notify).stdout
    assert [line.split(":")[0] for line in shown.splitlines()] == ["ok  command", "ok  webhook", "ok  ping"]
    message = json.loads((tmp_path / "out").read_text())
    assert (message["event"], message["test"]) == ("frozen", True)
    assert [path for path, _, _ in receiver.got] == ["/hook", "/ping/fail"]
    receiver.answers = [500]
    result = run("notify", "--test", "--json", code=3, notify=notify)
    results = json.loads(result.stdout)["results"]
    assert [each["ok"] for each in results] == [True, False, True]
    assert results[1]["error"] == "127.0.0.1 answered 500."
    assert not run.world.data_dir.exists(), "nothing is noted"


def test_what_keeps_a_test_from_being_sent_is_said(run):
    assert "names no sink" in run("notify", "--test", code=2).stderr
    notify = {"webhook": "https://example.com/hook"}
    for command in (("notify", "--test"), ("sync",), ("run",)):
        error = run(*command, code=2, notify=notify).stderr
        assert "VOYAGE_JOBS_NOTIFY_SECRET" in error
        assert "openssl rand" in error
    assert "--event belongs to --test" in run("notify", "--event", "frozen", code=2).stderr
    assert "finished" in run("notify", "--test", "--event", "end", code=2).stderr


# --- the documentation ---

PAGE = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()


def test_the_example_of_checking_a_signature_is_right(receiver):
    code = PAGE.split("```python\n")[1].split("```")[0]
    scope = {}
    exec(code, scope)
    is_genuine = scope["is_genuine"]
    webhook(f"{receiver.url}/hook").send('{"event": "finished", "message": "für dich"}'.encode())
    [(_, headers, body)] = receiver.got
    assert is_genuine(SECRET, headers, body)
    assert not is_genuine("another secret of some length", headers, body)
    assert not is_genuine(SECRET, headers, body + b" ")
    assert not is_genuine(
        SECRET, {**headers, TIMESTAMP_HEADER: str(int(headers[TIMESTAMP_HEADER]) + 1)}, body
    )
    old = {TIMESTAMP_HEADER: "1700000000", SIGNATURE_HEADER: signature(SECRET, "1700000000", body)}
    assert not is_genuine(SECRET, old, body)
    assert is_genuine(SECRET, old, body, tolerance_s=float("inf"))
    assert not is_genuine(SECRET, {}, body)


def test_the_example_at_a_shell_is_right(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    line = PAGE.rpartition("for a body in a file: `")[2].split("`")[0]
    (tmp_path / "body").write_bytes(b'{"event": "finished"}')
    environment = {"PATH": os.environ["PATH"], "timestamp": "1700000000", "secret": SECRET}
    command = ["sh", "-c", line]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == signature(SECRET, "1700000000", b'{"event": "finished"}')[3:]


def test_the_page_knows_the_events_and_the_keys_of_a_message(tmp_path):
    rows = [line.split("|")[1].strip(" `") for line in PAGE.splitlines() if line.startswith("| `")]
    assert rows == list(MEANINGS)
    world = told_world(tmp_path)
    world.run()
    later(world)
    shown = json.loads(PAGE.split("```json\n")[1].split("```")[0])
    assert list(shown) == list(world.post.sent[0][1])
