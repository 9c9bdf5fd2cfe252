"""From a file that was read to a version with its chunks and the requests that will answer for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import orjson

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core import generation
from voyage_jobs.core.generation import Stamp
from voyage_jobs.errors import CorruptionError
from voyage_jobs.splitting import fingerprints
from voyage_jobs.splitting.dates import changed_us
from voyage_jobs.splitting.forms import RULES
from voyage_jobs.splitting.requests import Request, requests_for
from voyage_jobs.splitting.split import (
    TITLE_AND_SECTION,
    SplitOptions,
    split,
)
from voyage_jobs.splitting.task import Cut
from voyage_jobs.state import meta
from voyage_jobs.state.documents import Seen
from voyage_jobs.state.scan_notes import LEFT_OUT, NOT_EMBEDDED
from voyage_jobs.state.versions import Identity, NewChunk, NewVersion
from voyage_jobs.steps.places import stored_reading
from voyage_jobs.steps.reading import ReadDocument, ReadRecord
from voyage_jobs.steps.record_versions import Keyed, header_if_whole, of_records

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from voyage_jobs.steps.context import Context

# From rules 2 on. An edit pays for its window again, and a third of the room is context enough.
STABLE_WINDOW_TOKENS = 8_000
MIN_CHARS = 400
"""Sections that are shorter are put together, from rules 2 on: docs/splitting.md has what was measured."""


def take_up_rules(context: Context) -> None:
    """Learn by which rules documents are split where the configuration does not say, and note it for a new state.

    Where the state was lost and its vectors are here, those rules go on by which they were made.
    """
    with context.store.read() as connection:
        known = rules_of(connection)
    if known is None:
        known = _rules_of_the_lost(context) if context.segments.names() else RULES
        with context.store.write() as tx:
            meta.put(tx, meta.SPLITTING_RULES, str(known))
    context.rules = known


def _rules_of_the_lost(context: Context) -> int:
    """Those of the state that worked here last: by the file beside it, else by the segments."""
    stamp = generation.read(context.settings.paths.generation)
    if stamp is None:
        stamp = max(_stamps(context), key=lambda each: each.generation, default=None)
    return 1 if stamp is None else stamp.rules


def _stamps(context: Context) -> Iterator[Stamp]:
    for name in context.segments.names():
        with suppress(CorruptionError):  # it is set aside, with words, when segments are adopted
            stamp = context.segments.open(name).stamp
            if stamp is not None:
                yield stamp


def rules_of(connection: Connection) -> int | None:
    """The rules that this state began with; None before its first start."""
    known = meta.get(connection, meta.SPLITTING_RULES)
    return None if known is None else int(known)


def split_options(settings: Settings, began_with: int) -> SplitOptions:
    """How documents are split under these settings, in a state that began with these rules."""
    chosen = settings.splitting
    rules = began_with if chosen.rules == "auto" else chosen.rules
    named = chosen.context == TITLE_AND_SECTION or (chosen.context == "auto" and rules > 1)
    in_windows = profile_of(settings).contextualized
    if in_windows:
        named = False  # chunks see each other, title and headings among them
    return SplitOptions(
        max_chars=chosen.max_chars,
        overlap_chars=chosen.overlap_chars,
        rules=rules,
        context=TITLE_AND_SECTION if named else "",
        min_chars=_of_rules_2(chosen.min_chars, MIN_CHARS) if rules > 1 else 0,
        window_tokens=_of_rules_2(chosen.window_tokens, STABLE_WINDOW_TOKENS)
        if rules > 1 and in_windows
        else 0,
    )


def _of_rules_2(chosen: int | Literal["auto"], default: int) -> int:
    return default if chosen == "auto" else chosen


def identity_of(read: ReadDocument, options: SplitOptions) -> Identity:
    """Which version this is: the bytes, the text, and what read and split it."""
    made = fingerprints.fingerprint(read.reader, options)
    older = fingerprints.older(read.reader, options)
    stays = fingerprints.as_plain_text(read.reader, options)
    return Identity(read.content_hash, read.text_hash, made, older, stays)


def to_versions(
    context: Keyed, found: Sequence[tuple[Seen, ReadDocument | ReadRecord, Cut | None]], options: SplitOptions
) -> list[NewVersion]:
    """The versions of what was read, in its order; whose they are is set later. Most records are one chunk: they are
    made all at once, in a tenth of the time."""
    whole: dict[int, tuple[ReadRecord, str]] = {}
    for at, (_, read, _) in enumerate(found):
        if isinstance(read, ReadRecord) and (header := header_if_whole(read.record, options)) is not None:
            whole[at] = read, header
    made = dict(zip(whole, of_records(context, list(whole.values()), options), strict=True))
    return [
        made[at] if at in made else to_version(context, 0, seen.path, _document(read), options, cut)
        for at, (seen, read, cut) in enumerate(found)
    ]


def _document(read: ReadDocument | ReadRecord) -> ReadDocument:
    return read.as_document() if isinstance(read, ReadRecord) else read


def to_version(
    context: Keyed,
    document_id: int,
    path: str,
    read: ReadDocument,
    options: SplitOptions,
    cut: Cut | None = None,
) -> NewVersion:
    """Split a document and name the embeddings its chunks need; `cut`: where that is done already."""
    cut = cut or _cut(context, path, read, options)
    document, record = cut.document, read.document.record
    told_us = changed_us(document.metadata) if record is None else None
    if told_us is None:
        told_us = read.changed_us
    author = {"author": read.author} if read.author else {}
    counted = {NOT_EMBEDDED: read.document.data_tokens, LEFT_OUT: dict(read.document.left_out)}
    left_out = {name: value for name, value in counted.items() if value}
    return NewVersion(
        document_id=document_id,
        identity=identity_of(read, options),
        modified_at=read.stat.mtime_ns // 1000 if told_us is None else told_us,
        title=document.title if record is None else read.document.title or record,
        sections=orjson.dumps([list(section) for section in document.sections]).decode(),
        metadata=orjson.dumps({**author, **document.metadata, **left_out}).decode(),
        text=read.text,
        chunks=list(_new_chunks(cut.requests)),
        reading=stored_reading(read.document, read.reader.options),
        headers=orjson.dumps(document.headers).decode() if any(document.headers) else None,
    )


def _cut(context: Keyed, path: str, read: ReadDocument, options: SplitOptions) -> Cut:
    document = split(read.document, path, options, context.count)
    contextualized = context.profile.contextualized
    return Cut(
        document,
        requests_for(read.text, document, options, context.keys, contextualized=contextualized),
    )


def _new_chunks(found: Iterable[Request]) -> Iterator[NewChunk]:
    for key, window in found:
        tokens = window[0].tokens if len(window) == 1 else sum(chunk.tokens for chunk in window)
        for slot, chunk in enumerate(window):
            yield NewChunk(
                key, slot, chunk.start, chunk.end, chunk.section, chunk.tokens, len(window), tokens
            )
