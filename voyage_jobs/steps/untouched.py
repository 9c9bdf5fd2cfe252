"""A table that a `sync` left whole, and that nothing has touched since, is not looked into by the next one.

To see that a table is ours and whole takes Lance, whose loading is a fifth of a `sync` that finds no news. So a `sync`
that comes to its end, with no upkeep left to do, looks once more, as every start does, and notes the size and the times
of each file. While these are the same, another look would find the same. A daemon notes nothing: it lives long beside
others, and its next start is to notice what they did.
"""

from __future__ import annotations

import orjson

from voyage_jobs.state import meta, publications
from voyage_jobs.steps.context import Context
from voyage_jobs.table import FORMAT_VERSION, Upkeep
from voyage_jobs.version import __version__


def is_untouched(context: Context) -> bool:
    """Whether the table is, file by file, what it was when it was found whole. Loads nothing."""
    if context.build is not None:
        return False
    with context.store.read() as connection:
        noted = meta.get(connection, meta.UNTOUCHED)
        filled = meta.get(connection, meta.TABLE)
    return noted is not None and filled == context.table_door.place and noted == _as_it_is(context)


def note_untouched(context: Context) -> None:
    """Note the files of a table that has just had its upkeep, if it is ours, whole, and needs no more of that."""
    now = None if context.build is not None else _as_it_is(context)
    if now is None or context.open_table().stats().versions >= Upkeep.versions:
        return
    if context.table_door.owner() != context.state_id or not context.table_door.check().ok:
        return
    with context.store.write() as tx:
        meta.put(tx, meta.UNTOUCHED, now)


def _as_it_is(context: Context) -> str | None:
    """All that the look at a table depends on; None where nobody can tell."""
    files = context.table_door.files()
    if files is None:
        return None
    with context.store.read() as connection:
        version = publications.last_table_version(connection)
    language = context.settings.search.language
    parts = (__version__, FORMAT_VERSION, context.table_door.place, context.state_id, version)
    return orjson.dumps([*parts, context.profile.to_json(), language, files]).decode()
