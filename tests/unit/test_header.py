"""The header: title and headings go with a chunk to the provider, and nowhere else; older data folders do without."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from older_state import as_of
from sim.speed import empty_state
from small_world import Small
from step_doors import query
from world import World

from tests.splits import of_new_state, sent, split
from voyage_jobs.core import generation
from voyage_jobs.maintenance.audit.verify import Scope, verify
from voyage_jobs.planning.plan import plan
from voyage_jobs.splitting.forms import RULES
from voyage_jobs.splitting.header import trail
from voyage_jobs.splitting.split import SplitOptions

GUIDE = (
    "# Guide\n\nWhat it is for.\n\n## Install\n\n"
    + "Take the parcel out. " * 120
    + "\n\n### Linux\n\nUntar it.\n"
)


def lines_of(settings, clock, folder):
    """The inputs of the input files that would be sent."""
    plan(settings, clock, folder=folder)
    files = sorted(folder.glob("batch-*.jsonl"))
    return [
        orjson.loads(line)["body"]["input"][0] for file in files for line in file.read_bytes().splitlines()
    ]


# --- what it says ---


def test_a_chunk_goes_with_the_headings_that_do_not_stand_in_it():
    first, install, more, linux = sent(GUIDE, "a.md", of_new_state())
    assert first == "# Guide\n\nWhat it is for."
    assert install.startswith("Guide\n\n## Install\n\nTake the parcel")
    assert more.startswith("Guide > Install\n\nTake the parcel")
    assert linux == "Guide > Install\n\n### Linux\n\nUntar it."


@pytest.mark.parametrize(
    ("path", "text", "header"),
    [
        ("home/Shopping list.md", "Milk, and eggs.", "Shopping list"),
        ("README.md", "Milk, and eggs.", ""),
        ("item.md", "---\nitem_id: 7\n---\n\nText.", ""),  # the API has made the name
        ("shopping list.txt", "Milk, and eggs.", ""),
        ("app.log", "one line", ""),  # a log that is rotated costs nothing
        ("a.rst", "Only text.", ""),
        ("a.md", "---\ntitle: 1.20\n---\nText.", "1.20"),
        ("a.md", "<h1>Small Tool</h1>\n\nWords.\n\n## Use\n\nRun.", "Small Tool"),
        ("a.rst", f"Manual\n======\n\n{'Intro. ' * 60}\n\nPart\n----\n\nText.", "Manual"),
    ],
)
def test_the_title_is_the_one_that_the_document_has(path, text, header):
    last = sent(text, path, of_new_state())[-1]
    assert last.startswith(f"{header}\n\n") if header else last == text.split("\n\n")[-1]


def test_rules_2_do_without_the_name_of_a_note():
    assert sent("Milk, and eggs.", "Shopping list.md", replace(of_new_state(), rules=2)) == [
        "Milk, and eggs."
    ]
    assert sent(GUIDE, "a.md", replace(of_new_state(), rules=2)) == sent(GUIDE, "a.md", of_new_state())


def test_a_note_without_a_title_moves_at_no_cost_and_is_paid_for_when_it_is_renamed(tmp_path):
    small, note = Small(tmp_path), "Set it to 60 days."

    def move(path, to, text):
        small.remove(path)
        small.write(to, text)

    small.write("a/Kettle descaling.md", note)
    small.write("a/guide.md", GUIDE)
    small.run()
    billed = small.ledger.batch_tokens
    move("a/Kettle descaling.md", "b/Kettle descaling.md", note)
    move("a/guide.md", "manual.md", GUIDE)
    small.later()
    assert small.ledger.batch_tokens == billed

    move("b/Kettle descaling.md", "b/Descaling.md", note)
    assert plan(small.settings(), small.clock)["embeddings"]["to_send"] == 1
    small.later()
    assert small.ledger.batch_tokens > billed
    assert sorted(small.served()) == ["b/Descaling.md", "manual.md"]


def test_a_trail_that_is_too_long_keeps_its_ends():
    path = ["Operations", "Backups of large folders", "Restoring", "After a fire"]
    assert trail("Manual", 200, path, path) == "Manual > " + " > ".join(path)
    assert trail("Manual", 40, path, path) == "Manual > … > Restoring > After a fire"
    assert trail("Manual", 30, path, path) == "Manual > … > After a fire"
    assert trail("Manual", 10, path, path) == "Manual >…"
    assert trail("Manual", 200, ["Manual", "Backups"], ["Manual", "Backups"]) == "Manual > Backups"
    assert trail("Manual", 200, ["Manual"], []) == ""


MARKDOWN = st.lists(
    st.one_of(
        st.text("ab ", min_size=1, max_size=90).map(lambda title: f"## {title}"),
        st.text("ab ", min_size=1, max_size=90).map(lambda title: f"#### {title}"),
        st.text("xy \n", max_size=400),
    ),
    max_size=12,
).map("\n\n".join)


@examples(200)
@given(MARKDOWN, st.sampled_from([0, 40]))
def test_header_and_text_are_never_longer_than_a_chunk_may_be(text, overlap):
    options = SplitOptions(120, overlap, rules=2, context="title > section")
    document = split(text, "note.md", options)
    assert len(document.headers) == len(document.sections)
    for chunk in document.chunks:
        header = document.headers[chunk.section]
        assert len(header) + chunk.end - chunk.start <= 120
        assert document.sections[chunk.section] == split(text, "note.md", options).sections[chunk.section]
    assert sent(text, "note.md", options) == [
        document.headers[c.section] + text[c.start : c.end] for c in document.chunks
    ]


# --- through the whole of it ---


def test_what_is_sent_has_it_and_what_is_shown_does_not(world, tmp_path):
    world.write("guide.md", GUIDE)
    assert lines_of(world.settings(), world.clock, tmp_path / "out") == sent(
        GUIDE, "guide.md", of_new_state()
    )
    world.run()
    rows = world.table_rows()
    assert [row["text"] for row in rows] == [GUIDE[row["start"] : row["end"]] for row in rows]
    assert rows[-1]["text"] == "### Linux\n\nUntar it."
    assert [row["section"] for row in rows][-1] == ["Guide", "Install", "Linux"]
    assert world.ledger.billed_more_than_once() == {}


def test_verify_knows_the_header(world):
    world.write("guide.md", GUIDE)
    world.write("other.md", "Plain.")
    world.run()
    assert verify(world.settings(), world.clock, Scope()).all() == []


def test_a_table_is_filled_again_at_no_cost_though_the_file_is_gone(tmp_path):
    small = Small(tmp_path, sources=[{"name": "docs", "path": str(tmp_path / "docs"), "keep": True}])
    small.write("guide.md", GUIDE)
    small.run()
    before, billed = small.served(), small.ledger.batch_tokens
    small.remove("guide.md")
    small.run()
    small.door.table = None
    small.run()
    assert small.served() == before != {}
    assert small.ledger.batch_tokens == billed


def test_a_contextualized_model_gets_none(tmp_path):
    voyage = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}
    world = World(tmp_path, voyage=voyage, splitting={"context": "title > section"})
    world.write("guide.md", GUIDE)
    plan(world.settings(), world.clock, folder=tmp_path / "out")
    (line,) = (tmp_path / "out" / "batch-0001.jsonl").read_bytes().splitlines()
    assert orjson.loads(line)["body"]["inputs"][0] == sent(
        GUIDE, "guide.md", of_new_state(contextualized=True)
    )


def test_it_can_be_switched_off(world, tmp_path):
    world.write("guide.md", GUIDE)
    settings = world.settings(splitting={"context": "none"})
    chunks = split(GUIDE, "guide.md", replace(of_new_state(), context="")).chunks
    raw = [GUIDE[chunk.start : chunk.end] for chunk in chunks]
    assert lines_of(settings, world.clock, tmp_path / "out") == raw


# --- older data folders ---


@pytest.fixture
def older(tmp_path):
    """A data folder of a release before there were rules, with a document in its table."""
    world = World(tmp_path).by_rules(1)
    world.write("guide.md", GUIDE)
    world.write("b.md", "# B\n\nShort.")
    world.run()
    as_of(world, "0015")
    world._sections.clear()
    return world


def test_an_older_data_folder_keeps_its_chunks_and_pays_nothing(older):
    before, billed = older.table_rows(), older.ledger.batch_tokens
    older.run()
    older.write("guide.md", GUIDE + "\nOne line more.\n")
    older.run()
    with older.worker() as context:
        assert context.rules == 1
        assert query(context, "SELECT COUNT(*) FROM versions WHERE headers IS NOT NULL") == [(0,)]
    kept = [row["embedding_key"] for row in before if row["path"] == "guide.md"][:-1]
    assert [row["embedding_key"] for row in older.table_rows()][-len(before) + 1 : -1] == kept
    assert older.ledger.batch_tokens > billed  # for the one line


def test_the_new_rules_are_asked_for_and_told_with_their_price_first(older):
    billed = older.ledger.batch_tokens
    asked = {"splitting": {"rules": 2}}
    report = plan(older.settings(**asked), older.clock)
    assert [each["cut_again"] for each in report["sources"]] == [2]
    assert report["embeddings"]["to_send"] == 3  # the first chunk of each has its title itself
    assert report["price_usd"]["batch"] > 0
    assert "2 unchanged documents" in " ".join(report["warnings"])

    older.run(**asked)
    rows = [row for row in older.table_rows() if row["path"] == "guide.md"]
    assert [row["text"] for row in rows] == [GUIDE[row["start"] : row["end"]] for row in rows]
    assert 0 < older.ledger.batch_tokens - billed <= report["batches"]["tokens"]
    paid = older.ledger.batch_tokens
    older.run()  # and back
    assert older.ledger.batch_tokens == paid


@pytest.mark.parametrize(
    ("rules", "line"), [(RULES, None), (2, None), (1, None), (1, "{state} {generation}\n")]
)
def test_a_state_that_is_lost_goes_on_by_the_rules_of_its_vectors(tmp_path, rules, line):
    small = Small(tmp_path)
    if rules != RULES:
        with small.worker(), small.state.beside(small.clock) as tx:
            tx.connection.exec_driver_sql(f"UPDATE meta SET value = '{rules}' WHERE key = 'splitting_rules'")
    small.write("guide.md", GUIDE)
    small.run()
    billed, file = small.ledger.batch_tokens, small.settings().paths.generation
    if line is not None:  # as an older release wrote it
        stamp = generation.read(file)
        file.write_text(line.format(state=stamp.state, generation=stamp.generation))
    for found in small.data_dir.glob("state.db*"):
        found.unlink()
    (small.data_dir / "state.db").write_bytes(empty_state())
    small.run()
    assert small.ledger.batch_tokens == billed
    with small.worker() as context:
        assert context.rules == rules
