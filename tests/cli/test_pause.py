"""`pause` and `resume`: nothing new is sent or scanned, what is in flight comes home, and everybody can see it."""

import json

import pytest
from cli.test_acts import Commands

HOUR_S = 3_600


@pytest.fixture
def run(tmp_path, monkeypatch):
    commands = Commands(tmp_path, monkeypatch)
    monkeypatch.setattr("voyage_jobs.cli.status.SystemClock", lambda: commands.world.clock)
    return commands


def uploads(run):
    return run.world.sim.calls["upload_file"]


def status(run):
    return json.loads(run("status", "--json").stdout)


# --- what makes no sense ---


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("pause", "--source", "doc"), "Did you mean docs?"),
        (("pause", "--sending", "--source", "docs"), "Either --sending or a source"),
        (("pause", "doc"), "Did you mean docs?"),
        (("pause", "docs", "--source", "docs"), "Name the source once"),
        (("resume", "docs", "--sending"), "Either --sending or a source"),
        (("pause", "--for", "soon"), "write it like 90s, 30m, 2h or 1d"),
        (("pause", "--for", "0s"), "is not a length of time"),
        (("resume", "--source", "doc"), "Did you mean docs?"),
        (("cancel",), "Name a batch, or a source"),
        (("cancel", "abc", "--source", "docs"), "Name a batch, or a source"),
        (("retry", "--source", "doc"), "Did you mean docs?"),
        (("cancel", "--source", "doc", "--yes"), "Did you mean docs?"),
    ],
)
def test_an_order_that_makes_no_sense_is_a_usage_error(run, args, said):
    result = run(*args)
    assert result.exit_code == 2
    assert said in result.stderr


def test_nothing_to_resume_is_said(run):
    assert run("resume").stdout == "Nothing was paused.\n"


# --- everything ---


def test_nothing_is_scanned_or_sent_while_everything_rests(run):
    assert "Everything is paused until `voyage-jobs resume`." in run("pause").stdout
    result = run("sync", "--json")
    assert result.exit_code == 3
    (problem,) = json.loads(result.stdout)["problems"]
    assert problem["code"] == "paused"
    assert "voyage-jobs resume" in problem["hint"]
    assert uploads(run) == 0
    assert status(run)["sources"][0]["scanned_at"] is None

    assert run("resume").stdout == "Everything resumed.\n"
    assert run("sync").exit_code == 0
    assert len(run.world.table_rows()) == 1


def test_status_says_who_paused_what_and_until_when(run):
    run("sync")
    run("pause", "--for", "2h")
    report = status(run)
    (pause,) = report["paused"]
    assert pause["what"] == "everything"
    assert pause["who"]
    assert pause["since"] < pause["until"]
    assert report["healthy"]
    shown = run("status").stdout
    assert shown.startswith("paused (everything): 1 chunk published")
    assert "(paused)" in shown
    assert "is paused by" in shown


def test_a_pause_with_an_end_ends_by_itself(run):
    run("pause", "--for", "2h")
    run.world.clock.advance(2 * HOUR_S + 1)
    assert status(run)["paused"] == []
    assert run("sync").exit_code == 0


def test_what_is_at_the_vendor_comes_home_all_the_same(run):
    run("sync", "--no-wait")
    run("pause")
    run.world.write("b.md", "# B\n\nThe second.\n")
    result = run("sync")
    assert result.exit_code == 3
    assert "paused" in result.stderr
    assert {row["path"] for row in run.world.table_rows()} == {"a.md"}
    assert run.world.ledger.units() == 1


# --- sending ---


def test_scanning_goes_on_while_sending_rests(run):
    assert run("pause", "--sending").exit_code == 0
    result = run("sync")
    assert result.exit_code == 3
    assert "Sending is paused by" in result.stderr
    report = status(run)
    assert report["chunks"]["waiting"] == 1
    assert uploads(run) == 0
    assert "voyage-jobs resume --sending" in result.stderr

    assert run("resume", "--source", "docs").stdout == "Nothing of that was paused.\n"
    assert run("resume", "--sending").stdout == "Sending resumed.\n"
    assert run("sync").exit_code == 0


# --- one source ---


def two_sources(run):
    more = run.world.root / "more"
    more.mkdir()
    run.world.write("z.md", "# Z\n\nThe last.\n", folder=more)
    return {
        "sources": [
            {"name": "docs", "path": str(run.world.docs), "delete_grace_s": 0},
            {"name": "more", "path": str(more), "delete_grace_s": 0},
        ]
    }


def test_only_the_paused_source_rests(run):
    both = two_sources(run)
    run("pause", "--sending", **both)
    run("sync", **both)  # the texts of both wait
    run("resume", **both)
    assert "Source more is paused" in run("pause", "more", **both).stdout
    assert run("sync", **both).exit_code == 3
    assert {row["path"] for row in run.world.table_rows()} == {"a.md"}
    run("resume", "--source", "more", **both)
    assert run("sync", **both).exit_code == 0
    assert len(run.world.table_rows()) == 2


@pytest.mark.parametrize("paused", ["docs", "more"])
def test_a_text_that_another_source_needs_too_is_sent(run, paused):
    both = two_sources(run)
    text = (run.world.docs / "a.md").read_text()
    run.world.write("z.md", text, folder=run.world.root / "more")
    run("pause", "--sending", **both)
    run("sync", **both)  # the one text of both waits
    run("resume", **both)
    run("pause", paused, **both)
    run("sync", **both)
    assert len(run.world.table_rows()) == 2
    assert uploads(run) == 1


def test_cancelling_a_source_keeps_what_was_answered_and_sends_the_others_again(run):
    both = two_sources(run)
    run("pause", "--sending", **both)
    run("sync", **both)
    run("resume", **both)
    result = run("sync", "--no-wait", "--json", **both)  # one batch with the texts of both
    (batch,) = json.loads(result.stdout)["in_flight"]
    assert batch["inputs"] == 2
    answer = run.json("cancel", "--source", "more", "--yes", **both)
    assert answer["refs"] == answer["under_way"] == [batch["ref"]]
    assert answer["told_vendor"]

    ended = run("sync", **both)
    assert ended.exit_code == 3
    assert "Cancelled and still needed: 1 embedding" in ended.stderr
    assert {row["path"] for row in run.world.table_rows()} == {"a.md"}
    assert run.json("retry", "--failed", **both)["embeddings"] == 0
    assert run.json("retry", "--source", "docs", **both)["embeddings"] == 0
    assert run.json("retry", "--source", "more", **both)["embeddings"] == 1
    assert run("sync", **both).exit_code == 0
    assert len(run.world.table_rows()) == 2
    assert run.world.ledger.billed_more_than_once() == {}


def test_cancelling_a_source_gives_up_what_waits(run):
    run("pause", "--sending")
    run("sync")
    run("resume")
    answer = run.json("cancel", "--source", "docs")
    assert (answer["refs"], answer["waiting"]) == ([], 1)
    run("sync")
    assert uploads(run) == 0


# --- retry what is named ---


def test_retry_takes_a_code_a_path_and_a_key(tmp_path, monkeypatch):
    faults = {"line_refused": {"times": 2}}
    run = Commands(tmp_path, monkeypatch, faults=faults)
    run.world.write("b.md", "# B\n\nThe second.\n")
    assert run("sync").exit_code == 3
    assert run.json("retry", "--code", "http_500")["embeddings"] == 0
    assert run.json("retry", "docs:a.md")["embeddings"] == 1
    assert run.json("retry", "docs:a.md")["embeddings"] == 0
    assert run.json("retry", "--failed", "--code", "http_400")["embeddings"] == 1
    assert run("sync").exit_code == 0
    assert len(run.world.table_rows()) == 2


# --- on record ---


def test_what_people_asked_for_is_on_record(run):
    run("pause", "--sending")
    run("resume")
    acts = run.json("history", "--acts")["acts"]
    assert [act["command"] for act in acts] == ["resume", "pause"]
    assert acts[1]["arguments"] == {"sending": True}
    assert acts[0]["result"] == {"ended": ["sending"], "left": []}
    assert all(act["who"] and act["asked_at"] <= act["done_at"] for act in acts)
    shown = run("history", "--acts", "--limit", "1").stdout
    assert "resume (everything) by " in shown
    assert "pause" not in shown.replace("paused", "")


def test_history_wants_a_ref_or_acts(run):
    run("sync")
    for args in (("history",), ("history", "docs:a.md", "--acts")):
        result = run(*args)
        assert result.exit_code == 2
        assert "--acts" in result.stderr
