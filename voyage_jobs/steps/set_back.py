"""An older copy of the state was put back: tell it at the start, by what lies beside it.

Three things tell. The file `generation` names a later start of the same state. Segments lie here that the state does
not know (see recover_packs.py). Jobs at the provider carry its id and are not on record (see known_jobs.py): all that
is left to tell where an older copy of the whole folder was put back. Whichever it is, segments are taken in and jobs
are claimed before anything is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from voyage_jobs.core import generation
from voyage_jobs.core.generation import Stamp
from voyage_jobs.errors import DiskFullError
from voyage_jobs.state import claims, meta, setback, sources
from voyage_jobs.state.store import Tx
from voyage_jobs.steps.context import Context

_MESSAGES = {
    setback.REPLACED: "state.db is not the one that worked here last: claiming what was paid for.",
    setback.GENERATION: "state.db is older than what was done with it: claiming what was paid for.",
    setback.JOBS: "{provider} has jobs of this data folder that state.db does not know: claiming them.",
}


@dataclass
class Jobs:
    """What this process knows of the jobs of its state."""

    of_new_state: bool = False
    """Whether the state got its id at this start: no job can carry it yet."""
    known: bool = False
    """Whether no job of this state is at the provider which is not on record."""
    awaited: bool = False
    """Whether something is to be sent as soon as that is known."""
    claim_waits_for: frozenset[int] = frozenset()
    """Batches that have to be over before jobs with the same texts can be claimed."""


def name_state(context: Context, tx: Tx) -> None:
    """Learn the id of the state, or give it one if it has none yet."""
    known = setback.state_id(tx.connection)
    context.memory(Jobs).of_new_state = known is None
    context.state_id = known or context.clock.token()
    context.table_door = context.table_door.of(context.state_id, context.store.epoch)
    if known is None:
        setback.name_state(tx, context.state_id)


def recognise(context: Context) -> None:
    """Compare the state with the file beside it. For the process that holds the lock, before segments are looked at."""
    there = generation.read(context.settings.paths.generation)
    cause = setback.older_than(there, context.state_id, context.store.epoch - 1)
    if _is_lost(context, there):
        context.log.warning(
            "state.lost", message="state.db is new, and this folder is not: claiming what was paid for."
        )
        _note(context, setback.LOST, there)
    elif cause is not None:
        tell(context, cause, there)
    context.segments.stamp = context.stamp


def _is_lost(context: Context, there: Stamp | None) -> bool:
    """Whether a state that never sent anything stands in a folder that has seen another one."""
    with context.store.read() as connection:
        if claims.has_batches(connection) or meta.get(connection, meta.CLAIM) is not None:
            return False
    if there is not None and there.state != context.state_id:
        return True
    return bool(context.segments.names()) or any(context.spool.glob("*.jsonl"))


def tell(context: Context, cause: str, there: Stamp | None = None) -> None:
    """Put on record, and in the log, that the state is older than the world."""
    _note(context, cause, there)
    context.log.warning(
        "state.set_back", cause=cause, message=_MESSAGES[cause].format(provider=context.vendor.title)
    )


def _note(context: Context, cause: str, there: Stamp | None) -> None:
    with context.store.write() as tx:
        setback.note(tx, cause)
        if there is not None and there.state != context.state_id:
            setback.note_former(tx, there.state)
        elif there is not None and there.generation >= context.store.epoch:
            context.store.outgrow(tx, there.generation)
        for row in sources.all_sources(tx.connection):
            sources.scan_soon(tx, row.name)  # what is wanted must be known before jobs are claimed
    context.memory(Jobs).known = False


def note_generation(context: Context) -> None:
    """Let the next start know that this one was."""
    try:
        generation.write(context.settings.paths.generation, context.stamp)
    except DiskFullError as exc:
        context.log.error("disk.full", error=exc.message, also=None)  # noqa: TRY400 - an older number does no harm
