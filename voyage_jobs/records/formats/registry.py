"""Which format a file of records has, by the ending of its name. A new one is an entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.records.formats import array, database, delimited, lines, parquet
from voyage_jobs.records.recipe import Recipe
from voyage_jobs.records.rows import Fault, Row

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
DATABASES = (".db", ".sqlite", ".sqlite3")
"""Files of records where the settings have a query."""


def suffixes(recipe: Recipe) -> tuple[str, ...]:
    """The endings of the files that are records under these settings."""
    return (*FORMATS, *(DATABASES if recipe.query else ()))


def _suffix(name: str) -> str:
    return name[max(name.rfind("."), 0) :].lower()


def takes(name: str, recipe: Recipe | None) -> bool:
    """Whether a file of this name is one of records under these settings; None: they have none."""
    return recipe is not None and _suffix(name) in suffixes(recipe)


def rows_of(name: str, file: BinaryIO, recipe: Recipe) -> Iterator[Row | Fault]:
    """The rows of a file, in order. Raises Refused for one that has none at all, or from where it is broken; OSError.

    Whatever the bytes are, the answer is rows or a reason, which does not quote them.
    """
    try:
        yield from FORMATS.get(_suffix(name), database.rows)(file, recipe)
    except (Refused, OSError):
        raise
    except Exception as exc:
        raise Refused(Refusal.FAILED, f"{type(exc).__name__} where its rows are read") from exc
