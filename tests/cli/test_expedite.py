"""`expedite`: said first, agreed to, done here or by the process at work, and told as it was."""

import json
import threading
import time

import pytest
from click.testing import CliRunner
from world import KEY, World, end_after_a_request

from voyage_jobs.cli.main import cli
from voyage_jobs.service import ask, worker
from voyage_jobs.state import meta
from voyage_jobs.steps import acts

SECTIONS = "\n\n".join(f"# Part {i}\n\nAbout part {i}. " + "word " * 60 for i in range(3))
FULL_PRICE = 0.06 / 1e6
WIDTH = 80


class Commands:
    """A world with one published document, and `voyage-jobs` commands in its time."""

    def __init__(self, root, monkeypatch, **world):
        self.world = World(root, dimension=256, **world)
        self.world.write("old.md", "# Old\n\nHere already.\n")
        self.world.run()
        self.world.write("a.md", SECTIONS)
        self.before = self.world.ledger.batch_tokens
        monkeypatch.setenv("VOYAGE_API_KEY", KEY)
        monkeypatch.setattr("voyage_jobs.core.clock.SystemClock", lambda: self.world.clock)
        monkeypatch.setattr("voyage_jobs.cli.cost.SystemClock", lambda: self.world.clock)
        client, transport = worker.connect, self.world.transport
        monkeypatch.setattr(worker, "connect", lambda settings, clock, *_: client(settings, clock, transport))

    def __call__(self, *args, code=0, answer=None, **sections):
        config = str(self.world.config_file(**sections))
        result = CliRunner().invoke(cli, ["--config", config, *args], input=answer)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.stderr
        if args[0] in ("expedite", "cost") and not {"--json", "--csv"} & set(args):
            assert [line for line in result.stdout.splitlines() if len(line) > WIDTH] == []
        return result

    def json(self, *args, code=0, **sections):
        return json.loads(self("expedite", *args, "--json", code=code, **sections).stdout)

    def nothing_was_sent(self):
        assert self.world.ledger.sync_tokens == 0
        assert self.world.sim.calls["embeddings"] == 0


@pytest.fixture
def run(tmp_path, monkeypatch):
    return Commands(tmp_path, monkeypatch)


# --- what makes no sense ---


def test_a_word_that_means_nothing(run):
    assert (
        "No document, chunk, batch or key named nosuch.md"
        in run("expedite", "nosuch.md", "--yes", code=2).stderr
    )


def test_a_batch_is_no_document(run):
    with run.world.worker() as context, context.store.read() as connection:
        ref = connection.exec_driver_sql("SELECT ref FROM batches").scalar_one()
    assert "is no document" in run("expedite", ref, "--yes", code=2).stderr


def test_a_file_in_a_new_folder_waits_for_its_scan(run):
    run.world.write("new/b.md", SECTIONS)
    assert run("expedite", "new/b.md", "--yes", code=2).stderr.startswith("error: ")
    run.nothing_was_sent()


def test_a_file_that_the_rules_leave_out(run):
    source = {"name": "docs", "path": str(run.world.docs), "exclude": ["a.md"]}
    assert "a.md" in run("expedite", "a.md", "--yes", code=2, sources=[source]).stderr


def test_a_file_that_only_new_rules_take_waits_for_its_scan_and_no_price_is_told(run):
    source = {"name": "docs", "path": str(run.world.docs), "include": ["**/*.md", "**/*.txt"]}
    run.world.write("b.txt", SECTIONS)
    result = run("expedite", "b.txt", "--yes", code=2, sources=[source])
    assert "b.txt is on disk in source docs, but no scan has seen it yet" in result.stderr
    assert result.stdout == ""
    run.nothing_was_sent()


def test_before_the_first_run_there_is_nothing_to_hurry(tmp_path, monkeypatch):
    run = Commands(tmp_path, monkeypatch)
    for file in (*run.world.data_dir.glob("state.db*"), run.world.data_dir / "generation"):
        file.unlink(missing_ok=True)
    assert "no state yet" in run("expedite", "a.md", "--yes", code=2).stderr


# --- consent ---


def test_without_a_terminal_consent_must_be_said(run):
    result = run("expedite", "a.md", code=2)
    assert "price was not agreed to" in result.stderr
    assert "--yes" in result.stderr
    run.nothing_was_sent()


def test_json_asks_nobody(run):
    error = json.loads(run("expedite", "a.md", "--json", code=2).stderr)["error"]
    assert error["code"] == "config"
    run.nothing_was_sent()


@pytest.mark.parametrize(("answer", "code"), [("n\n", 130), ("", 130), ("y\n", 0)])
def test_on_a_terminal_it_asks(run, monkeypatch, answer, code):
    monkeypatch.setattr("voyage_jobs.cli.expedite.at_a_terminal", lambda: True)
    result = run("expedite", "a.md", answer=answer, code=code)
    assert "Send it?" in result.stderr
    assert run.world.sim.calls["embeddings"] == (code == 0)


def test_a_dry_run_says_all_and_does_nothing(run):
    said = run("expedite", "a.md", "--dry-run").stdout
    assert "docs:a.md" in said
    assert "3 texts, about" in said
    assert "at the full price" in said
    run.nothing_was_sent()


def test_the_price_that_is_said_is_that_of_the_tokens(run):
    told = run.json("a.md", "--dry-run")
    send = told["preview"]["send"]
    assert (told["result"], send["texts"]) == (None, 3)
    assert send["usd"] == pytest.approx(send["tokens"] * FULL_PRICE)
    assert send["usd_by_batch"] == pytest.approx(send["tokens"] * 0.0402 / 1e6)
    result = run.json("a.md", "--yes")["result"]
    assert result["expedited"]["tokens"] <= send["tokens"]  # an estimate is on the high side


def test_the_key_is_missed_before_anything_is_done(run, monkeypatch):
    monkeypatch.delenv("VOYAGE_API_KEY")
    assert "VOYAGE_API_KEY" in run("expedite", "a.md", "--yes", code=2).stderr
    run.nothing_was_sent()


def test_a_budget_says_no_by_its_name(run):
    limits = {"budget": {"daily_usd": 1e-6}}
    said = run("expedite", "a.md", "--yes", code=2, **limits)
    assert "budget.daily_usd" in said.stderr
    assert "budget.daily_usd" in run("expedite", "a.md", "--dry-run", **limits).stdout
    assert run.json("a.md", "--dry-run", **limits)["preview"]["over_budget"][0]["limit"] == "budget.daily_usd"
    run.nothing_was_sent()


def test_a_budget_of_the_source_says_no(run):
    source = {"name": "docs", "path": str(run.world.docs), "daily_tokens": 1, "delete_grace_s": 0}
    assert "daily_tokens of source docs" in run("expedite", "a.md", "--yes", code=2, sources=[source]).stderr


# --- what the provider says ---


def test_a_refused_key_is_exit_code_5(tmp_path, monkeypatch):
    run = Commands(tmp_path, monkeypatch, faults={"auth_outage": {"on": "embeddings"}})
    result = run("expedite", "a.md", "--yes", code=5)
    assert "auth: " in result.stderr
    assert "Left for the next batch: 3 texts." in result.stdout


def test_a_rate_limit_leaves_it_to_the_batches(tmp_path, monkeypatch):
    run = Commands(tmp_path, monkeypatch, faults={"rate_limited": {"on": "embeddings"}})
    result = run("expedite", "a.md", "--yes", code=3)
    assert "rate_limited: " in result.stderr
    run("sync")
    assert run.world.ledger.sync_tokens == 0
    assert len(run.world.table_rows()) == 4


def test_a_lost_answer_is_told_and_shown_everywhere(tmp_path, monkeypatch):
    run = Commands(tmp_path, monkeypatch, faults={"answer_lost": {"on": "embeddings", "times": 1}})
    result = run("expedite", "a.md", "--yes", code=3)
    assert "Maybe paid: 3 texts, at most" in result.stdout
    assert "unknown: " in result.stderr
    cost = json.loads(run("cost", "--json").stdout)
    assert (cost["maybe_paid"]["calls"], cost["maybe_paid"]["inputs"]) == (1, 3)
    assert cost["total"]["maybe_paid_tokens"] > 0
    assert cost["total"]["paid_tokens"] == run.before
    assert "Maybe paid on top: at most" in run("cost").stdout
    assert "Maybe paid on top" in run("status", code=0).stdout
    status = json.loads(run("status", "--json").stdout)
    assert status["tokens"]["maybe_paid"] == cost["maybe_paid"]["tokens"]
    assert "maybe paid" in " ".join(run("history", "a.md").stdout.split())
    run("sync")
    assert run.world.ledger.billed_more_than_once() == {}


# --- done here ---


def test_a_document_is_embedded_published_and_on_record(run):
    result = run("expedite", "a.md", "--yes")
    billed = run.world.ledger.sync_tokens
    assert f"Embedded 3 texts: {billed:,} tokens" in result.stdout
    assert "The table shows the document as it is now." in result.stdout
    assert len(run.world.table_rows()) == 4
    told = " ".join(run("history", "a.md").stdout.split())
    assert "3 inputs, sent at once, asked for by" in told
    ref = told.rpartition(": assembled (3 inputs, sent at once")[0][-20:]
    batch = json.loads(run("history", ref, "--json").stdout)
    assert (batch["facts"]["mode"], batch["facts"]["tokens_settled"]) == ("sync", billed)
    assert batch["facts"]["asked_for_by"]
    assert "Its results came in" in run("why", ref).stdout
    run("sync")
    assert run.world.sim.calls["create_batch"] == 1
    assert run.world.ledger.billed_at_both_prices() == {}


def test_the_bill_tells_it_apart(run):
    run("expedite", "a.md", "--yes")
    billed = run.world.ledger.sync_tokens
    for by in ("day", "source", "model", "batch"):
        found = json.loads(run("cost", "--json", "--by", by).stdout)
        assert found["total"]["expedited_tokens"] == billed
        assert found["total"]["expedited_usd"] == pytest.approx(billed * FULL_PRICE)
        assert found["total"]["paid_tokens"] == billed + run.before
        assert found["total"]["reserved_tokens"] == 0
    assert "was expedited, at the full price" in run("cost").stdout
    assert ",expedited_tokens," in run("cost", "--csv").stdout.splitlines()[0]
    assert json.loads(run("cost", "--recompute", "--json").stdout)["equal"]
    run("verify")


def test_there_is_nothing_to_send(run):
    run("sync")
    assert "There is nothing to send." in run("expedite", "a.md", "--yes").stdout
    assert run.json("a.md")["result"] is None
    run.nothing_was_sent()


def test_the_place_may_be_named_in_three_ways(run):
    for word in ("docs:a.md", str(run.world.docs / "a.md"), "a.md"):
        assert run.json(word, "--dry-run")["preview"]["path"] == "a.md"


def test_what_is_in_a_batch_is_named_and_not_sent(run):
    ref = json.loads(run("sync", "--no-wait", "--json", code=3).stdout)["in_flight"][0]["ref"]
    said = run("expedite", "a.md", "--yes", code=3).stdout
    assert f"not sent    3 texts: in batch {ref}" in said
    assert "--also-in-flight" in said
    run.nothing_was_sent()


def test_who_insists_is_told_that_it_is_paid_twice(run):
    run("sync", "--no-wait", code=3)
    said = run("expedite", "a.md", "--also-in-flight", "--dry-run").stdout
    assert "paid twice  3 texts of these" in said
    answer = run.json("a.md", "--also-in-flight", "--yes")
    assert answer["preview"]["paid_twice"]["texts"] == 3
    assert answer["result"]["state"] == "published"
    assert len(run.world.table_rows()) == 4
    run("sync")
    cost = json.loads(run("cost", "--json").stdout)
    assert cost["paid_twice"]["tokens"] == run.world.ledger.batch_tokens - run.before
    assert "was paid twice" in run("cost").stdout
    run("verify")


def test_failed_texts_are_for_retry(tmp_path, monkeypatch):
    run = Commands(tmp_path, monkeypatch, faults={"line_refused": {"contains": "Part 1"}})
    run("sync", code=3)
    said = run("expedite", "a.md", "--yes", code=3).stdout
    assert "failed or cancelled" in said
    assert "retry" in said


def test_vectors_that_are_here_are_published_without_a_price(tmp_path, monkeypatch):
    run = Commands(tmp_path, monkeypatch)
    monkeypatch.setattr("voyage_jobs.steps.expedite.publish", lambda context: False)
    assert "the next publication shows it" in run("expedite", "a.md", "--yes", code=3).stdout
    monkeypatch.undo()
    again = Commands.__new__(Commands)
    again.__dict__.update(run.__dict__)
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    monkeypatch.setattr("voyage_jobs.core.clock.SystemClock", lambda: run.world.clock)
    assert "The table shows the document" in again("expedite", "a.md").stdout
    assert run.world.sim.calls["embeddings"] == 1


# --- done by the process at work ---


@pytest.fixture
def at_work(run):
    """A process (here: a thread) that holds the lock and carries out what is asked."""
    over, ready = threading.Event(), threading.Event()

    def work():
        with run.world.worker(mode="run") as context:
            ready.set()
            while not over.wait(0.01):
                acts.carry_out(context)

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(30)
    yield run
    over.set()
    thread.join()


def test_the_process_at_work_does_it(at_work, monkeypatch):
    monkeypatch.setattr("voyage_jobs.service.ask._LOOK_S", 0.0)
    monkeypatch.setattr(at_work.world.clock, "wait", lambda *_: time.sleep(0.01))
    said = at_work("expedite", "a.md", "--yes").stdout
    assert "Embedded 3 texts" in said
    assert "The table shows the document" in said
    (done,) = at_work.world.log.named("request.done")
    assert done["command"] == "expedite"


def test_its_refusal_comes_back(at_work, monkeypatch):
    monkeypatch.setattr(at_work.world.clock, "wait", lambda *_: time.sleep(0.01))
    monkeypatch.setattr("voyage_jobs.steps.expedite.LASTS_S", -1.0)
    assert "too long ago" in at_work("expedite", "a.md", "--yes", code=2).stderr
    at_work.nothing_was_sent()


def test_a_process_that_is_busy_is_waited_for_until_ctrl_c(run, monkeypatch):
    class Stopped(threading.Event):
        """Set from the beginning, as after Ctrl-C."""

        def is_set(self):
            return True

    from voyage_jobs.service import signals

    made = signals.Signals.__init__

    def stopped(self, **options):
        made(self, **options)
        self.stopping, self.stopped_by = Stopped(), 2

    with run.world.worker() as context:
        monkeypatch.setattr(signals.Signals, "__init__", stopped)
        said = run("expedite", "a.md", "--yes", code=130).stdout
        assert "continues with it" in said
        with context.store.read() as connection:
            (left,) = meta.open_requests(connection)
        assert left.command == "expedite"
        assert acts.carry_out(context)
    assert run.world.sim.calls["embeddings"] == 1


def test_if_the_process_at_work_ends_first_it_is_done_here(run, monkeypatch):
    worker_ = run.world.worker()
    context = worker_.__enter__()
    end_after_a_request(worker_, monkeypatch)
    assert context is not None
    assert ask.PATIENCE_S > 0
    assert run.json("a.md", "--yes")["result"]["state"] == "published"
