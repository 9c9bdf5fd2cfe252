"""What happens before the first step: make sense of whatever the last process left, however it ended.

Nothing here needs the provider: batches say by their state what is to be done, and the steps do it.
"""

from __future__ import annotations

import os
from pathlib import Path

from voyage_jobs.core import private
from voyage_jobs.core.clock import US, iso, now_us
from voyage_jobs.core.durable import no_room_is_one_error, remove
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import ConfigError
from voyage_jobs.state import (
    batches,
    circuits,
    documents,
    embeddings,
    last_errors,
    meta,
    notices,
    publications,
    segment_rows,
    sources,
    versions,
)
from voyage_jobs.state.meta import Here
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import drafts, step_errors
from voyage_jobs.steps.context import Context, encoded
from voyage_jobs.steps.owner import demand_own_if_switching, own_table
from voyage_jobs.steps.recover_segments import adopt_segments
from voyage_jobs.steps.reformat import Format
from voyage_jobs.steps.reprofile import follow_corrected_model, take_up_profile
from voyage_jobs.steps.set_back import name_state, note_generation, recognise
from voyage_jobs.steps.shown import note_rows, publish_again
from voyage_jobs.steps.splitting import take_up_rules
from voyage_jobs.steps.step_errors import Errors
from voyage_jobs.steps.switch import serve_at_once, settle_switch
from voyage_jobs.steps.synchronous import settle_interrupted
from voyage_jobs.steps.untouched import is_untouched
from voyage_jobs.table import Health

ORPHANED_FILE_S = 86_400


def recover(context: Context, mode: str, *, take_over: bool = False) -> None:
    """Bring state, segments, spool and table into agreement. Raises ConfigError if settings and folder disagree.

    `take_over`: have the table even if it belongs to another state, which is an error otherwise.
    """
    with context.store.read() as connection:
        context.memory(Errors).failing.update(last_errors.lasting(connection))
    with step_errors.fatal_ones_noted(context, last_errors.START):
        _recover(context, mode, take_over=take_over)


def _recover(context: Context, mode: str, *, take_over: bool) -> None:
    paths = context.settings.paths
    for folder in filter(None, (paths.spool, paths.vectors, paths.own_table)):
        with no_room_is_one_error(str(folder)):
            _make(folder)
    take_up_profile(context)
    take_up_rules(context)
    wanted = [(source.name, encoded(source.path)) for source in context.settings.sources]
    with context.store.write() as tx:
        _note_a_death(tx, meta.arrive(tx, os.getpid(), mode), mode)
        name_state(context, tx)
        sources.configure(tx, wanted)
        publications.forget_open(tx)
        # A clock that was set back while nothing ran would keep everything waiting.
        batches.due_no_later(tx, tx.now + int(context.settings.polling.max_interval_s * US))
        circuits.due_no_later(tx, tx.now + int(context.settings.section.create_retry_s * US))
        notices.due_no_later(tx, tx.now)
    demand_own_if_switching(context, take_over=take_over)
    if settle_switch(context):
        take_up_profile(context)
    context.segments.discard_unfinished()
    recognise(context)
    settle_interrupted(context)
    adopt_segments(context)
    note_generation(context)
    lose_missing_segments(context)
    follow_corrected_model(context)
    _orphaned_file_spool(context)
    if is_untouched(context):
        context.memory(Format).looked_at = True
        return
    own_table(context, take_over=take_over)
    _table(context)
    note_rows(context)


def _make(folder: Path) -> None:
    try:
        private.make_folder(folder)
    except FileExistsError as exc:
        raise ConfigError(
            f"{folder} is no folder, or a link that leads nowhere.",
            hint="Mount what it leads to; or move it aside, and what it held is made again (vectors are paid again).",
        ) from exc


def _note_a_death(tx: Tx, dead: Here | None, mode: str) -> None:
    """Whoever worked here before did not take leave: killed, crashed, or the power was lost."""
    if mode != "act":
        last_errors.count(tx, last_errors.STARTS)
    if dead is None:
        return
    last_errors.count(tx, last_errors.DEATHS)
    last = f"its last heartbeat was at {iso(dead.heartbeat_at)}" + (
        f", at step {dead.step}" if dead.step else ""
    )
    message = f"Process {dead.pid} ({dead.mode}) was killed, crashed, or lost power; {last}."
    last_errors.note(tx, last_errors.PROCESS, "died", message)
    last_errors.over(tx, last_errors.PROCESS)  # by this start


def lose_missing_segments(context: Context) -> None:
    """A segment that is on record and not on disk, or cut, cannot be published from: fetch its vectors again."""
    with context.store.read() as connection:
        missing = [
            segment for segment in segment_rows.all_segments(connection) if not _is_whole(context, segment)
        ]
    for segment in missing:
        if not context.rehearsal and context.segments.path(segment.name).exists():
            context.segments.set_aside(segment.name)
    if not missing:
        return
    with context.store.write() as tx:
        lost = {
            segment.name: embeddings.lose_segment(tx, segment.id, f"pack {segment.name} is missing or cut")
            for segment in missing
        }
        versions.recount_all(tx)
    for name, count in lost.items():
        if count:
            context.log.error("segment.damaged", segment=name, embeddings=count)


def _is_whole(context: Context, segment: segment_rows.SegmentRow) -> bool:
    try:
        return context.segments.path(segment.name).stat().st_size == segment.bytes
    except FileNotFoundError:
        return False


def _orphaned_file_spool(context: Context) -> None:
    """Files in the spool that no open batch owns, and that have been there for a day, and all drafts."""
    over = (Batch.CLOSED,)
    with context.store.read() as connection:
        for entry in list(os.scandir(context.spool)):
            ref = entry.name.split(".", 1)[0]
            batch = batches.by_ref(connection, ref)
            old = context.clock.wall() - entry.stat().st_mtime > ORPHANED_FILE_S
            left = entry.name.endswith(drafts.SUFFIX)
            if left or (batch is None and old) or (batch is not None and batch.state in over):
                remove(context.spool / entry.name)


def _table(context: Context) -> None:
    """The table is a view: if it is missing, torn or not the one that was filled, it is filled again at no cost."""
    place = context.table_door.place
    with context.store.read() as connection:
        filled = meta.get(connection, meta.TABLE)
        version = publications.last_table_version(connection)
    moved = filled is not None and filled != place
    if moved or version is not None or context.table_door.exists():
        _check_table(context, version or 0, f"the table is {place} now" if moved else None)
    with context.store.write() as tx:
        meta.put(tx, meta.TABLE, place)


def _check_table(context: Context, acknowledged: int, cause: str | None) -> None:
    """Publish everything again if the table is not what was acknowledged, or for a `cause` known before."""
    health = context.table_door.check()
    if context.build is not None and health.reason != "foreign":
        _while_building(context, health, acknowledged)
        return
    if health.ok:
        if cause is None and (health.version or 0) < acknowledged:
            cause = f"the table went back to version {health.version}"
        if cause is not None:
            _take_out_what_is_gone(context)
            publish_again(context, cause)
        return
    if health.reason == "foreign":
        if cause is None or not _is_an_earlier_one(context):
            raise ConfigError(health.detail, hint=health.hint)
        _set_aside(context, health)
        publish_again(context, cause)
        return
    if health.reason == "torn":
        _set_aside(context, health)
        publish_again(context, "the table was damaged")
    else:
        publish_again(context, cause or "the table was missing")


def _is_an_earlier_one(context: Context) -> bool:
    """Whether the table is of this state and has vectors of another profile: it was left before that was changed."""
    theirs = context.table_door.profile()
    ours = context.build is None and context.table_door.owner() == context.state_id
    return ours and theirs is not None and theirs != context.profile


def _set_aside(context: Context, health: Health) -> None:
    aside = context.table_door.set_aside(str(now_us(context.clock)))
    context.log.error("table.set_aside", reason=health.detail, kept_as=aside)


def _while_building(context: Context, health: Health, acknowledged: int) -> None:
    """The switch replaces whatever the table shows: until then it may be old. One that is lost is not made again."""
    if health.ok:
        if (health.version or 0) < acknowledged:
            with context.store.write() as tx:
                publications.forget_versions(tx)
        return
    if health.reason == "torn":
        _set_aside(context, health)
    serve_at_once(context, "the table was damaged" if health.reason == "torn" else "the table was missing")


def _take_out_what_is_gone(context: Context) -> None:
    """A table that was filled at another time may show documents that have gone since."""
    with context.store.read() as connection:
        gone = documents.without_rows(connection)
    if gone:
        table = context.open_table()
        table.delete(gone)
        table.sync()
