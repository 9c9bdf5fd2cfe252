"""How long jobs take, told from those that have ended here. Pure; what is not known is None, never a guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voyage_jobs.core.clock import US


@dataclass(frozen=True)
class Expected:
    """When something is likely over (half of what is comparable was over by then) and late (nine in ten were)."""

    likely_at: int | None = None
    late_at: int | None = None


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value that `share` of them do not exceed; None of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def of_job(took: Sequence[float], submitted_at: int | None, now: int) -> Expected:
    """When a job that is at the provider will be over, by the past ones that took longer than it has already.

    `took` are seconds, shortest first. A job that is out longer than any before has no expectation.
    """
    if submitted_at is None:
        return Expected()
    longer = [seconds for seconds in took if seconds > (now - submitted_at) / US]
    return Expected(_at(submitted_at, quantile(longer, 0.5)), _at(submitted_at, quantile(longer, 0.9)))


def of_next(took: Sequence[float], now: int, waves: int = 1) -> Expected:
    """When so many jobs, one after the other and the first sent now, will be over."""
    half, most = quantile(took, 0.5), quantile(took, 0.9)
    return Expected(
        None if half is None else _at(now, waves * half), None if most is None else _at(now, waves * most)
    )


def of_all(each: Sequence[Expected]) -> Expected:
    """When all of these will be over: not known if one of them is not."""
    likely = [one.likely_at for one in each if one.likely_at is not None]
    late = [one.late_at for one in each if one.late_at is not None]
    known = bool(each) and len(likely) == len(late) == len(each)
    return Expected(max(likely), max(late)) if known else Expected()


def _at(start: int, seconds: float | None) -> int | None:
    return None if seconds is None else start + int(seconds * US)
