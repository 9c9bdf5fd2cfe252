"""Fields of the front matter by their plain names in filters, as `search --where` takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from table_rows import PROFILE, batch, opened, vector

from voyage_jobs.errors import ConfigError
from voyage_jobs.table.plain_names import spelled_out
from voyage_jobs.table.view import View, Views

ROWS: list[dict[str, Any]] = [
    {"price": 9.5, "brand": "Lumo", "in_stock": True, "tags": ["light", "desk"], "date": "2026-05-01"},
    {"price": 24, "brand": "it's", "in_stock": False, "tags": ["kitchen"], "date": "2026-04-11"},
    {"price": "on request", "brand": ["Lumo", "Acme"], "in_stock": "yes", "author": {"name": "Ada"}},
    {},
    {"brand": '3" \\ "', "_draft": True, "end_2": 1},
    {"owner": None, "note": "one\ntwo", "list price": 3, "when": "now", "maker.name": "Ann"},
    {"owner": "bob", "tags": ["light"], "note": "one two", "цена": 4, "größe": {"ärmel": "kurz"}},
]


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    folder = tmp_path_factory.mktemp("names")
    table = opened(folder)
    rows = [(("shop", "a.csv"), ordinal, f"text {ordinal}") for ordinal in range(len(ROWS))]
    table.flip([("shop", "a.csv")], iter([batch(rows, front_matter=[json.dumps(each) for each in ROWS])]))
    return Views(str(folder), "chunks").newest()


def matching(view: View, where: str) -> list[int]:
    sql = spelled_out(where, [view.dataset])
    found = view.by_vector(vector(PROFILE, 1).tolist(), 100, sql).rows
    return sorted(row["ordinal"] for row in found)


@pytest.mark.parametrize(
    ("where", "ordinals"),
    [
        ("price < 20", [0]),
        ("20 <= price", [1]),
        ("price between 9 and 30", [0, 1]),
        ("price in (24, -1)", [1]),
        ("not price < 20", [1]),
        ("price > -.5 AND brand = 'Lumo'", [0]),
        ("brand = 'Lumo'", [0, 2]),
        ("brand='it''s'", [1]),
        ("brand = '3\" \\ \"'", [4]),
        ("brand LIKE 'L%'", [0]),
        ("brand <> 'Lumo' and ordinal < 2", [1]),
        ("brand IN ('Lumo', 'none')", [0, 2]),
        ("tags = 'light'", [0, 6]),
        ("not tags = 'light'", [1]),
        ("in_stock", [0]),
        ("in_stock = false", [1]),
        ("in_stock is true or ordinal = 3", [0, 3]),
        ("price is not null", [0, 1, 2]),
        ("price IS NULL", [3, 4, 5, 6]),
        ("author.name = 'Ada'", [2]),
        ("date >= '2026-05-01'", [0]),
        ("_draft = true", [4]),
        ("end_2 = 1", [4]),
        ("metadata.ordinal = 2", [2]),
        ("ORDINAL = 2 and source = 'shop'", [2]),
        ("published_at > timestamp '2020-01-01' and price < 10", [0]),
        ("json_get_int(front_matter, 'end_2') = 1", [4]),
        ("ordinal < price", [0, 1]),
        ("(price < 20 or (brand = 'it''s'))", [0, 1]),
        ("cast(ordinal as double) = 1", [1]),
        ("title = 'price < 20'", []),
        ("owner IS NULL and ordinal > 3", [4, 5]),
        ("owner IS NOT NULL", [6]),
        ("owner <> 'alice'", [6]),
        ("owner = 'null'", []),
        ("lower(brand) = 'lumo'", [0]),
        ("'lumo' = lower(brand)", [0]),
        ("length(owner) > 2", [6]),
        ("brand || 'x' = 'Lumox'", [0]),
        ("brand = 'Lu' || 'mo'", [0]),
        ("(price) < 20", [0]),
        ("20 > (price)", [0]),
        ("price * 2 < 30", [0]),
        ("30 > 2 * price", [0]),
        ("coalesce(price, 0) < 5 and ordinal < 4", [2, 3]),
        ("abs(price) > 20", [1]),
        ("20 < abs(price)", [1]),
        ("cast(price AS double) < 20", [0]),
        ("(in_stock)", [0]),
        ("tags in ('light', 'x')", [0, 6]),
        ("tags not in ('light')", [1]),
        ("'light' = tags", [0, 6]),
        ("tags != 'light'", [1]),
        ("tags <> 'desk'", [1, 6]),
        ("\"owner\" = 'bob'", [6]),
        ('owner = "bob"', [6]),
        ('owner in ("bob", "eve")', [6]),
        ("\"source\" = 'shop' and `ordinal` = 2", [2]),
        ('"list price" < 4', [5]),
        ("`list price` < 4", [5]),
        ("\"when\" = 'now'", [5]),
        ("note = 'one\ntwo'", [5]),
        ("цена < 6", [6]),
        ("цена < 6 and ordinal > 3", [6]),
        ("größe.ärmel = 'kurz'", [6]),
        ("lower(größe.ärmel) = 'kurz'", [6]),
    ],
)
def test_a_field_is_filtered_by_its_name(view: View, where: str, ordinals: list[int]) -> None:
    assert matching(view, where) == ordinals


@pytest.mark.parametrize(
    ("where", "name", "near"),
    [
        ("prise < 20", "prise", "price"),
        ("sorce = 'x'", "sorce", "source"),
        ("maker.name = 'Ann'", "maker.name", '"maker.name"'),
        ("listprice = 3", "listprice", '"list price"'),
    ],
)
def test_a_name_that_there_is_not_is_told_with_the_one_that_may_be_meant(
    view: View, where: str, name: str, near: str
) -> None:
    with pytest.raises(ConfigError, match=f"no column is called '{name}'") as told:
        matching(view, where)
    assert told.value.hint is not None
    assert f"Did you mean {near}?" in told.value.hint
    assert "brand, date, in_stock, price" in told.value.hint


def test_a_name_of_one_of_several_tables_is_known(view: View, tmp_path: Path) -> None:
    table = opened(tmp_path)
    table.flip([("docs", "b.md")], iter([batch([(("docs", "b.md"), 0, "x")])]))
    other = Views(str(tmp_path), "chunks").newest()
    assert "try_cast" in spelled_out("price < 3", [other.dataset, view.dataset])
    with pytest.raises(ConfigError, match="no document has such a field"):
        spelled_out("price < 3", [other.dataset])


@pytest.mark.parametrize("where", ["price < 1) OR (1=1", "price = 1 -- x", "price = '"])
def test_what_would_leave_its_brackets_is_refused(view: View, where: str) -> None:
    with pytest.raises(ConfigError):
        spelled_out(where, [view.dataset])
