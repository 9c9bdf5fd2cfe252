"""`status` as data: every number against the stores, nothing made up where nothing can be read."""

import json
import os
import re
from types import SimpleNamespace

import pytest
from older_state import as_of
from verify_doors import found as damage
from verify_doors import sql
from world import World

from voyage_jobs.diagnosis.blocker import Mover
from voyage_jobs.errors import DiskFullError, StateError
from voyage_jobs.planning.plan import plan
from voyage_jobs.report.status import look, status
from voyage_jobs.state import audit, stats
from voyage_jobs.state.door import open_state
from voyage_jobs.state.engine import sqlite_module
from voyage_jobs.state.schema import EMBEDDING_CODES
from voyage_jobs.state.sqlite import SqliteState
from voyage_jobs.steps import acts
from voyage_jobs.steps.acts import perform

PLACES = ("waiting", "packed", "submitted", "held", "published", "failed")


def codes(report):
    return [problem["code"] for problem in report["problems"]]


def documents(world, count=4, sections=3):
    for i in range(count):
        world.write(f"d{i}.md", "\n\n".join(f"# Part {j}\n\nText {i} of {j}." for j in range(sections)))


# --- what cannot be read ---


def test_a_state_that_vanished_under_its_process_is_no_fresh_start(world):
    documents(world, 1)
    with world.worker():
        for file in world.data_dir.glob("state.db*"):
            file.unlink()
        report = status(world.settings(), world.clock)
    assert report["daemon"]["running"]
    assert report["headline"]["text"] == f"Process {os.getpid()} works here, and there is no state."


def test_a_disk_so_full_that_nobody_could_note_it_is_a_problem(world, monkeypatch):
    documents(world, 1)
    world.run()
    settings = world.settings(disk={"min_free_bytes": 1 << 30})
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_bavail=2, f_frsize=4096))
    report = status(settings, world.clock)
    assert codes(report) == ["paused_disk"]
    assert not report["healthy"]
    assert "0 MiB are free" in report["problems"][0]["message"]
    assert status(world.settings(), world.clock)["healthy"], "who asks for no reserve is told of none"


def test_without_a_state_everything_is_null_and_nothing_is_made(world):
    report = status(world.settings(), world.clock)
    assert codes(report) == ["no_state"]
    assert "voyage-jobs sync" in report["problems"][0]["hint"]
    assert not report["healthy"]
    assert report["chunks"] == dict.fromkeys(PLACES)
    assert report["sources"][0]["documents"] is None
    assert report["batches"] is report["open_batches"] is report["table"]["rows"] is None
    assert not world.data_dir.exists()


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0 but not really" + b"x" * 4096, b"words"])
def test_a_state_that_cannot_be_read_is_a_problem_and_is_left_as_it_is(world, content):
    world.data_dir.mkdir()
    (world.data_dir / "state.db").write_bytes(content)
    report = status(world.settings(), world.clock)
    assert codes(report) == ["state_unreadable"]
    assert report["chunks"]["published"] is None
    assert not report["healthy"]
    assert (world.data_dir / "state.db").read_bytes() == content


def test_whatever_lies_in_the_place_of_the_state_or_its_folder_is_a_problem(world, monkeypatch):
    world.data_dir.write_text("not a folder")
    assert codes(status(world.settings(), world.clock)) == ["no_state"]
    world.data_dir.unlink()
    (world.data_dir / "state.db").mkdir(parents=True)
    report = status(world.settings(), world.clock)
    assert codes(report) == ["state_unreadable"]
    assert "is a folder, not a file" in report["problems"][0]["message"]
    with pytest.raises(StateError, match="is a folder, not a file"):
        plan(world.settings(), world.clock)
    with pytest.raises(StateError, match="is a folder, not a file"):
        world.run()

    def fails(self):
        raise DiskFullError

    monkeypatch.setattr(SqliteState, "read", fails)
    assert codes(status(world.settings(), world.clock)) == ["state_unreadable"]


def test_a_state_of_a_newer_release_is_told_as_one_everywhere(world):
    """Its tables could be read, and what they mean is not known here."""
    world.write("a.md", "some text")
    world.run()
    sql(world, "UPDATE alembic_version SET version_num = '9999'")
    (problem,) = status(world.settings(), world.clock)["problems"]
    assert problem["code"] == "state_unreadable"
    assert "schema 9999" in problem["message"]
    assert "Install the newer voyage-jobs again" in problem["hint"]
    with pytest.raises(StateError, match="schema 9999"):
        damage(world)


def test_a_state_that_is_gone_is_not_told_as_a_beginning(world):
    world.write("a.md", "some text")
    world.run()
    for file in world.data_dir.glob("state.db*"):
        file.unlink()
    report = status(world.settings(), world.clock)
    assert codes(report) == ["state_unreadable"]
    assert report["headline"]["level"] == "problem"
    assert "is gone, and this data folder was worked with" in report["problems"][0]["message"]
    assert "voyage-jobs recover" in report["problems"][0]["hint"]
    with pytest.raises(StateError, match="is gone"):
        damage(world)
    world.run()
    assert damage(world) == {}


def test_a_state_of_another_schema_is_a_problem(world):
    world.data_dir.mkdir()
    connection = sqlite_module().connect(world.data_dir / "state.db")
    connection.execute("CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT)")
    connection.close()
    report = status(world.settings(), world.clock)
    assert codes(report) == ["state_unreadable"]
    assert "not, or not yet" in report["problems"][0]["message"]


def test_a_table_that_is_gone_has_null_rows_and_a_problem(world):
    documents(world)
    world.run()
    (world.data_dir / "lancedb" / "chunks.lance").rename(world.root / "elsewhere")
    report = status(world.settings(), world.clock)
    assert codes(report) == ["table_missing"]
    assert report["table"]["rows"] is None
    assert report["chunks"]["published"] == 12


def test_a_source_that_was_never_scanned_has_null_documents(world):
    documents(world)
    world.run()
    new = {"name": "new", "path": str(world.root / "new")}
    settings = world.settings(sources=[*world.sections()["sources"], new])
    report = status(settings, world.clock)
    assert codes(report) == ["never_scanned"]
    docs, added = report["sources"]
    assert (docs["documents"], added["documents"], added["chunks"]["published"]) == (4, None, None)


# --- what is ---


def test_when_all_is_done_it_is_healthy_and_counts_what_the_table_shows(world):
    documents(world)
    world.write("empty.md", " ")
    world.run()
    report = status(world.settings(), world.clock)
    rows = world.table_rows("chunk_id")
    assert report["healthy"]
    assert report["problems"] == []
    assert report["chunks"] == {**dict.fromkeys(PLACES, 0), "published": len(rows)}
    assert report["table"]["rows"] == len(rows)
    assert report["batches"] == {"closed": 1}
    assert report["tokens"]["settled"] == world.ledger.batch_tokens
    assert report["cost_usd"]["settled"] == pytest.approx(world.ledger.batch_tokens * 0.0402 / 1e6)
    source = report["sources"][0]
    assert (source["documents"], source["published_documents"], source["skipped"]) == (4, 4, {"empty": 1})
    assert source["oldest_unpublished_s"] is None
    assert not report["daemon"]["running"]
    json.dumps(report, allow_nan=False)


def test_while_a_process_works_it_says_which_and_where_each_chunk_is(world):
    documents(world)
    with world.worker(mode="run") as context:
        world.take_turns(context, 1, quiet=False)
        assert status(world.settings(), world.clock)["chunks"]["waiting"] == 12
        world.take_turns(context, 9, quiet=False)
        world.clock.advance(5)
        report = status(world.settings(), world.clock)
    assert report["daemon"]["running"]
    assert report["daemon"]["pid"] > 0
    assert report["daemon"]["mode"] == "run"
    assert report["daemon"]["heartbeat_age_s"] >= 0
    assert report["chunks"] == {**dict.fromkeys(PLACES, 0), "submitted": 12}
    [batch] = report["open_batches"]
    assert (batch["state"], batch["inputs"], batch["collected_at"]) == ("running", 12, None)
    assert batch["batch_id"].startswith("batch-")
    assert batch["deadline_at"] > batch["submitted_at"]
    assert report["tokens"]["reserved"] == batch["tokens_estimated"] > 0
    assert report["sources"][0]["oldest_unpublished_s"] >= 5
    assert report["healthy"]


def test_what_reuse_saved_is_counted(world):
    world.write("a.md", "# The same text")
    world.run()
    world.write("b.md", "# The same text")
    world.clock.advance(400)
    world.run()
    report = status(world.settings(), world.clock)
    assert report["tokens"]["saved"] > 0
    assert report["cost_usd"]["saved"] > 0


# --- what is wrong ---


def test_failed_chunks_are_told_in_the_vendors_words(tmp_path):
    world = World(tmp_path, faults={"line_refused": {"contains": "poison", "message": "No poison, please."}})
    documents(world)
    world.write("bad.md", "# Good\n\nfine\n\n# Bad\n\npoison")
    world.run()
    report = status(world.settings(), world.clock)
    assert codes(report) == ["failed"]
    assert "1 chunk" in report["problems"][0]["message"]
    assert "No poison, please." in report["problems"][0]["message"]
    assert "voyage-jobs retry" in report["problems"][0]["hint"]
    assert report["chunks"]["failed"] == 1
    assert report["chunks"]["published"] == len(world.table_rows("chunk_id")) == 13


def test_a_missing_root_is_a_frozen_source_that_needs_a_person(world):
    documents(world)
    world.run()
    world.docs.rename(world.root / "unmounted")
    world.clock.advance(400)
    world.run(1, quiet=False)
    report, found = look(world.settings(), world.clock)
    assert codes(report) == ["frozen"]
    assert found[0].moved_by is Mover.DECISION
    assert "confirm-deletes docs" in found[0].next
    assert report["sources"][0]["frozen"]
    assert report["chunks"]["published"] == 12


def test_a_source_that_left_the_configuration_needs_a_person(world):
    documents(world)
    world.run()
    other = {"name": "other", "path": str(world.root)}
    world.run(1, quiet=False, sources=[other])
    report, found = look(world.settings(sources=[other]), world.clock)
    assert found[0].code == "not_configured"
    assert found[0].moved_by is Mover.DECISION
    assert [source["name"] for source in report["sources"]] == ["docs", "other"]
    assert report["sources"][0]["frozen"]
    with world.worker(sources=[other]) as context:
        perform(context, "confirm", {"source": "docs"}, "me")
        world.take_turns(context, quiet=False)
    report, found = look(world.settings(sources=[other]), world.clock)
    assert "not_configured" not in codes(report)
    assert report["sources"][0]["frozen"] is None
    assert report["sources"][0]["chunks"]["published"] == 0


def test_a_refused_key_comes_first(tmp_path):
    world = World(tmp_path, faults={"auth_outage": {}})
    documents(world)
    world.run(6, quiet=False)
    report, found = look(world.settings(), world.clock)
    assert found[0].code == "auth"
    assert found[0].moved_by is Mover.ACCOUNT
    assert found[0].next
    assert not report["healthy"]
    assert "test-key" not in json.dumps(report)


def test_a_parked_batch_tells_its_reason_and_the_next_command(tmp_path):
    world = World(tmp_path, options={"retired_models": {"voyage-4": "voyage-5"}})
    documents(world)
    world.run(12, quiet=False)
    report, found = look(world.settings(), world.clock)
    assert (found[0].code, found[0].moved_by) == ("parked", Mover.DECISION)
    assert "retired" in found[0].message
    assert "retry" in found[0].next
    assert report["chunks"]["packed"] == 12


def test_what_a_person_cancelled_counts_as_failed_until_retry(world):
    documents(world)
    with world.worker() as context:
        while not status(world.settings(), world.clock)["open_batches"]:
            world.take_turns(context, 1, quiet=False)
        # before its job exists, cancelling is at once
        ref = status(world.settings(), world.clock)["open_batches"][0]["ref"]
        acts.perform(context, "cancel", {"ref": ref}, "me")
    report = status(world.settings(), world.clock)
    assert "cancelled" in codes(report)
    assert report["chunks"] == {**dict.fromkeys(PLACES, 0), "failed": 12}


def test_a_spent_budget_says_until_when(world):
    documents(world)
    settings = {"budget": {"daily_tokens": 5}}
    world.run(6, quiet=False, **settings)
    report = status(world.settings(**settings), world.clock)
    assert "budget_reached" in codes(report)
    assert report["tokens"]["estimated"] > 5


def test_settings_for_other_vectors_need_a_person(world):
    documents(world)
    world.run()
    found = look(world.settings(voyage={"output_dimension": 16}), world.clock)[1]
    assert [(each.code, each.moved_by) for each in found] == [("profile_changed", Mover.DECISION)]


# --- counting ---


def naive(connection):
    """Where every chunk is, by asking for each one."""
    rows = connection.exec_driver_sql(
        "SELECT CASE WHEN v.state = 'published' AND e.state != 3 THEN 'published' WHEN e.state IN (3, 4) THEN 'failed'"
        " WHEN e.state = 0 THEN 'waiting' WHEN e.state = 2 THEN 'held'"
        " WHEN b.state IN ('creating', 'running', 'ended') THEN 'submitted' ELSE 'packed' END AS place, COUNT(*)"
        " FROM chunks c JOIN versions v ON v.id = c.version_id JOIN embeddings e ON e.id = c.embedding_id"
        " LEFT JOIN lines l ON l.embedding_id = e.id AND l.outcome = 0 LEFT JOIN batches b ON b.id = l.batch_id"
        " GROUP BY place"
    )
    return {**dict.fromkeys(PLACES, 0), **dict(row for row in rows)}


WORDS = {code: str(state) for state, code in EMBEDDING_CODES.items()}


def counted(world):
    with open_state(world.settings()).read() as connection:
        found = stats.by_source(connection)
        assert list(audit.broken(connection, "totals_wrong")) == []
        by_state = "SELECT state, COUNT(*) FROM embeddings GROUP BY state ORDER BY state"
        there = {WORDS[code]: count for code, count in connection.exec_driver_sql(by_state)}
        assert {w: n for w, n in stats.figures(connection).embeddings.items() if n} == there
        return {p: sum(t.chunks[p] for t in found.values()) for p in PLACES}, naive(connection)


def test_counting_the_smaller_part_gives_what_counting_everything_gives(tmp_path):
    """At every turn of a life with shared texts, several batches, edits, refusals and expired lines."""
    faults = {"line_refused": {"contains": "poison"}, "line_expired": {"probability": 0.3, "times": 10}}
    world = World(tmp_path, faults=faults, seed=7, batching={"max_inputs": 5, "max_in_flight_batches": 2})
    documents(world, count=6)
    world.write("same.md", "# Part 0\n\nText 0 of 0.\n\n# Part 1\n\nText 0 of 1.")
    world.write("bad.md", "# a\n\npoison\n\n# b\n\nfine")
    seen = set()
    for life in range(3):
        with world.worker() as context:
            for _ in range(40):
                world.take_turns(context, 1, quiet=False)
                found, expected = counted(world)
                assert found == expected
                seen |= {place for place, count in found.items() if count}
                world.clock.advance(20)
        world.write(f"d{life}.md", f"# Part 0\n\nText 0 of 0.\n\n# New\n\nwords {life}")
        world.clock.advance(400)
    assert seen == set(PLACES)


def test_a_state_of_the_release_before_is_counted_as_it_is_taken_over(tmp_path):
    world = World(tmp_path, faults={"line_refused": {"contains": "poison"}})
    documents(world)
    world.write("bad.md", "# a\n\npoison\n\n# b\n\nfine")
    world.run()
    world.write("new.md", "# a\n\nnot yet seen")
    before = status(world.settings(), world.clock)["sources"]

    as_of(world, "0019")
    assert damage(world) == {"file_unknown": 1}
    assert codes(status(world.settings(), world.clock)) == ["state_unreadable"]
    with world.worker():
        after = status(world.settings(), world.clock)["sources"]
    assert [each["chunks"] for each in after] == [each["chunks"] for each in before]
    assert after[0]["chunks"] == {**dict.fromkeys(PLACES, 0), "published": 13, "failed": 1}
    assert (after[0]["documents"], after[0]["published_documents"]) == (5, 5)
    assert damage(world) == {"file_unknown": 1}


def test_no_question_walks_through_what_is_published(world):
    """Everything goes by index, from few to few, but for what has a row for each source or batch."""
    world.run(1, quiet=False)
    allowed = {"sources", "batches", "attempts", "packs"}
    with open_state(world.settings()).read() as connection:
        for name, statement in vars(stats).items():
            if not name.startswith("_") or not hasattr(statement, "bindparams"):
                continue
            sql = re.sub(r":\w+", "1", f"EXPLAIN QUERY PLAN {statement}")
            for row in connection.exec_driver_sql(sql).all():
                words = row[3].split()
                bare = words[0] == "SCAN" and "INDEX" not in words
                assert not bare or words[1] in allowed or words[1:] in (["CONSTANT", "ROW"], ["e"]), (
                    name,
                    row,
                )
