"""A table belongs to the state that fills it: known before it is touched, by the id that the table carries.

What is made here carries the id from the beginning. A table of an older release carries none: it goes to the first
state that has paid for vectors which it shows. The id of a state that worked in this data folder before (its state.db
was lost, or another was put in its place) is as good as ours. Marking is one commit that changes no row and may be done
twice, so a process may die before it, after it, or before anything is noted of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from voyage_jobs.core import generation
from voyage_jobs.errors import CorruptionError
from voyage_jobs.state import embeddings, meta, previous_table, setback
from voyage_jobs.steps.context import Context
from voyage_jobs.table import of_another


def demand_own_if_switching(context: Context, *, take_over: bool) -> None:
    """Before a switch that was begun is settled, which replaces all rows. Raises ConfigError for another's table."""
    with context.store.read() as connection:
        going_back = previous_table.going_back(connection) is not None
    if going_back or (context.build is not None and context.build.publication is not None):
        own_table(context, take_over=take_over)


def own_table(context: Context, *, take_over: bool) -> None:
    """Have the table carry the id of this state. Raises ConfigError for one that belongs to another.

    `take_over`: make it ours all the same, and publish everything into it.
    """
    there = context.table_door.owner()
    if there is None or there == context.state_id:  # missing or damaged: recovery sees to that
        return
    if _may_have(context, there):
        context.table_door.mark()
        context.log.info("table.marked", table=context.table_door.place)
        return
    if not take_over:
        raise of_another(context.table_door.place)
    with context.store.write() as tx:
        meta.put(tx, meta.TABLE, meta.TAKEN_OVER)  # first: the table is then filled, whenever it was marked
    context.table_door.mark()
    context.log.warning("table.taken_over", table=context.table_door.place)


def demand_not_of_another(context: Context) -> None:
    """Raise ConfigError for a table that belongs to another state; it is only looked at."""
    there = context.table_door.owner()
    if there is not None and there != context.state_id and not _may_have(context, there):
        raise of_another(context.table_door.place)


def _may_have(context: Context, owner: str) -> bool:
    """Whether a table that carries this id, or none (empty), goes to this state without a question."""
    return owner in _former(context) if owner else _shows_ours(context)


def _former(context: Context) -> frozenset[str]:
    """The ids of states that worked in this data folder before."""
    stamp = generation.read(context.settings.paths.generation)
    with context.store.read() as connection:
        known = setback.former_states(connection)
    return known if stamp is None else known | {stamp.state}


def _shows_ours(context: Context) -> bool:
    """Whether the table shows a vector that this state holds, or shows nothing."""
    door = context.table_door
    theirs = door.profile()  # in the middle of a switch it may be that of the other side
    table = (door if theirs is None else door.under(theirs)).open()
    if not table.rows():
        return True
    try:
        return any(
            _holds_any(context, batch.column(0).to_pylist()) for batch in table.keys(None, ("embedding_key",))
        )
    except CorruptionError:
        return True  # it is set aside, not written to


def _holds_any(context: Context, keys: Sequence[str]) -> bool:
    """Whether any of these keys, as rows have them, is of a vector in our segments."""
    with context.store.read() as connection:
        return embeddings.holds_any(connection, {bytes.fromhex(key.partition("/")[0]) for key in keys})
