"""Random filters in SQL, over indexed and plain tables, against a filter of our own making row by row.

`FILTERS=500` in the environment tries so many (`make search-soak` does), `SEED=7` other ones; both are printed.
"""

from __future__ import annotations

import json
import operator
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from table_rows import PROFILE, batch, opened, vector

from voyage_jobs.table import Upkeep
from voyage_jobs.table.filters import combined, quoted
from voyage_jobs.table.view import View, Views

COUNT, SEED = int(os.environ.get("FILTERS", "30")), int(os.environ.get("SEED", "1"))
T0 = datetime(2026, 1, 1, tzinfo=UTC)
DOCUMENTS, LONGEST = 60, 9
WORDS = ["alpha", "it's", "100%_x", "ä/ü", '"q"', "b\\c", "", "x\ny", "lang", "İ"]
COMPARED = {"=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt}
Row = dict[str, Any]


class Filter(NamedTuple):
    """The same twice: SQL, and what it says of a row: yes, no, or nothing (None), where a value is missing."""

    sql: str
    holds: Callable[[Row], bool | None]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[View, View, list[Row]]:
    """One with all indexes, each of them older than the last publications, and one without; and their rows."""
    folder = tmp_path_factory.mktemp("filters")
    dice = random.Random(SEED)
    indexed, plain, rows = opened(folder / "indexed"), opened(folder / "plain"), []
    for number in range(DOCUMENTS):
        doc = (dice.choice(["docs", "it's", "ö"]), f"{dice.choice(WORDS)}/{number}.md")
        made = [row_of(dice, doc, ordinal) for ordinal in range(dice.randrange(1, LONGEST))]
        rows += made
        columns = {
            name: [row[name] for row in made] for name in ("title", "page", "modified_at", "front_matter")
        }
        texts = [(doc, row["ordinal"], row["text"]) for row in made]
        for table in (indexed, plain):
            table.flip([doc], iter([batch(texts, **columns)]))
        if number in (20, 40):
            indexed.tend(Upkeep(words_from_rows=1, index_from_rows=1, unindexed_rows=1, small_fragments=4))
    return (
        Views(str(folder / "indexed"), "chunks").newest(),
        Views(str(folder / "plain"), "chunks").newest(),
        rows,
    )


def row_of(dice: random.Random, doc: tuple[str, str], ordinal: int) -> Row:
    front = {
        name: dice.choice([*WORDS, 3, -1, True]) for name in ("lang", "n", "it's") if dice.random() < 0.6
    }
    return {
        "source": doc[0],
        "path": doc[1],
        "ordinal": ordinal,
        "title": dice.choice(WORDS),
        "page": dice.randrange(4),
        "modified_at": T0 + timedelta(days=dice.randrange(50)),
        "front_matter": json.dumps(front),
        "text": f"needle {ordinal}",
    }


def test_filters_leave_what_our_own_making_leaves(tables: tuple[View, View, list[Row]]) -> None:
    indexed, plain, rows = tables
    assert {index.name for index in indexed.dataset.describe_indices()} >= {
        "text_idx",
        "vector_idx",
        "path_idx",
    }
    dice = random.Random(SEED)
    print(f"{COUNT} filters, SEED={SEED}")
    empty = 0
    for number in range(COUNT):
        asked = drawn(dice, depth=dice.randrange(4))
        where = combined(dice.sample(["docs", "it's", "ö"], dice.randrange(3)), where=asked.sql)
        named = [
            name for name in ("docs", "it's", "ö") if quoted(name) in where.partition(f"({asked.sql})")[0]
        ]
        expected = sorted(
            (row["path"], row["ordinal"])
            for row in rows
            if asked.holds(row) and (not named or row["source"] in named)
        )
        empty += not expected
        for how, found in (
            ("vectors", indexed.by_vector(vector(PROFILE, number).tolist(), len(rows), where)),
            ("words", indexed.by_words("needle", len(rows), where, lambda: True)),
            ("vectors, no index", plain.by_vector(vector(PROFILE, number).tolist(), len(rows), where)),
            ("texts read", plain.by_words("needle", len(rows), where, lambda: True)),
        ):
            told = sorted((row["path"], row["ordinal"]) for row in found.rows)
            assert told == expected, f"filter {number} of SEED={SEED}, by {how}: {where}"
            assert not found.damaged
    assert empty < COUNT / 2, "filters that leave nothing prove little"


def drawn(dice: random.Random, depth: int) -> Filter:
    """Conditions under AND, OR and NOT."""
    if not depth:
        return condition(dice)
    one, other = drawn(dice, depth - 1), drawn(dice, dice.randrange(depth))
    kind = dice.choice(["AND", "OR", "NOT"])
    if kind == "NOT":
        return Filter(f"NOT ({one.sql})", lambda row: None if (told := one.holds(row)) is None else not told)
    sure = kind == "OR"  # what decides, whatever is not known

    def holds(row: Row) -> bool | None:
        told = (one.holds(row), other.holds(row))
        return sure if sure in told else None if None in told else not sure

    return Filter(f"({one.sql}) {kind} ({other.sql})", holds)


def condition(dice: random.Random) -> Filter:
    return dice.choice([_number, _text, _among, _like, _day, _front_matter, _nothing])(dice)


def _compared(dice: random.Random, column: str, sql: str, value: Any) -> Filter:
    sign = dice.choice(list(COMPARED))
    return Filter(f"{column} {sign} {sql}", lambda row: COMPARED[sign](row[column], value))


def _number(dice: random.Random) -> Filter:
    value = dice.randrange(LONGEST)
    return _compared(dice, dice.choice(["ordinal", "page"]), str(value), value)


def _text(dice: random.Random) -> Filter:
    word = dice.choice(WORDS)
    sign = dice.choice(["=", "<>"])
    return Filter(f"title {sign} {quoted(word)}", lambda row: COMPARED[sign](row["title"], word))


def _among(dice: random.Random) -> Filter:
    words = dice.sample(WORDS, dice.randrange(1, 4))
    negated = dice.random() < 0.5
    sql = f"title {'NOT ' if negated else ''}IN ({', '.join(map(quoted, words))})"
    return Filter(sql, lambda row: (row["title"] in words) is not negated)


def _like(dice: random.Random) -> Filter:
    start = dice.choice(["alpha", "it's", "ä", "x"])
    return Filter(f"path LIKE {quoted(start + '%')}", lambda row: row["path"].startswith(start))


def _day(dice: random.Random) -> Filter:
    day = T0 + timedelta(days=dice.randrange(50))
    return _compared(dice, "modified_at", f"timestamp '{day:%Y-%m-%dT%H:%M:%SZ}'", day)


def _front_matter(dice: random.Random) -> Filter:
    name, word = dice.choice(["lang", "n"]), dice.choice(WORDS)

    def holds(row: Row) -> bool | None:
        value = json.loads(row["front_matter"]).get(name)
        return None if value is None else value == word

    # Lance gives a number and a truth value as their text.
    return Filter(f"json_get_string(front_matter, {quoted(name)}) = {quoted(word)}", holds)


def _nothing(dice: random.Random) -> Filter:
    name, negated = dice.choice(["lang", "n"]), dice.random() < 0.5
    sql = f"json_extract(front_matter, '$.{name}') IS {'NOT ' if negated else ''}NULL"
    return Filter(sql, lambda row: (name in json.loads(row["front_matter"])) is negated)
