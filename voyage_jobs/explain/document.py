"""The history of a document, and of a chunk: what was seen, split, sent and published, and what it waits for."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import iso
from voyage_jobs.core.plural import counted
from voyage_jobs.core.profile import chunk_id, document_key
from voyage_jobs.core.states import Document, Embedding, Version
from voyage_jobs.explain.record import STANDS, History, Moment
from voyage_jobs.report import why_file
from voyage_jobs.report.find import ChunkRef
from voyage_jobs.sources import names
from voyage_jobs.state import documents, history, orders, record_files
from voyage_jobs.state import texts as version_texts
from voyage_jobs.state.documents import DocumentRow
from voyage_jobs.state.history import ChunkHistory, Move, VersionHistory, View, line_as_dict
from voyage_jobs.state.outcomes import OUTCOME_WORDS, SUCCESS
from voyage_jobs.steps.texts import read_again

_DOCUMENT_MOVES = {
    Document.PRESENT: "found on disk",
    Document.MISSING: "not found by a scan; still served until its grace period is over",
    Document.GONE: "given up",
    Document.SKIPPED: "read and skipped",
}
_VERSION_MOVES = {
    Version.WAITING: "recorded; its chunks wait for vectors",
    Version.READY: "all its vectors are there",
    Version.PUBLISHED: "published",
    Version.RETIRED: "taken out of the table",
    Version.SUPERSEDED: "superseded",
}
_NEXT = "`voyage-jobs sync`, or a running `voyage-jobs run`, continues with it."
Chunks = dict[int, list[ChunkHistory]]
"""The chunks of live versions, by the id of the version."""


def of_document(connection: View, settings: Settings, document: DocumentRow) -> History:
    """The history of one document, with all its versions and the chunks of the live ones."""
    known, live, chunks = _versions(connection, document)
    summary, hint = _standing(connection, settings, document, live, chunks)
    record = History(
        "document",
        f"{document.source}:{document.path}",
        summary,
        hint,
        facts={
            "source": document.source,
            "path": document.path,
            "state": document.state,
            "reason": document.reason,
            "detail": document.detail,
            "bytes": document.size,
            "content_hash": document.content_hash and document.content_hash.hex(),
            "moved_from": document.moved_from,
            "missing_since": iso(document.missing_at),
        },
        moments=_moves(connection, document, known),
        parts={
            "versions": [_version(version) for version in known],
            "chunks": [_chunk(version, chunk) for version in live for chunk in chunks[version.id]],
        },
        under_way=_under_way(live),
    )
    made = {b for v in live for b in history.batches_of(connection, v.id)}
    record.add_batches(connection, sorted({*made, *orders.batches_about(connection, document.id)}))
    return record


def of_chunk(connection: View, settings: Settings, ref: ChunkRef) -> History:
    """The history of the chunk with the id `ref.word`: the one at its place, if its text is still that."""
    document = ref.document
    _, live, chunks = _versions(connection, document)
    about, hint = _standing(connection, settings, document, live, chunks)
    facts = {"source": document.source, "path": document.path, "ordinal": ref.ordinal}
    record = History("chunk", ref.word, "", hint, facts, under_way=_under_way(live))
    said, carriers = [], set()
    for version, chunk in [(v, c) for v in live for c in chunks[v.id] if c.ordinal == ref.ordinal]:
        now = _chunk_id(connection, document, version.id, chunk)
        record.parts.setdefault("chunks", []).append(_chunk(version, chunk) | {"chunk_id": now})
        if now in (None, ref.word):
            doubt = " (its text is not available now, so this is by its place alone)" if now is None else ""
            said.append(f"In the {version.state} version it {_chunk_words(chunk)}{doubt}.")
            embedding = history.embedding(connection, chunk.key)
            lines = [] if embedding is None else history.lines_for(connection, embedding.id)
            carriers |= {line.batch_id for line in lines}
    record.add_batches(connection, sorted(carriers))
    missing = "No live version has this chunk any more: its text or its position has changed."
    place = f"Chunk {ref.ordinal} of {document.source}:{names.display(document.path)}."
    record.summary = " ".join([place, *(said or [missing]), "Its document:", about])
    return record


def _versions(
    connection: View, document: DocumentRow
) -> tuple[list[VersionHistory], list[VersionHistory], Chunks]:
    """All versions of a document, the live ones, and the chunks of those."""
    known = history.versions_of(connection, document.id)
    live = [v for v in known if v.state in (Version.WAITING, Version.READY, Version.PUBLISHED)]
    return known, live, {each.id: list(history.chunks_of(connection, each.id)) for each in live}


def _under_way(live: list[VersionHistory]) -> bool:
    return any(version.state is not Version.PUBLISHED for version in live)


def _chunk_id(connection: View, document: DocumentRow, version_id: int, chunk: ChunkHistory) -> str | None:
    """The id that the chunk at this place has now; None if its text cannot be had."""
    text = version_texts.text_of(connection, version_id)
    place = None if text is not None else version_texts.file_of(connection, version_id)
    if place is not None:
        text = read_again(place)
    key = document_key(document.source, document.path)
    return None if text is None else chunk_id(key, chunk.ordinal, text[chunk.start : chunk.end])


def _moves(connection: View, document: DocumentRow, known: list[VersionHistory]) -> list[Moment]:
    """The moves of a document and of its versions."""
    moments = [
        (move.at, move.id, _told(_DOCUMENT_MOVES[Document(move.target)], move))
        for move in history.moves_of(connection, "document", [document.id])
    ]
    heads = {v.id: f"version {v.content_hash.hex()[:8]} ({counted(v.chunks, 'chunk')})" for v in known}
    return moments + [
        (move.at, move.id, f"{heads[move.subject]}: {_told(_VERSION_MOVES[Version(move.target)], move)}")
        for move in history.moves_of(connection, "version", list(heads))
    ]


def _told(words: str, move: Move) -> str:
    if move.cause in ("found", "vanished") or not move.cause:
        return words
    cause = names.display(move.cause)
    return f"{words} ({cause})" if move.origin != move.target else cause


# --- how it stands ---


def _standing(
    connection: View,
    settings: Settings,
    document: DocumentRow,
    live: list[VersionHistory],
    chunks: Chunks,
) -> tuple[str, str | None]:
    """One sentence about where the document is, and the next command if there is one."""
    served = next((version for version in live if version.state is Version.PUBLISHED), None)
    wanted = next((version for version in live if version.state is not Version.PUBLISHED), None)
    said, hint = _left_out(connection, settings, document) or _on_disk(
        document, served, _is_there(connection, document)
    )
    if wanted is not None:
        more, hint = _on_its_way(wanted, chunks[wanted.id])
        said += f" {more}"
        if served is not None:
            said += " Until then the table serves the version before."
    elif served is not None:
        more, failed_hint = _served(served)
        said, hint = f"{said} {more}", hint or failed_hint
    return said, hint


def _is_there(connection: View, document: DocumentRow) -> bool:
    """Whether its file is on disk now; what may not be looked at counts as there."""
    root = documents.place_of(connection, document.id).root
    file = record_files.file_of(connection, document.id)
    path = document.path if file is None else file.name
    try:
        os.lstat(os.path.join(names.decode(root), names.decode(path)))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _left_out(connection: View, settings: Settings, document: DocumentRow) -> tuple[str, str | None] | None:
    """Why scans leave a document out although its file is there, and what to do; None if they do not."""
    refused = None
    if document.state in (Document.MISSING, Document.GONE):
        refused = why_file.left_out(connection, settings, document)
    if refused is None:
        return None
    since = f" since {iso(document.missing_at)}" if document.state == Document.MISSING else ""
    return f"It is on disk, and is not taken{since}: {refused.text}.", refused.next


def _on_disk(document: DocumentRow, served: VersionHistory | None, is_there: bool) -> tuple[str, str | None]:
    if document.state == Document.SKIPPED:
        detail = f" ({document.detail})" if document.detail else ""
        stays = " What was published of it stays." if served is not None else ""
        hint = "Let this user read it; the next scan takes it." if document.reason == "unreadable" else None
        return f"It is skipped: {document.reason}{detail}.{stays}", hint
    if document.state == Document.MISSING:
        return f"It is missing on disk since {iso(document.missing_at)}.", None
    if document.state == Document.GONE:
        return "It is gone: deleted or moved away.", None
    if not is_there:
        return "Its file is gone; no scan has recorded that yet.", None
    return "It is on disk.", None


def _served(version: VersionHistory) -> tuple[str, str | None]:
    number = "" if version.table_version is None else f", table version {version.table_version}"
    shown = counted(version.chunks - version.failed_chunks, "chunk")
    said = f"Published at {iso(version.published_at)}{number}: {shown}."
    if version.retire:
        return f"{said} Its rows are about to leave the table.", _NEXT
    if version.failed_chunks:
        return (
            f"{said} {version.failed_chunks} more could not be embedded.",
            "`voyage-jobs retry` tries them again.",
        )
    return said, None


def _on_its_way(version: VersionHistory, chunks: list[ChunkHistory]) -> tuple[str, str | None]:
    """Why a version is not in the table, exactly."""
    if version.state is Version.READY:
        return "All its vectors are there; the next publication brings it into the table.", _NEXT
    open_chunks = Counter(chunk.state for chunk in chunks if chunk.state is not Embedding.HELD)
    parts = [f"{count} {_plural(state, count)}" for state, count in sorted(open_chunks.items())]
    said = f"Not published yet: of {counted(len(chunks), 'chunk')}, {', '.join(parts)}."
    reasons = {chunk.last.detail for chunk in chunks if chunk.state is Embedding.FAILED and chunk.last}
    if reasons:
        said += " The provider says: " + "; ".join(sorted(filter(None, reasons))[:3]) + "."
    if open_chunks[Embedding.FAILED] or open_chunks[Embedding.DROPPED]:
        return said, "`voyage-jobs retry` tries failed and cancelled chunks again."
    parked = next((c.last.ref for c in chunks if c.last and c.last.batch_state == "parked"), None)
    if parked:
        return (
            f"{said} Batch {parked} is parked.",
            f"`voyage-jobs history {parked}` tells why, and what to do.",
        )
    return said, _NEXT


def _plural(state: Embedding, count: int) -> str:
    words = STANDS[state]
    if count == 1:
        return words
    first, _, rest = words.partition(" ")
    return f"{ {'waits': 'wait', 'is': 'are', 'has': 'have', 'was': 'were'}[first] } {rest}"


# --- rows ---


def _version(version: VersionHistory) -> dict[str, Any]:
    return {
        "content_hash": version.content_hash.hex(),
        "state": str(version.state),
        "title": version.title,
        "chunks": version.chunks,
        "without_vector": version.open_chunks,
        "failed": version.failed_chunks,
        "seen_at": iso(version.seen_at),
        "published_at": iso(version.published_at),
        "table_version": version.table_version,
    }


def _chunk(version: VersionHistory, chunk: ChunkHistory) -> dict[str, Any]:
    """A chunk with its embedding; `start` and `end` are characters of the decoded file, `tokens` are estimated."""
    last = chunk.last
    return {
        "version": version.content_hash.hex()[:8],
        "ordinal": chunk.ordinal,
        "start": chunk.start,
        "end": chunk.end,
        "tokens": chunk.tokens,
        "embedding_key": chunk.key.hex(),
        "slot": chunk.slot,
        "state": str(chunk.state),
        "attempts": chunk.attempts,
        "last": last and line_as_dict(last),
    }


def _chunk_words(chunk: ChunkHistory) -> str:
    """One chunk in a sentence's half."""
    last = chunk.last
    if last is None:
        return STANDS[chunk.state]
    said = f"{STANDS[chunk.state]}; last sent in line {last.line} of batch {last.ref}"
    if last.outcome == SUCCESS:
        return said
    detail = f": {last.detail}" if last.detail else ""
    return f"{said} ({OUTCOME_WORDS[last.outcome]}{detail})"
