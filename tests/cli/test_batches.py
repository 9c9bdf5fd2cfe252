"""`batches`: those in flight, or all."""

import pytest
from looking import Looking

from voyage_jobs.cli.status_view import lengths


@pytest.fixture
def run(tmp_path, monkeypatch):
    looking = Looking(tmp_path, monkeypatch, batching={"max_inputs": 1, "min_inputs": 1})
    for i in range(3):
        looking.world.write(f"{i}.md", f"Text of {i}.")
    return looking


def test_without_a_state_it_says_so(run):
    assert "no state yet" in run("batches", code=2).stderr


def test_only_open_ones_are_listed_unless_all_are_asked_for(run):
    run.world.run()
    assert run.text("batches") == "No batch is open; --all shows closed ones.\n"
    shown = run.text("batches", "--all")
    assert shown.count("closed") == shown.count("100%") == 3
    found = run.json("batches", "--all", "--limit", "2")
    assert [len(found["batches"]), found["more"]] == [2, True]
    assert "More batches exist; --limit 4 shows more" in run.text("batches", "--all", "--limit", "2")


def test_open_ones_show_the_vendors_word_and_what_is_left(run):
    run.world.run(12, quiet=False)
    found = run.json("batches")["batches"]
    assert found
    assert {batch["state"] for batch in found} <= {"running", "packed", "spooled", "uploaded", "creating"}
    shown = run.text("batches")
    running = next(batch for batch in found if batch["state"] == "running")
    assert running["remote_status"] in shown
    assert running["ref"][:10] in shown
    assert "12 h" in shown


def test_there_may_be_none_at_all(run):
    for i in range(3):
        run.world.remove(f"{i}.md")
    run.world.run(2, quiet=False)
    assert run.text("batches", "--all") == "There are no batches.\n"


def test_the_bar_of_status_keeps_to_its_room():
    chunks = {"published": 49_997, "held": 1_834, "submitted": 166, "packed": 0, "waiting": 0, "failed": 7}
    drawn = lengths(chunks, 32)
    assert sum(drawn.values()) == 32
    assert min(drawn.values()) == drawn["failed"] == 1
    assert lengths({"waiting": 3, "failed": 0}, 40) == {"waiting": 40}
