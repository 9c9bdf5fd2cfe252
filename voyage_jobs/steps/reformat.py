"""reformat: bring a table of an older format to the present one, with no question and at no cost.

It is a publication like any other: noted, made in one commit that replaces all rows, synced, read back, acknowledged.
The rows come out of the table itself, so that neither texts (files may have changed or gone) nor vectors are looked
for; the table says by itself which format it has, so that a process which dies before the commit leaves the old one,
and the next process begins again, and one that dies after it leaves the new one. Readers have one version in hand, and
see the old rows or the new ones. The old version is kept for an hour, for readers that still hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from voyage_jobs.core.clock import US, now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.errors import CorruptionError
from voyage_jobs.state import meta, publications, table_indexes
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import room_for
from voyage_jobs.steps.shown import demand_rows, publish_again
from voyage_jobs.table import FORMAT_VERSION
from voyage_jobs.table.upkeep import LEAST_KEEP_S

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from voyage_jobs.state.store import Tx


@dataclass
class Format:
    """Whether the table was seen to be of the present format, or to be missing."""

    looked_at: bool = False


def is_older(context: Context) -> bool:
    """Whether there is a table of an older format. The table is asked once, and again after it was brought back."""
    if context.memory(Format).looked_at:
        return False
    found = context.open_table().format_version() if context.table_door.exists() else FORMAT_VERSION
    if found != FORMAT_VERSION:
        _note(context, found)
        return True
    context.memory(Format).looked_at = True
    _note(context, None)
    return False


def _note(context: Context, found: int | None) -> None:
    """Let `status` say so, or say so no more."""
    value = None if found is None else str(found)
    with context.store.read() as connection:
        if meta.get(connection, meta.FORMAT) == value:
            return
    with context.store.write() as tx:
        if value is None:
            meta.forget(tx, meta.FORMAT)
        else:
            meta.put(tx, meta.FORMAT, value)


def raise_format(context: Context) -> bool:
    """Bring the table to the present format. False if there is no room for a second copy of it: it is tried again."""
    table = context.open_table()
    before, rows = table.format_version(), table.rows()
    if not room_for(context, table.stats().bytes * 5 // 4):
        return False
    kept = table.version()
    with context.store.read() as connection:
        before_that = _kept(connection)
    with context.store.write() as tx:
        publication = publications.begin(tx, publications.FORMAT, 0)
        _keep_until(tx, kept)
    crash_point("publish.intent.committed")
    if (
        before_that is not None and before_that[0] != kept
    ):  # of a process that died, before the table changed once more
        table.let_go(before_that[0])
    table.keep(kept)
    try:
        version = table.raise_format(lambda done: context.progress("rewriting the table", done, rows))
    except (CorruptionError, ValueError) as exc:
        _fill_again(context, str(exc))
        return True
    crash_point("publish.table.done")
    table.sync()
    crash_point("publish.table.synced")
    demand_rows(table.keys(), rows)
    with context.store.write() as tx:
        publications.finish(tx, publication, version, rows)
        table_indexes.forget(tx)
        meta.forget(tx, meta.FORMAT)
        _keep_until(tx, kept)
    crash_point("publish.committed")
    context.log.info(
        "table.reformatted", before=before, format=FORMAT_VERSION, rows=rows, table_version=version
    )
    return True


def _fill_again(context: Context, why: str) -> None:
    """The table is not what was published: a new one is filled from the stored vectors."""
    aside = context.table_door.set_aside(str(now_us(context.clock)))
    context.log.error("table.set_aside", reason=why, kept_as=aside)
    publish_again(context, "the table could not be migrated to the current format")


def _kept(connection: Connection) -> tuple[int, int] | None:
    """The version in the former format, and until when it is kept."""
    found = meta.get(connection, meta.OLD_FORMAT)
    if found is None:
        return None
    version, until = orjson.loads(found)
    return version, until


def _keep_until(tx: Tx, version: int) -> None:
    meta.put(tx, meta.OLD_FORMAT, orjson.dumps([version, tx.now + LEAST_KEEP_S * US]).decode())


def let_go_if_due(context: Context) -> bool:
    """Remove the rows in the former format once no reader holds them any more: they take as much room as the table."""
    with context.store.read() as connection:
        kept = _kept(connection)
    if kept is None or now_us(context.clock) < kept[1]:
        return False
    if context.table_door.exists():
        context.open_table().let_go(kept[0])
    with context.store.write() as tx:
        meta.forget(tx, meta.OLD_FORMAT)
    return True
