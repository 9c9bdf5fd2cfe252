"""Why one chunk is in the table, or is not."""

from __future__ import annotations

from voyage_jobs.core.states import Document, Embedding, Version
from voyage_jobs.diagnosis.snapshot import Moment
from voyage_jobs.report import why_document
from voyage_jobs.report.answer import Answer, waiting
from voyage_jobs.report.find import ChunkRef
from voyage_jobs.report.standing import (
    chunk_facts,
    facts_of,
    groups,
    look,
)
from voyage_jobs.report.why_way import of_group
from voyage_jobs.state import history
from voyage_jobs.state.history import ChunkHistory, View
from voyage_jobs.state.outcomes import SUCCESS


def chunk(connection: View, moment: Moment, ref: ChunkRef) -> Answer:
    """How one chunk stands."""
    view = look(connection, moment, ref.document)
    place = f"Chunk {ref.ordinal} of {view.name}"
    wanted = view.wanted or view.served
    found = None
    if wanted is not None and view.row.state == Document.PRESENT:
        chunks = history.chunks_of(connection, wanted.id)
        found = next((each for each in chunks if each.ordinal == ref.ordinal), None)
    if wanted is None or found is None:
        answer = why_document.document(connection, moment, ref.document)
        answer.kind, answer.ref = "chunk", ref.word
        said = f"{place} is in no current version: its text or its position has changed."
        if view.row.state != Document.PRESENT:
            said = f"{place} is gone with its document."
        answer.reason, answer.published = "no_such_chunk", False
        answer.paragraph = f"{said} {answer.paragraph}"
        return answer
    facts = {**facts_of(view), "chunk": chunk_facts(found)}
    if wanted.state is Version.PUBLISHED and found.state is Embedding.HELD:
        said = (
            f"{place} is in the table, published {view.at(wanted.published_at or moment.now)}. {_came(found)}"
        )
        next_ = f"`voyage-jobs history --timeline {ref.word}` shows its history."
        return Answer("chunk", ref.word, "published", True, said, next_, facts=facts)
    if found.state is Embedding.HELD:
        rest = why_document.document(connection, moment, ref.document)
        said = f"{place} has its vector, and waits for its document. {_came(found)} {rest.paragraph}"
        return Answer("chunk", ref.word, rest.reason, False, said, rest.next, rest.expected_at, facts)
    [group] = groups([found])
    return waiting(
        "chunk", ref.word, f"{place} is not in the table.", of_group(view, group, alone=True), **facts
    )


def _came(found: ChunkHistory) -> str:
    if found.last is None or found.last.outcome != SUCCESS:
        return "Its vector came from a synchronous call, or from a segment."
    return f"Its vector came in line {found.last.line} of batch {found.last.ref}."
