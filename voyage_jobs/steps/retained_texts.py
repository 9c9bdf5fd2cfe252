"""Texts of documents that are served though their files cannot be read any more, taken back out of the table.

The state lets go of a text when it is published, since the file has it. Where the file is missing or has turned into
something else, and the document is still served (its grace period, `undelete`, `keep = true`, a frozen source), the
table is the last place that has it; a table that is lost could then not be filled again. So it goes back into the
state, until the file is back or the document is given up.

What stood between the chunks is lost, so the hash of the whole text says nothing here. The keys of the embeddings do:
each is a hash of the very texts that were embedded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voyage_jobs.core.profile import KeyMaker
from voyage_jobs.splitting.header import embedded
from voyage_jobs.state import publications, sources
from voyage_jobs.state import texts as version_texts
from voyage_jobs.state.texts import Orphan
from voyage_jobs.steps.context import Context

_PAGE = 200
_COLUMNS = ("source", "path", "content_hash", "start", "end", "text")
_GAP = "\n"

Piece = tuple[int, int, str]
"""Start and end in characters of the decoded file, and the text between them."""


@dataclass
class Retained:
    """Whether files may have gone since the texts of what is served without them were last looked for."""

    due: bool = True
    rolled_back: bool = True
    """Whether records may be shown again whose texts were let go. Looked for once, not after each scan: there may be a
    million of them."""


def keep_texts(context: Context) -> bool:
    """Keep the texts of everything that lost its file since the last look. True if any was kept."""
    retained = context.memory(Retained)
    if not retained.due:
        return False
    with context.store.read() as connection:
        found = version_texts.orphans(connection, of_records=retained.rolled_back)
    kept = 0
    for at in range(0, len(found), _PAGE):
        with context.store.read() as connection:
            page = version_texts.facts_of(connection, found[at : at + _PAGE])
        texts = _from_table(context, page)
        with context.store.write() as tx:
            kept += sum(version_texts.keep_text(tx, version_id, text) for version_id, text in texts)
        context.progress("keeping texts", kept, None)
    retained.due = retained.rolled_back = False
    if kept:
        context.log.info("texts.kept", documents=kept)
    return kept > 0


def _from_table(context: Context, page: Sequence[Orphan]) -> list[tuple[int, str]]:
    """(version, text) of those whose rows the table shows whole."""
    if not context.table_door.exists():
        return []
    pieces: dict[tuple[str, str, str], list[Piece]] = {}
    named = [(each.source, each.path) for each in page]
    for batch in context.open_table().keys(named, _COLUMNS):
        for source, path, content_hash, start, end, text in zip(
            *(batch.column(name).to_pylist() for name in _COLUMNS), strict=True
        ):
            pieces.setdefault((source, path, content_hash), []).append((start, end, text))
    found = []
    for each in page:
        rows = pieces.get((each.source, each.path, each.content_hash.hex()), [])
        text = put_together(rows) if len(rows) == each.chunks else None
        if text is not None and _is_what_was_embedded(context, each, text):
            found.append((each.id, text))
    return found


def _is_what_was_embedded(context: Context, version: Orphan, text: str) -> bool:
    """Whether every chunk of a version, cut out of this text, has with its header the key of the embedding that answers
    for it."""
    requests: list[tuple[bytes, list[str]]] = []
    with context.store.read() as connection:
        keys = KeyMaker(sources.load_profile(connection, version.profile_id))
        headers = version_texts.headers_of(connection, version.id)
        for chunk in publications.chunks_of(connection, [version.id])[version.id]:
            if chunk.slot == 0 or not requests:
                requests.append((chunk.key, []))
            sent = embedded(text, chunk.start, chunk.end, headers, chunk.section)
            requests[-1][1].append(sent)
    return all(keys.key(texts) == key for key, texts in requests)


def put_together(pieces: Sequence[Piece]) -> str | None:
    """A text that has every piece at its place, and line ends between them; None if the pieces contradict each other.

    It is not the file, but every chunk cut out of it is the same.
    """
    text = ""
    for start, end, piece in sorted(pieces):
        if len(piece) != end - start:
            return None
        if start > len(text):
            text += _GAP * (start - len(text))
        if not piece.startswith(text[start:end]):
            return None
        text += piece[len(text) - start :]
    return text
