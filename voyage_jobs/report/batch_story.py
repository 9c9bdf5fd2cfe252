"""The stories of a batch, of an embedding and of a chunk."""

from __future__ import annotations

import orjson

from voyage_jobs.clock import iso
from voyage_jobs.profile import chunk_id, document_key
from voyage_jobs.report.batches import batch_as_dict
from voyage_jobs.report.call_story import call_events
from voyage_jobs.report.document_story import chunk_as_dict, chunk_words, standing
from voyage_jobs.report.story import STANDS, Story, batch_events, batch_move, line_as_dict
from voyage_jobs.sources import names
from voyage_jobs.state import batches, calls, ledger, story
from voyage_jobs.state import texts as version_texts
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.documents import DocumentRow
from voyage_jobs.state.embeddings import OUTCOME_WORDS
from voyage_jobs.state.story import EmbeddingStory, View
from voyage_jobs.states import Batch, Embedding, Version
from voyage_jobs.steps.texts import read_again

MOST_LINES = 20
MOST_USES = 20

_BATCH_STANDS = {
    Batch.PACKED: "Its members are fixed; its input file is written next.",
    Batch.SPOOLED: "Its input file is written; it is uploaded next.",
    Batch.UPLOADING: "Its input file is being uploaded.",
    Batch.UPLOADED: "Its input file is at Voyage; its job is created next.",
    Batch.CREATING: "Its job may or may not exist: the create call got no answer. Nothing is sent again before Voyage's"
    " list of jobs has shown which it is.",
    Batch.RUNNING: "Voyage works on it.",
    Batch.ENDED: "Its job is over; its results are fetched next.",
    Batch.COLLECTED: "Its results are in; its files at Voyage are deleted next.",
    Batch.CLOSED: "It is done with.",
    Batch.REFUSED: "Voyage refused it; its lines go out again in smaller batches.",
    Batch.PARKED: "It is parked: a person must decide.",
    Batch.CANCELLED: "It was stopped before a job existed.",
}


def tell_batch(connection: View, batch: BatchRow) -> Story:
    """The whole story of one batch."""
    told = Story("batch", batch.ref, _batch_summary(batch), batch.hint)
    told.facts = {
        **batch_as_dict(batch),
        "input_file_id": batch.input_file_id,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "input_bytes": batch.spool_bytes,
        "input_sha256": batch.spool_sha256,
        "request_params": orjson.loads(batch.request_params),
        "packs": story.packs_of(connection, batch.id),
        "spend_tokens": ledger.of_batch(connection, batch.id),
    }
    moves = story.moves_of(connection, "batch", [batch.id])
    told.events = [(move.at, batch_move(move)) for move in moves]
    calls = batches.attempts_of(connection, batch.id)
    told.parts["attempts"] = [
        {"number": a.number, "state": str(a.state), "sent_at": iso(a.sent_at), "detail": a.detail}
        for a in calls
    ]
    told.events += [(call.sent_at, f"create call {call.number} sent") for call in calls]
    outcomes = story.outcomes_of(connection, batch.id)
    told.parts["outcomes"] = [{"outcome": OUTCOME_WORDS[code], "lines": n} for code, n in outcomes.items()]
    told.parts["bad_lines"] = [
        {
            "line": bad.line,
            "embedding_key": bad.key.hex(),
            "outcome": OUTCOME_WORDS[bad.outcome],
            "detail": bad.detail,
        }
        for bad in story.bad_lines(connection, batch.id, MOST_LINES)
    ]
    return told


def _batch_summary(batch: BatchRow) -> str:
    said = _BATCH_STANDS[batch.state]
    if batch.state is Batch.RUNNING:
        if batch.remote_completed is not None:
            said += f" It says {batch.remote_status}, {batch.remote_completed:,} of {batch.inputs:,} done."
        if batch.deadline_at is not None:
            said += f" The window ends at {iso(batch.deadline_at)}."
    if batch.cancel_asked_at is not None and batch.state in (Batch.CREATING, Batch.RUNNING):
        said += " Its cancellation was asked for."
    if batch.due_at > 0 and batch.failures and batch.state is not Batch.CLOSED:
        said += f" {batch.failures} tries have failed; the next is due at {iso(batch.due_at)}."
    return f"{said} {batch.reason}" if batch.reason else said


def tell_embedding(connection: View, found: EmbeddingStory, slot: int | None) -> Story:
    """The whole story of one embedding; `slot` names one vector of a window."""
    lines = story.lines_for(connection, found.id)
    state = story.told_state(found.stored, lines[-1] if lines else None)
    uses = story.uses_of(connection, found.id, MOST_USES)
    if slot is not None:
        uses = [use for use in uses if use.slot == slot]
    said = f"It {STANDS[state]}."
    if not uses:
        said += " No chunk needs it now; what was paid for is kept."
    retry = (
        "`voyage-jobs retry` tries it again."
        if uses and state in (Embedding.FAILED, Embedding.DROPPED)
        else None
    )
    ref = found.key.hex() if slot is None else f"{found.key.hex()}/{slot}"
    told = Story("embedding", ref, said, retry)
    told.facts = {
        "state": str(state),
        "vectors": found.vectors,
        "tokens_estimated": found.tokens,
        "attempts": found.attempts,
        "refusals": found.refusals,
        "pack": found.pack,
    }
    told.events = [(found.wanted_at, "wanted")] + [
        (move.at, f"{move.target} ({move.cause})")
        for move in story.moves_of(connection, "embedding", [found.id])
    ]
    told.events += batch_events(connection, [line.batch_id for line in lines])
    told.events += call_events(calls.for_embedding(connection, found.id))
    told.parts["lines"] = [line_as_dict(line) for line in lines]
    told.parts["chunks"] = [
        {"source": u.source, "path": u.path, "ordinal": u.ordinal, "slot": u.slot, "version": u.version_state}
        for u in uses
    ]
    return told


def tell_chunk(connection: View, document: DocumentRow, ordinal: int, wanted: str) -> Story:
    """The story of the chunk with the id `wanted`: the one at `ordinal`, if its text is still that."""
    live = [
        version
        for version in story.versions_of(connection, document.id)
        if version.state in (Version.WAITING, Version.READY, Version.PUBLISHED)
    ]
    chunks = {version.id: list(story.chunks_of(connection, version.id)) for version in live}
    told = Story("chunk", wanted, "")
    told.facts = {"source": document.source, "path": document.path, "ordinal": ordinal}
    said = []
    for version in live:
        for chunk in chunks[version.id]:
            if chunk.ordinal != ordinal:
                continue
            now = _chunk_id(connection, document, version.id, ordinal, chunk.start, chunk.end)
            row = chunk_as_dict(version, chunk) | {"chunk_id": now}
            told.parts.setdefault("chunks", []).append(row)
            if now in (None, wanted):
                doubt = " (its text cannot be had now, so this is by its place alone)" if now is None else ""
                said.append(f"In the {version.state} version it {chunk_words(chunk)}{doubt}.")
                told.events += batch_events(connection, story.batches_of(connection, version.id))
    about, told.hint = standing(document, live, chunks)
    missing = "No live version has this chunk any more: its text, or its place, is another now."
    place = f"Chunk {ordinal} of {document.source}:{names.display(document.path)}."
    told.summary = " ".join([place, *(said or [missing]), "Its document:", about])
    return told


def _chunk_id(
    connection: View, document: DocumentRow, version_id: int, ordinal: int, start: int, end: int
) -> str | None:
    text = version_texts.text_of(connection, version_id)
    place = None if text is not None else version_texts.file_of(connection, version_id)
    if place is not None:
        text = read_again(place)
    return (
        None
        if text is None
        else chunk_id(document_key(document.source, document.path), ordinal, text[start:end])
    )
