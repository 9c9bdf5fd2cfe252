"""The story of a document: what was seen, cut, sent and published of it, and what it waits for."""

from __future__ import annotations

from collections import Counter
from typing import Any

from voyage_jobs.clock import iso
from voyage_jobs.plural import counted
from voyage_jobs.report.story import STANDS, Story, batch_events, line_as_dict
from voyage_jobs.sources import names
from voyage_jobs.state import orders, story
from voyage_jobs.state.documents import DocumentRow
from voyage_jobs.state.embeddings import OUTCOME_WORDS, SUCCESS
from voyage_jobs.state.story import ChunkStory, Move, VersionStory, View
from voyage_jobs.states import Document, Embedding, Version

_DOCUMENT_MOVES = {
    Document.PRESENT: "found on disk",
    Document.MISSING: "not found by a scan; still served until its grace period is over",
    Document.GONE: "given up",
    Document.SKIPPED: "looked at and not taken",
}
_VERSION_MOVES = {
    Version.WAITING: "recorded; its chunks wait for vectors",
    Version.READY: "all its vectors are there",
    Version.PUBLISHED: "published",
    Version.RETIRED: "taken out of the table",
    Version.SUPERSEDED: "overtaken",
}
_NEXT = "`voyage-jobs sync` or a running `voyage-jobs run` goes on with it."


def tell(connection: View, document: DocumentRow) -> Story:
    """The whole story of one document."""
    versions = story.versions_of(connection, document.id)
    live = [v for v in versions if v.state in (Version.WAITING, Version.READY, Version.PUBLISHED)]
    chunks = {version.id: list(story.chunks_of(connection, version.id)) for version in live}
    told = Story("document", f"{document.source}:{document.path}", "")
    told.summary, told.hint = standing(document, live, chunks)
    told.facts = {
        "source": document.source,
        "path": document.path,
        "state": document.state,
        "reason": document.reason,
        "detail": document.detail,
        "bytes": document.size,
        "content_hash": document.content_hash and document.content_hash.hex(),
        "moved_from": document.moved_from,
        "missing_since": iso(document.missing_at),
    }
    told.events = _events(connection, document, versions)
    made = {b for v in live for b in story.batches_of(connection, v.id)}
    told.events += batch_events(connection, sorted({*made, *orders.batches_about(connection, document.id)}))
    told.parts = {
        "versions": [_version(version) for version in versions],
        "chunks": [chunk_as_dict(version, chunk) for version in live for chunk in chunks[version.id]],
    }
    return told


def _events(connection: View, document: DocumentRow, versions: list[VersionStory]) -> list[tuple[int, str]]:
    events = [
        (move.at, _told(_DOCUMENT_MOVES[Document(move.target)], move))
        for move in story.moves_of(connection, "document", [document.id])
    ]
    by_id = {version.id: version for version in versions}
    for move in story.moves_of(connection, "version", list(by_id)):
        version = by_id[move.subject]
        words = _told(_VERSION_MOVES[Version(move.target)], move)
        events.append(
            (
                move.at,
                f"version {version.content_hash.hex()[:8]} ({counted(version.chunks, 'chunk')}): {words}",
            )
        )
    return events


def _told(words: str, move: Move) -> str:
    if move.cause in ("found", "vanished") or not move.cause:
        return words
    cause = names.display(move.cause)
    return f"{words} ({cause})" if move.origin != move.target else cause


# --- how it stands ---


def standing(
    document: DocumentRow, live: list[VersionStory], chunks: dict[int, list[ChunkStory]]
) -> tuple[str, str | None]:
    """One sentence about where the document is, and the next command if there is one."""
    served = next((version for version in live if version.state is Version.PUBLISHED), None)
    wanted = next((version for version in live if version.state is not Version.PUBLISHED), None)
    said, hint = _on_disk(document, served)
    if wanted is not None:
        more, hint = _on_its_way(wanted, chunks[wanted.id])
        said += f" {more}"
        if served is not None:
            said += " Until then the table serves the version before."
    elif served is not None:
        more, failed_hint = _served(served)
        said, hint = f"{said} {more}", hint or failed_hint
    return said, hint


def _on_disk(document: DocumentRow, served: VersionStory | None) -> tuple[str, str | None]:
    if document.state == Document.SKIPPED:
        detail = f" ({document.detail})" if document.detail else ""
        stays = " What was published of it stays." if served is not None else ""
        hint = "Let this user read it; the next scan takes it." if document.reason == "unreadable" else None
        return f"It is not taken: {document.reason}{detail}.{stays}", hint
    if document.state == Document.MISSING:
        return f"It is missing on disk since {iso(document.missing_at)}.", None
    if document.state == Document.GONE:
        return "It is gone: deleted or moved away.", None
    return "It is on disk.", None


def _served(version: VersionStory) -> tuple[str, str | None]:
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


def _on_its_way(version: VersionStory, chunks: list[ChunkStory]) -> tuple[str, str | None]:
    """Why a version is not in the table, exactly."""
    if version.state is Version.READY:
        return "All its vectors are there; the next publication brings it into the table.", _NEXT
    open_chunks = Counter(chunk.state for chunk in chunks if chunk.state is not Embedding.HELD)
    parts = [f"{count} {_plural(state, count)}" for state, count in sorted(open_chunks.items())]
    said = f"Not published yet: of {counted(len(chunks), 'chunk')}, {', '.join(parts)}."
    reasons = {chunk.last.detail for chunk in chunks if chunk.state is Embedding.FAILED and chunk.last}
    if reasons:
        said += " Voyage says: " + "; ".join(sorted(filter(None, reasons))[:3]) + "."
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


def _version(version: VersionStory) -> dict[str, Any]:
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


def chunk_as_dict(version: VersionStory, chunk: ChunkStory) -> dict[str, Any]:
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


def chunk_words(chunk: ChunkStory) -> str:
    """One chunk in a sentence's half."""
    last = chunk.last
    if last is None:
        return STANDS[chunk.state]
    said = f"{STANDS[chunk.state]}; last asked for in line {last.line} of batch {last.ref}"
    if last.outcome == SUCCESS:
        return said
    detail = f": {last.detail}" if last.detail else ""
    return f"{said} ({OUTCOME_WORDS[last.outcome]}{detail})"
