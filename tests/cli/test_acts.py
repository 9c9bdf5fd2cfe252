"""`retry`, `cancel`, `confirm-deletes`, `recover`: carried out here, or by the process at work."""

import json
import re
import threading

import pytest
from click.testing import CliRunner

from tests.world import KEY, World, end_after_a_request
from voyage_jobs.cli.main import cli
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.service import ask, worker
from voyage_jobs.state import meta, sqlite
from voyage_jobs.steps import acts

DIMENSION = 256  # the smallest that a configuration file may name


class Commands:
    """A world, and `voyage-jobs` commands in its time with the simulator for a network."""

    def __init__(self, root, monkeypatch, **world):
        self.world = World(root, dimension=DIMENSION, **world)
        self.world.write("a.md", "# A\n\nThe first.\n")
        monkeypatch.setenv("VOYAGE_API_KEY", KEY)
        monkeypatch.setattr("voyage_jobs.core.clock.SystemClock", lambda: self.world.clock)
        client, transport = worker.connect, self.world.transport
        monkeypatch.setattr(
            worker,
            "connect",
            lambda settings, clock, _, *more: client(settings, clock, transport, *more),
        )

    def __call__(self, *args, **sections):
        return CliRunner().invoke(cli, ["--config", str(self.world.config_file(**sections)), *args])

    def json(self, *args, **sections):
        result = self(*args, "--json", **sections)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def run(tmp_path, monkeypatch):
    return Commands(tmp_path, monkeypatch)


# --- what makes no sense ---


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("cancel", "nosuch"), "There is no batch nosuch."),
        (("cancel", ""), "error: The ref of the batch is empty."),
        (("confirm", "doc"), "There is no source 'doc'. Did you mean docs?"),
    ],
)
def test_an_unknown_name_is_a_usage_error(run, args, said):
    result = run(*args)
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_retry_is_to_try_means_one_thing_or_is_told_as_everywhere(run):
    """It said of all of these that there is no such batch."""
    more = run.world.root / "more"
    run.world.write("a.md", "# A\n\nAnother.\n", folder=more)
    folders = {"docs": run.world.docs, "more": more}
    sources = [{"name": name, "path": str(path)} for name, path in folders.items()]
    run("sync", "--no-wait", sources=sources)
    result = run("retry", "a.md", sources=sources)
    assert result.exit_code == 2
    assert "a.md may mean 2 things: docs:a.md, more:a.md." in result.stderr
    assert run("retry", "docs:a.md", sources=sources).exit_code == 0
    for word in ("nosuch", "b.md"):
        result = run("retry", word, sources=sources)
        assert result.exit_code == 2
        assert result.stderr == run("why", word, sources=sources).stderr
        assert f"No document, chunk, batch or key named {word}." in result.stderr


def test_a_mistyped_ref_is_met_with_the_nearest(run):
    ref = open_ref(run)
    wrong = ref[:-1] + ("0" if ref[-1] != "0" else "1")
    assert f"Did you mean {ref}?" in run("cancel", wrong).stderr


def open_ref(run):
    result = run("sync", "--no-wait", "--json")
    return json.loads(result.stdout)["in_flight"][0]["ref"]


def test_a_batch_that_is_over_cannot_be_cancelled(run):
    ref = open_ref(run)
    run("sync")
    result = run("cancel", ref)
    assert result.exit_code == 2
    assert "nothing to cancel" in result.stderr


# --- carried out here ---


def test_nothing_to_retry_is_said(run):
    result = run("retry")
    assert (result.exit_code, result.stdout) == (0, "Nothing has failed and nothing is parked.\n")


def test_retry_gives_failed_embeddings_another_go(tmp_path, monkeypatch):
    run = Commands(tmp_path, monkeypatch, faults={"line_refused": {"times": 1}})
    assert run("sync").exit_code == 3
    said = run("retry").stdout
    assert said.startswith("1 failed or cancelled text to be sent again.")
    assert "voyage-jobs sync" in said
    assert run("sync").exit_code == 0
    assert len(run.world.table_rows()) == 1


def test_retry_frees_a_parked_batch(tmp_path, monkeypatch):
    run = Commands(tmp_path, monkeypatch, faults={"input_file_not_found": {"until_s": 86_400}})
    assert run("sync").exit_code == 6
    run.world.clock.advance(86_400)
    assert run.json("retry")["batches"] == 1
    assert run("sync").exit_code == 0
    assert run.world.ledger.billed_more_than_once() == {}


def test_cancel_tells_the_vendor_at_once(run):
    ref = open_ref(run)
    result = run("cancel", ref[:5])
    assert result.exit_code == 0
    assert "The provider cancels batch" in result.stdout
    (job,) = run.world.sim.jobs.all(run.world.sim.now_us())
    assert job["status"] in ("cancelling", "cancelled")
    ended = run("sync")
    assert ended.exit_code == 3
    assert "cancelled" in ended.stderr
    run("retry")
    assert run("sync").exit_code == 0


@pytest.mark.parametrize(("typed", "code", "state"), [("n\n", 130, "running"), ("y\n", 0, "cancelling")])
def test_on_a_terminal_cancel_says_how_much_that_is_and_asks(run, monkeypatch, typed, code, state):
    ref = open_ref(run)
    monkeypatch.setattr("voyage_jobs.cli.acts.on_terminal", lambda: True)
    config = str(run.world.config_file())
    result = CliRunner().invoke(cli, ["--config", config, "cancel", ref], input=typed)
    assert result.exit_code == code
    assert "Cancel 1 text? [y/N]" in result.stdout
    (job,) = run.world.sim.jobs.all(run.world.sim.now_us())
    assert (job["status"] == "cancelling") == (state == "cancelling")


def test_what_is_answered_already_is_told_apart(run, monkeypatch):
    run.world.write("b.md", "# B\n\nThe second.\n")
    ref = open_ref(run)
    with run.world.worker() as context:
        with context.store.write() as tx:
            tx.connection.exec_driver_sql("UPDATE batches SET remote_completed = 1")
    monkeypatch.setattr("voyage_jobs.cli.acts.on_terminal", lambda: True)
    config = str(run.world.config_file())
    asked = CliRunner().invoke(cli, ["--config", config, "cancel", ref], input="n\n").stdout
    assert "Cancel 1 text (1 are answered already: kept and paid)?" in asked
    told = run("cancel", ref, "--yes").stdout
    assert "up to 1 text" in told
    assert "1 are answered already" in told


def test_nothing_is_asked_where_there_is_nothing_to_cancel(run, monkeypatch):
    ref = open_ref(run)
    run("sync")
    monkeypatch.setattr("voyage_jobs.cli.acts.on_terminal", lambda: True)
    result = run("cancel", ref)
    assert (result.exit_code, result.stdout) == (2, "")


def test_the_story_of_a_batch_tells_who_cancelled_it(run):
    ref = open_ref(run)
    run("cancel", ref)
    events = [event["what"] for event in run.json("history", ref)["events"]]
    (said,) = [what for what in events if "cancellation was asked for" in what]
    assert re.search(r" by \S+@\S+ \(pid \d+\)$", said)


def test_cancel_without_a_key_is_left_to_the_next_sync(run, monkeypatch):
    ref = open_ref(run)
    monkeypatch.delenv("VOYAGE_API_KEY")
    said = run("cancel", ref).stdout
    assert "at the next poll" in said
    assert "voyage-jobs sync" in said


def test_confirm_lets_a_frozen_source_go_on(run):
    run("sync")
    run.world.remove("a.md")
    assert run("sync").exit_code == 6
    assert "Confirmed" in run("confirm", "docs").stdout
    assert run("sync").exit_code == 0
    assert run.world.table_rows() == []


def test_confirm_of_what_is_not_frozen_says_so(run):
    assert "not frozen" in run("confirm", "docs").stdout


# --- carried out by the process at work ---


@pytest.fixture
def at_work(run):
    """A process (here: a thread) that holds the lock and carries out what is asked."""
    over = threading.Event()
    ready = threading.Event()

    def work():
        with run.world.worker(mode="run") as context:
            ready.set()
            while not over.wait(0.01):
                acts.carry_out(context)

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(10)
    yield run
    over.set()
    thread.join()


def request(world, command, arguments):
    return ask.ask(world.settings(), SystemClock(), world.log, command, arguments, "me@tty1")


def test_the_process_at_work_does_it_and_answers(at_work):
    reply = request(at_work.world, "confirm", {"source": "docs"})
    assert (reply.answer["state"], reply.here) == ("active", False)


def test_its_errors_come_back_as_errors(at_work):
    from voyage_jobs.errors import ConfigError

    with pytest.raises(ConfigError, match="no batch nosuch"):
        request(at_work.world, "cancel", {"ref": "nosuch"})


def test_who_asked_is_on_record(at_work):
    request(at_work.world, "retry", {"ref": None})
    (done,) = at_work.world.log.named("request.done")
    assert (done["who"], done["command"]) == ("me@tty1", "retry")


def test_a_process_that_is_busy_has_taken_note(run):
    with run.world.worker() as context:
        result = run("confirm", "docs")
        assert result.exit_code == 3
        assert "has taken note" in result.stdout
        assert run.world.clock.mono() >= ask.PATIENCE_S
        with context.store.read() as connection:
            (left,) = meta.open_requests(connection)
        assert (left.command, left.arguments) == ("confirm", {"source": "docs"})
        assert acts.carry_out(context)


def test_if_the_process_at_work_ends_first_it_is_done_here(run, monkeypatch):
    worker_ = run.world.worker()
    context = worker_.__enter__()
    end_after_a_request(worker_, monkeypatch)
    assert context is not None
    assert run.json("confirm", "docs")["state"] == "active"


def test_an_unsafe_library_writes_nothing(run, monkeypatch):
    monkeypatch.setattr(sqlite, "library_is_safe", lambda: False)
    with run.world.worker() as context:
        result = run("retry")
        assert result.exit_code == 4
        assert "Stop it first" in result.stderr
        with context.store.read() as connection:
            assert meta.open_requests(connection) == []


def test_a_process_that_writes_for_long_is_not_called_another_program(run, monkeypatch):
    monkeypatch.setattr("voyage_jobs.state.engine.BUSY_TIMEOUT_MS", 10)
    with run.world.worker() as context, context.store.write():
        result = run("retry")
    assert result.exit_code == 4
    assert "has been writing for long" in result.stderr
    assert "Ask again" in result.stderr


def test_the_one_at_work_keeps_its_epoch(run):
    with run.world.worker() as context:
        run("retry")
        with context.store.write() as tx:
            assert tx.epoch == context.store.epoch


# --- recover ---


def test_recover_says_what_it_found(run):
    run("sync")
    for file in run.world.data_dir.glob("state.db*"):
        file.unlink()
    report = run.json("recover")
    assert (report["packs"], report["embeddings"], report["jobs"], report["vendor"]) == (1, 1, [], None)
    assert json.loads(run("sync", "--json").stdout)["embeddings_sent"] == 0
    assert run("history", "--acts").stdout.split()[-4:] == ["packs", "1,", "embeddings", "1"]


def test_recover_without_a_key_takes_in_the_packs_and_says_what_it_could_not_do(run, monkeypatch):
    run("sync")
    for file in run.world.data_dir.glob("state.db*"):
        file.unlink()
    monkeypatch.delenv("VOYAGE_API_KEY")
    said = run("recover")
    assert said.exit_code == 0
    assert "Held: 1 paid embedding in 1 segment." in said.stdout
    assert "could not be listed" in said.stdout
