"""Why a batch, or an embedding, is where it is."""

from __future__ import annotations

from typing import Any

from voyage_jobs.core.clock import US
from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import UNFINISHED, Batch, Embedding
from voyage_jobs.diagnosis.blocker import NOTHING_TO_DO
from voyage_jobs.diagnosis.snapshot import Moment, Text
from voyage_jobs.report import waits
from voyage_jobs.report.answer import Answer, waiting
from voyage_jobs.report.batches import batch_as_dict
from voyage_jobs.report.find import EmbeddingRef
from voyage_jobs.report.why_way import of_batch_id
from voyage_jobs.report.words import span, when
from voyage_jobs.sources import names
from voyage_jobs.state import backlog, create_calls, history
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.history import LineHistory, Use, View, line_as_dict
from voyage_jobs.state.outcomes import OUTCOME_WORDS, SUCCESS

_MOST_USES = 20


def batch(connection: View, moment: Moment, row: BatchRow) -> Answer:
    """How a batch stands: what it waits for, or what came of it."""
    facts = {"batch": batch_as_dict(row)}
    if row.state in (*UNFINISHED, Batch.PARKED):
        calls = create_calls.attempts_of(connection, row.id)
        wait = waits.of_batch(moment, row, calls[-1].sent_at if calls else None)
        if wait is not None:
            said = f"It holds {counted(row.inputs, 'text')} and was made {_at(row.created_at, moment)}."
            text = f"{wait.text} {said}"
            return Answer("batch", row.ref, wait.code, None, text, wait.next, wait.until, facts)
    text, after = _over(connection, moment, row), _after(connection, row)
    return Answer("batch", row.ref, str(row.state), None, text, after, facts=facts)


def _at(at: int, moment: Moment) -> str:
    return f"at {when(at, moment.now)}"


def _over(connection: View, moment: Moment, row: BatchRow) -> str:
    """What came of a batch that is over."""
    said = f"Batch {row.ref} held {counted(row.inputs, 'text')} and was made {_at(row.created_at, moment)}."
    outcomes = {OUTCOME_WORDS[code]: n for code, n in history.outcomes_of(connection, row.id).items()}
    text = ", ".join(f"{n:,} {word}" for word, n in outcomes.items())
    if row.state in (Batch.REFUSED, Batch.CANCELLED) or row.collected_at is None:
        what = f"{moment.provider} refused it" if row.state is Batch.REFUSED else "It brought no results"
        why = f": {row.reason.rstrip('.')}" if row.reason else ""
        return f"{said} {what}{why}. Its lines: {text}."
    if row.submitted_at is not None and row.ended_at is not None:
        took = span((row.ended_at - row.submitted_at) / US)
        said += f" {moment.provider} worked on it for {took} as job {row.remote_id}, which ended {row.remote_status!r}."
    said += f" Its results came in {_at(row.collected_at, moment)}: {text}."
    return said + (f" {row.tokens_settled:,} tokens were billed." if row.tokens_settled is not None else "")


def _after(connection: View, row: BatchRow) -> str:
    came_to = set(history.outcomes_of(connection, row.id))
    what = "shows its history" if came_to == {SUCCESS} else "lists the lines that brought no vector"
    return f"`voyage-jobs history {row.ref}` {what}."


# --- embeddings ---


def embedding(connection: View, moment: Moment, ref: EmbeddingRef) -> Answer:
    """How an embedding stands, and who needs it."""
    found = ref.embedding
    key = found.key.hex() if ref.slot is None else f"{found.key.hex()}/{ref.slot}"
    lines = history.lines_for(connection, found.id)
    last = lines[-1] if lines else None
    state = history.told_state(found.stored, last)
    uses = [u for u in history.uses_of(connection, found.id, _MOST_USES) if ref.slot in (None, u.slot)]
    facts = {
        "embedding": _embedding(found.key.hex(), state, found.attempts, found.segment, lines),
        "used_by": _uses(uses),
    }
    said = f"Embedding {key[:12]} {_needed(uses)}."
    if state is Embedding.HELD:
        came = f"line {last.line} of batch {last.ref}" if last and last.outcome == SUCCESS else "a segment"
        are = "vector is" if found.vectors == 1 else "vectors are"
        said += f" Its {are} here: from {came}, in segment {found.segment}."
        shown = sum(use.version_state == "published" for use in uses)
        published = None if not uses else shown > 0
        path = names.in_shell(f"{uses[0].source}:{names.display(uses[0].path)}") if uses else ""
        first = f"`voyage-jobs why {path}`" if uses else NOTHING_TO_DO
        if uses and not shown:
            said += " No document that needs it is in the table yet."
        return Answer("embedding", key, "held", published, said, first, facts=facts)
    if state in (Embedding.FAILED, Embedding.DROPPED):
        return _given_up(key, state, said, last, uses, facts)
    if last is not None and state in (Embedding.PACKED, Embedding.SUBMITTED):
        wait = of_batch_id(connection, moment, last.batch_id)
        return waiting("embedding", key, f"{said} It is line {last.line} of batch {last.ref}.", wait, **facts)
    ahead = backlog.ahead_of(connection, found.id, found.refusals)
    text = Text(found.tokens, None, found.refusals, ahead)
    wait = waits.to_be_sent(moment, text)
    said += f" It waits to be sent since {when(found.wanted_at, moment.now)}."
    return waiting("embedding", key, said, wait, **facts)


def _given_up(
    key: str, state: Embedding, said: str, last: LineHistory | None, uses: list[Use], facts: dict[str, Any]
) -> Answer:
    if state is Embedding.FAILED:
        words = "" if last is None else f": {last.detail or OUTCOME_WORDS[last.outcome]}"
        where = "" if last is None else f" in line {last.line} of batch {last.ref}"
        said += f" It failed{where}{words.rstrip('.')}."
        return Answer(
            "embedding", key, "failed", False, said, "`voyage-jobs retry` tries it again.", facts=facts
        )
    if not uses:
        said += " It was not sent or not answered, and is not sent again until something needs it."
        return Answer("embedding", key, "not_needed", None, said, NOTHING_TO_DO, facts=facts)
    said += " An operator cancelled the batch that it was in."
    return Answer(
        "embedding", key, "cancelled", False, said, "`voyage-jobs retry` sends it again.", facts=facts
    )


def _needed(uses: list[Use]) -> str:
    if not uses:
        return "is needed by no chunk now"
    first = f"chunk {uses[0].ordinal} of {uses[0].source}:{names.display(uses[0].path)}"
    if len(uses) == 1:
        return f"is needed by {first}"
    more = f"{len(uses) - 1} more" if len(uses) < _MOST_USES else "many more"
    return f"is needed by {first} and {more}"


def _embedding(
    key: str, state: Embedding, attempts: int, segment: str | None, lines: list[LineHistory]
) -> dict[str, Any]:
    return {
        "key": key,
        "state": str(state),
        "attempts": attempts,
        "pack": segment,
        "lines": [line_as_dict(line) for line in lines],
    }


def _uses(uses: list[Use]) -> list[dict[str, Any]]:
    return [
        {"source": u.source, "path": u.path, "ordinal": u.ordinal, "slot": u.slot, "version": u.version_state}
        for u in uses
    ]
