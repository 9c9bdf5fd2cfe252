"""Values of records that are not what they look like: bytes, names that stand twice, what follows an array."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sqlite3
import tracemalloc
from pathlib import Path

import pytest
from test_records import Shop

from voyage_jobs.report.status import look
from voyage_jobs.report.why import why

RECIPE = {"id": "n", "text": "{body}", "columns": {"kind": "string"}}


def test_bytes_that_are_texts_are_texts(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shop = Shop(tmp_path, {**RECIPE, "query": "select n, body, kind from items"})
    rows = [(b"a", "Büro".encode(), b"x"), (b"b", b"\xff\xfe\x00", b"y"), (b"c", b"lamp", b"\xff")]
    columns = {name: [row[i] for row in rows] for i, name in enumerate(("n", "body", "kind"))}
    pq.write_table(pa.table(columns), shop.docs / "items.parquet")
    with contextlib.closing(sqlite3.connect(shop.docs / "items.db")) as database:
        database.execute("create table items (n, body, kind)")
        database.executemany("insert into items values (?, ?, ?)", rows)
        database.commit()
    shop.run()
    for name in ("items.parquet", "items.db"):
        assert {k: v for k, v in shop.texts().items() if k.startswith(name)} == {
            f"{name}#a": "Büro",
            f"{name}#c": "lamp",
        }
        assert shop.lacks(name) == {"undecodable": (1, ("2: not UTF-8",)), "wrong_type": (1, ("3: kind",))}


def test_values_of_parquet_are_what_they_look_like(tmp_path: Path) -> None:
    import datetime as dt

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"price": "float", "half": "float", "stocked": "bool", "count": "int", "tags": "list<string>"}
    shop = Shop(tmp_path, {"id": "n", "text": "{price} {half} {more}", "updated_at": "at", "columns": kinds})
    price = pa.array([39.9, None, float("inf"), 1e-8], pa.float32())
    table = {
        "n": [1, 2, 3, 4],
        "price": price,
        "half": pa.array([np.float16(39.9), np.float16(65504), None, np.float16("nan")]),
        "more": pa.array([{"a": [0.1]}, None, None, None], pa.struct([("a", pa.list_(pa.float32()))])),
        "at": pa.array([dt.date(2026, 5, 1), None, None, dt.date(2026, 5, 2)]),
        "stocked": [b"true", b" no ", b"", b"maybe"],
        "count": [b"9007199254740993", None, b"\xff", b" "],
        "tags": [b"office|light", None, None, None],
    }
    pq.write_table(pa.table(table), shop.docs / "dates.parquet")
    at = [b"2026-05-01", b"1777593600", b"\xff", b"soon"]
    pq.write_table(pa.table({**table, "at": at}), shop.docs / "bytes.parquet")
    shop.run()
    for name, days in (("dates", (1, None, None, 2)), ("bytes", (1, 1, None, None))):
        rows = {
            each["path"]: each
            for each in shop.table_rows("path", "text", "front_matter", "modified_at")
            if each["path"].startswith(name)
        }
        found = [rows[f"{name}.parquet#{n}"] for n in range(1, 5)]
        assert [each["text"] for each in found] == ['39.9 39.9 {"a":[0.1]}', "65504.0", "inf", "1e-08 nan"]
        for each, day in zip(found, days, strict=True):
            assert day is None or each["modified_at"] == dt.datetime(2026, 5, day, tzinfo=dt.UTC)
        assert json.loads(found[0]["front_matter"]) == {
            "price": 39.9,
            "half": 39.9,
            "stocked": True,
            "count": 2**53 + 1,
            "tags": ["office", "light"],
        }
        assert json.loads(found[1]["front_matter"]) == {"half": 65504.0, "stocked": False}
        assert json.loads(found[3]["front_matter"]) == {"price": 1e-8}


@pytest.mark.parametrize("group", [1, 40, 200])
@pytest.mark.parametrize("suffix", [".parquet", ".db"])
def test_large_rows_are_held_few_at_a_time(tmp_path: Path, suffix: str, group: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from voyage_jobs.records.formats import rows_of
    from voyage_jobs.records.recipe import Recipe

    path, count = tmp_path / f"items{suffix}", 200
    rows = [(n, f"{n} " * (400_000 // len(f"{n} "))) for n in range(count)]
    if suffix == ".parquet":
        table = pa.table({"n": [n for n, _ in rows], "body": [body for _, body in rows]})
        pq.write_table(table, path, group, use_dictionary=False, write_batch_size=10)  # a page is read whole
    else:
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("create table items (n, body)")
            database.executemany("insert into items values (?, ?)", rows)
            database.commit()
    del rows
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            found = rows_of(path.name, file, Recipe("{body}", ("n",), query="select n, body from items"))
            held = [pa.total_allocated_bytes() - before + tracemalloc.get_traced_memory()[1] for _ in found]
    finally:
        tracemalloc.stop()
    assert len(held) == count
    assert max(held) < count * 400_000 / 2


def test_bytes_within_other_fields_are_texts(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    pq.write_table(pa.table({"n": [1], "body": [{"words": b"lamp"}]}), shop.docs / "items.parquet")
    shop.run()
    assert shop.texts() == {"items.parquet#1": '{"words":"lamp"}'}


@pytest.mark.parametrize(("encoding", "said"), [("", "not UTF-8"), ("ascii", "not ascii")])
def test_a_row_that_cannot_be_decoded_says_in_words_why(tmp_path: Path, encoding: str, said: str) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"}, **({"encoding": encoding} if encoding else {}))
    shop.write("items.csv", b"n,body\n1,caf\xe9\n2,tea\n")
    shop.run()
    assert (shop.texts(), shop.lacks("items.csv")) == (
        {"items.csv#2": "tea"},
        {"undecodable": (1, (f"2: {said}",))},
    )


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "auto"])
def test_a_byte_order_mark_tells_more_than_the_settings(tmp_path: Path, encoding: str) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"}, encoding=encoding)
    shop.write("items.csv", "n,body\n1,café\n".encode("utf-8-sig"))
    shop.run()
    assert (shop.texts(), shop.lacks("items.csv")) == ({"items.csv#1": "café"}, {})


def test_times_that_python_has_not_take_no_row_along(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shop = Shop(tmp_path, {"id": "n", "text": "{until} {day} {all} {at} {took}", "updated_at": "until"})
    moment = pa.timestamp("ns")
    table = {
        "n": [1, 2, 3],
        "until": pa.array([0, 2**63 - 1, None], pa.timestamp("us")),
        "day": pa.array([0, 2**30, -(2**20)], pa.date32()),
        "all": pa.array([[{"x": 1_777_593_600_000_000_789}], [], None], pa.list_(pa.struct([("x", moment)]))),
        "at": pa.array([1_123_456_789, None, None], pa.time64("ns")),
        "took": pa.array([None, None, 1_001], pa.duration("ns")),
    }
    pq.write_table(pa.table(table), shop.docs / "items.parquet")
    late = pa.array([[{"x": 0}], [{"x": 2**62}]], pa.list_(pa.struct([("x", pa.timestamp("us"))])))
    rest = {name: pa.nulls(2) for name in ("until", "day", "at", "took")}
    pq.write_table(pa.table({"n": [4, 5], "all": late, **rest}), shop.docs / "late.parquet")
    shop.run()
    assert shop.texts() == {
        "items.parquet#1": '1970-01-01T00:00:00 1970-01-01 [{"x":"2026-05-01T00:00:00"}] 00:00:01.123456',
        "items.parquet#2": "294247-01-10T04:00:54.775807 2941775-04-07",
        "items.parquet#3": "-901-02-05   0:00:00.000001",
        "late.parquet#4": '[{"x":"1970-01-01T00:00:00"}]',
        "late.parquet#5": '[{"x":"148108-07-06T14:00:27.387904"}]',
    }


def test_numbers_keep_their_digits_wherever_they_are(tmp_path: Path) -> None:
    from decimal import Decimal

    import pyarrow as pa
    import pyarrow.parquet as pq

    shop = Shop(tmp_path, {"id": "n", "text": "{many} {two} {named}", "columns": {"count": "int"}})
    single = pa.float32()
    table = {
        "n": [1, 2],
        "count": pa.array([Decimal(2**53 + 1), Decimal("1.5")], pa.decimal128(20, 1)),
        "many": pa.array([[39.9], [0.1]], pa.large_list(single)),
        "two": pa.array([[39.9, 0.1], [1.0, 2.0]], pa.list_(single, 2)),
        "named": pa.array([[("a", 39.9)], None], pa.map_(pa.string(), single)),
    }
    pq.write_table(pa.table(table), shop.docs / "items.parquet")
    shop.run()
    rows = {row["path"]: row for row in shop.table_rows("path", "text", "front_matter")}
    assert rows["items.parquet#1"]["text"] == '39.9 39.9, 0.1 [["a",39.9]]'
    assert json.loads(rows["items.parquet#1"]["front_matter"]) == {"count": 2**53 + 1}
    assert shop.lacks("items.parquet") == {"wrong_type": (1, ("2: count",))}


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("cp1252", "grün für das Büro"),
        ("cp1252", "été à 5 €"),
        ("cp1251", "Красный чайник для офиса и дома"),
        ("cp932", "電気ケトル、赤い色のものです"),
        ("utf-16-le", "Übergröße"),
    ],
)
def test_an_encoding_that_is_not_named_is_told_by_the_letters(
    tmp_path: Path, encoding: str, said: str
) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"}, encoding="auto")
    shop.write("items.csv", f"n,body\n1,{said}\n2,lamp\n3,{said}\n".encode(encoding))
    shop.run()
    assert shop.texts() == {"items.csv#1": said, "items.csv#2": "lamp", "items.csv#3": said}


def test_a_line_in_another_encoding_changes_no_other(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"}, encoding="auto")
    shop.write("items.csv", "n,body\n1,Büro\n2,Tür\n".encode() + b"3,gr\xfcn\n")
    shop.run()
    assert shop.texts() == {"items.csv#1": "Büro", "items.csv#2": "Tür"}
    assert shop.lacks("items.csv") == {"undecodable": (1, ("4: not UTF-8",))}


def test_a_database_whose_name_is_no_utf8_is_read(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}", "query": "select 1 as n, 'lamp' as body"})
    name = os.fsdecode(b"caf\xe9 %23#?.db")
    sqlite3.connect(shop.docs / "items.db").close()
    (shop.docs / "items.db").rename(shop.docs / name)
    shop.run()
    assert list(shop.texts().values()) == ["lamp"]


def test_whole_numbers_of_any_size_stay_what_they_are(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n.id", "text": "{big} {more}", "columns": {"big": "int"}})
    rows = [
        {"n": {"id": 10**20 + at}, "big": 2**64 + at, "more": {"list": [10**30 + at, "é"]}} for at in (1, 2)
    ]
    rows += [{"n": {"id": at}, "big": at, "more": 1.5} for at in (2**64 - 1, -(2**63), 7)]
    shop.write("items.jsonl", "".join(json.dumps(each) + "\n" for each in rows))
    shop.write("items.json", json.dumps(rows))
    shop.run()
    found = shop.texts()
    for name in ("items.json", "items.jsonl"):
        assert {k.partition("#")[2]: v for k, v in found.items() if k.startswith(f"{name}#")} == {
            "100000000000000000001": '18446744073709551617 {"list":[1000000000000000000000000000001,"é"]}',
            "100000000000000000002": '18446744073709551618 {"list":[1000000000000000000000000000002,"é"]}',
            "18446744073709551615": "18446744073709551615 1.5",
            "-9223372036854775808": "-9223372036854775808 1.5",
            "7": "7 1.5",
        }
        assert shop.lacks(name)["wrong_type"][0] == 3


def test_a_number_of_thousands_of_digits_is_a_row_that_is_broken(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    rows = [f'{{"n": {n}, "body": "lamp"}}' for n in ("1", "9" * 300, "9" * 5_000, "2")]
    shop.write("items.json", f"[{', '.join(rows)}]")
    shop.write("items.jsonl", "\n".join(rows) + "\n")
    shop.run()
    for name in ("items.json", "items.jsonl"):
        assert {each for each in shop.texts() if each.startswith(f"{name}#")} == {
            f"{name}#{n}" for n in ("1", "9" * 300, "2")
        }
        assert list(shop.lacks(name)) == ["broken"]


def test_a_row_nested_too_deep_is_left_out_alone(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}", "columns": {"size": "float"}, "optional": "size"})
    deep = "[" * 1000 + '"lamp"' + "]" * 1000
    rows = ['{"n":1,"body":"one"}', f'{{"n":2,"body":{deep}}}', '{"n":3,"body":"three"}']
    lines = [*rows, f'{{"n":4,"size":1e30,"body":{deep}}}', ""]
    shop.write("items.jsonl", "\n".join(lines).encode())
    shop.write("items.json", f"[{','.join(rows)}]".encode())
    shop.run()
    taken = {
        f"items.{kind}#{n}": text for kind in ("json", "jsonl") for n, text in ((1, "one"), (3, "three"))
    }
    assert shop.texts() == taken
    told = ("2: values within values within values", "4: values within values within values")
    assert shop.lacks("items.jsonl") == {"broken": (2, told)}
    assert shop.lacks("items.json") == {"broken": (1, told[:1])}


def test_endings_in_capitals_are_records_too(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    shop.write("CATALOG.CSV", "n,body\n1,lamp\n")
    shop.run()
    assert shop.texts() == {"CATALOG.CSV#1": "lamp"}


def test_what_follows_an_array_is_told(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    one, other = ([{"n": i, "body": f"lamp {i}"}] for i in (1, 2))
    shop.write("items.json", f"{json.dumps(one)}\n{json.dumps(other)}")
    shop.write("fine.json", f"{json.dumps(one)}\n\n")
    shop.run()
    assert set(shop.texts()) == {"items.json#1", "fine.json#1"}
    assert shop.lacks("items.json") == {"broken": (1, ("2: there is more after the end of the array",))}
    assert not shop.lacks("fine.json")


def test_a_name_that_stands_twice_and_is_asked_for_is_not_guessed(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    shop.write("items.csv", "n,body,body\n1,one,other\n")
    shop.write("fine.csv", "n,x,x,body\n1,a,b,lamp\n")
    columns = [pa.array(["1"]), pa.array(["one"]), pa.array(["other"])]
    pq.write_table(pa.Table.from_arrays(columns, ["n", "body", "body"]), shop.docs / "items.parquet")
    pq.write_table(
        pa.Table.from_arrays(columns, ["x", "x", "n"]).append_column("body", columns[1]),
        shop.docs / "fine.parquet",
    )
    shop.run()
    assert shop.texts() == {"fine.csv#1": "lamp", "fine.parquet#other": "one"}
    assert shop.file("items.parquet").detail == "it has the name 'body' more than once"
    assert shop.file("items.csv").detail == "its first line has the name 'body' more than once"


def test_a_name_in_other_letters_is_the_one_that_may_be_meant(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    shop.write("items.csv", "N,BODY\n1,lamp\n")
    shop.run()
    assert "(did you mean 'N'?)" in (shop.file("items.csv").detail or "")


def test_a_place_is_a_line_only_where_there_are_lines(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    shop.write("items.json", '[{"n": 1, "body": "lamp"}, 7]')
    shop.write("items.jsonl", '{"n": 1, "body": "lamp"}\n7\n')
    shop.run()
    for name, place in (("items.json", "row 2"), ("items.jsonl", "line 2")):
        said = f"1 row broken ({place}: no object)"
        assert said in why(shop.settings(), shop.clock, name).paragraph
        assert any(said in each["message"] for each in look(shop.settings(), shop.clock)[0]["problems"])


def test_a_file_without_a_record_names_none(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    shop.write("names.csv", "n,body\n")
    shop.write("bad.csv", "n,body\n,lamp\n")
    shop.write("empty.csv", "")
    shop.write("fine.csv", "n,body\n1,lamp\n")
    shop.run()
    next_ = {}
    for name in ("names.csv", "bad.csv", "empty.csv", "fine.csv"):
        told = why(shop.settings(), shop.clock, name)
        assert ("holds no record." in told.paragraph) == (name != "fine.csv")
        next_[name] = told.next
    assert next_ == {
        "names.csv": "Nothing to do: rows are taken once there are some in it.",
        "bad.csv": "Mend these rows.",
        "empty.csv": "Give it a first line with names, or exclude it from source docs.",
        "fine.csv": "`voyage-jobs why 'docs:fine.csv#ID'` for one of them.",
    }
    [unread] = [
        each for each in look(shop.settings(), shop.clock)[0]["problems"] if each["code"] == "records_unread"
    ]
    assert unread["hint"].startswith(next_["empty.csv"])  # both say the same


def test_status_says_how_many_files_it_does_not_name(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    for i in range(12):
        shop.write(f"items{i:02}.csv", "n,body\n1,lamp\n,none\n")
    shop.run()
    told = [
        each
        for each in look(shop.settings(), shop.clock)[0]["problems"]
        if each["code"] == "records_left_out"
    ]
    assert len(told) == 11
    assert told[-1]["message"] == "2 other files of records of source docs cannot be taken whole."


def test_a_record_is_found_by_its_id_as_the_file_has_it(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    ids = ["a/b", "%2F", "a#b/c", "it's", "a b"]
    shop.write("items.jsonl", "".join(json.dumps({"n": each, "body": f"lamp {each}"}) + "\n" for each in ids))
    shop.run()
    next_ = {}
    for each in ids:
        told = why(shop.settings(), shop.clock, f"items.jsonl#{each}")
        assert told.published
        next_[each] = told.next
    assert "`voyage-jobs history --timeline docs:items.jsonl#a%2Fb`" in next_["a/b"]
    for each in ("it's", "a b"):  # what is to be typed can be
        command = next_[each].split("`")[1]
        assert shlex.split(command)[-1] == f"docs:items.jsonl#{each}"
