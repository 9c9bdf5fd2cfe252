"""Errors of the steps, on record with the step they happened in, until that step has come through again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from voyage_jobs.errors import DiskFullError, EpochLostError, TableAwayError, VoyageJobsError
from voyage_jobs.state import last_errors
from voyage_jobs.state.store import Tx
from voyage_jobs.steps.context import Context


@dataclass
class Errors:
    """What this process knows of the errors of its steps."""

    step: str = last_errors.START
    """The step at work: whose error it is."""
    failing: dict[str, str] = field(default_factory=dict)
    """Step -> code of the errors on record that are not over."""


def step_now(context: Context) -> str:
    """The step at work."""
    return context.memory(Errors).step


def note(context: Context, tx: Tx, step: str, code: str, message: str, hint: str | None = None) -> None:
    """Put an error on record."""
    last_errors.note(tx, step, code, message, hint)
    context.memory(Errors).failing[step] = code


def over(context: Context, step: str) -> None:
    """The step has come through: its error, if there is one on record, is over."""
    if step in context.memory(Errors).failing:
        with context.store.write() as tx:
            last_errors.over(tx, step)
        del context.memory(Errors).failing[step]


@contextlib.contextmanager
def fatal_ones_noted(context: Context, step: str) -> Iterator[None]:
    """Put on record what ends the process, so that `status` can tell when nobody is left; it is raised on.

    What cannot be put on record, for a full disk, is in the log alone. Whatever fails in an instance that was
    superseded, over a file that the other one has renamed for example, fails for that: raises `EpochLostError` instead.
    """
    context.memory(Errors).step = step
    try:
        yield
    except (DiskFullError, TableAwayError):
        raise  # the others go on; see disk.py and circuits.py
    except Exception as exc:
        told, hint = f"{type(exc).__name__}: {exc}", None
        if isinstance(exc, VoyageJobsError):
            told, hint = exc.message, exc.hint
        lost = _noted(context, step, told, hint)
        if lost is not None:
            raise lost from exc
        raise
    if context.memory(Errors).failing.get(step) == last_errors.FATAL:
        over(context, step)


def _noted(context: Context, step: str, told: str, hint: str | None) -> EpochLostError | None:
    """Put it on record if that can be done. What keeps it from that is returned if another instance has taken over."""
    try:
        with context.store.write() as tx:
            note(context, tx, step, last_errors.FATAL, told, hint)
    except EpochLostError as lost:
        return lost
    except Exception:  # noqa: BLE001 - what this was about is worse, and is raised on
        return None
    return None
