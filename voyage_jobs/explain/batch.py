"""The history of a batch, and of an embedding."""

from __future__ import annotations

from typing import Any

import orjson

from voyage_jobs.core.clock import iso
from voyage_jobs.core.states import Batch, Embedding
from voyage_jobs.diagnosis.snapshot import OPEN
from voyage_jobs.explain.record import STANDS, History, batch_move
from voyage_jobs.report.batches import batch_as_dict
from voyage_jobs.report.find import EmbeddingRef
from voyage_jobs.state import create_calls, history, ledger
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.history import View, line_as_dict
from voyage_jobs.state.outcomes import OUTCOME_WORDS

MOST_LINES = 20
MOST_USES = 20

_BATCH_STANDS = {
    Batch.PACKED: "Its texts are chosen; its input file is written next.",
    Batch.SPOOLED: "Its input file is written; it is uploaded next.",
    Batch.UPLOADING: "Its input file is being uploaded.",
    Batch.UPLOADED: "Its input file is at the provider; its job is created next.",
    Batch.CREATING: "Its job may or may not exist: the create call got no answer. Nothing is sent again before the"
    " provider's list of jobs has shown which it is.",
    Batch.RUNNING: "Its job is running at the provider.",
    Batch.ENDED: "Its job has ended; its results are fetched next.",
    Batch.COLLECTED: "Its results are in; its files at the provider are deleted next.",
    Batch.CLOSED: "It is finished.",
    Batch.REFUSED: "The provider refused it; its lines go out again in smaller batches.",
    Batch.PARKED: "It is parked: you must decide.",
    Batch.CANCELLED: "It was stopped before a job existed.",
}
_SYNC_STANDS = {
    **_BATCH_STANDS,
    Batch.SPOOLED: "Its input file is written; it is sent at once.",
    Batch.CREATING: "It is in flight, or the process that sent it has died: the next start tells which.",
    Batch.ENDED: "It was answered, and billed; its answer is taken in next.",
    Batch.CANCELLED: "It brought nothing; its texts were wanted again.",
}


def of_batch(connection: View, batch: BatchRow) -> History:
    """The history of one batch: its moves, its create calls, and how its lines ended."""
    facts = {
        **batch_as_dict(batch),
        "input_file_id": batch.input_file_id,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "input_bytes": batch.spool_bytes,
        "input_sha256": batch.spool_sha256,
        "request_params": orjson.loads(batch.request_params),
        "packs": history.segments_of(connection, batch.id),
        "spend_tokens": ledger.of_batch(connection, batch.id),
    }
    outcomes = history.outcomes_of(connection, batch.id)
    parts: dict[str, list[dict[str, Any]]] = {
        "attempts": [
            {"number": a.number, "state": str(a.state), "sent_at": iso(a.sent_at), "detail": a.detail}
            for a in create_calls.attempts_of(connection, batch.id)
        ],
        "outcomes": [{"outcome": OUTCOME_WORDS[code], "lines": n} for code, n in outcomes.items()],
        "bad_lines": [
            {
                "line": bad.line,
                "embedding_key": bad.key.hex(),
                "outcome": OUTCOME_WORDS[bad.outcome],
                "detail": bad.detail,
            }
            for bad in history.bad_lines(connection, batch.id, MOST_LINES)
        ],
    }
    moments = [
        (move.at, move.id, batch_move(move)) for move in history.moves_of(connection, "batch", [batch.id])
    ]
    return History(
        "batch", batch.ref, _summary(batch), batch.hint, facts, moments, parts, under_way=batch.state in OPEN
    )


def _summary(batch: BatchRow) -> str:
    said = (_SYNC_STANDS if batch.is_sync else _BATCH_STANDS)[batch.state]
    if batch.state is Batch.RUNNING:
        if batch.remote_completed is not None:
            said += f" It says {batch.remote_status}, {batch.remote_completed:,} of {batch.inputs:,} done."
        if batch.deadline_at is not None:
            said += f" The window ends at {iso(batch.deadline_at)}."
    if batch.cancel_asked_at is not None and batch.state in (Batch.CREATING, Batch.RUNNING):
        said += " Its cancellation was requested."
    if batch.due_at > 0 and batch.failures and batch.state is not Batch.CLOSED:
        said += f" {batch.failures} tries have failed; the next is due at {iso(batch.due_at)}."
    return f"{said} {batch.reason}" if batch.reason else said


def of_embedding(connection: View, ref: EmbeddingRef) -> History:
    """The history of one embedding; of one vector of a window, if `ref` names its slot."""
    found, slot = ref.embedding, ref.slot
    lines = history.lines_for(connection, found.id)
    state = history.told_state(found.stored, lines[-1] if lines else None)
    uses = history.uses_of(connection, found.id, MOST_USES)
    if slot is not None:
        uses = [use for use in uses if use.slot == slot]
    said = f"It {STANDS[state]}."
    if not uses:
        said += " No chunk needs it now; what was paid for is kept."
    again = uses and state in (Embedding.FAILED, Embedding.DROPPED)
    moves = history.moves_of(connection, "embedding", [found.id])
    record = History(
        "embedding",
        found.key.hex() if slot is None else f"{found.key.hex()}/{slot}",
        said,
        "`voyage-jobs retry` tries it again." if again else None,
        facts={
            "state": str(state),
            "vectors": found.vectors,
            "tokens_estimated": found.tokens,
            "attempts": found.attempts,
            "refusals": found.refusals,
            "pack": found.segment,
        },
        moments=[
            (found.wanted_at, 0, "wanted"),
            *((move.at, move.id, f"{move.target} ({move.cause})") for move in moves),
        ],
        parts={"lines": [line_as_dict(line) for line in lines], "chunks": [use.as_dict() for use in uses]},
    )
    record.add_batches(connection, [line.batch_id for line in lines])
    return record
