"""A CSV that is cut within its last field, which has as many fields as it should."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_records import RECIPE, Shop, csv, row

from voyage_jobs.planning.plan import plan
from voyage_jobs.state import record_files
from voyage_jobs.steps.acts import perform

ROWS = [row(i) for i in range(12)]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.write("catalog.csv", csv(*ROWS))
    shop.run()
    return shop


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("rows", [12, 9])
def test_a_file_cut_within_its_last_field_is_frozen_and_pays_nothing(
    tmp_path: Path, rows: int, encoding: str
) -> None:
    shop = Shop(tmp_path)
    shop.write("catalog.csv", csv(*ROWS).encode(encoding))
    shop.run()
    before, paid = shop.texts(), shop.ledger.units()
    shop.write("catalog.csv", csv(*ROWS[:rows])[:-6].encode(encoding))
    planned = plan(shop.settings(), shop.clock)
    assert planned["tokens"]["to_send"] == 0
    [told] = [each for each in planned["warnings"] if "frozen" in each]
    assert "its last row has no line end any more, and" in told
    for _ in range(2):
        shop.run()
        shop.clock.advance(400)
    assert (shop.texts(), shop.ledger.units()) == (before, paid)
    way_out = "add one, or, if it is meant to have none, `voyage-jobs confirm-deletes docs`"
    assert shop.lacks()["cut_short"] == (1, (f"{rows + 1}: it has no line end any more: {way_out}",))
    shop.write("catalog.csv", csv(*ROWS[:rows])[:-9].encode(encoding))  # cut once more, and doubted as before
    shop.run()
    assert (shop.file().reason, shop.ledger.units()) == (record_files.FROZEN, paid)
    shop.write("catalog.csv", csv(*ROWS[:-1], row(11, note="New.")).encode(encoding))
    shop.run()
    assert (shop.file().reason, shop.ledger.units()) == (None, paid + 1)
    assert shop.texts()["catalog.csv#SKU11"].endswith("New.")


def test_a_new_row_without_its_end_waits_for_it(shop: Shop) -> None:
    paid = shop.ledger.units()
    shop.write("catalog.csv", csv(*ROWS, row(12))[:-6])
    shop.run()
    assert (shop.file().reason, shop.ledger.units(), len(shop.texts())) == (None, paid, 12)
    assert shop.lacks()["cut_short"][0] == 1
    shop.write("catalog.csv", csv(*ROWS, row(12)))
    shop.run()
    assert (shop.lacks(), shop.ledger.units(), len(shop.texts())) == ({}, paid + 1, 13)


def test_a_last_row_that_says_what_it_said_is_whole(shop: Shop) -> None:
    shop.write("catalog.csv", csv(*ROWS)[:-1])
    shop.run()
    assert (shop.file().reason, shop.file().records, shop.lacks()) == (None, 12, {})


@pytest.mark.parametrize("rows", [ROWS, ROWS[:11]])
def test_a_file_cut_in_two_steps_is_frozen_and_pays_nothing(shop: Shop, rows: list[str]) -> None:
    before, paid = shop.texts(), shop.ledger.units()
    shop.write("catalog.csv", csv(*ROWS)[:-1])
    shop.run()
    for _ in range(2):
        shop.write("catalog.csv", csv(*rows)[:-6])
        shop.run()
        shop.clock.advance(400)
    assert (shop.file().reason, shop.texts(), shop.ledger.units()) == (record_files.FROZEN, before, paid)
    shop.write("catalog.csv", csv(*ROWS)[:-1])  # what it said, though without the line end
    shop.run()
    assert (shop.file().reason, shop.texts(), shop.lacks()) == (None, before, {})


def test_a_row_written_in_steps_waits_for_its_line_end(shop: Shop) -> None:
    before, paid = shop.texts(), shop.ledger.units()
    whole = csv(*ROWS, row(12))
    for missing in (9, 6, 3, 1):
        shop.write("catalog.csv", whole[:-missing])
        shop.run()
        assert (shop.file().reason, shop.texts(), shop.ledger.units()) == (None, before, paid)
    shop.write("catalog.csv", whole)
    shop.run()
    assert (shop.lacks(), shop.ledger.units(), len(shop.texts())) == ({}, paid + 1, 13)


def test_other_settings_do_not_doubt_a_last_row_that_was_taken(shop: Shop) -> None:
    shop.write("catalog.csv", csv(*ROWS)[:-1])
    shop.run()
    recipe = {**RECIPE, "text": "{name}\n\n{note}"}
    shop.run(sources=[{"name": "docs", "path": str(shop.docs), "records": recipe}])
    assert (shop.file().reason, shop.lacks()) == (None, {})
    assert shop.texts()["catalog.csv#SKU11"].startswith("Lamp 11\n\nIt")


def test_files_that_never_end_with_a_line_end_are_taken_as_they_are(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.write("catalog.csv", csv(*ROWS)[:-1])
    shop.run()
    shop.write("catalog.csv", csv(*ROWS[:-1], row(11, note="N"))[:-1])
    shop.run()
    assert shop.texts()["catalog.csv#SKU11"].endswith("\nN")


def test_who_writes_no_line_end_from_now_on_may_say_so(shop: Shop) -> None:
    edited = csv(*ROWS[:-1], row(11, note="N"))[:-1]
    shop.write("catalog.csv", edited)
    shop.run()
    assert shop.file().reason == record_files.FROZEN
    with shop.worker() as context:
        assert perform(context, "confirm", {"source": "docs"}, "me")["state"] == "confirmed"
    shop.run()
    assert shop.file().reason is None
    assert shop.texts()["catalog.csv#SKU11"].endswith("\nN")
    shop.write("catalog.csv", csv(*ROWS[:-1], row(11, note="Ne"))[:-1])  # as one that never had a line end
    shop.run()
    assert shop.texts()["catalog.csv#SKU11"].endswith("\nNe")


def test_a_new_last_row_is_taken_as_it_stands_if_that_is_said(shop: Shop) -> None:
    shop.write("catalog.csv", csv(*ROWS, row(12))[:-1])
    shop.run()
    assert (shop.file().reason, len(shop.texts())) == (None, 12)
    with shop.worker() as context:
        answer = perform(context, "confirm", {"source": "docs"}, "me")
    assert answer == {"source": "docs", "state": "confirmed", "last_rows": 1}
    shop.run()
    assert (shop.lacks(), len(shop.texts())) == ({}, 13)
    with shop.worker() as context:
        assert perform(context, "confirm", {"source": "docs"}, "me")["state"] == "active"
