"""`sync`: it does what there is to do, ends, and says what is left and why; each ending by its exit code."""

import io
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.world import KEY, World
from voyage_jobs.cli.display import Display
from voyage_jobs.cli.main import cli
from voyage_jobs.core.clock import SystemClock, now_us
from voyage_jobs.service import worker
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.simulator import FaultScript, Simulator
from voyage_jobs.simulator.server import HttpServer

BIG = 256  # the smallest dimension that a configuration file may name


def sync(world, *, sections=None, stop_after=None, **options):
    """One `sync` in the world's virtual time; `stop_after` waits it is asked to stop."""
    with Signals() as signals, world.worker(**(sections or {})) as context:
        waits = []

        def watch(rest):
            waits.append(rest)
            if stop_after is not None and len(waits) >= stop_after:
                signals.stop()

        return Sync(context, signals, watch=watch, **options).run()


def codes(outcome):
    return [problem.code for problem in outcome.problems]


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    fill(world)
    return world


def fill(world, documents=3):
    for number in range(documents):
        world.write(f"d{number}.md", f"# Document {number}\n\nAbout the number {number}.\n")


# --- what does not go well ---


def test_a_refused_key_ends_it_at_once(tmp_path):
    world = World(tmp_path, faults={"auth_outage": 1.0})
    fill(world)
    outcome = sync(world)
    assert outcome.ending is Ending.REFUSED
    assert codes(outcome)[0] == "auth"
    assert world.clock.mono() < 10
    assert outcome.in_flight[0].inputs == 3, "nothing is lost: the batch waits for a good key"


def test_a_refusal_of_yesterday_is_no_reason_not_to_try(tmp_path):
    world = World(tmp_path, faults={"auth_outage": {"times": 1}})
    fill(world)
    assert sync(world).ending is Ending.REFUSED
    assert sync(world).ending is Ending.DONE


def test_an_unreachable_vendor_is_tried_until_the_time_is_over(tmp_path):
    world = World(tmp_path, faults={"request_lost": 1.0})
    fill(world)
    outcome = sync(world, timeout_s=3600)
    assert outcome.ending is Ending.UNFINISHED
    assert {"unreachable", "in_flight", "timeout"} <= set(codes(outcome))
    assert 3600 <= outcome.elapsed_s < 3700
    assert 10 < sum(world.sim.calls.values()) < 40, "with ever longer waits"


@pytest.mark.parametrize("operation", ["upload_file", "create_batch", "retrieve_batch", "file_content"])
def test_a_call_without_an_answer_is_not_waited_for_past_the_time(tmp_path, operation):
    world = World(
        tmp_path, faults={"answer_lost": {"on": operation, "as": "read_timeout", "times": 1}}, batch_seconds=1
    )
    fill(world)
    sections = {"polling": {"interval_s": 0.5}}
    outcome = sync(world, sections=sections, timeout_s=8)
    assert outcome.elapsed_s <= 9
    assert "timeout" in codes(outcome)
    assert sync(world, sections=sections).ending is Ending.DONE
    assert not world.ledger.billed_more_than_once()


def test_a_disk_that_is_short_is_waited_for_and_named(world):
    outcome = sync(world, sections={"disk": {"min_free_bytes": 2**53}}, timeout_s=600)
    assert outcome.ending is Ending.UNFINISHED
    assert "paused_disk" in codes(outcome)
    assert sync(world).ending is Ending.DONE


def test_what_wakes_it_is_heeded_once(world):
    """A request rings; a bell that went on ringing would keep it from ever waiting for its job."""
    with Signals() as signals, world.worker() as context:
        waits = []

        def watch(rest):
            waits.append(world.clock.mono())
            assert len(waits) < 500, "it does not wait any more"
            if len(waits) == 1:
                signals.wake.set()

        assert Sync(context, signals, watch=watch).run().ending is Ending.DONE
    assert waits[1] == waits[0], "it woke at once"


def test_a_parked_batch_needs_a_person_and_the_rest_is_done(tmp_path):
    world = World(tmp_path, faults={"input_file_not_found": 1.0})
    fill(world)
    outcome = sync(world)
    assert outcome.ending is Ending.OPERATOR
    assert codes(outcome) == ["parked"]
    assert "retry" in outcome.problems[0].next


def test_a_frozen_source_needs_a_person_and_the_others_go_on(world, tmp_path):
    other = tmp_path / "other"
    world.write("x.md", "# X\n\nElsewhere.", folder=other)
    both = {
        "sources": [
            {"name": "docs", "path": str(world.docs)},
            {"name": "other", "path": str(other)},
        ]
    }
    assert sync(world, sections=both).ending is Ending.DONE
    (other / "x.md").unlink()
    other.rmdir()
    world.write("new.md", "# New\n\nA new one.")
    outcome = sync(world, sections=both)
    assert outcome.ending is Ending.OPERATOR
    assert codes(outcome) == ["frozen"]
    assert "voyage-jobs confirm-deletes other" in outcome.problems[0].next
    assert {row["path"] for row in world.table_rows("path")} >= {"new.md", "x.md"}


def test_failed_embeddings_are_work_that_remains(tmp_path):
    world = World(tmp_path, faults={"line_refused": 1.0})
    fill(world)
    outcome = sync(world)
    assert outcome.ending is Ending.UNFINISHED
    assert codes(outcome) == ["failed"]
    assert outcome.problems[0].message.startswith("3 embeddings")


def test_a_budget_that_is_reached_says_until_when(world):
    outcome = sync(world, sections={"budget": {"daily_tokens": 1}})
    assert outcome.ending is Ending.UNFINISHED
    assert codes(outcome) == ["budget_reached"]
    assert "budget.daily_tokens is used up" in outcome.problems[0].message


def test_an_in_flight_limit_is_waited_for(tmp_path):
    world = World(tmp_path, faults={"rate_limited": {"times": 1, "on": ["create_batch"]}})
    fill(world)
    outcome = sync(world)
    assert outcome.ending is Ending.DONE
    assert outcome.elapsed_s > 1800


def test_without_waiting_an_in_flight_limit_is_left_to_the_next_call(tmp_path):
    world = World(tmp_path, faults={"rate_limited": {"times": 1, "on": ["create_batch"]}})
    fill(world)
    outcome = sync(world, wait=False)
    assert outcome.ending is Ending.UNFINISHED
    assert codes(outcome) == ["in_flight_limit", "in_flight"]
    assert outcome.elapsed_s < 60
    world.clock.advance(1800)
    assert sync(world).ending is Ending.DONE


def test_a_removed_source_is_named_until_its_documents_are_let_go(world, tmp_path):
    other = tmp_path / "other"
    world.write("x.md", "# X\n\nElsewhere.", folder=other)
    docs = {"name": "docs", "path": str(world.docs)}
    assert (
        sync(world, sections={"sources": [docs, {"name": "other", "path": str(other)}]}).ending is Ending.DONE
    )
    outcome = sync(world)
    assert outcome.ending is Ending.OPERATOR
    assert codes(outcome) == ["not_configured"]


def test_a_document_whose_file_is_missing_comes_into_another_table_too(world):
    assert sync(world).ending is Ending.DONE
    world.remove("d0.md")
    sections = {"sources": [{"name": "docs", "path": str(world.docs), "delete_grace_s": 86_400}]}
    sync(world, sections=sections)
    sections["lancedb"] = {"table": "anew"}
    outcome = sync(world, sections=sections, timeout_s=3600)
    assert outcome.ending is Ending.DONE
    assert outcome.work.documents_published == 3
    assert outcome.elapsed_s < 60


# --- what does ---


def test_the_second_call_sends_nothing(world):
    first = sync(world)
    assert (first.ending, first.work.embeddings_sent, first.work.documents_published) == (Ending.DONE, 3, 3)
    assert first.work.settled_tokens > 0
    again = sync(world)
    assert (again.ending, again.work.embeddings_sent, again.work.documents_published) == (Ending.DONE, 0, 0)
    assert len(world.table_rows()) == 3


def test_copies_are_reused_and_counted(world):
    sync(world)
    world.write("copy.md", (world.docs / "d0.md").read_text())
    outcome = sync(world)
    assert outcome.work.embeddings_sent == 0
    assert outcome.work.saved_tokens > 0
    assert outcome.work.documents_published == 1


def test_no_wait_sends_and_a_later_call_collects(world):
    sent = sync(world, wait=False)
    assert sent.ending is Ending.UNFINISHED
    assert codes(sent) == ["in_flight"]
    assert [batch.inputs for batch in sent.in_flight] == [3]
    world.clock.advance(600)
    collected = sync(world, wait=False)
    assert collected.ending is Ending.DONE
    assert collected.work.documents_published == 3
    assert world.ledger.billed_more_than_once() == {}


def test_max_inputs_is_a_first_small_try(world):
    outcome = sync(world, most_inputs=2)
    assert outcome.ending is Ending.UNFINISHED
    assert codes(outcome) == ["max_inputs"]
    assert outcome.work.embeddings_sent == 2
    assert sync(world).work.embeddings_sent == 1


def test_a_rescan_does_not_keep_it_from_its_end(tmp_path):
    """Jobs take hours, sources are due every second, files keep coming: what this call began is what it ends."""
    world = World(tmp_path, batch_seconds=1200)
    fill(world)
    sections = {"sources": [{"name": "docs", "path": str(world.docs), "scan_interval_s": 1}]}
    written = []

    with Signals() as signals, world.worker(**sections) as context:

        def watch(rest):
            written.append(world.write(f"late{len(written)}.md", f"# Late {len(written)}"))

        outcome = Sync(context, signals, watch=watch).run()
    assert outcome.ending is Ending.DONE
    assert outcome.work.documents_published == 3
    assert len(written) > 10


def test_a_clock_that_is_set_back_does_not_stop_it(tmp_path):
    world = World(tmp_path)
    fill(world)
    steps = iter([-86_400])
    with Signals() as signals, world.worker() as context:
        watch = lambda rest: world.clock.step(next(steps, 0))  # noqa: E731
        outcome = Sync(context, signals, watch=watch).run()
    assert outcome.ending is Ending.DONE
    assert outcome.elapsed_s < 600


def test_stopping_says_what_is_under_way_and_the_next_call_resumes(world):
    stopped = sync(world, stop_after=1)
    assert stopped.ending is Ending.STOPPED
    assert [batch.inputs for batch in stopped.in_flight] == [3]
    assert "Nothing is lost" in stopped.problems[-1].next
    assert sync(world).ending is Ending.DONE
    assert world.ledger.billed_more_than_once() == {}


# --- the command ---


@pytest.fixture
def command(tmp_path, monkeypatch):
    """`voyage-jobs sync ...` in the world's time, with the simulator for a network."""
    world = World(tmp_path, dimension=BIG)
    fill(world)
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    monkeypatch.setattr("voyage_jobs.core.clock.SystemClock", lambda: world.clock)
    client = worker.connect
    monkeypatch.setattr(
        worker,
        "connect",
        lambda settings, clock, _, *more: client(settings, clock, world.transport, *more),
    )

    def run(*args):
        return CliRunner().invoke(cli, ["--config", str(world.config_file()), "sync", *args])

    run.world = world
    return run


def test_without_a_key_nothing_is_done(command, monkeypatch):
    monkeypatch.delenv("VOYAGE_API_KEY")
    result = command()
    assert result.exit_code == 2
    assert "VOYAGE_API_KEY" in result.stderr
    assert not command.world.data_dir.exists()


def test_json_is_one_object_with_the_exit_code(command):
    result = command("--no-wait", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == report["exit_code"] == 3
    assert report["result"] == "unfinished"
    assert report["in_flight"][0]["inputs"] == report["embeddings_sent"] == 3
    assert report["in_flight"][0]["deadline_at"].endswith("Z")
    done = json.loads(command("--json").stdout)
    assert (done["exit_code"], done["documents"]["published"], done["problems"]) == (0, 3, [])
    assert done["cost_usd"]["settled"] > 0


def test_people_get_a_summary_and_what_to_do(command):
    result = command("--max-inputs", "1")
    assert result.exit_code == 3
    assert "1 embedding in 1 batch" in result.stdout
    assert "--max-inputs is reached" in result.stderr
    assert "voyage-jobs sync" in result.stderr


def test_another_instance_at_work_is_exit_code_4(command):
    with command.world.worker():
        assert command().exit_code == 4


def test_a_refused_key_is_exit_code_5_and_never_shown(command, monkeypatch):
    monkeypatch.setenv("VOYAGE_API_KEY", "pa-wrong-key-0123456789-ABCDEFGH")
    result = command()
    assert result.exit_code == 5
    assert "pa-wrong" not in result.output
    assert "auth" in result.stderr


def test_what_needs_a_decision_is_exit_code_6_and_says_whether_the_rest_is_done(command):
    command.world.sim.faults = FaultScript.from_dict(
        {"faults": {"server_error": {"on": "create_batch", "status": 422, "times": 1}}}
    )
    result = command()
    assert result.exit_code == 6
    assert result.stdout.startswith("Needs your decision. Everything else is done (")
    assert "parked: Batch " in result.stderr
    command.world.write("more.md", "# More\n\nOf it.")
    result = command("--no-wait")
    assert result.exit_code == 6
    assert result.stdout.startswith("Needs your decision, and work remains (")
    report = json.loads(command("--json").stdout)
    assert (report["exit_code"], report["documents"]["published"]) == (6, 1)
    assert [problem["code"] for problem in report["problems"]] == ["parked"]


def test_help_names_every_exit_code():
    text = CliRunner().invoke(cli, ["sync", "--help"]).stdout
    for code in ("0", "3", "5", "6", "130", "143"):
        assert f" {code}  " in text or f" {code} " in text


# --- what a terminal shows ---


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_each_step_and_the_jobs(world, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with Display() as display, Signals() as signals, world.worker() as context:
        context.progress = display.report
        watch = lambda rest: (display.waiting(rest, now_us(world.clock)), display._bars.refresh())  # noqa: E731
        Sync(context, signals, watch=watch).run()
    shown = terminal.getvalue()
    assert "batches: 0 of 1 finished (deadline in 12 h)" in shown
    assert "of 3" in shown
    assert max(map(len, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines())) <= 80


def test_who_wants_it_quiet_sees_nothing_drawn(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with Display(quiet=True) as display:
        display.report("scanning docs", 5, None)
    assert terminal.getvalue() == ""


def test_elsewhere_nothing_is_drawn(capsys):
    with Display() as display:
        display.report("scanning docs", 5, None)
    assert capsys.readouterr().err == ""


def test_a_dry_run_is_a_plan(world, tmp_path):
    config = str(World(tmp_path / "other", dimension=BIG).config_file())
    (tmp_path / "other" / "docs" / "a.md").write_text("# One\n\ntext")

    def run(*args):
        return CliRunner().invoke(cli, ["--config", config, "sync", *args], env={"VOYAGE_API_KEY": ""})

    result = run("--dry-run", "--write", str(tmp_path / "out"), "--max-inputs", "5")
    assert result.exit_code == 0
    assert "1 embedding" in result.stdout
    assert "nothing was sent" in result.stdout
    [line] = (tmp_path / "out" / "batch-0001.jsonl").read_text().splitlines()
    assert json.loads(line)["body"]["input"] == ["# One\n\ntext"]
    assert json.loads(run("--dry-run", "--json").stdout)["batches"]["count"] == 1
    assert "--write goes with --dry-run" in run("--write", "x").stderr
    assert "--dry-run and --max-usd do not go together" in run("--dry-run", "--max-usd", "1").stderr
    assert not (tmp_path / "other" / "data").exists()


# --- signals, in a real process ---

SYNC = """
import sys
from voyage_jobs.cli.main import main
from voyage_jobs.service.sync import Sync
before = Sync._can_move
def told(self, rest):
    print("waiting", flush=True)
    return before(self, rest)
Sync._can_move = told
sys.argv = ["voyage-jobs", "--config", sys.argv[1], "sync"]
main()
"""


@pytest.fixture
def served(tmp_path):
    """A configuration for a simulator behind a port, whose jobs take an hour."""
    world = World(tmp_path, dimension=BIG)
    fill(world)
    with HttpServer(Simulator(SystemClock(), api_key=KEY, batch_seconds=3600)) as server:
        yield world.config_file(voyage={"base_url": f"http://127.0.0.1:{server.port}/v1"})


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_it_in_good_order(served, number, code):
    process = subprocess.Popen(
        [sys.executable, "-c", SYNC, str(served)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VOYAGE_API_KEY": KEY},
    )
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "Stopped" in out
    assert "In flight: 1 batch with 3 inputs" in err
    assert "Nothing is lost" in err


def test_its_log_is_for_people_unless_json_is_asked_for_and_quiet_has_none(served):
    def run(*options):
        command = [
            sys.executable,
            "-m",
            "voyage_jobs",
            "--config",
            str(served),
            "sync",
            "--no-wait",
            *options,
        ]
        environ = {**os.environ, "VOYAGE_API_KEY": KEY}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, timeout=60)
        assert done.returncode in (0, 3), done.stderr
        return done

    told = run().stderr
    assert "scan.finished" in told
    assert '{"time"' not in told
    assert '"event": "scan.finished"' in run("--json").stderr
    quiet = run("--quiet")
    assert quiet.stdout == ""
    assert "scan.finished" not in quiet.stderr
