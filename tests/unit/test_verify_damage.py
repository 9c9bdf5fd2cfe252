"""`verify` finds every class of damage that is planted, mends it, and finds nothing in a sound world."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from client_doubles import job_spec
from step_doors import prose, until
from verify_doors import found, plain_table, repaired, segment_files, settled, sql
from world import World, is_quiet

from tests.splits import of_new_state, sent
from voyage_jobs.config.key import KeySource
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import AuthError, StateError
from voyage_jobs.maintenance.audit.catalog import CATALOG
from voyage_jobs.maintenance.audit.findings import EXAMPLES, Findings
from voyage_jobs.maintenance.audit.verify import Scope, verify
from voyage_jobs.simulator.vectors import Embedder
from voyage_jobs.steps.pipeline import Pipeline


@pytest.fixture
def world(tmp_path):
    return settled(tmp_path)


def test_without_a_state_there_is_nothing_to_verify(tmp_path):
    with pytest.raises(StateError, match="no state yet"):
        found(World(tmp_path))
    assert not (tmp_path / "data").exists()


def test_a_sound_world_has_no_damage(world):
    assert found(world, deep=True, remote=True) == {}
    audit = verify(world.settings(), world.clock, Scope(remote=True), transport=world.transport)
    assert audit.checked == {"files": 5, "packs": 1, "embeddings": 12, "rows": 12, "jobs": 1}


def test_nothing_that_is_under_way_is_taken_for_damage(world):
    """After every turn of an ordinary day, beside the process that is at work."""
    world.write("part0/d0.md", prose("other", 2))
    world.remove("part1/d1.md")
    (world.docs / "part1" / "d3.md").rename(world.docs / "moved.md")
    world.write("new.md", prose("new", 2))
    seen = set()
    with world.worker() as context:
        steps = Pipeline(context, eager=True)
        while not (is_quiet(context) and seen):
            if not steps.turn():
                world.clock.advance(steps.idle_s())
            seen.update(found(world, remote=True))
    assert seen <= {"file_stale", "file_gone", "file_unknown"}
    assert found(world, remote=True) == {}


def test_settings_for_other_vectors_are_no_damage(world):
    """What is compared is the table that is there, until it is built again on purpose."""
    audit = verify(world.settings(voyage={"output_dimension": 16}), world.clock, Scope())
    assert audit.checked["rows"] == 12
    assert audit.all() == []


# --- state.db against itself ---


def plant_counts(world):
    world.write("part0/d0.md", prose("other", 2))
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
    sql(world, "UPDATE versions SET open_chunks = 1 WHERE state = 'waiting'")


def plant_totals(world):
    sql(world, "UPDATE sources SET documents = documents + 1, published_chunks = published_chunks - 2")


def plant_chunks(world):
    sql(world, "DELETE FROM chunks WHERE version_id = 1 AND ordinal = 1")


def plant_leftovers(world):
    sql(world, "INSERT INTO texts (version_id, body) VALUES (1, x'00')")


def plant_astray(world):
    sql(world, "UPDATE embeddings SET state = 1, pack_id = NULL, pack_row = NULL WHERE id = 2")


def plant_open_lines(world):
    sql(world, "UPDATE lines SET outcome = 0 WHERE line = 0")


def plant_wrong_places(world):
    sql(world, "UPDATE chunks SET start = start + 3 WHERE version_id = 1 AND ordinal = 1")


def plant_unversioned(world):
    sql(
        world,
        "UPDATE documents SET content_hash = x'00' WHERE id = (SELECT document_id FROM versions WHERE id = 1)",
    )


def plant_unretired(world):
    sql(
        world,
        "UPDATE documents SET state = 'gone' WHERE id = (SELECT document_id FROM versions WHERE id = 1)",
        "INSERT INTO transitions (kind, subject, origin, target, at, epoch, cause) SELECT 'document', document_id,"
        " 'present', 'gone', 1, 1, 'x' FROM versions WHERE id = 1",
    )


def plant_spend(world):
    sql(world, "UPDATE spend SET tokens = tokens + 7 WHERE kind = 'settled'")


def plant_line_tokens(world):
    sql(world, "UPDATE lines SET tokens = tokens + 7 WHERE line = 0")


def plant_price(world):
    sql(world, "UPDATE spend SET usd = usd * 2 WHERE kind = 'settled'")


def plant_reservation(world):
    sql(world, "DELETE FROM spend WHERE kind = 'released'")


def plant_state(world):
    sql(world, "UPDATE batches SET state = 'refused'")


def plant_illegal_move(world):
    sql(
        world,
        "INSERT INTO transitions (kind, subject, origin, target, at, epoch, cause)"
        " VALUES ('version', 1, 'published', 'superseded', 1, 1, 'x'),"
        " ('version', 1, 'superseded', 'published', 1, 1, 'x')",
    )


def plant_move_without_a_job(world):
    """One that only a batch of mode sync may make."""
    sql(
        world,
        "DELETE FROM transitions WHERE kind = 'batch' AND origin = 'running' AND target = 'ended'",
        "UPDATE transitions SET target = 'ended' WHERE kind = 'batch' AND origin = 'creating'",
    )


STATE = {
    "counts": (plant_counts, {"counts_wrong": 1}),
    "totals": (plant_totals, {"totals_wrong": 1}),
    "chunks": (plant_chunks, {"chunks_wrong": 1, "rows_extra": 1}),
    "places": (plant_wrong_places, {"rows_wrong": 1}),
    "leftovers": (plant_leftovers, {"leftovers": 1}),
    "astray": (plant_astray, {"embeddings_astray": 1}),
    "open lines": (plant_open_lines, {"lines_open": 1}),
    "unversioned": (plant_unversioned, {"documents_unversioned": 1}),
    "unretired": (plant_unretired, {"documents_unretired": 1, "file_unknown": 1}),
    "spend": (plant_spend, {"spend_wrong": 1}),
    "line tokens": (plant_line_tokens, {"spend_wrong": 1}),
    "price": (plant_price, {"spend_wrong": 1}),
    "reservation": (plant_reservation, {"spend_wrong": 1}),
    "state": (plant_state, {"history_wrong": 1}),
    "illegal move": (plant_illegal_move, {"history_wrong": 2}),
    "no job": (plant_move_without_a_job, {"history_wrong": 1}),
}


# --- the sources against the state ---


def plant_new_file(world):
    world.write("new.md", prose("new"))


def plant_gone_file(world):
    world.remove("part0/d0.md")


def plant_gone_folder(world):
    for path in (world.docs / "part0").iterdir():
        path.unlink()
    (world.docs / "part0").rmdir()


def plant_changed_file(world):
    world.write("part0/d0.md", prose("d0", 4))


def plant_hollowed_file(world):
    world.write("part0/d0.md", "")


SOURCES = {
    "new file": (plant_new_file, {"file_unknown": 1}),
    "gone file": (plant_gone_file, {"file_gone": 1}),
    "gone folder": (plant_gone_folder, {"file_gone": 2}),
    "changed file": (plant_changed_file, {"file_stale": 1}),
    "hollowed file": (plant_hollowed_file, {"file_stale": 1}),
}


# --- the segments against the state ---


def plant_missing_segment(world):
    segment_files(world)[0].unlink()


def plant_cut_segment(world):
    path = segment_files(world)[0]
    os.truncate(path, path.stat().st_size - 10)


def plant_changed_segment(world):
    path = segment_files(world)[0]
    data = bytearray(path.read_bytes())
    (vector,) = plain_table(world).search().select(["vector"]).limit(1).to_arrow()["vector"].to_pylist()
    at = data.index(np.array(vector, np.float32).tobytes())
    data[at] ^= 1
    path.write_bytes(data)


def plant_strange_segment(world):
    first = segment_files(world)[0]
    first.with_name("0123456789abcdef0123.arrow").write_bytes(first.read_bytes())


def plant_unreadable_segment(world):
    segment_files(world)[0].with_name("0123456789abcdef0123.arrow").write_bytes(b"nothing")


def plant_swapped_rows(world):
    (first,), (second,) = sql(world, "SELECT pack_row FROM embeddings WHERE id IN (1, 2) ORDER BY id")
    sql(
        world,
        *(f"UPDATE embeddings SET pack_row = {row} WHERE id = {i}" for i, row in ((1, second), (2, first))),
    )


def plant_row_beyond(world):
    sql(world, "UPDATE embeddings SET pack_row = 1000 WHERE id = 1")


SEGMENTS = {
    "missing pack": (plant_missing_segment, {"pack_missing": 1}),
    "cut pack": (plant_cut_segment, {"pack_cut": 1}),
    "changed pack": (plant_changed_segment, {"pack_changed": 1}),
    "strange pack": (plant_strange_segment, {"pack_unknown": 1}),
    "unreadable pack": (plant_unreadable_segment, {"pack_unreadable": 1}),
    "swapped rows": (plant_swapped_rows, {"pack_rows": 2, "rows_vector": 2}),
    "row beyond": (plant_row_beyond, {"pack_rows": 1}),
}


# --- the table against the state ---


def plant_no_table(world):
    folder = world.data_dir / "lancedb" / "chunks.lance"
    folder.rename(world.root / "elsewhere.lance")


def plant_torn_table(world):
    (next((world.data_dir / "lancedb" / "chunks.lance" / "data").iterdir())).unlink()


def plant_older_table(world):
    sql(world, "UPDATE publications SET table_version = 99")


def plant_missing_rows(world):
    plain_table(world).delete("path = 'part0/d0.md' AND ordinal > 0")


def plant_missing_document(world):
    plain_table(world).delete("path = 'part0/d0.md'")


def plant_duplicate_rows(world):
    table = plain_table(world)
    table.add(table.search().where("path = 'part0/d0.md'").limit(10).to_arrow().drop_columns([]))


def plant_copies_that_differ(world):
    """Columns that are made out of others: each in a row of its own."""
    table = plain_table(world)
    table.update(where="path = 'part0/d0.md' AND ordinal = 0", values={"id": "x"})
    table.update(where="path = 'part0/d0.md' AND ordinal = 1", values={"doc_id": "x"})


def plant_extra_row(world):
    plant_altered_copy(world, ordinal=77)


def plant_unknown_rows(world):
    plant_altered_copy(world, path='nobody\'s "file".md')


def plant_altered_copy(world, **values):
    import pyarrow as pa

    table = plain_table(world)
    rows = table.search().where("path = 'part0/d0.md' AND ordinal = 0").limit(1).to_arrow()
    for name, value in values.items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), pa.array([value], rows.schema.field(at).type))
    table.add(rows)


def plant_rows_of_the_gone(world):
    copy = plain_table(world).search().where("path = 'part0/d0.md'").limit(10).to_arrow()
    world.remove("part0/d0.md")
    world.run()
    plain_table(world).add(copy)


def plant_other_text(world):
    plain_table(world).update(where="path = 'part0/d0.md' AND ordinal = 0", values={"text": "something else"})


def plant_other_place(world):
    plain_table(world).update(where="path = 'part0/d0.md' AND ordinal = 0", values={"start": 5})


def plant_other_title(world):
    plain_table(world).update(where="path = 'part0/d0.md' AND ordinal = 0", values={"title": "Another"})


def plant_other_vector(world):
    plain_table(world).update(where="path = 'part0/d0.md' AND ordinal = 0", values={"vector": [0.5] * 8})


TABLE = {
    "no table": (plant_no_table, {"table_missing": 1}),
    "torn table": (plant_torn_table, {"table_torn": 1}),
    "older table": (plant_older_table, {"table_behind": 1}),
    "missing rows": (plant_missing_rows, {"rows_missing": 2}),
    "missing document": (plant_missing_document, {"rows_missing": 3}),
    "duplicate rows": (plant_duplicate_rows, {"rows_duplicate": 3}),
    "extra row": (plant_extra_row, {"rows_extra": 1}),
    "unknown rows": (plant_unknown_rows, {"rows_unknown": 1}),
    "copies that differ": (plant_copies_that_differ, {"rows_wrong": 2}),
    "rows of the gone": (plant_rows_of_the_gone, {"rows_extra": 3}),
    "other text": (plant_other_text, {"rows_wrong": 1}),
    "other place": (plant_other_place, {"rows_wrong": 1}),
    "other title": (plant_other_title, {"rows_wrong": 1}),
    "other vector": (plant_other_vector, {"rows_vector": 1}),
}

DAMAGE = {**STATE, **SOURCES, **SEGMENTS, **TABLE}


@pytest.mark.parametrize("name", DAMAGE)
def test_planted_damage_is_found_and_mended(world, name):
    plant, expected = DAMAGE[name]
    plant(world)
    before, left = repaired(world)
    assert before == expected, "nothing else, too"
    assert left == {}
    assert found(world) == {}, "it stays mended"
    world.run()
    assert found(world, remote=True) == {}, "and the daily work goes on"
    assert_serves_its_folder(world)


def assert_serves_its_folder(world):
    """The table shows what is on disk, each chunk once, with the vectors of its text."""
    shown, apart = {}, replace(of_new_state(), min_chars=0)
    for row in world.table_rows("path", "ordinal", "text", "vector"):
        shown.setdefault(row["path"], []).append(row["text"])
        text = (world.docs / row["path"]).read_text()
        (expected,) = Embedder("voyage-4", 8).embed([sent(text, row["path"], apart)[row["ordinal"]]])
        assert np.allclose(expected, row["vector"], atol=1e-5)
    files = {
        str(p.relative_to(world.docs)): p.read_text() for p in world.docs.rglob("*.md") if p.stat().st_size
    }
    assert {path: "".join("".join(texts).split()) for path, texts in shown.items()} == {
        path: "".join(text.split()) for path, text in files.items()
    }


def test_a_touched_file_is_not_stale_and_a_silent_change_is_found_by_reading(world):
    path = world.docs / "part0" / "d0.md"
    os.utime(path, ns=(1, 1))
    assert found(world) == {}
    stat = (world.docs / "part1" / "d1.md").stat()
    (world.docs / "part1" / "d1.md").write_text(prose("dx", 3))
    os.utime(world.docs / "part1" / "d1.md", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert found(world) == {"file_stale": 1}  # by the system's time of change
    sql(world, "UPDATE documents SET ctime_ns = NULL")  # as an older release left them
    assert found(world) == {}
    assert found(world, deep=True) == {"file_stale": 1}
    world.remove("part1/d3.md")
    assert found(world, deep=True) == {"file_stale": 1, "file_gone": 1}


def test_a_missing_source_is_for_a_person(world):
    world.docs.rename(world.root / "unmounted")
    audit = verify(world.settings(), world.clock, Scope())
    (finding,) = audit.all()
    assert (finding.code, finding.person) == ("source_missing", True)
    assert str(world.docs) in finding.examples[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_told_and_nothing_below_it_is_taken_for_gone(world):
    (world.docs / "part0").chmod(0)
    try:
        assert found(world) == {"folder_unreadable": 1}
    finally:
        (world.docs / "part0").chmod(0o755)


def test_a_damaged_state_is_told_and_nothing_more_is_believed(world):
    path = world.data_dir / "state.db"
    sql(world, "PRAGMA wal_checkpoint(TRUNCATE)")
    (page,) = sql(world, "SELECT rootpage FROM sqlite_master WHERE name = 'ix_chunks_embedding_id'")[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 200)
    found_ = found(world)
    assert list(found_) == ["state_damaged"]


@pytest.mark.parametrize("whole", [False, True], ids=["a table's root", "no database"])
def test_a_state_that_cannot_even_be_looked_at_is_damaged_too(world, whole):
    path = world.data_dir / "state.db"
    sql(world, "PRAGMA wal_checkpoint(TRUNCATE)")
    (page,) = sql(world, "SELECT rootpage FROM sqlite_master WHERE name = 'meta'")[0]
    with path.open("r+b") as file:
        file.seek(0 if whole else (page - 1) * 4096)
        file.write(b"\xff" * 4096)
    assert found(world) == {"state_damaged": 1}
    assert repaired(world) == ({"state_damaged": 1}, {"state_damaged": 1})


def test_another_programs_table_is_for_a_person(world):
    plant_no_table(world)
    import lancedb

    lancedb.connect(str(world.data_dir / "lancedb")).create_table("chunks", [{"a": 1}])
    assert found(world) == {"table_foreign": 1}


def test_a_refused_chunk_is_no_missing_row(tmp_path):
    world = settled(tmp_path, faults={"line_refused": {"contains": "part 1."}})
    assert found(world) == {}


@pytest.mark.parametrize(
    "options", [{"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}]
)
def test_windows_of_several_vectors(tmp_path, options):
    world = settled(tmp_path, voyage=options)
    assert found(world, remote=True) == {}
    sql(world, "UPDATE embeddings SET pack_row = pack_row + 1 WHERE id = 1")
    assert "pack_rows" in found(world)
    plain_table(world).update(where="path = 'part1/d1.md' AND ordinal = 0", values={"text": "something else"})
    assert found(world)["rows_wrong"] == 1


@pytest.mark.parametrize("dtype", ["int8", "ubinary"])
def test_vectors_of_other_kinds(tmp_path, dtype):
    world = settled(tmp_path, voyage={"output_dtype": dtype})
    assert found(world) == {}
    width = 8 if dtype == "int8" else 1
    plain_table(world).update(where="path = 'part0/d0.md' AND ordinal = 0", values={"vector": [1] * width})
    assert found(world) == {"rows_vector": 1}


# --- the provider against the state ---


def upload(world, context, name):
    path = world.root / "stray.jsonl"
    path.write_text('{"custom_id": "1", "body": {"input": ["hello"]}}\n')
    return context.client.upload(path, name)


def create(context, file_id, ref):
    return context.client.create_batch(job_spec(file_id, ref))


def test_jobs_and_files_that_nobody_remembers(world):
    ref = sql(world, "SELECT ref FROM batches")[0][0]
    with world.worker() as context:
        upload(world, context, "somebody else's.jsonl")
        upload(world, context, f"voyage-jobs-{ref}.jsonl")
        upload(world, context, "voyage-jobs-ffff0123456789abcdef.jsonl")
        used = upload(world, context, "voyage-jobs-eeee0123456789abcdef.jsonl")
        create(context, used.id, "eeee0123456789abcdef")
    assert found(world) == {}
    assert found(world, remote=True) == {"job_orphan": 1, "file_orphan": 1}, (
        "a fresh upload may be another folder's"
    )
    world.clock.advance(2 * 86_400)
    assert found(world, remote=True) == {"job_orphan": 1, "file_orphan": 2}


def test_a_second_job_and_a_job_the_vendor_lost(world):
    world.write("new.md", prose("new"))
    with world.worker() as context:
        batch = until(world, context, Batch.RUNNING)
        create(context, batch.input_file_id, batch.ref)
        assert found(world, remote=True) == {"job_twice": 1}
    sql(world, f"UPDATE batches SET remote_id = 'batch-nobody-knows' WHERE id = {batch.id}")
    assert found(world, remote=True) == {"job_twice": 2, "job_lost": 1}


def test_a_refused_key_is_an_error_and_not_an_empty_answer(world):
    settings = world.settings().attach(
        origin=None, warnings=(), api_key=KeySource({"VOYAGE_API_KEY": "pa-another-key-than-that"})
    )
    with pytest.raises(AuthError):
        verify(settings, world.clock, Scope(remote=True), transport=world.transport)


# --- the report ---


def test_examples_are_few_and_counts_are_whole():
    findings = Findings()
    for i in range(20):
        findings.add("rows_missing", f"row {i}", i)
    (finding,) = findings.all()
    assert (finding.count, len(finding.examples), len(finding.subjects)) == (20, EXAMPLES, 20)
    assert findings.of("rows_missing", "rows_extra") == list(range(20))


def test_a_class_that_is_not_in_the_catalogue_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="no class of damage"):
        Findings().add("odd", "x")
    assert all(damage.means and damage.mend for damage in CATALOG.values())
