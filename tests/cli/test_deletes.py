"""What has gone from a folder: kept where that is wished, let go where an operator says so, never lost by mistake."""

import json
import shutil

import pytest
from cli.test_acts import Commands
from step_doors import query, scan

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
    assert "Kept of docs although their files are gone: 20" in run("plan", **keep).stdout
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
    assert "18 of 21 documents are gone" in result.stderr
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


# --- after the deletion ---


def gone(run, path, **sections):
    run.world.remove(path)
    run("sync", **sections)
    assert later(run, **sections).exit_code == 0
    assert path not in served(run)


def test_a_document_comes_back_from_its_vectors_where_another_file_has_its_text(run):
    grace = source(run)
    filled(run, **grace)
    run.world.write("copies/three.md", "# 3\n\nAbout number 3.\n")
    run("sync", **grace)
    gone(run, "3.md", **grace)
    answer = run.json("undelete", "docs:3.md", **grace)
    assert (answer["kept"], answer["how"]) == (1, "copy")
    assert run("sync", **grace).exit_code == 0
    assert {"3.md", "copies/three.md"} <= served(run)
    assert later(run, **grace).exit_code == 0
    assert "3.md" in served(run)
    assert counts(run, **grace) == (1, 1)
    assert run.world.ledger.units() == 21
    events = [event["what"] for event in run.json("history", "docs:3.md", **grace)["events"]]
    assert any("undeleted by" in what for what in events)


def test_a_copy_of_another_kind_is_cut_as_the_document_was(run):
    grace = source(run)
    text = "# One\n\nAbout number one.\n\n# Two\n\nAbout number two.\n"
    for name in ("3.md", "copies/three.txt"):
        run.world.write(name, text)
    run("sync", **grace)
    gone(run, "3.md", **grace)
    assert run.json("undelete", "docs:3.md", **grace)["how"] == "copy"
    assert run("sync", **grace).exit_code == 0
    rows = [row for row in run.world.table_rows() if row["path"] == "3.md"]
    assert len(rows) == 2


def test_a_copy_that_was_edited_since_it_was_read_is_no_copy(run):
    grace = source(run)
    filled(run, **grace)
    run.world.write("copies/three.md", "# 3\n\nAbout number 3.\n")
    run("sync", **grace)
    gone(run, "3.md", **grace)
    run.world.write("copies/three.md", "# 3\n\nAbout another number.\n")
    result = run("undelete", "docs:3.md", **grace)
    assert result.exit_code == 2
    assert "no file has its text any more" in result.stderr
    assert "Put the file back" in result.stderr


def test_a_document_whose_texts_would_be_paid_anew_is_not_brought_back(run):
    grace = source(run)
    text = "# 3\n\n" + "About number three. " * 40
    run.world.write("3.md", text)
    run.world.write("copies/three.md", text)
    run("sync", **grace)
    gone(run, "3.md", **grace)
    smaller = {**grace, "splitting": {"max_chars": 200}}
    result = run("undelete", "docs:3.md", **smaller)
    assert result.exit_code == 2
    assert "would be paid again" in result.stderr
    assert run.world.ledger.billed_more_than_once() == {}


def test_a_file_that_is_back_is_left_to_the_scan(run):
    grace = source(run)
    filled(run, **grace)
    gone(run, "3.md", **grace)
    run.world.write("3.md", "# 3\n\nAbout number 3.\n")
    said = run("undelete", "docs:3.md", **grace).stdout
    assert "is back: the next scan publishes it" in said
    assert "voyage-jobs sync" in said
    run("sync", **grace)
    assert "3.md" in served(run)
    assert counts(run, **grace) == (0, 0)


def test_a_document_that_moved_is_where_it_is(run):
    grace = source(run)
    filled(run, **grace)
    (run.world.docs / "3.md").rename(run.world.docs / "three.md")
    run("sync", **grace)
    result = run("undelete", "docs:3.md", **grace)
    assert result.exit_code == 2
    assert "docs:3.md has moved to three.md" in result.stderr


@pytest.mark.parametrize("which", [("docs:3.md",), ("--all", "docs")])
def test_what_is_about_to_leave_the_table_stays(run, which):
    """Given up by a scan; the table has not been told yet."""
    at_once = source(run, delete_grace_s=0)
    filled(run, **at_once)
    run.world.remove("3.md")
    with run.world.worker(**at_once) as context:
        scan(context)
    assert run.json("undelete", *which, **at_once)["kept"] == 1
    assert run("sync", **at_once).exit_code == 0
    assert "3.md" in served(run)
    assert counts(run, **at_once) == (1, 1)


# --- the table is lost meanwhile ---


def lose_table(run):
    shutil.rmtree(run.world.data_dir / "lancedb")


@pytest.mark.parametrize("why", ["grace", "undelete", "keep", "spoilt"])
def test_what_is_served_without_its_file_outlives_the_table(run, why):
    sections = source(run, keep=why in ("keep", "spoilt"))
    filled(run, **sections)
    if why == "spoilt":
        run.world.write("3.md", b"\x00\x01")
    else:
        run.world.remove("3.md")
    run("sync", **sections)
    if why == "undelete":
        run("undelete", "docs:3.md", **sections)
    before = run.world.table_rows("path", "chunk_id", "text", "start", "end")
    for _ in range(2):  # what was published from a kept text keeps it
        lose_table(run)
        assert run("sync", **sections).exit_code == 0
        assert run.world.table_rows("path", "chunk_id", "text", "start", "end") == before
    assert run.world.ledger.units() == 21
    assert run("verify", **sections).exit_code == 0

    run.world.write("3.md", "# 3\n\nAbout number 3.\n")
    assert run("sync", **sections).exit_code == 0
    with run.world.worker(**sections) as context:
        assert query(context, "SELECT COUNT(*) FROM texts") == [(0,)]
    assert run("verify", **sections).exit_code == 0


def test_verify_asks_the_guard_before_it_takes_anything_out(run):
    filled(run)
    spoil(run, 18)
    assert run("sync").exit_code == 6
    run("verify", "--repair")
    assert len(served(run)) == 21


def test_confirming_lets_a_source_that_keeps_everything_lose_what_is_no_text_any_more(run):
    keep = source(run, keep=True)
    filled(run, **keep)
    spoil(run, 18)
    assert run("sync", **keep).exit_code == 0
    assert len(served(run)) == 21
    assert "Confirmed" in run("confirm-deletes", "docs", **keep).stdout
    run("sync", **keep)
    assert len(served(run)) == 3


def test_confirming_says_that_a_last_row_is_taken_without_its_line_end(run):
    recipe = source(run, **{"records.id": "id", "records.text": "{text}"})
    run.world.write("shop.csv", "id,text\n1,One.\n2,The second row.\n")
    assert run("sync", **recipe).exit_code == 0
    run.world.write("shop.csv", "id,text\n1,One.\n2,The seco")
    run("sync", **recipe)
    told = " ".join(run("status", **recipe).stdout.split())
    assert "its last row has no line end any more, and 1 of 2 records" in told
    assert "add one, or, if it is meant to have none, `voyage-jobs confirm-deletes docs`" in told
    said = "after its grace period, and takes the last row of 1 file as it stands, without a line end."
    assert said in run("confirm-deletes", "docs", **recipe).stdout
    run("sync", **recipe)
    assert "The seco" in {row["text"] for row in run.world.table_rows("text")}


# --- what is there, and not wanted any more ---


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"exclude": ["3.md"]}, "the exclude pattern '3.md' of source docs fits it"),
        ({"include": ["?.md", "1?.md", "!3.md"]}, "none of its include patterns fits it"),
        ({}, ".gitignore ignores it"),
    ],
    ids=["exclude", "include", "gitignore"],
)
def test_a_file_that_is_there_and_not_wanted_is_not_said_to_be_gone(run, rules, said):
    filled(run, **source(run))
    if not rules:
        run.world.write(".gitignore", "3.md\n")
    rules = source(run, **rules)
    run("sync", **rules)
    missing = run.json("why", "docs:3.md", **rules)
    assert (missing["document"]["state"], "is missing" in missing["paragraph"]) == ("missing", False)
    assert "docs:3.md is on disk, and is not taken since 20" in missing["paragraph"]
    assert said in missing["paragraph"]
    assert "Put the file back" not in missing["next"]
    assert "not taken since 20" in run.json("history", "docs:3.md", **rules)["summary"]
    later(run, **rules)
    gone = run.json("why", "docs:3.md", **rules)
    assert (gone["document"]["state"], gone["reason"]) == ("gone", missing["reason"])
    assert f"Its file is on disk, and is not taken: {said}" in gone["paragraph"]
    assert "source docs" in gone["next"]
    assert f"It is on disk, and is not taken: {said}" in run.json("history", "docs:3.md", **rules)["summary"]
    for args in (("undelete",), ("expedite", "--dry-run"), ("expedite", "--yes")):
        refused = run(args[0], "docs:3.md", *args[1:], **rules)
        assert refused.exit_code == 2
        assert "docs:3.md is on disk, and is not" in refused.stderr
        assert "put the file back" not in refused.stderr.lower()


def test_patterns_that_leave_out_too_much_freeze_the_source_and_are_named(run):
    """It said that the documents are gone, and asked for the folder back."""
    filled(run, **source(run))
    rules = source(run, exclude=["1*.md"])
    assert run("sync", **rules).exit_code == 6
    (frozen,) = run.json("status", **rules)["problems"]
    assert "11 of 21 documents are not wanted by its patterns any more, more than max_delete_share" in str(
        frozen
    )
    assert "Change its patterns back" in frozen["hint"]
    why = run.json("why", "docs:12.md", **rules)
    assert (why["reason"], why["published"]) == ("frozen", True)
    assert "the exclude pattern '1*.md' of source docs fits it, and the source is frozen" in why["paragraph"]
    assert "takes it out" not in why["paragraph"]
    assert "Change its patterns back" in why["next"]
    run.world.remove("0.md")
    run("sync", **rules)
    (frozen,) = run.json("status", **rules)["problems"]
    assert "12 of 21 documents are gone, or not wanted by its patterns any more (11)" in str(frozen)
    assert run("sync", **source(run)).exit_code == 0, "with its old patterns it thaws"
    assert len(served(run)) == 21


def test_rows_of_a_file_that_is_not_wanted_any_more_are_not_said_to_be_gone(run):
    run.world.write("rows.jsonl", "".join(f'{{"id": {i}, "text": "row {i}"}}\n' for i in range(20)))
    recipe = {"records.id": "id", "records.text": "{text}", "max_delete_share": 1}
    assert run("sync", **source(run, **recipe)).exit_code == 0
    assert len(served(run)) == 20
    rules = source(run, exclude=["rows.*"], **recipe)
    assert run("sync", **rules).exit_code == 6
    (frozen,) = run.json("status", **rules)["problems"]
    assert "20 of 20 documents are not wanted by its patterns any more: nothing is left of it" in str(frozen)
    run("confirm-deletes", "docs", **rules)
    run("sync", **rules)
    missing = run.json("why", "docs:rows.jsonl#3", **rules)
    assert "The file of docs:rows.jsonl#3 is on disk, and is not taken since" in missing["paragraph"]
    later(run, **rules)
    assert run.json("why", "docs:rows.jsonl#3", **rules)["reason"] == "excluded"
    assert (
        "is on disk, and is not wanted by the patterns"
        in run("undelete", "docs:rows.jsonl#3", **rules).stderr
    )
