"""The first line of `status`: the worst fact there is, never a better one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from voyage_jobs.core.plural import counted
from voyage_jobs.report.words import about

if TYPE_CHECKING:
    from voyage_jobs.diagnosis.blocker import Blocker
    from voyage_jobs.diagnosis.snapshot import Facts

Level = Literal["good", "working", "waiting", "problem", "unknown"]
Headline = tuple[Level, str]


def without_state(found: Sequence[Blocker], holder: int | None) -> Headline:
    """Where no state can be read. `holder`: the process that works there all the same."""
    if any(problem.code == "no_state" for problem in found):
        if holder is not None:
            return "unknown", f"Process {holder} works here, and there is no state."
        return "unknown", "Nothing yet: voyage-jobs has not worked with this configuration."
    return "problem", _wrong(found)


def headline(facts: Facts, found: Sequence[Blocker]) -> Headline:
    """By the worst fact: what is wrong, what holds work up, what goes on, and only then that all is well."""
    real = [problem for problem in found if problem.severity == "problem"]
    if real:
        return "problem", _wrong(real)
    served = f"{counted(facts.chunks('published'), 'chunk')} published"
    moving = sum(facts.chunks(place) for place in ("waiting", "packed", "submitted", "held"))
    on_the_way = _on_the_way(facts)
    codes = {problem.code for problem in found}
    if "paused" in codes:
        rest = (each for each in found if each.code == "paused")
        what = ", ".join(f"source {each.source}" if each.source else str(each.name) for each in rest)
        return "waiting", f"paused ({what}): {on_the_way}."
    if "reprofiling" in codes:
        building = f"building a table for other vectors: {on_the_way}"
        nobody = facts.holder is None
        return (
            ("waiting", f"{building}, and no process is running.") if nobody else ("working", f"{building}.")
        )
    if moving or facts.open:
        if facts.holder is None:
            return "waiting", f"idle: {on_the_way}, and no process is running."
        held_up = [each for each in found if each.circuit and not each.is_tried(facts.now)]
        if held_up:
            return "waiting", f"held up: {on_the_way}. {held_up[0].message}"
        return "working", f"working: {on_the_way}."
    if "never_scanned" in codes:
        return "waiting", f"unfinished: {served}, and a source has not been scanned completely."
    if facts.holder is None and (scanned := _oldest_scan(facts)) is not None:
        ago = about(max(0, facts.now - scanned) / 1_000_000)
        return "good", f"up to date (checked {ago} ago): {served}, nothing waits; not running."
    return "good", f"healthy: {served}, nothing is waiting."


def _on_the_way(facts: Facts) -> str:
    """`195 chunks published, 36,586 not sent yet, 1,697 at Voyage`: what was sent, and what was not."""
    parts = [
        (facts.chunks("waiting") + facts.chunks("packed"), "not sent yet"),
        (facts.chunks("submitted"), f"at {facts.provider}"),
        (facts.chunks("held"), "to be published"),
    ]
    served = f"{counted(facts.chunks('published'), 'chunk')} published"
    return ", ".join([served, *(f"{count:,} {words}" for count, words in parts if count)])


def _wrong(real: Sequence[Blocker]) -> str:
    things = counted(len(real), "problem")
    first = real[0].message.partition(". ")[0].removesuffix(".")
    return f"{things}: {first}."


def _oldest_scan(facts: Facts) -> int | None:
    scans = [row.scanned_at for row in facts.sources if row.configured and row.scanned_at is not None]
    return min(scans, default=None)
