"""The fresh lane in reports: how fresh sources are, what is left of the allowance, how a change goes and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from voyage_jobs.core.clock import iso
from voyage_jobs.diagnosis.blocker import FRESH, SUBMIT, keeping, sentence
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.fresh import BECAUSE, call_of, choose, most_looked_at
from voyage_jobs.diagnosis.snapshot import Facts, promises
from voyage_jobs.report.eta import quantile
from voyage_jobs.report.standing import Standing
from voyage_jobs.state import fresh
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.steps.synchronous import limits_of


def of_source(facts: Facts, row: SourceRow) -> dict[str, Any] | None:
    """What a source promises and how fresh it was over a day; None where it promises nothing."""
    promised = promises(facts.settings).get(row.name)
    if promised is None:
        return None
    found = facts.freshness.get(row.id)
    waits = () if found is None else found.waits_s
    return {
        "promised_s": promised.fresh_within_s,
        "begun": found is not None,
        "median_s": quantile(waits, 0.5),
        "p95_s": quantile(waits, 0.95),
        "changes": len(waits),
        "late": sum(seconds > (promised.fresh_within_s or 0) for seconds in waits),
        "by_batch": 0 if found is None else found.by_batch,
    }


def allowance(facts: Facts) -> dict[str, Any] | None:
    """The day's allowance by unit; None where nothing is promised."""
    if not promises(facts.settings):
        return None
    units = {room.key.rpartition("_")[2]: room for room in facts.fresh_rooms}
    ends = [room.anew_at for room in facts.fresh_rooms]
    return {
        "today": {unit: {"limit": room.limit, "used": room.used} for unit, room in units.items()},
        "anew_at": iso(ends[0]) if ends else None,
    }


@dataclass(frozen=True)
class Told:
    """How a change goes that waits to be sent."""

    at_once: bool
    text: str


def told(view: Standing) -> Told | None:
    """How the wanted version of a document goes; None where its source promises nothing, or nothing goes anyway."""
    moment, wanted, row = view.moment, view.wanted, view.source
    promised = None if row is None else promises(moment.settings).get(row.name)
    if wanted is None or row is None or promised is None or moment.build is not None:
        return None
    after = fresh.begun_after(view.connection, row.id)
    if after is None or wanted.id <= after:
        return Told(
            False, "It waited before fresh_within_s of its source began to hold, so it goes by batch."
        )
    held = next(keeping(blockers(moment), FRESH, SUBMIT, source=row.name, now=moment.now), None)
    if held is not None:
        return None if held.stops & {SUBMIT} else Told(False, sentence(held.text))
    limits, settings = limits_of(moment.settings), moment.settings.fresh
    call = call_of(settings, moment.fresh_rooms, limits.inputs, limits.tokens)
    found = fresh.changes(view.connection, row.id, moment.profile_id, after, most_looked_at(settings))
    word = choose(found, call).because.get(wanted.id)
    if word is None and wanted.id in {each.version_id for each in found}:
        within = f"{promised.fresh_within_s:g} s"
        return Told(
            True, f"It goes at once, with the next call: its source promises to be fresh within {within}."
        )
    values = {"inputs": limits.inputs, "tokens": limits.tokens, "max_documents": settings.max_documents}
    return Told(False, f"It goes by batch, because {BECAUSE[word or 'many'].format(**values)}.")
