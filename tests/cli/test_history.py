"""`history` on the command line: readable in 80 columns, whatever is in names and texts; JSON for programs."""

import os
import re

import pytest
from looking import Looking

from voyage_jobs.core.states import Batch


@pytest.fixture
def run(tmp_path, monkeypatch):
    return Looking(tmp_path, monkeypatch)


def flat(shown):
    """The text without its line ends."""
    return " ".join(shown.split())


def test_what_means_nothing_ends_with_usage(run):
    run.world.run(2, quiet=False)
    result = run("history", "nope", code=2)
    assert "No document, chunk, batch or key named nope" in result.stderr
    assert result.stdout == ""
    assert '"code": "config"' in run("history", "nope", "--json", code=2).stderr


def test_a_document_tells_how_it_stands_what_happened_and_its_chunks(run):
    run.world.write("sub/a.md", "# One\n\nfirst\n\n# Two\n\nsecond")
    run.world.run()
    shown = run.text("history", "sub/a.md")
    assert shown.startswith("document docs:sub/a.md\nIt is on disk. Published at 20")
    for words in ("What happened (UTC)", "found on disk", "Versions (1)", "Chunks (2)", "outcome success"):
        assert words in flat(shown)
    found = run.json("history", "docs:sub/a.md")
    assert (found["kind"], len(found["chunks"])) == ("document", 2)
    assert all(event["at"].endswith("Z") for event in found["events"])


def test_a_file_that_is_gone_is_not_said_to_be_on_disk(run):
    path = run.world.write("a.md", "# One\n\nfirst")
    run.world.run()
    path.unlink()
    assert run.json("history", "a.md")["summary"].startswith(
        "Its file is gone; no scan has recorded that yet."
    )
    assert "Its file is gone" in flat(run.text("history", "a.md", "--timeline"))


def test_a_long_list_is_cut_for_people_and_whole_for_programs(run):
    run.world.write("a.md", "\n\n".join(f"# Part {i}\n\nwords {i}" for i in range(30)))
    run.world.run()
    assert "and 10 more; --json shows all." in run.text("history", "a.md")
    assert len(run.json("history", "a.md")["chunks"]) == 30


def test_the_next_command_is_named(tmp_path, monkeypatch):
    run = Looking(tmp_path, monkeypatch, faults={"line_refused": {"message": "No \x1b[31mpoison."}})
    run.world.write("a.md", "poison")
    run.world.run()
    shown = run.text("history", "a.md")
    assert "Next: `voyage-jobs retry`" in shown
    assert "No [31mpoison." in flat(shown)


def test_names_that_are_no_text_or_play_tricks_are_shown_plainly(run):
    for name in (b"caf\xe9.md", b"a\n\x1b[2J.md", "turn\u202e.md".encode()):
        run.world.write(name, "text")
    run.world.run(3, quiet=False)
    for name, shown in (
        (b"caf\xe9.md", "caf\\xe9.md"),
        (b"a\n\x1b[2J.md", "a\\n\\x1b[2J.md"),
        ("turn\u202e.md".encode(), "turn\\u202e.md"),
    ):
        assert run.text("history", os.fsdecode(name)).startswith(f"document docs:{shown}\n")


def test_a_batch_shows_its_calls_and_outcomes(run):
    run.world.write("a.md", "text")
    run.world.run()
    ref = run.json("batches", "--all")["batches"][0]["ref"]
    shown = run.text("history", ref[:8])
    for words in (f"batch {ref}", "It is finished.", "creating (attempt 1)", "outcome success, lines 1"):
        assert words in flat(shown)


# --- the time in between ---


def test_the_timeline_of_a_document_has_the_time_in_between(run):
    run.world.write("sub/a.md", "# One\n\nfirst")
    run.world.run()
    found = run.json("history", "sub/a.md")
    events = found["events"]
    told = "\n".join(event["what"] for event in events)
    for words in (
        "found on disk",
        "assembled",
        "spooled",
        "uploading",
        "creating",
        "running",
        "ended",
        "published",
    ):
        assert words in told
    assert events[0]["after_s"] is None
    assert sum(event["after_s"] or 0 for event in events) == pytest.approx(found["elapsed_s"])
    assert events[-1]["since_start_s"] == found["elapsed_s"]
    assert found["longest"]["seconds"] == max(event["after_s"] or 0 for event in events)
    assert not found["under_way"]
    shown = run.text("history", "--timeline", "sub/a.md")
    assert re.search(r"^What happened \(UTC\)\n20\d\d-\d\d-\d\d$", shown, re.MULTILINE)
    assert "Chunks" not in shown
    assert re.search(r"^\d\d:\d\d:\d\d +\+[\d.]+ (ms|s|m)", shown, re.MULTILINE)
    assert "the longest wait was" in flat(shown)


def test_the_timeline_of_a_batch_under_way_is_open_at_its_end(run):
    run.world.write("a.md", "text")
    with run.world.worker() as context:
        run.world.take_turns(context, 12, quiet=False)
        run.world.clock.advance(75)
        ref = run.json("batches")["batches"][0]["ref"]
        found = run.json("history", ref[:7])
        shown = run.text("history", "--timeline", ref[:7])
    assert found["under_way"]
    assert "running (job" in found["events"][-1]["what"]
    assert re.search(r"\+1 m 15 s +now, and more is to come", shown)
    assert "1 m 15 s so far; the longest wait was 1 m 15 s, until: now" in flat(shown)
    chunk = run.json("history", "a.md")
    assert {event["what"] for event in chunk["events"]} >= {f"batch {ref}: creating (attempt 1)"}
    assert Batch.RUNNING in chunk["events"][-1]["what"]


def test_the_timeline_of_a_chunk_is_that_of_its_batch_alone(run):
    run.world.write("a.md", "# One\n\nfirst\n\n# Two\n\nsecond")
    run.world.run(batching={"max_inputs": 1})
    ids = [row["chunk_id"] for row in run.world.table_rows("chunk_id")]
    refs = [{e["what"].split(":")[0] for e in run.json("history", i)["events"]} for i in ids]
    assert [len(each) for each in refs] == [1, 1]
    assert refs[0] != refs[1]


def test_trace_is_the_timeline_under_its_older_name(run):
    run.world.write("a.md", "# One\n\nfirst")
    run.world.run()
    assert run.text("trace", "a.md", "--source", "docs") == run.text("history", "--timeline", "a.md")
    found = run.json("trace", "a.md")
    assert found.keys() >= {"as_of", "next", "under_way", "elapsed_s", "longest", "events"}
    assert (found["hint"], found["kind"]) == (found["next"], "document")
