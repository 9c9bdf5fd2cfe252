"""A table of an older format: read as it is, brought to the present format by itself, at no cost, whatever dies."""

from __future__ import annotations

import json

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from format1 import ROWS, SHOWN, unpacked
from small_world import Death, Small
from step_doors import prose
from verify_doors import found

from voyage_jobs.config.profile import profile_of
from voyage_jobs.core import crash
from voyage_jobs.maintenance.export import export
from voyage_jobs.report.status import status
from voyage_jobs.retrieval.result import Query
from voyage_jobs.retrieval.retriever import Retriever
from voyage_jobs.steps.publish import publish
from voyage_jobs.steps.reprofile import BACK, BEGIN, reprofile
from voyage_jobs.table import FORMAT_VERSION, LanceDoor, PublishedTable
from voyage_jobs.table.engine import newest_manifest
from voyage_jobs.table.upkeep import Upkeep

FOUR = ("publish.intent.committed", "publish.table.done", "publish.table.synced", "publish.committed")


@pytest.fixture
def old(tmp_path):
    """A folder of release 0.1.0 with a job in flight."""
    yield unpacked(tmp_path)
    crash.arm(None)


def path_of(world):
    return str(world.data_dir / "lancedb" / "chunks.lance")


def format_of(world):
    return int(lance.dataset(path_of(world)).schema.metadata[b"voyage_jobs.format_version"])


def opened(world):
    settings = world.settings()
    return PublishedTable.open(settings.lancedb.uri, settings.lancedb.table, profile_of(settings))


def plain(rows):
    """The rows with their JSON read: Lance writes its keys in another order."""
    return [{**row, "front_matter": json.loads(row["front_matter"])} for row in rows]


def dies_at(world, point):
    def hook(name):
        if name == point:
            raise Death(name)

    crash.arm(hook)
    with pytest.raises(Death):
        world.run()
    crash.arm(None)


def taken_over(world):
    """What must be so once the work is done; it cost the open job, and nothing else."""
    assert format_of(world) == FORMAT_VERSION
    rows = world.table_rows()
    assert {(row["source"], row["path"]) for row in rows} == SHOWN | {("docs", "new.md")}
    assert len(rows) == ROWS + 1
    assert any("written now" in row["text"] for row in rows)
    assert world.ledger.units() == 2  # those of the open job
    assert found(world) == {}


# --- taking over ---


def test_a_folder_of_the_first_release_is_taken_over_for_nothing(old):
    before = plain(old.table_rows())
    vectors = {row["chunk_id"]: row["vector"] for row in old.table_rows("chunk_id", "vector")}
    assert len(before) == ROWS
    held = lancedb.connect(str(old.data_dir / "lancedb")).open_table("chunks")
    held.checkout(held.version)

    old.run()

    taken_over(old)
    assert [fields["before"] for fields in old.log.named("table.reformatted")] == [1]
    after = {row["chunk_id"]: row for row in plain(old.table_rows())}
    kept = [row for row in before if row["path"] != "changed.md"]
    assert [after[row["chunk_id"]] for row in kept] == kept
    for row in old.table_rows("chunk_id", "vector"):
        if row["chunk_id"] in vectors:
            assert np.array_equal(row["vector"], vectors[row["chunk_id"]])
    assert held.count_rows() == ROWS  # a reader has what it had in hand
    assert isinstance(held.search().limit(1).to_list()[0]["metadata"], str)


def test_what_reads_reads_the_older_table_as_if_it_were_the_present_one(old):
    assert format_of(old) == 1
    asked = Query("Renew the certificate", 1, sources=("docs",))
    [hit] = Retriever(old.settings(), old.clock, old.transport).search(asked).hits
    assert hit.text
    export(old.settings(), old.root / "out.parquet")
    exported = pq.read_table(old.root / "out.parquet").to_pylist()
    assert len(exported) == ROWS
    renew = next(row for row in exported if row["path"] == "guides/renew.md" and row["ordinal"] == 1)
    assert renew["metadata"]["section"] == "Renewal > By hand"
    assert json.loads(renew["front_matter"]) == {
        "title": "Renewing",
        "lang": "en",
        "tags": ["cert", "tls"],
        "weight": 3,
        "reviewed": "2026-03-01",
    }
    rows = opened(old).search(renew["vector"], k=1)
    assert [(row["chunk_id"], row["id"], row["doc_id"]) for row in rows] == [
        (renew["chunk_id"], renew["chunk_id"], renew["chunk_id"][:16])
    ]
    assert rows[0]["score"] == pytest.approx(1)
    with old.worker():  # a start brings the state up to date; the table waits for its step
        pass
    assert found(old) == {}
    assert format_of(old) == 1


def test_an_older_table_takes_no_rows_and_lets_rows_go(old):
    table = opened(old)
    present = list(table.all_rows())
    with pytest.raises(ValueError, match="has format 1"):
        table.flip([("docs", "api.rst")], present)
    table.delete([("docs", "api.rst")])
    assert {row["path"] for row in old.table_rows()} == {path for _, path in SHOWN} - {"api.rst"}
    assert format_of(old) == 1


# --- dying ---


@pytest.mark.parametrize("point", FOUR)
def test_dying_on_the_way_is_harmless(old, point):
    dies_at(old, point)
    assert len(old.table_rows()) == ROWS
    assert old.ledger.units() == 0

    old.run()

    taken_over(old)


def test_the_former_rows_are_kept_for_an_hour_and_no_longer_however_often_it_died(old):
    for point in (*FOUR[:2], *FOUR[3:]):
        dies_at(old, point)
    kept = lance.dataset(path_of(old)).tags.list()
    assert len(kept) == 1
    old.run()
    old.clock.advance(3_700)
    old.run()
    assert lance.dataset(path_of(old)).tags.list() == {}
    taken_over(old)


def test_power_lost_before_the_commit_was_synced_fills_the_table_again(old):
    dies_at(old, "publish.table.done")
    manifest = newest_manifest(path_of(old))
    with open(manifest, "r+b") as file:
        file.truncate(40)

    old.run()

    taken_over(old)
    assert len(old.log.named("table.set_aside")) == 1


# --- what may be in the way ---


def test_without_room_it_waits_and_says_so(old):
    with old.worker(disk={"min_free_bytes": 1 << 53}) as context:
        assert not publish(context)
        told = {problem["code"]: problem for problem in status(old.settings(), old.clock)["problems"]}
    assert "has format 1" in told["table_reformatting"]["message"]
    assert told["table_reformatting"]["severity"] == "info"
    assert "paused_disk" in told
    assert format_of(old) == 1

    old.clock.advance(3_600)
    old.run()

    taken_over(old)
    assert "table_reformatting" not in {
        problem["code"] for problem in status(old.settings(), old.clock)["problems"]
    }


def test_rows_that_are_none_of_ours_make_a_new_table_from_the_stored_vectors(old):
    table = lancedb.connect(str(old.data_dir / "lancedb")).open_table("chunks")
    table.update(where="path = 'api.rst'", values={"metadata": "no JSON"})

    old.run()

    taken_over(old)
    [fields] = old.log.named("table.set_aside")
    assert fields["kept_as"].startswith(path_of(old))


def test_a_table_that_a_build_is_about_to_replace_is_left_to_it_and_one_brought_back_is_raised(tmp_path):
    world = Small(tmp_path, dimension=8)
    world.write("a.md", prose("a", 2))
    world.run()
    table = world.door.table
    table.be_older()
    with world.worker(voyage={"output_dimension": 16}) as context:
        reprofile(context, {"do": BEGIN, "target": context.asked.to_json()}, "test")
        world.take_turns(context, 3, quiet=False)
        assert (table.format, context.build is not None) == (1, True)
        world.take_turns(context)
        assert (table.format, table.replaced, context.build) == (FORMAT_VERSION, 1, None)
        reprofile(context, {"do": BACK}, "test")
        assert table.format == 1
        world.take_turns(context, 3, quiet=False)
        assert (table.format, table.replaced) == (FORMAT_VERSION, 2)


def test_columns_of_the_users_come_along_with_their_values(old):
    table = lancedb.connect(str(old.data_dir / "lancedb")).open_table("chunks")
    table.add_columns({"stars": "nullif(ordinal, 99)", "url": "nullif(path, '')"})

    old.run()

    taken_over(old)
    table = lancedb.connect(str(old.data_dir / "lancedb")).open_table("chunks")
    rows = table.search().select(["path", "ordinal", "stars", "url", "url_user"]).limit(99).to_list()
    kept = [row for row in rows if row["path"] not in ("changed.md", "new.md")]
    assert [(row["stars"], row["url"], row["url_user"]) for row in kept] == [
        (row["ordinal"], "", row["path"]) for row in kept
    ]
    assert {row["stars"] for row in rows if row["path"] == "new.md"} == {None}


def test_a_newer_table_is_refused_in_so_many_words(old):
    dataset = lance.dataset(path_of(old))
    newer = pa.schema(dataset.schema, {**dataset.schema.metadata, b"voyage_jobs.format_version": b"7"})
    lance.write_dataset(newer.empty_table(), dataset, mode="overwrite")
    door = LanceDoor(str(old.data_dir / "lancedb"), "chunks", profile_of(old.settings()))
    health = door.check()
    assert health.reason == "foreign"
    assert (
        f"has format 7, of a newer voyage-jobs; this one knows formats up to {FORMAT_VERSION}"
        in health.detail
    )
    assert "Update voyage-jobs" in health.detail


# --- what other programs rest on ---


def test_front_matter_and_metadata_can_be_filtered(old):
    old.run()
    table = lancedb.connect(str(old.data_dir / "lancedb")).open_table("chunks")

    def paths(where):
        return {row["path"] for row in table.search().where(where).select(["path"]).limit(99).to_list()}

    assert paths("json_get_string(front_matter, 'lang') = 'de'") == {"guides/über uns.md"}
    assert paths("json_get_int(front_matter, 'weight') > 2") == {"guides/renew.md"}
    assert paths("json_array_contains(front_matter, '$.tags', 'tls')") == {"guides/renew.md"}
    assert paths("json_extract(front_matter, '$.nested.a[1]') = '2'") == {"todo.md"}
    assert paths("json_get_bool(front_matter, 'done') = false") == {"todo.md"}
    assert paths("metadata.path = 'api.rst' AND metadata.ordinal = 1") == {"api.rst"}


def test_names_and_types_are_those_that_the_frameworks_look_for(old):
    """LangChain reads text, vector and a metadata that is no text; LlamaIndex id and doc_id, too. What it hands on
    must be writable as JSON, so metadata has neither lists nor times; both tried: see docs/table.md.
    """
    old.run()
    schema = lancedb.connect(str(old.data_dir / "lancedb")).open_table("chunks").schema
    for name in ("id", "doc_id", "text"):
        assert schema.field(name).type == pa.string()
    assert pa.types.is_fixed_size_list(schema.field("vector").type)
    metadata = schema.field("metadata").type
    assert {field.name: str(field.type) for field in metadata} == {
        **dict.fromkeys(("source", "path", "title", "section", "url", "modified_at"), "string"),
        **dict.fromkeys(("ordinal", "page"), "int32"),
    }


def test_upkeep_leaves_the_kept_rows_alone(old):
    old.run()
    kept = lance.dataset(path_of(old)).tags.list()
    opened(old).tend(Upkeep(versions=1))
    assert lance.dataset(path_of(old)).tags.list() == kept != {}
