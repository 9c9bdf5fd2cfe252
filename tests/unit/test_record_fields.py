"""Fields that no row of a file has: nothing is sent for what may be misspelt, and the answer is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_records import Shop

from voyage_jobs.planning.plan import plan
from voyage_jobs.report.status import look
from voyage_jobs.report.why import why

ROWS = [
    {"n": 1, "name": "Lamp", "more": {"body": "It lights."}, "price": 1},
    {"n": 2, "name": "Kettle", "price": 2, "note": None},
    {"n": 3, "name": "Chair", "more": None, "note": "Oak."},
]
RECIPE = {"id": "n", "text": "{name}\n{more.body}", "columns": {"price": "float"}}


def said(suffix: str, rows: list[dict[str, Any]]) -> str:
    if suffix == ".json":
        return json.dumps(rows)
    return "".join(json.dumps(each) + "\n" for each in rows)


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize(
    ("settings", "field", "near"),
    [
        ({"text": "{name}\n{more.bodi}"}, "more.bodi", "more.body"),
        ({"title": "{nmae}"}, "nmae", "name"),
        ({"id": "nr"}, "nr", "n"),
        ({"url": "https://shop.example/{slug}"}, "slug", None),
        ({"updated_at": "at"}, "at", None),
        ({"columns": {"prise": "float"}}, "prise", "price"),
    ],
)
def test_a_file_none_of_whose_rows_has_a_field_is_not_read(
    tmp_path: Path, suffix: str, settings: dict[str, Any], field: str, near: str | None
) -> None:
    shop = Shop(tmp_path, {**RECIPE, **settings})
    shop.write(f"items{suffix}", said(suffix, ROWS))
    meant = f" (did you mean {near!r}?)" if near else ""
    sentence = f"it has no field {field!r}{meant}, and `optional` does not name it; it has n, name, more, price, note"
    next_step = "Correct the field in `records` of source docs, or name it in `optional` there."
    planned = plan(shop.settings(), shop.clock)
    assert planned["tokens"]["to_send"] == 0
    assert f"docs:items{suffix} cannot be read: {sentence}. {next_step}" in planned["warnings"]
    shop.run()
    assert (shop.ledger.units(), shop.texts()) == (0, {})
    problems = {each["code"]: each for each in look(shop.settings(), shop.clock)[0]["problems"]}
    assert sentence in problems["records_unread"]["message"]
    assert problems["records_unread"]["hint"].startswith(next_step)
    told = why(shop.settings(), shop.clock, f"items{suffix}")
    assert sentence in told.paragraph
    assert (told.reason, told.next) == ("records_unread", next_step)
    assert "no_documents" not in problems
    source = {"name": "docs", "path": str(shop.docs)}
    shop.run(sources=[{**source, "records": RECIPE}])
    assert shop.texts()[f"items{suffix}#1"] == "Lamp\nIt lights."
    assert shop.ledger.units() == 3


def test_a_field_that_the_last_row_has_is_a_field(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {**RECIPE, "text": "{name}\n{late}"})
    rows = [{"n": i, "name": f"Lamp {i}", "price": 1} for i in range(5_000)]
    shop.write("items.jsonl", said(".jsonl", [*rows, {"n": 5_000, "late": "At last."}]))
    shop.run()
    assert (shop.ledger.units(), shop.file("items.jsonl").reason) == (5_001, None)


def test_optional_fields_may_be_missing_from_whatever_file(tmp_path: Path) -> None:
    recipe = {**RECIPE, "text": "{name}\n{more.body}\n{fix}", "optional": ["fix", "more.body", "price"]}
    shop = Shop(tmp_path, recipe)
    shop.write("a.jsonl", said(".jsonl", ROWS))
    shop.write("b.csv", "n,name\n1,Bench\n")
    shop.run()
    assert shop.texts()["a.jsonl#1"] == "Lamp\nIt lights."
    assert shop.texts()["b.csv#1"] == "Bench"


def test_a_file_without_rows_has_no_wrong_names(tmp_path: Path) -> None:
    shop = Shop(tmp_path, RECIPE)
    shop.write("a.jsonl", "\n")
    shop.write("b.json", "[]")
    shop.write("c.jsonl", "{oops}\n")
    shop.run()
    assert [shop.file(name).reason for name in ("a.jsonl", "b.json", "c.jsonl")] == [None] * 3


def test_names_within_others_are_those_of_the_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shop = Shop(tmp_path, {"id": "n", "text": "{more.body}"})
    shop.write("a.csv", "n,more\n1,It lights.\n")
    shop.write("b.csv", "n,more.body\n1,It boils.\n")
    pq.write_table(pa.table({"n": [1], "more": [{"body": "It stands."}]}), shop.docs / "c.parquet")
    pq.write_table(pa.table({"n": [1], "more": [{"bodi": "It stands."}]}), shop.docs / "d.parquet")
    shop.run()
    assert shop.texts() == {"b.csv#1": "It boils.", "c.parquet#1": "It stands."}
    for name in ("a.csv", "d.parquet"):
        assert "it has no field 'more.body'" in (shop.file(name).detail or "")


@pytest.mark.parametrize("sign", [";", "\t", "^"])
def test_a_first_line_that_tells_the_separator_is_heard(tmp_path: Path, sign: str) -> None:
    """Excel writes and reads it where a country's lists are separated by something else than a comma."""
    shop = Shop(tmp_path, {"id": "sku", "text": "{name}"})
    lines = ["sku,name", "1,Lamp", "2", "3,Chair"]
    shop.write("catalog.csv", f"sep={sign}\r\n" + "".join(f"{each}\r\n" for each in lines).replace(",", sign))
    shop.run()
    assert shop.texts() == {"catalog.csv#1": "Lamp", "catalog.csv#3": "Chair"}
    assert shop.lacks() == {"broken": (1, ("4: 1 fields; the first line has 2",))}


def test_another_sign_between_names_leads_to_the_setting(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "sku", "text": "{name}"})
    shop.write("catalog.csv", "sku^name\n1^Lamp\n")
    shop.run()
    told = why(shop.settings(), shop.clock, "catalog.csv")
    assert (
        "its first line is one name, 'sku^name': if another sign is between names, set `delimiter`"
        in told.paragraph
    )
    assert shop.texts() == {}
    shop = Shop(tmp_path, {"id": "sku", "text": "{name}", "delimiter": "^"})
    shop.run()
    assert shop.texts() == {"catalog.csv#1": "Lamp"}


@pytest.mark.parametrize("above", ["sep=\r\n", "sep=\r", 'sep="\r\n'])
def test_a_line_that_tells_no_separator_is_no_line_of_names_for_it(tmp_path: Path, above: str) -> None:
    shop = Shop(tmp_path, {"id": "sku", "text": "{name}"})
    shop.write("catalog.csv", above + "\r\nsku;name\r\n1;Lamp\r\n")
    shop.run()
    assert shop.texts() == {}
    assert "it has no field 'sku'" in why(shop.settings(), shop.clock, "catalog.csv").paragraph


def test_one_name_with_a_sign_in_it_is_a_name(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"text": "{sku}"})
    shop.write("catalog.csv", "product (sku)\nLamp\n")
    shop.run()
    assert "it has no field 'sku'" in why(shop.settings(), shop.clock, "catalog.csv").paragraph
