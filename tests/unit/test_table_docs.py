"""What docs/table.md tells the readers of the table is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from table_rows import PROFILE, opened, put, vector

from voyage_jobs.table import Upkeep
from voyage_jobs.table.columns import COLUMNS
from voyage_jobs.table.flip import ROWS_PER_FRAGMENT

PAGE = (Path(__file__).parents[2] / "docs" / "table.md").read_text(encoding="utf-8")


def test_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(opened(tmp_path / "data" / "lancedb"), {("docs", "a.md"): ("one", 3), ("notes", "b.md"): ("one", 9)})
    monkeypatch.chdir(tmp_path)
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None

    exec(found[1], {"query_vector": vector(PROFILE, 1)})

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0] == "1.000  a.md  One > Two"


def test_columns_are_told_as_they_are() -> None:
    columns = PAGE.split("## Columns")[1].split("The schema's metadata")[0]
    rows = [line for line in columns.splitlines() if line.startswith("| `")]

    assert rows == [f"| `{each.name}` | {each.kind.told} | {each.meaning} |" for each in COLUMNS]


def test_limits_of_upkeep_are_the_ones_told() -> None:
    policy = Upkeep()

    assert policy == Upkeep(8, 0.1, 300_000, 20, 3_600, 50_000, 20_000, 1_000)
    assert ROWS_PER_FRAGMENT // 2 == 50_000
