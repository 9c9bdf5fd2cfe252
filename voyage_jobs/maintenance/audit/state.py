"""state.db against itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voyage_jobs.maintenance.audit.findings import Findings
from voyage_jobs.sources import names
from voyage_jobs.state import audit, health, impossible

if TYPE_CHECKING:
    from sqlalchemy import Connection


def audit_state(connection: Connection, found: Findings) -> bool:
    """Look for contradictions. False if the file itself is damaged: nothing else can be believed then."""
    damage = health.file_damage(connection)
    for line in damage:
        found.add("state_damaged", line)
    if damage:
        return False
    for words in impossible.find(connection):
        found.add("tokens_impossible", words)
    left_out = [*audit.SUMS] if found.has(("tokens_impossible",)) else []
    if not audit.keeps_totals(connection):
        left_out.append("totals_wrong")
    for rule in (each for each in audit.STATE_RULES if each not in left_out):
        for subject, words in audit.broken(connection, rule):
            found.add(rule, names.display(words), subject)
    for broken in audit.broken_histories(connection):
        found.add("history_wrong", broken.words, (broken.kind, broken.subject))
    return True
