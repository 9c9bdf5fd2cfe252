"""Rows whose words match, found by reading the text column: no index, no vector, no call to anybody.

Bounded in time: a table that is too large to be read in it answers with what was found by then, and says so. Words are
compared as values; nothing of a query becomes part of a filter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voyage_jobs.table.documents import STREAM_ROWS
from voyage_jobs.table.engine import open_dataset, open_reading, table_path

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ["chunk_id", "source", "path", "ordinal", "section", "title", "text"]
_SEARCHED = ("text", "title", "path")
_CANDIDATES = 200


@dataclass(frozen=True)
class Found:
    """Rows (without vectors) in the table's order, how many rows were looked at, and whether that were all."""

    rows: list[dict[str, Any]]
    looked_at: int
    complete: bool


def find_text(uri: str, name: str, words: Sequence[str], go_on: Callable[[], bool]) -> Found:
    """Rows in which each of `words` occurs, in any case, in text, title or path.

    `go_on` is asked between two pieces of the table. Raises `CorruptionError`.
    """
    path = table_path(uri, name)
    dataset = open_dataset(path)
    rows: list[dict[str, Any]] = []
    looked_at = 0
    scanner = dataset.scanner(
        columns=_COLUMNS, batch_size=STREAM_ROWS, batch_readahead=2, fragment_readahead=1, scan_in_order=True
    )
    with open_reading(path):
        for batch in scanner.to_batches():
            looked_at += batch.num_rows
            rows += batch.filter(_matches(batch, words)).to_pylist()
            if len(rows) >= _CANDIDATES or not go_on():
                return Found(rows[:_CANDIDATES], looked_at, looked_at >= dataset.count_rows())
    return Found(rows, looked_at, complete=True)


def _matches(batch: pa.RecordBatch, words: Sequence[str]) -> Any:
    import pyarrow.compute as pc

    mask: Any = None
    for word in words:
        here: Any = None
        for column in _SEARCHED:
            found = pc.match_substring(batch.column(column), word, ignore_case=True)
            here = found if here is None else pc.or_kleene(here, found)
        mask = here if mask is None else pc.and_kleene(mask, here)
    return pc.fill_null(mask, False)
