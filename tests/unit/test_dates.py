"""The time that front matter tells."""

from datetime import UTC, datetime

import pytest
from world import World

from voyage_jobs.splitting.dates import changed_us

MARCH = round(datetime(2024, 3, 1, tzinfo=UTC).timestamp() * 1_000_000)
HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"date": "2024-03-01"}, MARCH),
        ({"Date": " 2024-03-01T12:00:00Z "}, MARCH + 12 * HOUR),
        ({"lastmod": "2024-03-01 12:00:00 +0100"}, MARCH + 11 * HOUR),
        ({"date": "2020-01-01", "last-modified": "2024-03-01"}, MARCH),
        ({"last_update": {"date": "2024-03-01", "author": "me"}}, MARCH),
        ({"updated": "soon", "date": "2024-03-01"}, MARCH),
        ({"date": "2024"}, None),
        ({"date": 20240301}, None),
        ({"date": "0001-01-01T00:00:00+14:00"}, None),
        ({"date": "2024-13-01"}, None),
        ({"date": ["2024-03-01"]}, None),
        ({"title": "2024-03-01"}, None),
        ({}, None),
    ],
)
def test_the_first_key_that_holds_a_date_counts(metadata, told):
    assert changed_us(metadata) == told


def test_the_table_has_the_time_that_a_document_tells_and_else_that_of_the_file(tmp_path):
    world = World(tmp_path)
    world.write("told.md", "---\nlastmod: 2024-03-01\n---\n# One\n\ntext")
    silent = world.write("silent.md", "# Two\n\ntext")
    world.run()
    found = {row["path"]: row["modified_at"] for row in world.table_rows("path", "modified_at")}
    assert found["told.md"] == datetime(2024, 3, 1, tzinfo=UTC)
    assert found["silent.md"].timestamp() == pytest.approx(silent.stat().st_mtime)
