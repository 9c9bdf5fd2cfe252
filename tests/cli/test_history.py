"""`history` on the command line: readable in 80 columns, whatever is in names and texts; JSON for programs."""

import os

import pytest
from looking import Looking


@pytest.fixture
def run(tmp_path, monkeypatch):
    return Looking(tmp_path, monkeypatch)


def flat(shown):
    """The text without its line ends."""
    return " ".join(shown.split())


def test_what_means_nothing_ends_with_usage(run):
    run.world.run(2, quiet=False)
    result = run("history", "nope", code=2)
    assert "Nothing here is called nope" in result.stderr
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
    for words in (f"batch {ref}", "It is done with.", "create call 1 sent", "outcome success, lines 1"):
        assert words in flat(shown)
