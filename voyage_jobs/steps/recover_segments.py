"""Segments on disk that the state does not know: it was lost, or a copy from before they came was put back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from voyage_jobs.config.prices import batch_price, sync_price
from voyage_jobs.config.profile import with_profile
from voyage_jobs.core.states import UNFINISHED, Batch, Mode
from voyage_jobs.errors import CorruptionError
from voyage_jobs.segments import AdoptedSegment, SegmentReader
from voyage_jobs.segments.format import segment_name
from voyage_jobs.state import (
    batches,
    claims,
    ledger,
    provider_files,
    segment_rows,
    setback,
    sources,
    versions,
)
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.claims import StoredEmbedding
from voyage_jobs.state.store import Tx
from voyage_jobs.steps.context import Context


@dataclass
class AdoptedSegments:
    """What was found: segments and embeddings taken in, and the names of segments that cannot be read."""

    segments: int = 0
    embeddings: int = 0
    damaged: list[str] = field(default_factory=list)


def adopt_segments(context: Context) -> AdoptedSegments:
    """Take in every segment that is not on record: what it holds is held, and never paid again.

    One listing of the folder, and nothing more where all are known. Jobs are claimed after that before anything is
    sent: whoever does not know its segments may not know its jobs either.
    """
    adopted = AdoptedSegments()
    with context.store.read() as connection:
        known = {segment.name for segment in segment_rows.all_segments(connection)}
        to_count = setback.is_to_count(connection)
    unknown = set(context.segments.names()) - known
    if not unknown and not to_count:
        return adopted

    def damaged(name: str, error: CorruptionError) -> None:
        adopted.damaged.append(name)
        context.log.error("segment.damaged", segment=name, error=error.message)

    unknown -= _about_to_be_collected(context)
    for found in context.segments.adopt(sorted(unknown), damaged):
        adopted.segments += 1
        adopted.embeddings += _take_in(context, found)
        context.progress("reading packs", adopted.segments, len(unknown))
    if adopted.segments or to_count:
        with context.store.write() as tx:
            versions.recount_all(tx)
            setback.has_counted(tx)
        context.log.info("segments.adopted", segments=adopted.segments, embeddings=adopted.embeddings)
    return adopted


def take_in_segment_of(context: Context, batch: BatchRow) -> bool:
    """Take in the segment of an open batch whose results are not here; False if there is none that is whole."""
    with context.store.read() as connection:
        profile = sources.load_profile(connection, batch.profile_id)
    name = segment_name(profile.fingerprint, batch.ref)
    if not context.segments.path(name).exists():
        return False
    try:
        found = context.segments.adopt_one(name)
    except CorruptionError as exc:
        context.segments.set_aside(name)
        context.log.error("segment.damaged", segment=name, error=exc.message)  # noqa: TRY400 - told, not a bug
        return False
    with context.store.write() as tx:
        _hold(tx, found, batch)
        versions.recount_batch(tx, batch.id)
    return True


def _about_to_be_collected(context: Context) -> set[str]:
    """Names of segments that `collect` writes again: it died between the segment and its record, and has the results
    here.

    Only they tell what became of lines that brought no vector. Without them (this state is older than the segment, and
    what it was made from is gone) the segment is all there is.
    """
    names = set()
    with context.store.read() as connection:
        for batch in batches.in_state(connection, Batch.ENDED):
            profile = sources.load_profile(connection, batch.profile_id)
            have = provider_files.downloaded(connection, batch.id).items()
            sizes = {kind: size for kind, (size, sha256) in have if sha256 != provider_files.GONE}
            if any(_has_size(context, batch, kind, size) for kind, size in sizes.items()):
                names.add(segment_name(profile.fingerprint, batch.ref))
    return names


def _has_size(context: Context, batch: BatchRow, kind: str, size: int) -> bool:
    try:
        return context.result_path(batch.ref, kind).stat().st_size == size
    except FileNotFoundError:
        return False


def _take_in(context: Context, found: AdoptedSegment) -> int:
    reader = found.reader
    with context.store.write() as tx:
        batch = batches.by_ref(tx.connection, reader.ref)
        count = _hold(tx, found, batch)
        if batch is None or batch.state not in _OPEN:
            _book(context, tx, reader, batch)
        setback.ask_to_count(tx)
        setback.note(tx, setback.SEGMENTS)
        setback.add(tx, segments=1, embeddings=count)
        if reader.stamp is not None:
            setback.note_former(tx, reader.stamp.state)
    return count


_OPEN = (*UNFINISHED, Batch.PARKED)


def _hold(tx: Tx, found: AdoptedSegment, batch: BatchRow | None) -> int:
    """What a segment has is held; its batch is over, if it is open. How many embeddings that are."""
    written, reader = found.written, found.reader
    embeddings = list(embeddings_in(reader))
    profile_id = sources.profile_id(tx, reader.profile)
    batch_id = None if batch is None else batch.id
    pack_id = segment_rows.add_segment(
        tx, written.name, profile_id, batch_id, written.rows, written.bytes, written.sha256
    )
    claims.hold(tx, pack_id, profile_id, embeddings)
    claims.note_found_segment(tx, written.name, len(embeddings))
    if batch is not None and batch.state in _OPEN:
        billed = reader.billed
        tokens, assumed = (0, 0) if billed is None else (billed.tokens, billed.assumed)
        claims.close_by_segment(tx, batch, pack_id, tokens, assumed)
    return len(embeddings)


def _book(context: Context, tx: Tx, reader: SegmentReader, batch: BatchRow | None) -> None:
    """Put on the bill what the segment says it cost, as far as the books do not have it, on the day on which it did."""
    if reader.billed is None:
        return
    settings = with_profile(context.settings, reader.profile)
    kind, price = "settled", batch_price(settings)
    if reader.mode is Mode.SYNC:
        kind, price = "expedited", sync_price(settings)
    booked = 0 if batch is None else ledger.of_batch(tx.connection, batch.id).get(kind, 0)
    if reader.billed.tokens > booked:
        left, billed = reader.billed.tokens - booked, reader.billed
        ledger.settle_found(tx, kind, left, price, billed.at, min(left, billed.assumed))


def embeddings_in(reader: SegmentReader) -> Iterator[StoredEmbedding]:
    """The embeddings of a segment: each is a run of rows that begins with slot 0."""
    row = first = 0
    key: bytes | None = None
    parts = reader.keys()
    for keys, slots in parts:
        for raw, slot in zip(keys, slots.tolist(), strict=True):
            if slot == 0:
                if key is not None:
                    yield StoredEmbedding(key, row - first, first)
                key, first = raw.tobytes(), row
            row += 1
    if key is not None:
        yield StoredEmbedding(key, row - first, first)
