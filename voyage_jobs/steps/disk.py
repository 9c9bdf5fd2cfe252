"""The room on the disk: looked at before anything large is written, and a visible reason to pause when it is short."""

from __future__ import annotations

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import now_us
from voyage_jobs.core.plural import room
from voyage_jobs.errors import VoyageJobsError
from voyage_jobs.state import circuits
from voyage_jobs.steps.circuits import fine, stop
from voyage_jobs.steps.context import Context

_FILES = 3  # of `batching.max_bytes`: what a batch is sent as and what comes back
MORE_ROOM = "Free some space, or lower disk.min_free_bytes or batching.max_bytes"


def of_batch(settings: Settings) -> int:
    """The bytes that a batch may take on the disk, beyond what is to stay free."""
    return _FILES * settings.batching.max_bytes


def room_for(context: Context, size: int) -> bool:
    """Whether `size` bytes can be written and the configured rest stays free; if not, say so where `status` looks."""
    needed = size + context.settings.disk.min_free_bytes
    free = context.free_disk_bytes()
    if free >= needed:
        fine(context, circuits.DISK)
        return True
    pause(
        context,
        f"{room(free)} are free under {context.settings.data_dir}; {room(needed)} are needed before more is sent.",
    )
    return False


def look_again(context: Context) -> None:
    """Go on if there is room again and no step has found out: nothing large may be due for hours, or ever."""
    with context.store.read() as connection:
        closed = circuits.tripped(connection).get(circuits.DISK)
    if closed is not None and closed.until_at <= now_us(context.clock):
        room_for(context, 0)


def pause(context: Context, message: str) -> None:
    """Note that the disk is short. Polling goes on; what is written goes on when there is room."""
    stop(context, circuits.DISK, "paused_disk", message, f"{MORE_ROOM}; work resumes by itself.")
    context.log.error("disk.paused", message=message)


def note_full(context: Context, error: VoyageJobsError) -> None:
    """The same after a write that failed; if not even that can be noted, the log has it."""
    try:
        pause(context, error.message)
    except VoyageJobsError as exc:
        context.log.error("disk.full", error=error.message, also=exc.message)  # noqa: TRY400 - a full disk is no bug
