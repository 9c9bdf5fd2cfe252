"""Packs on disk that the state does not know: it was lost, or a copy from before they came was put back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from voyage_jobs.errors import CorruptionError
from voyage_jobs.states import UNFINISHED, Batch
from voyage_jobs.steps.context import Context
from voyage_jobs.store import adoption, batches, sources, versions
from voyage_jobs.store.adoption import PackedEmbedding
from voyage_jobs.vectors import AdoptedPack, PackReader


@dataclass
class AdoptedPacks:
    """What was found: packs and embeddings taken in, and the names of packs that cannot be read."""

    packs: int = 0
    embeddings: int = 0
    damaged: list[str] = field(default_factory=list)


def adopt_packs(context: Context) -> AdoptedPacks:
    """Take in every pack that is not on record: what it holds is held, and never paid again."""
    tally = AdoptedPacks()
    with context.store.read() as connection:
        known = {pack.name for pack in batches.all_packs(connection)}
    if not set(context.packs.names()) - known:
        return tally

    def damaged(name: str, error: CorruptionError) -> None:
        tally.damaged.append(name)
        context.log.error("pack.damaged", pack=name, error=error.message)

    for found in context.packs.adopt(damaged):
        if found.written.name not in known:
            tally.packs += 1
            tally.embeddings += _take_in(context, found)
            context.progress("reading packs", tally.packs, None)
    with context.store.write() as tx:
        versions.recount_all(tx)
    context.log.info("packs.adopted", packs=tally.packs, embeddings=tally.embeddings)
    return tally


def _take_in(context: Context, found: AdoptedPack) -> int:
    written, reader = found.written, found.reader
    embeddings = list(embeddings_in(reader))
    with context.store.write() as tx:
        batch = batches.by_ref(tx.connection, reader.ref)
        profile_id = sources.profile_id(tx, reader.profile)
        batch_id = None if batch is None else batch.id
        pack_id = batches.add_pack(
            tx, written.name, profile_id, batch_id, written.rows, written.bytes, written.sha256
        )
        adoption.hold(tx, pack_id, profile_id, embeddings)
        adoption.note_found_pack(tx, written.name, len(embeddings))
        if batch is not None and batch.state in (*UNFINISHED, Batch.PARKED):
            adoption.close_by_pack(tx, batch)
    return len(embeddings)


def embeddings_in(reader: PackReader) -> Iterator[PackedEmbedding]:
    """The embeddings of a pack: each is a run of rows that begins with slot 0."""
    row = first = 0
    key: bytes | None = None
    parts = reader.keys()
    for keys, slots in parts:
        for raw, slot in zip(keys, slots.tolist(), strict=True):
            if slot == 0:
                if key is not None:
                    yield PackedEmbedding(key, row - first, first)
                key, first = raw.tobytes(), row
            row += 1
    if key is not None:
        yield PackedEmbedding(key, row - first, first)
