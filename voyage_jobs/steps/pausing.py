"""`pause` and `resume`: an operator lets scanning and sending rest. What is at the provider already is brought home.

A batch that is in doubt is still looked for, since money hangs on it; but no job is created while sending rests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from voyage_jobs.core.clock import US, iso, now_us
from voyage_jobs.core.states import BEFORE_THE_JOB, Batch
from voyage_jobs.state import batches, embeddings, ledger, letting_go, meta, pauses, sources
from voyage_jobs.state.pauses import Pause, Pauses
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import budget, known_jobs
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.naming import source_called

if TYPE_CHECKING:
    from sqlalchemy import Connection


def resting(context: Context) -> Pauses:
    """What rests at this moment."""
    with context.store.read() as connection:
        return pauses.now(connection, now_us(context.clock))


def pause(context: Context, arguments: Mapping[str, object], who: str) -> dict[str, object]:
    """Let something rest. A second time sets a new end. Batches of a source that were not sent are unpacked: at once
    if it is known that they have no job, else by the step that sends.
    """
    what, source = _meant(context, arguments)
    for_s = arguments.get("for_s")
    with context.store.write() as tx:
        before = pauses.now(tx.connection, tx.now).by_what.get(what)
        until = tx.now + int(float(str(for_s)) * US) if for_s is not None else None
        pauses.put(tx, Pause(what, before.since_at if before else tx.now, until, who))
        unpacked = 0
        if source is not None and known_jobs.are_known(context):
            unpacked = _unpack_all(tx, source, tx.now + 1, _paused_by(source.name, who))
    context.log.warning("pause.begun", what=what, who=who, until=iso(until))
    return {"what": what, "state": "paused", "until": iso(until), "unpacked": unpacked}


def resume(context: Context, arguments: Mapping[str, object], who: str) -> dict[str, object]:
    """Let something go on: one pause, or, if none is named, all of them."""
    named = arguments.get("source") is not None or bool(arguments.get("sending"))
    wanted = _meant(context, arguments)[0] if named else None
    with context.store.write() as tx:
        found = pauses.now(tx.connection, tx.now).by_what
        ended = [what for what in found if wanted in (None, what)]
        for what in ended:
            pauses.end(tx, what)
        left = sorted(found.keys() - set(ended))
    for what in ended:
        context.log.warning("pause.ended", what=what, who=who)
    return {"ended": sorted(ended), "left": left}


def _meant(context: Context, arguments: Mapping[str, object]) -> tuple[str, SourceRow | None]:
    name = arguments.get("source")
    if name is None:
        return pauses.about(None, sending=bool(arguments.get("sending"))), None
    with context.store.read() as connection:
        return pauses.about(str(name)), source_called(connection, name)


def unpack_held(context: Context, now: Pauses) -> bool:
    """Unpack what was not sent of sources that are paused, or whose texts were let go of, since it was made, and what a
    run without the limits of this one has left. True if anything.

    What was assembled since then holds only texts that another source needs, too.
    """
    with context.store.read() as connection:
        held, earlier = list(_held(connection, now)), _assembled_earlier(connection)
        if not earlier and not any(_made_before(connection, source, before) for source, before, _ in held):
            return False
    if not known_jobs.all_known(context):
        return False
    with context.store.write() as tx:
        letting_go.forget(tx)
        unpacked = sum(_unpack_all(tx, *each) for each in held)
        for batch in _assembled_earlier(tx.connection):
            _unpack(tx, batch, "this run has limits of its own")
            unpacked += 1
        embeddings.drop_unneeded(tx)
    return unpacked > 0


def _held(connection: Connection, now: Pauses) -> Iterator[tuple[SourceRow, int, str]]:
    """Sources of which nothing is to be sent, since when (microseconds), and why."""
    let_go = letting_go.since(connection)
    if not (let_go or now.sources):
        return
    rows = sources.all_sources(connection)
    by_name = {row.name: row for row in rows}
    for each in now.by_what.values():
        if each.source in by_name:
            yield by_name[each.source], each.since_at, _paused_by(each.source, each.who)
    for row in rows:
        if row.id in let_go:
            moved = "was pointed to another path" if row.configured else "left the configuration"
            yield row, let_go[row.id] + 1, f"source {row.name} {moved}"


def _assembled_earlier(connection: Connection) -> list[batches.BatchRow]:
    newest = budget.assembled_earlier(connection)
    if newest is None:
        return []
    unsent = batches.in_state(connection, *BEFORE_THE_JOB)
    return [
        each for each in unsent if each.id <= newest and each.cancel_asked_at is None and not each.is_sync
    ]


def _paused_by(source: str | None, who: str) -> str:
    return f"source {source} is paused by {who}"


def _unpack_all(tx: Tx, source: SourceRow, before: int, cause: str) -> int:
    """How many batches of a source, made before a time, were unpacked."""
    unpacked = _made_before(tx.connection, source, before)
    for batch in unpacked:
        _unpack(tx, batch, cause)
    return len(unpacked)


def _made_before(connection: Connection, source: SourceRow, before: int) -> list[batches.BatchRow]:
    """What was not sent. A batch that is cancelled is given up instead, by the step that sends."""
    unsent = batches.with_lines_of(connection, source.id, BEFORE_THE_JOB)
    return [batch for batch in unsent if batch.created_at < before and batch.cancel_asked_at is None]


def _unpack(tx: Tx, batch: batches.BatchRow, cause: str) -> None:
    """Nothing of it has a job: its lines are wanted again, those of other sources go into the next batch."""
    if batch.state is Batch.UPLOADING:  # the file may be there already
        meta.put(tx, meta.ORPHANED_FILES, str(tx.now))
    batches.move(tx, batch, Batch.CANCELLED, cause)
    embeddings.give_back(tx, batch.id)
    ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
