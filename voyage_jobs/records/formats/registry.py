"""Which format a file of records has, by the ending of its name. A new one is an entry here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from fnmatch import fnmatchcase
from typing import BinaryIO

from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.records.formats import array, database, delimited, lines, parquet
from voyage_jobs.records.formats.log import LogFile
from voyage_jobs.records.recipe import Recipe
from voyage_jobs.records.rows import Fault, Row
from voyage_jobs.records.template import has_field, inner_names

Format = Callable[[BinaryIO, Recipe], Iterator[Row | Fault]]
"""Reads the rows of a file, which is at its start. Raises Refused for one that has none at all."""

FORMATS: dict[str, Format] = {
    ".csv": delimited.rows,
    ".tsv": delimited.rows,
    ".jsonl": lines.rows,
    ".ndjson": lines.rows,
    ".json": array.rows,
    ".parquet": parquet.rows,
}
_WITHOUT_NAMES = (".jsonl", ".ndjson", ".json")
"""Where each row has names of its own, and nothing says in advance which."""
_TURN = 2_000  # rows
_NAMES = 100  # of those that a file has, at least, if one is missing
DATABASES = (".db", ".sqlite", ".sqlite3")
"""Files of records where the settings have a query."""


_WITHOUT_LINES = (".json", ".parquet", *DATABASES)


def _suffixes(recipe: Recipe) -> tuple[str, ...]:
    """The endings of the files that are records under these settings."""
    return (*FORMATS, *(DATABASES if recipe.query else ()))


def patterns(recipe: Recipe) -> tuple[str, ...]:
    """The files that are records under these settings, as `include` has them."""
    suffixes = _suffixes(recipe)
    return recipe.logs or tuple(f"*{each}" for each in (*suffixes, *map(str.upper, suffixes)))


def _suffix(name: str) -> str:
    return name[max(name.rfind("."), 0) :].lower()


def takes(name: str, recipe: Recipe | None) -> bool:
    """Whether a file of this name is one of records under these settings; None: they have none."""
    if recipe is None:
        return False
    if recipe.logs:
        return any(fnmatchcase(name, pattern) for pattern in recipe.logs)
    return _suffix(name) in _suffixes(recipe)


def rows_of(name: str, file: BinaryIO, recipe: Recipe) -> Generator[Row | Fault, None, None]:
    """The rows of a file, in order. Raises Refused for one that has none at all, or from where it is broken; OSError.

    Whatever the bytes are, the answer is rows or a reason, which does not quote them.
    """
    yield from _worded(lambda: FORMATS.get(_suffix(name), database.rows)(file, recipe))


def look_for_fields(name: str, file: BinaryIO, recipe: Recipe) -> Iterator[None]:
    """Read rows until every field was seen that a file must have, and leave the file at its start; yields now and then.

    Raises what `rows_of` does, and Refused for a field that no row has: it may be misspelt, and all texts would be paid
    for without it. Of most files that is the first row; where the names stand at the top, `rows_of` does it.
    """
    if _suffix(name) not in _WITHOUT_NAMES:
        return
    wanted, names, inner = set(recipe.needed), dict[str, None](), dict[str, None]()
    with contextlib.closing(rows_of(name, file, recipe)) as rows:
        for number, row in enumerate(rows, 1):
            if isinstance(row, Row):
                wanted -= {each for each in wanted if has_field(row.values, each)}
                if len(names) + len(inner) < _NAMES:
                    names.update(dict.fromkeys(row.values))
                    inner.update(dict.fromkeys(inner_names(row.values)))
            if not wanted:
                break
            if number % _TURN == 0:
                yield
    file.seek(0)
    if wanted and names:
        recipe.demand(list(names), [*inner, *(each for each in recipe.needed if each not in wanted)])


def has_lines(name: str) -> bool:
    """Whether what is told of a row of this file is told by its line; else rows are counted."""
    return _suffix(name) not in _WITHOUT_LINES


def ends_with_line(name: str, file: BinaryIO) -> bool:
    """Whether the last row of a file has the line end without which it may be a part of one, as nothing else marks its
    end; leaves the file at its start."""
    if FORMATS.get(_suffix(name)) is not delimited.rows:
        return False
    found = delimited.ends_with_line(file)
    file.seek(0)
    return found


def segments_of(log: LogFile) -> Iterator[Row | Fault]:
    """The same of a log: its segments."""
    yield from _worded(log.rows)


def _worded(rows: Callable[[], Iterator[Row | Fault]]) -> Iterator[Row | Fault]:
    try:
        yield from rows()
    except (Refused, OSError):
        raise
    except Exception as exc:
        raise Refused(Refusal.FAILED, f"{type(exc).__name__} where its rows are read") from exc
