"""SQLite: the rows of a query, by a connection that neither writes nor locks, nor makes files beside the database.

What another program writes meanwhile shows in the file's revision, and the file is read again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import quote

from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.records.recipe import Recipe
from voyage_jobs.records.rows import Fault, Row


def rows(file: BinaryIO, recipe: Recipe) -> Iterator[Row | Fault]:
    """A row for each row of the query. Raises Refused for what is no database, or a query that it does not take."""
    where = quote(os.readlink(os.fsencode(f"/proc/self/fd/{file.fileno()}")))
    try:
        with contextlib.closing(sqlite3.connect(f"file:{where}?mode=ro&immutable=1", uri=True)) as found:
            found.text_factory = lambda data: data.decode(errors="surrogateescape")
            found.execute("PRAGMA query_only = ON")
            answer = found.execute(recipe.query)
            names = [each[0] for each in answer.description or ()]
            recipe.demand(names)
            recipe.demand_once(names, "its query gives", ": give one another name with AS")
            for number, values in enumerate(answer, 1):
                yield Row(number, dict(zip(names, values, strict=True)))
    except (sqlite3.Error, sqlite3.Warning) as exc:
        raise Refused(Refusal.BROKEN, str(exc)) from None
