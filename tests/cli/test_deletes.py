"""What has gone from a folder: kept where that is wished, let go where a person says so, never lost by mistake."""

import json

import pytest
from cli.test_acts import Commands

DAY_S = 86_400


@pytest.fixture
def run(tmp_path, monkeypatch):
    commands = Commands(tmp_path, monkeypatch)
    monkeypatch.setattr("voyage_jobs.cli.status.SystemClock", lambda: commands.world.clock)
    return commands


def source(run, **values):
    return {"sources": [{"name": "docs", "path": str(run.world.docs), "delete_grace_s": DAY_S, **values}]}


def filled(run, **sections):
    for number in range(20):
        run.world.write(f"{number}.md", f"# {number}\n\nAbout number {number}.\n")
    assert run("sync", **sections).exit_code == 0


def served(run):
    return {row["path"] for row in run.world.table_rows("path")}


def later(run, **sections):
    run.world.clock.advance(DAY_S + 1)
    return run("sync", **sections)


def counts(run, **sections):
    (row,) = json.loads(run("status", "--json", **sections).stdout)["sources"]
    return row["missing"], row["kept"]


# --- what makes no sense ---


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("undelete",), "Name a document as SOURCE:PATH"),
        (("undelete", "docs:a.md", "--all", "docs"), "Name a document as SOURCE:PATH"),
        (("undelete", "--all", "doc"), "Did you mean docs?"),
        (("undelete", "docs:a.md"), "docs:a.md is present, not missing"),
        (("undelete", "docs:nosuch.md"), "nosuch.md"),
        (("confirm-deletes", "doc"), "Did you mean docs?"),
    ],
)
def test_an_order_that_makes_no_sense_is_a_usage_error(run, args, said):
    run("sync")
    result = run(*args)
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_has_left_the_table_cannot_be_undeleted_and_comes_back_with_its_file(run):
    grace = source(run)
    filled(run, **grace)
    run.world.remove("3.md")
    run("sync", **grace)
    assert later(run, **grace).exit_code == 0
    assert "3.md" not in served(run)
    result = run("undelete", "docs:3.md", **grace)
    assert result.exit_code == 2
    assert "has left the table" in result.stderr
    assert "Put the file back" in result.stderr
    run.world.write("3.md", "# 3\n\nAbout number 3.\n")
    assert run("sync", **grace).exit_code == 0
    assert "3.md" in served(run)
    assert run.world.ledger.units() == 21
    assert run.world.ledger.billed_more_than_once() == {}


# --- keeping ---


def test_an_undeleted_document_outlives_its_grace_period_until_its_deletion_is_confirmed(run):
    grace = source(run)
    filled(run, **grace)
    for path in ("3.md", "4.md"):
        run.world.remove(path)
    run("sync", **grace)
    assert counts(run, **grace) == (2, 0)
    assert run("undelete", "docs:3.md", **grace).stdout == "docs:3.md stays in the table.\n"
    assert "was kept already" in run("undelete", "docs:3.md", **grace).stdout
    assert later(run, **grace).exit_code == 0
    assert counts(run, **grace) == (1, 1)
    assert "3.md" in served(run)
    assert "4.md" not in served(run)
    assert "It is kept" in run("why", "docs:3.md", **grace).stdout

    assert "the next scan" in run("confirm-deletes", "docs", **grace).stdout
    run("sync", **grace)
    assert "3.md" not in served(run)
    assert "there is nothing to confirm" in run("confirm", "docs", **grace).stdout  # the name of before


def test_all_that_is_missing_can_be_undeleted_at_once(run):
    grace = source(run)
    filled(run, **grace)
    for path in ("3.md", "4.md"):
        run.world.remove(path)
    run("sync", **grace)
    answer = run.json("undelete", "--all", "docs", **grace)
    assert (answer["kept"], answer["gone"]) == (2, 0)
    later(run, **grace)
    assert len(served(run)) == 21


def test_a_kept_document_that_is_back_is_an_ordinary_one(run):
    grace = source(run)
    filled(run, **grace)
    run.world.remove("3.md")
    run("sync", **grace)
    run("undelete", "docs:3.md", **grace)
    run.world.write("3.md", "# 3\n\nAnother text.\n")
    run("sync", **grace)
    assert counts(run, **grace) == (0, 0)
    run.world.remove("3.md")
    run("sync", **grace)
    later(run, **grace)
    assert "3.md" not in served(run)


def test_a_source_that_keeps_everything_loses_nothing_and_does_not_freeze(run):
    keep = source(run, keep=True)
    filled(run, **keep)
    for number in range(20):
        run.world.remove(f"{number}.md")
    assert json.loads(run("plan", "--json", **keep).stdout)["sources"][0]["kept"] == 20
    assert "Kept of docs though they have gone: 20" in run("plan", **keep).stdout
    assert run("sync", **keep).exit_code == 0
    assert later(run, **keep).exit_code == 0
    assert len(served(run)) == 21
    assert counts(run, **keep) == (20, 20)

    run("confirm-deletes", "docs", **keep)
    run("sync", **keep)
    assert served(run) == {"a.md"}


def test_what_was_kept_stays_when_its_source_keeps_no_longer(run):
    filled(run, **source(run, keep=True))
    for number in range(20):
        run.world.remove(f"{number}.md")
    run("sync", **source(run, keep=True))
    later(run, **source(run))
    assert len(served(run)) == 21


def test_a_move_within_a_source_that_keeps_everything_is_a_move(run):
    keep = source(run, keep=True)
    filled(run, **keep)
    (run.world.docs / "sub").mkdir()
    (run.world.docs / "3.md").rename(run.world.docs / "sub" / "3.md")
    run("sync", **keep)
    assert "sub/3.md" in served(run)
    assert "3.md" not in served(run)
    assert run.world.ledger.units() == 21


# --- files that are there and are no text any more ---


def spoil(run, count):
    for number in range(count):
        run.world.write(f"{number}.md", b"\x00\x01\x02")


def test_many_files_that_turn_binary_at_once_freeze_the_source(run):
    filled(run)
    spoil(run, 18)
    assert json.loads(run("plan", "--json").stdout)["sources"][0]["would_freeze"]
    result = run("sync")
    assert result.exit_code == 6
    assert "18 of 21 documents are not there any more" in result.stderr
    assert len(served(run)) == 21
    run.world.clock.advance(DAY_S)
    assert run("sync").exit_code == 6  # still so at the next scan, which finds nothing new
    assert len(served(run)) == 21
    run("confirm-deletes", "docs")
    assert run("sync").exit_code == 0
    assert len(served(run)) == 3


def test_a_few_files_that_turn_binary_leave_the_table(run):
    filled(run)
    spoil(run, 2)
    assert run("sync").exit_code == 0
    assert len(served(run)) == 19


def test_files_that_are_text_again_thaw_the_source_at_no_cost(run):
    filled(run)
    spoil(run, 18)
    run("sync")
    for number in range(18):
        run.world.write(f"{number}.md", f"# {number}\n\nAbout number {number}.\n")
    run.world.clock.advance(DAY_S)
    assert run("sync").exit_code == 0
    assert len(served(run)) == 21
    assert run.world.ledger.units() == 21
    assert run.world.ledger.billed_more_than_once() == {}
