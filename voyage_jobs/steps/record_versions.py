"""From records to versions, many at once: one chunk each, as most are. A longer one is split as any document."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import orjson

from voyage_jobs.core.profile import KeyMaker, Profile
from voyage_jobs.core.tokens import Count
from voyage_jobs.records.recipe import HASH_BYTES, Record
from voyage_jobs.splitting import fingerprints
from voyage_jobs.splitting.split import SplitOptions, header_of_record
from voyage_jobs.state.versions import Identity, NewChunk, NewVersion
from voyage_jobs.steps.places import told_reading
from voyage_jobs.steps.reading import RECORD_READER, ReadRecord

_NO_SECTIONS = "[[]]"


class Keyed(Protocol):
    """What names embeddings and counts their tokens: a step's context, or a plan's."""

    @property
    def profile(self) -> Profile:
        """What is asked for."""

    @property
    def keys(self) -> KeyMaker:
        """Names embeddings of that profile."""

    @property
    def count(self) -> Count:
        """Counts tokens."""


def header_if_whole(record: Record, options: SplitOptions) -> str | None:
    """What goes before a record where it is embedded; None for one that is to be cut. No text of a record has white
    space at its ends."""
    room = options.max_chars - options.overlap_chars - len(record.text)
    header = header_of_record(record.title, options)
    return header if len(header) <= room else None


def of_records(
    context: Keyed, found: Sequence[tuple[ReadRecord, str]], options: SplitOptions
) -> Iterator[NewVersion]:
    """The versions of records that are one chunk each, with their headers."""
    embedded = [header + read.record.text for read, header in found]
    made_by = fingerprints.fingerprint(RECORD_READER, options)
    key, blake2b, dumps = context.keys.key, hashlib.blake2b, orjson.dumps
    for (read, header), whole, tokens in zip(found, embedded, context.count(embedded), strict=True):
        record = read.record
        text, told_us = record.text, record.updated_us
        text_hash = blake2b(text.encode(), digest_size=HASH_BYTES).digest()
        yield NewVersion(
            document_id=0,
            identity=Identity(record.digest, text_hash, made_by),
            modified_at=read.stat.mtime_ns // 1000 if told_us is None else told_us,
            title=record.title or record.id,
            sections=_NO_SECTIONS,
            metadata=dumps(record.metadata).decode(),
            text=text,
            chunks=(NewChunk(key((whole,)), 0, 0, len(text), 0, tokens, 1, tokens),),
            reading=told_reading(RECORD_READER.options, record.url, record.id),
            headers=dumps([header]).decode() if header else None,
        )
