"""switch: replace the table by the one that was built, in one commit, and back again.

    intent   which publication is about to do it, and which version of the table it replaces        (state.db)
    kept     that version is tagged, so that no upkeep takes it                                     (table)
    done     one commit: all rows, and the vector column, are those of the new profile              (table)
    synced   the commit is on the disk                                                              (table)
    noted    the table has the new profile; what it showed before is on the shelf                   (state.db)

A reader has one version of the table in hand, so it sees all of the old vectors or all of the new ones. A process that
dies before *done* leaves the old table, and the switch is repeated; one that dies after it leaves the new table, which
says by itself for which profile it was made, and the next start notes it before anything else is done. The rollback is
the same with the kept version in place of new rows: nothing is embedded, nothing is written but a manifest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from voyage_jobs.core.clock import US, now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.errors import CorruptionError
from voyage_jobs.state import previous_table, publications, rebuild, table_indexes
from voyage_jobs.state.previous_table import Previous
from voyage_jobs.state.rebuild import Build, Progress
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import room_for
from voyage_jobs.steps.publish import lose_segment, wait_for_text
from voyage_jobs.steps.reformat import Format
from voyage_jobs.steps.retained_texts import Retained
from voyage_jobs.steps.rows import RowMaker, ready_versions
from voyage_jobs.steps.shown import demand_rows

if TYPE_CHECKING:
    import pyarrow as pa

LOOK_INTERVAL_S = 30.0


@dataclass
class Looks:
    """When a build that is not complete is looked at closely again, in monotonic time."""

    again_at: float = float("-inf")


def switch_if_complete(context: Context) -> bool:
    """Make the switch once everything is there. True if anything was done."""
    build = context.build
    if build is None:
        return False
    if build.publication is not None:  # broken off by a full disk, on this side of the commit or on the other
        settle_switch(context)
        return True
    if not context.table_door.exists():
        serve_at_once(context, "there is no table yet that could be kept")
        return True
    with context.store.read() as connection:
        if rebuild.surely_open(connection, context.profile_id):
            return False
    now = context.clock.mono()
    if now < context.memory(Looks).again_at:
        return False
    with context.store.read() as connection:
        found = rebuild.progress(connection, context.profile_id)
    if build.hold or not found.complete(leave_out=build.leave_out):
        context.memory(Looks).again_at = now + LOOK_INTERVAL_S
        return False
    return _switch(context, build, found)


def _switch(context: Context, build: Build, found: Progress) -> bool:
    if not room_for(context, found.chunks * (context.profile.width * 8 + 4_000)):
        return False
    table = context.open_table()
    kept = table.version()
    with context.store.write() as tx:
        publication = publications.begin(tx, publications.FLIP, found.ready)
        begun = replace(build, publication=publication, kept=kept)
        rebuild.take_up(tx, begun, context.profile_id)
    context.build = begun
    crash_point("switch.intent.committed")
    table.keep(kept)
    crash_point("switch.kept")
    maker = RowMaker(context, ready_versions(context.store, context.profile_id), now_us(context.clock))
    try:
        version = table.remake(context.profile, maker.batches())
    except CorruptionError as exc:
        _break_off(context, begun)
        if maker.without_text is not None:
            wait_for_text(context, maker.without_text)
        elif maker.damaged_segment is not None:
            lose_segment(context, maker.damaged_segment, exc)
        else:
            raise
        return True
    crash_point("switch.table.done")
    context.table_door = context.table_door.under(context.profile)
    table = context.open_table()
    table.sync()
    crash_point("switch.table.synced")
    demand_rows(table.keys(), maker.rows)
    _note(context, begun, version, maker.rows)
    return True


def _break_off(context: Context, build: Build) -> None:
    """The commit was not made: nothing is in doubt, and nothing needs to be kept for it."""
    if build.kept is not None and context.table_door.check().ok:
        context.open_table().let_go(build.kept)
    with context.store.write() as tx:
        rebuild.break_off(tx, build, context.profile_id)
    context.build = replace(build, publication=None, kept=None)


def _note(context: Context, build: Build, version: int, rows: int) -> None:
    """The table has the new profile, on disk: let the state say so."""
    keep_us = int(context.settings.lancedb.keep_previous_s * US)
    assert build.publication is not None  # noqa: S101 - for the type checker: it was begun
    assert build.kept is not None  # noqa: S101
    with context.store.write() as tx:
        served = rebuild.served(tx.connection)
        before = previous_table.previous(tx.connection)
        previous_table.forget_previous(tx)
        previous_table.shelve(tx, context.profile_id)
        rebuild.switch(
            tx, build.target, context.profile_id, f"publication {build.publication} switched the table"
        )
        documents = publications.mark_published(tx, build.publication)
        publications.finish(tx, build.publication, version, rows)
        table_indexes.forget(tx)
        if served is not None:
            previous_table.note_previous(tx, Previous(served, build.kept, tx.now, tx.now + keep_us))
    crash_point("switch.committed")
    context.build = None
    context.table_door = context.table_door.under(build.target)
    if before is not None and before.table_version != build.kept:
        context.open_table().let_go(before.table_version)
    context.log.info(
        "reprofile.switched", documents=documents, rows=rows, table_version=version, target=build.target.told
    )


def serve_at_once(context: Context, cause: str) -> None:
    """There is no table to keep showing meanwhile: make one for the new profile, filled as vectors come."""
    build = context.build
    assert build is not None  # noqa: S101 - for the type checker: the callers have looked
    with context.store.write() as tx:
        previous_table.forget_previous(tx)
        rebuild.switch(tx, build.target, context.profile_id, cause)
        publications.forget_versions(tx)
    crash_point("switch.committed")
    context.build = None
    context.table_door = context.table_door.under(build.target)
    context.log.warning("reprofile.at_once", cause=cause, target=build.target.told)


# --- the rollback ---


def go_back(context: Context, previous: Previous, cause: str) -> None:
    """Bring the kept version of the table back, and the state to what it was then. Can be done twice."""
    table = context.open_table()
    table.bring_back(previous.table_version)
    crash_point("switch_back.table.done")
    context.table_door = context.table_door.under(previous.profile)
    context.table_door.mark()  # the version that was kept may be from before tables had owners
    table = context.open_table()
    context.memory(Format).looked_at = False  # it may be from before the present format
    table.sync()
    version, rows = table.version(), table.rows()
    shown: set[tuple[str, str]] = set()
    demand_rows(_noting(shown, table.keys()), rows)
    with context.store.write() as tx:
        publication = publications.begin(tx, publications.FLIP, len(shown))
        previous_table.switch_back(tx, previous, publication, shown, cause)
        publications.finish(tx, publication, version, rows)
        table_indexes.forget(tx)
    retained = context.memory(Retained)
    retained.due = retained.rolled_back = True  # records that are shown again have no text in the state
    crash_point("switch_back.committed")
    table.let_go(previous.table_version)
    context.log.info("reprofile.switched_back", cause=cause, table_version=version, rows=rows)


def _noting(shown: set[tuple[str, str]], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches; meanwhile `shown` gets the (source, path) of every row."""
    for batch in batches:
        shown.update(zip(batch["source"].to_pylist(), batch["path"].to_pylist(), strict=True))
        yield batch


def release_if_over(context: Context) -> bool:
    """Let go of the previous table once its time is over."""
    with context.store.read() as connection:
        previous = previous_table.previous(connection)
    if previous is None or now_us(context.clock) < previous.until_at:
        return False
    release(context, previous)
    return True


def release(context: Context, previous: Previous) -> None:
    """Nothing can be switched back to any more. The segments stay: they are paid for."""
    if context.table_door.exists():
        context.open_table().let_go(previous.table_version)
    crash_point("previous.released")
    with context.store.write() as tx:
        previous_table.forget_previous(tx)
    context.log.info("reprofile.released", table_version=previous.table_version)


# --- after a death ---


def settle_switch(context: Context) -> bool:
    """Find out whether a switch that was begun reached the table, and finish it, either way. Before anything else.

    Whether anything was begun: then another profile may be active than before.
    """
    build = context.build
    if build is not None and build.publication is not None:
        door = context.table_door.under(build.target)
        if door.profile() == build.target and (health := door.check()).ok:
            context.table_door = door
            table = context.open_table()
            if build.kept is not None:
                table.keep(build.kept)  # the tag is a file of its own, and may not have outlived a power loss
            table.sync()
            crash_point("switch.table.synced")
            _note(context, build, health.version or 0, health.rows or 0)
            return True
        _break_off(context, build)
        return True
    with context.store.read() as connection:
        back = previous_table.going_back(connection)
    if back is not None:
        _go_back_again(context, back)
    return back is not None


def _go_back_again(context: Context, back: Previous) -> None:
    """The process died on its way back. The table may be on either side; bringing it back once more is harmless."""
    found = context.table_door.profile() or back.profile
    context.table_door = context.table_door.under(found)
    if (
        context.table_door.exists()
        and context.table_door.check().ok
        and context.open_table().is_kept(back.table_version)
    ):
        go_back(context, back, "switched back after a restart")
        return
    with context.store.write() as tx:
        previous_table.forget_previous(tx)
    context.log.error(
        "reprofile.not_back", message="The previous table is gone; the current one stays in use."
    )
