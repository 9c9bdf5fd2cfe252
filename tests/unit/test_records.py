"""Records: a file is a folder, a row is a document; what a row costs, and what becomes of bad ones."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from step_doors import document, query, versions_of
from verify_doors import found
from world import World

from voyage_jobs.core.profile import KeyMaker, Profile
from voyage_jobs.core.tokens import estimate_each
from voyage_jobs.planning.plan import plan
from voyage_jobs.records.recipe import Record
from voyage_jobs.sources.files import FileStat
from voyage_jobs.state import record_files, sources
from voyage_jobs.state.documents import Seen
from voyage_jobs.steps.scan import Scan

HEAD = "sku,name,brand,price,note"
RECIPE = {
    "id": "sku",
    "text": "{name}\n{brand}\n\n{note}",
    "title": "{name}",
    "url": "https://shop.example/p/{sku}",
    "columns": {"price": "float", "brand": "string"},
}


def row(number: int, *, price: float = 1.5, note: str = "") -> str:
    return f"SKU{number},Lamp {number},Acme,{price},{note or f'It lights room {number}.'}"


def csv(*rows: str) -> str:
    return "\n".join((HEAD, *rows)) + "\n"


class Shop(World):
    """A world whose source holds records."""

    def __init__(self, root: Path, recipe: dict[str, Any] | None = None, **source: Any) -> None:
        settings = {
            "name": "docs",
            "path": str(root / "docs"),
            "delete_grace_s": 0,
            "records": recipe or RECIPE,
        }
        super().__init__(root, sources=[{**settings, **source}])

    def texts(self) -> dict[str, str]:
        """The table: path -> text."""
        return {each["path"]: each["text"] for each in self.table_rows("path", "text")}

    def file(self, name: str = "catalog.csv") -> record_files.RecordFile:
        """What is on record of a file."""
        with self.state.read() as connection:
            source = sources.by_name(connection, "docs")
            assert source is not None
            return record_files.of_source(connection, source.id)["", name]

    def lacks(self, name: str = "catalog.csv") -> dict[str, tuple[int, tuple[str, ...]]]:
        """Reason -> (rows, the first of them) of what is left out of a file."""
        return {what: (each.count, tuple(each.first)) for what, each in self.file(name).left_out.items()}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_row_is_a_document_with_its_columns(shop: Shop) -> None:
    shop.write("catalog.csv", csv(row(1), row(2)))
    shop.run()
    columns = ("path", "record", "text", "title", "url", "front_matter")
    first, _ = shop.table_rows(*columns)
    assert orjson.loads(first.pop("front_matter")) == {"price": 1.5, "brand": "Acme"}
    assert first == {
        "path": "catalog.csv#SKU1",
        "record": "SKU1",
        "text": "Lamp 1\nAcme\n\nIt lights room 1.",
        "title": "Lamp 1",
        "url": "https://shop.example/p/SKU1",
    }
    assert shop.file().records == 2
    assert not shop.lacks()


def test_one_changed_row_is_one_embedding_and_one_document(shop: Shop) -> None:
    shop.write("catalog.csv", csv(*map(row, range(30))))
    shop.run()
    paid = shop.ledger.units()
    shop.write("catalog.csv", csv(*(row(i, note="New." if i == 7 else "") for i in range(30))))
    shop.run()
    assert shop.ledger.units() == paid + 1
    assert shop.texts()["catalog.csv#SKU7"].endswith("New.")
    assert len(shop.texts()) == 30
    with shop.worker() as context:
        assert query(context, "SELECT COUNT(*) FROM versions") == [(31,)]


def test_a_row_at_the_top_and_another_order_cost_what_is_new(shop: Shop) -> None:
    rows = list(map(row, range(30)))
    shop.write("catalog.csv", csv(*rows))
    shop.run()
    paid = shop.ledger.units()
    shop.write("catalog.csv", csv(row(99), *rows))
    shop.run()
    assert shop.ledger.units() == paid + 1
    shop.write("catalog.csv", csv(*reversed([row(99), *rows])))
    with shop.worker() as context:
        assert query(context, "SELECT COUNT(*) FROM versions WHERE state != 'published'") == [(0,)]
    shop.run()
    assert shop.ledger.units() == paid + 1
    assert len(shop.texts()) == 31


def test_a_column_that_is_not_in_the_text_changes_the_row_and_embeds_nothing(shop: Shop) -> None:
    shop.write("catalog.csv", csv(row(1), row(2)))
    shop.run()
    paid = shop.ledger.units()
    shop.write("catalog.csv", csv(row(1, price=9.99), row(2)))
    shop.run()
    assert shop.ledger.units() == paid
    prices = [orjson.loads(each["front_matter"])["price"] for each in shop.table_rows("front_matter")]
    assert prices == [9.99, 1.5]


def test_an_unchanged_file_is_one_look_and_a_touched_one_reads_no_row(shop: Shop, monkeypatch) -> None:
    shop.write("catalog.csv", csv(row(1), row(2)))
    shop.run()

    def fails(*_: object) -> None:
        raise AssertionError("rows were read")

    monkeypatch.setattr("voyage_jobs.steps.record_files.rows_of", fails)
    with shop.worker() as context:
        row_ = source_row(context)
        look = Scan(context, row_, context.settings.sources[0])
        list(look.run())
        assert (look.result.unchanged, look.result.changed) == (2, 0)
        shop.write("catalog.csv", csv(row(1), row(2)))
        look = Scan(context, row_, context.settings.sources[0])
        list(look.run())
        assert (look.result.unchanged, look.result.changed) == (2, 0)


def source_row(context: Any) -> Any:
    with context.store.read() as connection:
        return sources.by_name(connection, "docs")


def test_a_row_that_goes_leaves_the_table_and_comes_back_for_nothing(shop: Shop) -> None:
    rows = list(map(row, range(20)))
    shop.write("catalog.csv", csv(*rows))
    shop.run()
    paid = shop.ledger.units()
    shop.write("catalog.csv", csv(*rows[1:]))
    shop.run()
    shop.clock.advance(400)
    shop.run()
    assert "catalog.csv#SKU0" not in shop.texts()
    shop.write("catalog.csv", csv(*rows))
    shop.run()
    assert "catalog.csv#SKU0" in shop.texts()
    assert shop.ledger.units() == paid


def test_a_row_that_moves_to_another_file_is_a_move(shop: Shop) -> None:
    shop.write("a.csv", csv(row(1), row(2), row(3)))
    shop.write("b.csv", csv(row(4)))
    shop.run()
    paid = shop.ledger.units()
    shop.write("a.csv", csv(row(1), row(2)))
    shop.write("b.csv", csv(row(4), row(3)))
    shop.run()
    assert set(shop.texts()) == {"a.csv#SKU1", "a.csv#SKU2", "b.csv#SKU3", "b.csv#SKU4"}
    assert shop.ledger.units() == paid
    with shop.worker() as context:
        assert document(context, "b.csv#SKU3").moved_from == "a.csv#SKU3"


@pytest.mark.parametrize(
    ("cut", "why"),
    [
        (lambda text: text[: len(text) // 2], "in the middle of a row"),
        (lambda text: csv(*text.splitlines()[1:20]), "max_delete_share"),
        (lambda text: csv(), "all of its 40 records"),
        (lambda text: text.replace("SKU7,Lamp 7,", "SKU7,"), "cannot be read"),
    ],
)
def test_a_file_that_lost_much_is_frozen_alone_until_it_is_whole_or_meant(shop: Shop, cut, why) -> None:
    whole = csv(*map(row, range(40)))
    shop.write("catalog.csv", whole)
    shop.write("other.csv", csv(row(100), row(101), *map(row, range(200, 300))))
    shop.run()
    before = shop.texts()
    shop.write("catalog.csv", cut(whole))
    shop.write("other.csv", csv(row(100), *map(row, range(200, 300))))
    shop.run()
    shop.clock.advance(400)
    shop.run()
    assert shop.texts() == {path: text for path, text in before.items() if path != "other.csv#SKU101"}
    assert shop.file().reason == record_files.FROZEN
    assert why in (shop.file().detail or "")
    shop.write("catalog.csv", whole)
    shop.run()
    assert shop.file().reason is None
    assert len(shop.texts()) == 141


def test_a_frozen_file_loses_what_it_lacks_when_that_is_meant(shop: Shop) -> None:
    from voyage_jobs.steps.acts import perform

    shop.write("catalog.csv", csv(*map(row, range(40))))
    shop.run()
    shop.write("catalog.csv", csv(*map(row, range(10))))
    shop.run()
    assert len(shop.texts()) == 40
    with shop.worker() as context:
        assert perform(context, "confirm", {"source": "docs"}, "me")["state"] == "confirmed"
        shop.take_turns(context)
    shop.clock.advance(400)
    shop.run()
    assert len(shop.texts()) == 10
    assert shop.file().reason is None


def test_bad_rows_are_counted_named_by_line_and_take_no_other_along(shop: Shop) -> None:
    shop.write(
        "catalog.csv",
        csv(
            row(1),
            ",No id,Acme,1,x",
            row(2),
            row(1, note="a second one"),
            "SKU3,,,1,",
            "SKU4,too,few",
            'SKU5,"quotes" amiss,Acme,1,x',
            row(6, price="dear"),
            row(7),
        ),
    )
    shop.run()
    assert set(shop.texts()) == {f"catalog.csv#SKU{i}" for i in (1, 2, 6, 7)}
    assert shop.texts()["catalog.csv#SKU1"].endswith("room 1.")
    assert shop.lacks() == {
        "missing_id": (1, ("3",)),
        "duplicate_id": (1, ("5: SKU1",)),
        "no_text": (1, ("6: SKU3",)),
        "broken": (2, ("7: 3 fields; the first line has 5", "8: ',' expected after '\"'")),
        "wrong_type": (1, ("9: price",)),
    }
    assert shop.file().records == 4


def test_ids_that_do_not_fit_into_a_path_and_rows_without_ids(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {**RECIPE, "id": ["brand", "sku"], "url": ""})
    shop.write("catalog.csv", csv("a/b,One,A:B,1,x", "c%,Two,Ä,1,x"))
    shop.run()
    assert [(each["path"], each["record"]) for each in shop.table_rows("path", "record")] == [
        ("catalog.csv#A%253AB:a%2Fb", "A%3AB:a/b"),
        ("catalog.csv#Ä:c%2525", "Ä:c%25"),
    ]
    other = Shop(tmp_path / "other", {"text": "{name} {note}"})
    other.write("catalog.csv", csv(row(1), row(1), row(2)))
    other.run()
    assert len(other.texts()) == 2
    assert other.lacks()["duplicate_id"][0] == 1


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (csv(row(1)).replace(",", ";"), None),
        (csv(row(1)).encode("utf-16"), None),
        (csv(row(1)).encode("utf-8-sig"), None),
        (csv(row(1)).replace("\n", "\r\n"), None),
        (
            csv(row(1)).replace("note", "remark", 1),
            "it has no field 'note', and `optional` does not name it; it has sku, name, brand, price, remark",
        ),
        ("", "no line with names"),
        (b"\xff\xfe\x00\x01" * 9, "it has no field"),
    ],
)
def test_files_of_many_kinds_are_read_or_refused_in_words(shop: Shop, data, what) -> None:
    shop.write("catalog.csv", data)
    shop.run()
    if what is None:
        assert list(shop.texts()) == ["catalog.csv#SKU1"]
    else:
        assert not shop.texts()
        assert what in (shop.file().detail or "")


def test_json_lines_with_nested_fields(tmp_path: Path) -> None:
    recipe = {"id": "n", "text": "{a.b} {c}", "columns": {"tags": "list<string>", "a.d": "int"}}
    shop = Shop(tmp_path, recipe)
    good = b'{"n": 1, "a": {"b": "x", "d": 4}, "c": ["p", "q"], "tags": ["u", "v"]}\n'
    shop.write("catalog.jsonl", good + b"[1]\n\n{oops}\n" + b'{"n": 2, "c": "\xff"}\n' + b'{"n": 3, "c"')
    shop.run()
    assert shop.texts() == {"catalog.jsonl#1": "x p, q"}
    (told,) = shop.table_rows("front_matter", "title")
    assert (orjson.loads(told["front_matter"]), told["title"]) == ({"tags": ["u", "v"], "a.d": 4}, "1")
    lacks = shop.lacks("catalog.jsonl")
    assert {what: count for what, (count, _) in lacks.items()} == {"broken": 3, "cut_short": 1}


def test_another_template_reads_the_file_again_and_pays_for_what_it_changes(shop: Shop) -> None:
    shop.write("catalog.csv", csv(row(1), row(2)))
    shop.run()
    paid = shop.ledger.units()
    source = {**shop.settings().sources[0].model_dump(mode="json", exclude_none=True)}
    more = {**source, "records": {**RECIPE, "columns": {"price": "int"}}}
    shop.write("other.csv", csv(row(3, price=4)))
    shop.run(sources=[more])
    assert shop.ledger.units() == paid + 1
    assert shop.lacks()["wrong_type"][0] == 2
    shop.run(sources=[{**source, "records": {**RECIPE, "text": "{name}"}}])
    assert set(shop.texts().values()) == {"Lamp 1", "Lamp 2", "Lamp 3"}


def test_a_file_that_was_a_document_becomes_records(tmp_path: Path) -> None:
    shop = Shop(tmp_path, include=["*.csv", "*.md"])
    shop.write("catalog.csv", csv(row(1), row(2)))
    shop.write("a.md", "# A\n\nText.\n")
    plain = {"name": "docs", "path": str(shop.docs), "include": ["*.csv", "*.md"], "delete_grace_s": 0}
    shop.run(sources=[plain])
    assert set(shop.texts()) == {"catalog.csv", "a.md"}
    shop.run()
    shop.clock.advance(400)
    shop.run()
    assert set(shop.texts()) == {"catalog.csv#SKU1", "catalog.csv#SKU2", "a.md"}


def test_a_lost_table_is_published_again_from_the_state(shop: Shop) -> None:
    shop.write("catalog.csv", csv(row(1), row(2)))
    shop.run()
    before, paid = shop.texts(), shop.ledger.units()
    (shop.docs / "catalog.csv").unlink()
    shutil.rmtree(shop.data_dir / "lancedb")
    shop.run()
    assert shop.texts() == before
    assert shop.ledger.units() == paid


def test_other_vectors_are_made_of_records_as_well(shop: Shop) -> None:
    from voyage_jobs.config.profile import profile_of
    from voyage_jobs.steps.acts import perform

    shop.write("catalog.csv", csv(row(1), row(2)))
    shop.run()
    other = {"output_dimension": 16}
    target = profile_of(shop.settings(voyage=other)).to_json()
    with shop.worker(voyage=other) as context:
        perform(context, "reprofile", {"do": "begin", "target": target}, "me")
        shop.take_turns(context)
        assert versions_of(context, "catalog.csv#SKU1")[-1] == "published"
        assert context.profile.dimension == 16


def test_records_that_a_rollback_shows_again_have_their_texts_again(shop: Shop) -> None:
    from voyage_jobs.config.profile import profile_of
    from voyage_jobs.steps.acts import perform

    shop.write("catalog.csv", csv(row(1), row(2, note="A long one. " * 300)))
    shop.run()
    before = shop.texts()
    other = {"output_dimension": 16}
    target = profile_of(shop.settings(voyage=other)).to_json()
    with shop.worker(voyage=other) as context:
        perform(context, "reprofile", {"do": "begin", "target": target}, "me")
        shop.take_turns(context)
        perform(context, "reprofile", {"do": "switch_back"}, "me")
        shop.take_turns(context)
    (shop.docs / "catalog.csv").unlink()
    shutil.rmtree(shop.data_dir / "lancedb")
    shop.run()
    assert shop.texts() == before


def test_what_had_failed_of_a_record_is_sent_after_a_rollback(shop: Shop) -> None:
    from voyage_jobs.config.profile import profile_of
    from voyage_jobs.simulator.faults import FaultScript
    from voyage_jobs.steps.acts import perform

    shop.write("catalog.csv", csv(row(1, note="A long one. " * 250 + "Voyage does not like this.")))
    rule = {"line_refused": {"contains": "does not like"}}
    shop.sim.faults.rules = FaultScript.from_dict({"faults": rule}).rules
    shop.run()
    served = shop.table_rows("text")
    shop.sim.faults.rules = ()
    other = {"output_dimension": 16}
    target = profile_of(shop.settings(voyage=other)).to_json()
    with shop.worker(voyage=other) as context:
        perform(context, "reprofile", {"do": "begin", "target": target}, "me")
        shop.take_turns(context)
        perform(context, "reprofile", {"do": "switch_back"}, "me")
    shop.run()
    assert len(shop.table_rows("text")) == len(served) + 1


def test_a_row_that_other_vectors_wait_for_is_made_once_its_file_is_whole(shop: Shop) -> None:
    from voyage_jobs.config.profile import profile_of
    from voyage_jobs.steps.acts import perform

    whole = csv(*map(row, range(4)))
    shop.write("catalog.csv", whole)
    shop.run()
    other = {"output_dimension": 16}
    target = profile_of(shop.settings(voyage=other)).to_json()
    shop.write("catalog.csv", whole[: len(whole) - 30])
    with shop.worker(voyage=other) as context:
        perform(context, "reprofile", {"do": "begin", "target": target}, "me")
        shop.take_turns(context, 40, quiet=False)
        assert context.build is not None  # it waits for the row that the file lacks
        shop.write("catalog.csv", whole)
        shop.clock.advance(400)
        shop.take_turns(context)
        assert query(
            context, "SELECT profile_id, COUNT(*) FROM versions WHERE state = 'published' GROUP BY 1"
        ) == [(2, 4)]


def test_a_folder_whose_records_and_files_are_spoilt_is_frozen(tmp_path: Path) -> None:
    shop = Shop(tmp_path, include=["*.csv", "*.md"])
    shop.write("catalog.csv", csv(row(1), row(2)))
    shop.write("page.md", "# A page\n\nabout lamps\n")
    shop.run()
    before = shop.texts()
    for name in ("catalog.csv", "page.md"):
        shop.write(name, b"\x00\xff\xfe" * 40)
    for _ in range(3):
        shop.clock.advance(400)
        shop.run()
        with shop.worker() as context:
            assert "nothing is left of it" in source_row(context).frozen_reason
    assert shop.texts() == before


def test_a_deleted_file_asks_as_a_deleted_folder_does(shop: Shop) -> None:
    shop.write("catalog.csv", csv(*map(row, range(5))))
    shop.write("other.csv", csv(*map(row, range(100, 200))))
    shop.run()
    shop.remove("catalog.csv")
    shop.run()
    shop.clock.advance(400)
    shop.run()
    assert len(shop.texts()) == 100
    shop.remove("other.csv")
    shop.run()
    with shop.worker() as context:
        assert "looks empty" in source_row(context).frozen_reason
    assert len(shop.texts()) == 100


def test_the_page_about_records_says_what_happens(tmp_path: Path) -> None:
    import re
    import tomllib

    page = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```(csv|toml|sql)\n(.*?)```", page, re.DOTALL))
    (source,) = tomllib.loads(blocks["toml"])["sources"]
    shop = World(tmp_path, sources=[{**source, "name": "docs", "path": str(tmp_path / "docs")}])
    shop.write("catalog.csv", blocks["csv"])
    shop.run()
    rows = shop.table_rows("path", "text", "title", "modified_at", "front_matter")
    assert [each["path"] for each in rows] == ["catalog.csv#K-9", "catalog.csv#L-1", "catalog.csv#L-2"]
    lamp = rows[1]
    assert lamp["text"].startswith("Desk lamp\nLumo\n\nA lamp")
    assert lamp["title"] == "Desk lamp"
    assert lamp["modified_at"].isoformat() == "2026-05-01T00:00:00+00:00"
    assert orjson.loads(lamp["front_matter"]) == {
        "price": 39.9,
        "brand": "Lumo",
        "in_stock": True,
        "tags": ["office", "light"],
    }
    import lancedb

    table = lancedb.connect(shop.settings().lancedb.uri).open_table("chunks")
    assert [each["record"] for each in table.search().where(blocks["sql"]).to_list()] == ["L-2"]


def test_why_and_status_speak_of_records(shop: Shop) -> None:
    from voyage_jobs.report.status import look
    from voyage_jobs.report.why import why

    shop.write("catalog.csv", csv(*map(row, range(40))) + "x,y\n")
    shop.run()
    settings = shop.settings()
    assert "is in the table" in why(settings, shop.clock, "catalog.csv#SKU1").paragraph
    told = why(settings, shop.clock, "catalog.csv")
    assert "holds 40 records" in told.paragraph
    assert "1 row broken (line 42: 2 fields" in told.paragraph
    shop.write("catalog.csv", csv(*map(row, range(10))))
    assert why(settings, shop.clock, "catalog.csv#SKU1").reason == "changed_since"
    shop.run()
    assert why(settings, shop.clock, "catalog.csv").reason == "records_frozen"
    one = why(settings, shop.clock, "catalog.csv#SKU1")
    assert "docs:catalog.csv is frozen, no record of it is deleted: 30 of 40 records" in one.paragraph
    assert (one.reason, one.published) == ("published", True)
    assert one.next == "Make it whole, or, if that is meant, `voyage-jobs confirm-deletes docs`."
    problems = {each["code"] for each in look(settings, shop.clock)[0]["problems"]}
    assert "records_frozen" in problems


def test_verify_knows_files_of_records(shop: Shop) -> None:
    from voyage_jobs.maintenance.audit.findings import Findings
    from voyage_jobs.maintenance.audit.folders import audit_folders

    def found() -> dict[str, int]:
        findings = Findings()
        audit_folders(shop.state, shop.settings(), findings, lambda *_: None, deep=True)
        return {each.code: each.count for each in findings.all()}

    shop.write("catalog.csv", csv(row(1)))
    shop.run()
    assert not found()
    shop.write("catalog.csv", csv(row(2)))
    shop.write("new.csv", csv(row(3)))
    assert found() == {"file_stale": 1, "file_unknown": 1}


PRODUCTS = [{"n": i, "a": {"b": f"text {i}"}, "c": [i, "x"], "price": i / 4} for i in range(5)]
NESTED = {"id": "n", "text": "{a.b} {c}", "columns": {"price": "float"}}
FLAT = {"id": "n", "text": "{body}", "updated_at": "at", "columns": {"price": "float"}}


@pytest.mark.parametrize(
    ("text", "records", "lacks", "reason"),
    [
        (json.dumps(PRODUCTS), 5, {}, None),
        ("\ufeff" + json.dumps(PRODUCTS, indent=2), 5, {}, None),
        ("[]", 0, {}, None),
        (json.dumps([*PRODUCTS, 7, "x"]), 5, {"broken": 2}, None),
        (json.dumps(PRODUCTS)[:-20], 4, {"cut_short": 1}, None),
        (json.dumps(PRODUCTS)[:-1], 5, {"cut_short": 1}, None),
        (json.dumps(PRODUCTS).replace("}, {", "} {"), 0, None, "broken"),
        (json.dumps({"items": PRODUCTS}), 0, None, "broken"),
        ("[" * 200_000, 0, None, "broken"),
        (json.dumps(PRODUCTS).replace('"price": 0.25}', '"price": 0.25,}'), 4, {"broken": 1}, None),
        (json.dumps(PRODUCTS).replace('"price": 0.25}', '"price": "0\n25"}'), 4, {"broken": 1}, None),
        (json.dumps(PRODUCTS)[:-1] + ", ]", 5, {"broken": 1}, None),
        (json.dumps(PRODUCTS).replace('"price": 0.25}', '"price": 0.25'), 0, None, "broken"),
        (json.dumps(PRODUCTS).replace('"text 1"', '"text 1'), 0, None, "broken"),
        ("", 0, None, "broken"),
    ],
)
def test_json_arrays(tmp_path: Path, text: str, records: int, lacks: Any, reason: str | None) -> None:
    shop = Shop(tmp_path, NESTED)
    shop.write("catalog.json", text.encode())
    shop.run()
    file = shop.file("catalog.json")
    assert (file.reason, len(shop.texts()) if reason is None else 0) == (reason, records)
    if reason is None:
        assert {what: each.count for what, each in file.left_out.items()} == lacks


def test_an_array_tells_the_row_that_is_broken_and_takes_the_others() -> None:
    from voyage_jobs.readers.reader import Refused
    from voyage_jobs.records.formats import rows_of
    from voyage_jobs.records.recipe import Recipe

    def found(text: str) -> list[Any]:
        return list(rows_of("a.json", io.BytesIO(text.encode()), Recipe("{n}")))

    long = '{"n": "' + "x" * 1_000_000 + '"}'
    [first, second, third, fourth] = found('[{"n": 1}, {"n": [2, ]}, ' + long + ', {"n": 4}]')
    assert (first.values, third.at, fourth.values) == ({"n": 1}, 3, {"n": 4})
    assert (second.at, second.lack, second.detail) == (2, "broken", "Expecting value")
    for text, said in (
        ('[{"n": 1}, {"n": "2}, {"n": "3"}]', "row 2: Expecting ',' delimiter"),
        ('[{"n": 1}, nothing, {"n": "3"}]', "row 2: Expecting value"),
        ('[{"n": 1}, {"n": 2}} ]', "row 3: no comma before it"),
    ):
        with pytest.raises(Refused, match=said):
            found(text)


def test_an_array_that_is_cut_anywhere_is_cut_short() -> None:
    from voyage_jobs.records.formats import rows_of
    from voyage_jobs.records.recipe import Recipe

    text = r'[{"n": -1.5e-10, "t": "a\"bé\u00e9\ud83d\ude00\n"}, {"x": [true, false, null, {"q": {}}]}, {"n": 12.5}]'
    for at in range(1, len(text)):
        *_, last = rows_of("a.json", io.BytesIO(text[:at].encode()), Recipe("{n}"))
        assert getattr(last, "lack", None) == "cut_short", text[:at]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "x"])
@pytest.mark.parametrize(
    ("row", "lines"),
    [
        ("1,{long},short", 1),
        ('1,"{long}"",{long}""",short', 1),
        ('1,"{long}\n""{long}"",\n",{long},short', 3),
        ('"{long}"amiss,2,3,4', 1),
        ('{long}"amiss"",,,2', 1),
        (",,,,,,,,{long},,,,", 1),
        ('1,"{quotes}",3,4', 1),
        ('1,"{quotes}"",{long}",3,4', 1),
    ],
)
def test_a_row_with_a_line_that_is_too_long_is_left_out_alone(
    row: str, lines: int, separator: str, end: str
) -> None:
    from voyage_jobs.records.formats import rows_of
    from voyage_jobs.records.recipe import Recipe

    long = row.format(long="a b " * 300_000, quotes='""' * 600_000)
    text = "\n".join(["i,a,b,d", "1,p,q,r", long, '2,"p,",q,r', ""])
    data = text.replace("\n", end).replace(",", separator).encode()
    rows = rows_of("a.csv", io.BytesIO(data), Recipe("{a}", ("i",), delimiter=separator))
    first, left_out, last = rows
    assert (first.at, left_out.lack, last.at) == (2, "too_large", 3 + lines)
    assert list(last.values.values()) == ["2", f"p{separator}", "q", "r"]


def test_lines_that_are_too_long_at_either_end() -> None:
    from voyage_jobs.readers.reader import Refused
    from voyage_jobs.records.formats import rows_of
    from voyage_jobs.records.recipe import Recipe
    from voyage_jobs.records.rows import MAX_RECORD_BYTES

    def found(text: str) -> list[Any]:
        return list(rows_of("a.csv", io.BytesIO(text.encode()), Recipe("{a}")))

    fits = "1," + "x" * (MAX_RECORD_BYTES - 2)
    assert [each.values["i"] for each in found(f"i,a\n{fits}")] == ["1"]
    assert [each.lack for each in found(f"i,a\n{fits}x")] == ["too_large"]
    for text in (f"i,a{fits}\n1,2\n", "i,a\n" + '"x",' * 6_000_000):
        with pytest.raises(Refused, match="more than 1,048,576 characters in a line"):
            found(text)


def test_an_array_larger_than_what_is_read_at_a_time_is_read_whole() -> None:
    from voyage_jobs.records.formats import rows_of
    from voyage_jobs.records.recipe import Recipe

    wanted = [{"n": i, "body": "x" * 997} for i in range(4_000)]
    found = rows_of("a.json", io.BytesIO(json.dumps(wanted).encode()), Recipe("{body}"))
    assert [each.values for each in found] == wanted


def test_parquet(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    shop = Shop(tmp_path, FLAT)
    at = pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", tz="UTC"))
    table = pa.table(
        {"n": [1, 2], "body": ["one", "two"], "at": at, "price": [1.5, None], "more": [b"x", b"y"]}
    )
    pq.write_table(table, shop.docs / "catalog.parquet")
    shop.write("broken.parquet", b"PAR1" + b"x" * 99)
    shop.write("other.parquet", (shop.docs / "catalog.parquet").read_bytes().replace(b"body", b"bodi"))
    shop.run()
    assert shop.texts() == {"catalog.parquet#1": "one", "catalog.parquet#2": "two"}
    first, second = shop.table_rows("front_matter", "modified_at")
    assert first["modified_at"] == datetime(2023, 11, 14, 22, 13, 20, 123_456, UTC)
    assert [orjson.loads(each["front_matter"]) for each in (first, second)] == [{"price": 1.5}, {}]
    assert shop.file("broken.parquet").reason == "broken"
    assert shop.file("other.parquet").reason == "no_field"
    assert "no field 'body'" in (shop.file("other.parquet").detail or "")


def test_sqlite_by_a_query_that_cannot_write(tmp_path: Path) -> None:
    import sqlite3

    query = "select id as n, body, price, at from products order by id"
    shop = Shop(tmp_path, {**FLAT, "query": query})
    path = shop.docs / "catalog.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("create table products (id integer, body text, price real, at text)")
        database.executemany(
            "insert into products values (?, ?, ?, ?)",
            [(1, "one", 1.5, "2024-05-06"), (2, "two", "dear", None), (3, None, 1, None)],
        )
        database.execute("insert into products values (4, cast(x'ff' as text), 1, null)")
        database.commit()
    before = path.read_bytes()
    shop.run()
    assert shop.texts() == {"catalog.sqlite#1": "one", "catalog.sqlite#2": "two"}
    lacks = {what: count for what, (count, _) in shop.lacks("catalog.sqlite").items()}
    assert lacks == {"no_text": 1, "undecodable": 1, "wrong_type": 1}
    source = {"name": "docs", "path": str(shop.docs), "delete_grace_s": 0}
    for bad, told in (
        ("delete from products", "readonly"),
        ("select nowhere from products", "no such column"),
    ):
        shop.run(sources=[{**source, "records": {**FLAT, "query": bad}}])
        assert told in (shop.file("catalog.sqlite").detail or "")
    assert path.read_bytes() == before
    assert [each.name for each in shop.docs.iterdir()] == ["catalog.sqlite"]
    assert len(shop.texts()) == 2
    shop.write("note.sqlite", b"no database at all, but text")
    shop.run()
    assert shop.file("note.sqlite").reason == "broken"


def test_a_join_with_two_columns_of_one_name_is_not_guessed(tmp_path: Path) -> None:
    import sqlite3

    source = {"name": "docs", "path": str(tmp_path / "docs"), "delete_grace_s": 0}
    joined = "from products p join kinds k on k.n = p.kind"
    shop = Shop(tmp_path, {**FLAT, "query": f"select * {joined}"})
    with contextlib.closing(sqlite3.connect(shop.docs / "catalog.db")) as database:
        database.execute(
            "create table products (n integer, body text, kind integer, price real, at text, m text)"
        )
        database.execute("insert into products values (1, 'Lamp', 7, 1.5, '2024-05-06', 'steel')")
        database.execute("create table kinds (n integer, body text, m text)")
        database.execute("insert into kinds values (7, 'lights', 'any')")
        database.commit()
    shop.run()
    assert shop.texts() == {}, "it took the last column: the text of another row, which was paid"
    said = "its query gives the name 'n' more than once: give one another name with AS"
    assert shop.file("catalog.db").detail == said
    named = f"select p.*, k.n as kn, k.body as kb, k.m {joined}"  # of `m` nothing is asked
    shop.run(sources=[{**source, "records": {**FLAT, "query": named}}])
    assert shop.texts() == {"catalog.db#1": "Lamp"}


@pytest.mark.parametrize("rules", [1, 2])
@pytest.mark.parametrize("context", ["", "title > section"])
@pytest.mark.parametrize("title", ["", "Lamp", "Lamp \u2028 and *more*", "x" * 900])
def test_a_record_of_one_chunk_is_cut_as_any_plain_text(rules: int, context: str, title: str) -> None:
    from voyage_jobs.splitting.split import SplitOptions
    from voyage_jobs.steps.reading import ReadRecord
    from voyage_jobs.steps.splitting import to_version, to_versions

    options = SplitOptions(rules=rules, context=context, min_chars=400 if rules > 1 else 0)
    profile = Profile("/v1/embeddings", "voyage-4", 256, "float", "document")
    keyed = SimpleNamespace(profile=profile, keys=KeyMaker(profile), count=estimate_each)
    texts = (
        "a",
        "Lamp\nAcme\n\nIt lights.",
        "# none\n\n\n\n1. x\n2. y",
        "Ä\u3000b",
        "word " * 300 + "end",
        "word " * 500 + "end",
    )
    stat = FileStat("a.csv", 1, 1, 1)
    found = [
        ReadRecord(Record(at, str(at), text, title, "u", {"price": 1.5}, None, b"d" * 20, ()), stat)
        for at, text in enumerate(texts)
    ]
    quick = to_versions(keyed, [(Seen("", "a.csv#1", 1, 0, 0), read, None) for read in found], options)
    slow = [to_version(keyed, 0, "a.csv#1", read.as_document(), options) for read in found]
    assert [replace(each, chunks=list(each.chunks)) for each in quick] == slow
    assert [len(each.chunks) for each in quick] == [1, 1, 1, 1, 1, 2]


def test_a_long_record_is_several_chunks_with_all_its_columns(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}", "columns": {"note": "string"}})
    body = " ".join(f"Word{i}" for i in range(900))
    shop.write("a.jsonl", json.dumps({"n": 1, "body": body, "note": "x" * 50_000}) + "\n")
    shop.run()
    rows = shop.table_rows("text", "front_matter", "title")
    assert len(rows) > 2
    assert {each["title"] for each in rows} == {"1"}
    assert "".join(each["text"].replace(" ", "") for each in rows) == body.replace(" ", "")
    assert orjson.loads(rows[0]["front_matter"]) == {"note": "x" * 50_000}


def test_settings_of_records_without_a_text_or_with_a_broken_template_are_refused(tmp_path: Path) -> None:
    from pydantic import ValidationError

    for bad in ({"id": "sku"}, {"text": "{name"}, {"text": "{}"}, {"text": "{a}", "columns": {"a": "money"}}):
        with pytest.raises(ValidationError):
            Shop(tmp_path, bad).settings()


def test_a_file_that_changes_while_it_is_read_deletes_nothing(shop: Shop, monkeypatch) -> None:
    from voyage_jobs.steps import record_files as step

    shop.write("catalog.csv", csv(*map(row, range(20))))
    shop.run()
    real = step.rows_of

    def writes(name: str, file: Any, recipe: Any) -> Any:
        yield from real(name, file, recipe)
        shop.write("catalog.csv", csv(*map(row, range(20))))
        monkeypatch.setattr(step, "rows_of", real)

    monkeypatch.setattr(step, "rows_of", writes)
    shop.write("catalog.csv", csv(*map(row, range(15))))
    with shop.worker() as context:
        look = Scan(context, source_row(context), context.settings.sources[0])
        list(look.run())
        assert look.result.vanished == 0
    shop.run()
    assert len(shop.texts()) == 20


def test_a_death_between_slices_reads_again_and_pays_once(shop: Shop, monkeypatch) -> None:
    from voyage_jobs.core import crash

    monkeypatch.setattr("voyage_jobs.steps.scan_slices.SLICE_DOCUMENTS", 5)
    monkeypatch.setattr("voyage_jobs.steps.record_files.LOOK_UP", 4)
    shop.write("catalog.csv", csv(*map(row, range(30)), row(3), row(29)))

    class Death(BaseException):
        pass

    def dies(name: str, left: list[int] = [3]) -> None:  # noqa: B006 - counts over all calls
        left[0] -= name == "scan.slice.committed"
        if left[0] == 0:
            raise Death

    crash.arm(dies)
    try:
        with pytest.raises(Death):
            shop.run()
    finally:
        crash.arm(None)
    shop.run()
    assert len(shop.texts()) == 30
    assert shop.ledger.units() == 30
    count, first = shop.lacks()["duplicate_id"]
    assert (count, sorted(first)) == (2, ["32: SKU3", "33: SKU29"])


def test_long_rows_are_recorded_few_at_a_time(shop: Shop, monkeypatch) -> None:
    monkeypatch.setattr("voyage_jobs.steps.scan_slices.SLICE_CHARS", 16_000)
    monkeypatch.setattr("voyage_jobs.steps.record_files.PART_CHARS", 8_000)
    shop.write("catalog.csv", csv(*(row(number, note=f"{number} " * 400) for number in range(60))))
    shop.run()
    recorded = [each["versions"] for each in shop.log.named("scan.recorded")]
    assert sum(recorded) == 60
    assert max(recorded) <= 24


def die_at(passage: int) -> None:
    """The process dies at this passage of the end of a slice, or of a page of losses; nothing is left that dies."""
    from voyage_jobs.core import crash

    left = [passage]

    def dies(name: str) -> None:
        left[0] -= name == "scan.slice.committed"
        if left[0] == 0:
            crash.arm(None)
            raise KeyboardInterrupt

    crash.arm(dies)


def test_a_file_that_is_again_what_it_was_before_a_reading_that_broke_off_loses_its_new_rows(
    shop: Shop,
) -> None:
    """Seen: the row that was found meanwhile stayed in the table for good."""
    shop.write("catalog.csv", csv(row(1)))
    shop.run()
    shop.write("catalog.csv", csv(row(1), row(2)))
    die_at(1)
    with pytest.raises(KeyboardInterrupt):
        shop.run()
    shop.clock.advance(100.0)
    shop.write("catalog.csv", csv(row(1)))
    shop.run()
    assert list(shop.texts()) == ["catalog.csv#SKU1"]


@pytest.mark.parametrize("passage", [1, 2, 3])
def test_losses_are_recorded_in_pages_and_a_death_between_them_loses_nothing(
    tmp_path: Path, monkeypatch, passage: int
) -> None:
    shop = Shop(tmp_path, delete_grace_s=3_600)
    monkeypatch.setattr("voyage_jobs.steps.losses.PAGE", 3)
    shop.write("catalog.csv", csv(*map(row, range(30))))
    shop.run()
    shop.write("catalog.csv", csv(*map(row, range(20))))
    die_at(passage)
    with pytest.raises(KeyboardInterrupt):
        shop.run()
    with shop.worker() as context:
        assert query(context, "SELECT COUNT(*) FROM documents WHERE state = 'missing'") == [(3 * passage,)]
    shop.run()
    assert len(shop.texts()) == 30
    with shop.worker() as context:
        assert query(context, "SELECT COUNT(*) FROM documents WHERE state = 'missing'") == [(10,)]
        assert query(context, "SELECT COUNT(*) FROM meta WHERE key LIKE 'losses_since%'") == [(0,)]
    shop.clock.advance(4_000)
    shop.run()
    assert len(shop.texts()) == 20
    assert not found(shop, deep=True)


@pytest.mark.parametrize("passage", [2, 5, 10])
def test_a_file_that_was_renamed_is_a_move_though_the_process_dies_among_its_rows(
    shop: Shop, monkeypatch, passage: int
) -> None:
    monkeypatch.setattr("voyage_jobs.steps.losses.PAGE", 3)
    shop.write("a.csv", csv(*map(row, range(30))))
    shop.write("other.csv", csv(*map(row, range(100, 110))))
    shop.run()
    paid = shop.ledger.units()
    shop.remove("a.csv")
    shop.write("b.csv", csv(*map(row, range(30))))
    die_at(passage)
    with pytest.raises(KeyboardInterrupt):
        shop.run()
    shop.run()
    assert shop.ledger.units() == paid
    assert sum(path.startswith("b.csv#") for path in shop.texts()) == 30
    assert len(shop.texts()) == 40
    with shop.worker() as context:
        assert query(context, "SELECT state FROM sources") == [("active",)]
        assert query(context, "SELECT COUNT(*) FROM documents WHERE moved_from LIKE 'a.csv#%'") == [(30,)]


def test_a_file_that_goes_before_it_was_read_whole_leaves_nothing(shop: Shop, monkeypatch) -> None:
    monkeypatch.setattr("voyage_jobs.steps.scan_slices.SLICE_DOCUMENTS", 5)
    monkeypatch.setattr("voyage_jobs.steps.record_files.LOOK_UP", 4)
    shop.write("other.csv", csv(*map(row, range(100, 200))))
    shop.run()
    shop.write("catalog.csv", csv(*map(row, range(20))))
    with shop.worker() as context:
        scan = Scan(context, source_row(context), context.settings.sources[0]).run()
        next(scan), next(scan)
        scan.close()
        assert query(context, "SELECT COUNT(*) FROM documents WHERE state = 'present'") > [(100,)]
    shop.remove("catalog.csv")
    shop.run()
    shop.clock.advance(400)
    shop.run()
    assert len(shop.texts()) == 100


def test_verify_finds_nothing_wrong_and_a_repair_of_a_record_costs_nothing(shop: Shop) -> None:
    from voyage_jobs.state import mending

    shop.write("catalog.csv", csv(row(1), row(2)))
    shop.run()
    assert not found(shop, deep=True)
    before, paid = shop.texts(), shop.ledger.units()
    with shop.worker() as context:
        versions = [one for (one,) in query(context, "SELECT id FROM versions")]
        with context.store.write() as tx:
            mending.drop_leftovers(tx, versions)
        assert query(context, "SELECT COUNT(*) FROM texts") == [(2,)]
        with context.store.write() as tx:
            mending.make_anew(tx, versions[:1], "a test")
    shop.run()
    assert shop.texts() == before
    assert shop.ledger.units() == paid
    assert not found(shop, deep=True)


def test_a_file_of_records_is_not_taken_out_of_turn(shop: Shop) -> None:
    shop.write("catalog.csv", csv(row(1)))
    shop.run()
    shop.write("catalog.csv", csv(row(2)))
    with shop.worker() as context:
        assert not Scan(context, source_row(context), context.settings.sources[0]).take_one("catalog.csv")


def test_files_that_could_be_records_are_told_how() -> None:
    from voyage_jobs.report.passed_over import how_to_take

    assert "`records`" in how_to_take({".csv": 2})
    assert "*.ipynb" in how_to_take({".csv": 2, ".ipynb": 1})
    assert "records" not in how_to_take({".ipynb": 1})


def test_a_state_of_the_release_before_keeps_its_folders_and_pays_nothing(tmp_path: Path) -> None:
    from older_state import as_of

    world = World(tmp_path).by_rules(1)
    older = {"sources": [world.sections()["sources"][0] | {"skip_data": False}]}
    world.write("a.md", "# A\n\nText.\n")
    world.write("deep/er/b.md", "# B\n\nText.\n")
    world.run(**older)
    paid, before = world.ledger.units(), world.table_rows("path", "text")
    with world.worker(**older) as context:
        folders = query(context, "SELECT id, source_id, path FROM folders ORDER BY id")
        known = query(context, "SELECT id, folder_id, name, doc_key FROM documents ORDER BY id")
    as_of(world, "0015")
    with world.worker(**older) as context:
        assert (
            query(context, "SELECT id, source_id, path FROM folders WHERE file = '' ORDER BY id") == folders
        )
        assert query(context, "SELECT id, folder_id, name, doc_key FROM documents ORDER BY id") == known
        assert query(context, "PRAGMA foreign_key_check") == []
    world.run(**older)
    assert (world.ledger.units(), world.table_rows("path", "text")) == (paid, before)


def spoilt(data: bytes, rng: random.Random) -> bytes:
    """The same with a few bytes changed, cut out, put in, or its end lost."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(found))
        how = rng.randrange(4)
        if how == 0:
            found[at] = rng.randrange(256)
        elif how == 1:
            del found[at : at + rng.randint(1, 40)]
        elif how == 2:
            found[at:at] = bytes(rng.choice(b'",\n\r\x00{}[]\xff;|') for _ in range(3))
        else:
            del found[max(1, at) :]
        found = found or bytearray(b" ")
    return bytes(found)


def whole_files(folder: Path) -> dict[str, bytes]:
    """A file of each format, with the same rows."""
    import sqlite3

    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"id": i, "a": 'x "y"', "b": 1.5, "d": ["p"]} for i in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    with contextlib.closing(sqlite3.connect(folder / "a.sqlite")) as database:
        database.execute("create table t (id, a, b, d)")
        database.executemany("insert into t values (?, ?, ?, 'p')", [(i, "x", 1.5) for i in range(40)])
        database.commit()
    lines = [json.dumps(each) for each in rows]
    return {
        ".csv": b"id,a,b,d\n" + b"".join(b'%d,"x ""y""",1.5,p|q\n' % i for i in range(40)),
        ".jsonl": "\n".join(lines).encode(),
        ".json": json.dumps(rows).encode(),
        **{suffix: (folder / f"a{suffix}").read_bytes() for suffix in (".parquet", ".sqlite")},
    }


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json", ".parquet", ".sqlite"])
def test_spoilt_files_end_in_rows_or_a_reason(tmp_path: Path, suffix: str) -> None:
    from voyage_jobs.readers.reader import Refused
    from voyage_jobs.records.formats import rows_of
    from voyage_jobs.records.recipe import Recipe, records

    recipe = Recipe("{a}", id=("id",), columns={"b": "float", "d": "list<string>"}, query="select * from t")
    whole, rng = whole_files(tmp_path)[suffix], random.Random(suffix)
    path = tmp_path / f"spoilt{suffix}"
    for data in (whole, *(spoilt(whole, rng) for _ in range(150))):
        path.write_bytes(data)
        with path.open("rb") as file:
            try:
                found = list(records(recipe, rows_of(path.name, file, recipe)))
            except Refused as refused:
                assert refused.reason  # noqa: PT017 - both ends are right
                found = []
        assert data != whole or len(found) == 40


def test_a_fault_in_a_format_is_told_by_its_kind_alone(monkeypatch) -> None:
    from voyage_jobs.readers.reader import Refused
    from voyage_jobs.records.formats import registry
    from voyage_jobs.records.recipe import Recipe

    def fails(*_: object) -> Any:
        raise UnicodeDecodeError("utf-8", b"secret words", 0, 1, "odd")

    monkeypatch.setitem(registry.FORMATS, ".csv", fails)
    with pytest.raises(Refused, match="UnicodeDecodeError where its rows are read") as caught:
        list(registry.rows_of("a.csv", io.BytesIO(), Recipe("{a}")))
    assert "secret" not in str(caught.value)


def test_a_plan_tells_of_rows_that_are_no_record_with_their_lines(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "id", "text": "{name}", "columns": {"price": "float"}})
    shop.write("items.csv", "id,name,price\n1,a,3\n1,again,4\n,none,5\n2,b,dear\n3,c")
    told = plan(shop.settings(), shop.clock)
    [file] = told["sources"][0]["record_files"]
    assert (file["file"], file["records"], file["reason"]) == ("items.csv", 2, None)
    assert {what: (each["count"], list(each["first"])) for what, each in file["left_out"].items()} == {
        "cut_short": (1, ["6: 2 fields; the first line has 3"]),
        "duplicate_id": (1, ["3: 1"]),
        "missing_id": (1, ["4"]),
        "wrong_type": (1, ["5: price"]),
    }
    [warning] = [each for each in told["warnings"] if "items.csv" in each]
    assert warning.startswith("docs:items.csv has 2 records; 1 row cut short (line 6: 2 fields;")
    assert "1 row with the id of an earlier one (line 3: 1); 1 row without an id (line 4);" in warning
    shop.write("items.csv", "id,price\n1,3\n")
    told = plan(shop.settings(), shop.clock)
    assert "cannot be read: it has no field" in " ".join(told["warnings"])
    assert "has no documents" not in " ".join(told["warnings"])
