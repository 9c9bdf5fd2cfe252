"""Values of records that are not what they look like: bytes, names that stand twice, what follows an array."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from test_records import Shop

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
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    shop.write("items.csv", "n,body,body\n1,one,other\n")
    shop.write("fine.csv", "n,x,x,body\n1,a,b,lamp\n")
    shop.run()
    assert shop.texts() == {"fine.csv#1": "lamp"}
    assert shop.file("items.csv").detail == "its first line has the name 'body' more than once"


def test_a_name_in_other_letters_is_the_one_that_may_be_meant(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"id": "n", "text": "{body}"})
    shop.write("items.csv", "N,BODY\n1,lamp\n")
    shop.run()
    assert "(did you mean 'N'?)" in (shop.file("items.csv").detail or "")
