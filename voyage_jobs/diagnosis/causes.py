"""`blockers`: the one list of reasons, out of one snapshot. Pure."""

from __future__ import annotations

from voyage_jobs.diagnosis import batch_conditions, process_conditions, sending, source_conditions, stuck
from voyage_jobs.diagnosis.blocker import Blocker, keeping
from voyage_jobs.diagnosis.snapshot import Facts, Gate

CAUSES = (
    *sending.CAUSES,
    *source_conditions.CAUSES,
    *batch_conditions.CAUSES,
    *process_conditions.CAUSES,
)
CODES = frozenset({code for entry in CAUSES for code in entry.codes}) | stuck.CODES
"""Every code there is."""


def blockers(snapshot: Gate) -> list[Blocker]:
    """Every reason that can be known from the snapshot, in the order of the entries; then what is stuck for none."""
    found = [each for entry in CAUSES for each in entry.blockers(snapshot)]
    if isinstance(snapshot, Facts):
        found += [each.as_blocker() for each in stuck.find(snapshot, found) if each.because is None]
    return found


def is_kept_back(snapshot: Gate, step: str) -> bool:
    """Whether a step must not go on now for what the snapshot knows; circuits that are about to be tried let it."""
    found = (each for entry in CAUSES for each in entry.blockers(snapshot))
    return any(keeping(found, step, now=snapshot.now))
