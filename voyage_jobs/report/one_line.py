"""The state of things in one line, for whoever looks at the process: cheap enough to be asked at every wait."""

from __future__ import annotations

from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import UNFINISHED
from voyage_jobs.diagnosis.blocker import shown
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.snapshot import moment_of
from voyage_jobs.steps.context import Context


def one_line(context: Context) -> str:
    """What hinders it and what is in flight: `frozen: docs; 2 batches (1,900 texts) in flight`."""
    with context.store.read() as connection:
        moment = moment_of(context, connection)
    about: dict[str, list[str]] = {}
    for each in shown(blockers(moment)):
        text = each.message.removesuffix(".") if each.circuit else each.subject
        about.setdefault(each.code, []).extend([text] if text else [])
    parts = [f"{code}: {', '.join(subjects)}" if subjects else code for code, subjects in about.items()]
    in_flight = [batch.inputs for batch in moment.open if batch.state in UNFINISHED]
    if in_flight:
        parts.append(f"{counted(len(in_flight), 'batch')} ({counted(sum(in_flight), 'text')}) in flight")
    if moment.waiting.embeddings:
        parts.append(f"{counted(moment.waiting.embeddings, 'text')} to be sent")
    return "; ".join(parts) or "Idle: nothing waits"
