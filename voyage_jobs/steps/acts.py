"""What people ask for on the command line, carried out by whoever holds the lock, and on record with who asked.

Each act is one transaction and returns a small dictionary for the answer. Asking twice does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from voyage_jobs.errors import ConfigError, VoyageJobsError
from voyage_jobs.state import meta
from voyage_jobs.steps.cancelling import cancel
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.deleting import confirm_deletes, undelete
from voyage_jobs.steps.expedite import expedite
from voyage_jobs.steps.pausing import pause, resume
from voyage_jobs.steps.recover_all import recover_all
from voyage_jobs.steps.reprofile import reprofile
from voyage_jobs.steps.retrying import retry

Answer = dict[str, object]


def carry_out(context: Context) -> bool:
    """Do everything that was asked for and not done yet."""
    with context.store.read() as connection:
        asked = meta.open_requests(connection)
    for request in asked:
        try:
            answer = perform(context, request.command, request.arguments, request.who)
        except VoyageJobsError as exc:
            answer = {"error": exc.message, "hint": exc.hint, "exit_code": exc.exit_code}
        with context.store.write() as tx:
            meta.answer(tx, request.id, answer)
        context.log.info("request.done", command=request.command, who=request.who, **answer)
    return bool(asked)


def perform(context: Context, command: str, arguments: Mapping[str, object], who: str) -> Answer:
    """Carry out one act. Raises ConfigError if it makes no sense."""
    if command not in _ACTS:
        raise ConfigError(
            f"The running process does not know how to {command}.",
            hint="It is of another version: restart it, then ask again.",
        )
    return _ACTS[command](context, arguments, who)


def _recover(context: Context, arguments: Mapping[str, object], _who: str) -> Answer:
    """Learn again from disk and provider what the state does not know."""
    return recover_all(context, lost_folder=bool(arguments.get("lost_folder")))


_ACTS: dict[str, Callable[[Context, Mapping[str, object], str], Answer]] = {
    "retry": retry,
    "cancel": cancel,
    "pause": pause,
    "resume": resume,
    "confirm": confirm_deletes,
    "undelete": undelete,
    "recover": _recover,
    "expedite": expedite,
    "reprofile": reprofile,
}
