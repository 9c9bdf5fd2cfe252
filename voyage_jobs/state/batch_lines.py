"""Lines of batches: which embedding each asks for, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Connection,
    bindparam,
    func,
    insert,
    select,
    update,
)

from voyage_jobs.state.schema import (
    chunks,
    embeddings,
    lines,
    versions,
)
from voyage_jobs.state.statements import many, plain
from voyage_jobs.state.store import Tx


@dataclass(frozen=True)
class Line:
    """One line of a batch and the embedding it asks for."""

    line: int
    embedding_id: int
    key: bytes
    vectors: int
    tokens: int
    attempts: int


def count_lines(connection: Connection, batch_id: int) -> int:
    """How many lines a batch has."""
    return int(connection.execute(select(func.count()).where(lines.c.batch_id == batch_id)).scalar_one())


_SLOTS = select(func.count(chunks.c.slot.distinct())).where(chunks.c.embedding_id == embeddings.c.id)
_NEEDED = (
    select(func.count())
    .select_from(lines.join(embeddings, embeddings.c.id == lines.c.embedding_id))
    .where(lines.c.batch_id == bindparam("batch"), _SLOTS.scalar_subquery() == embeddings.c.vectors)
)


def count_needed(connection: Connection, batch_id: int) -> int:
    """How many lines of a batch ask for what chunks need, each vector of them."""
    return int(connection.execute(_NEEDED, {"batch": batch_id}).scalar_one())


_LINES = (
    select(lines.c.line, *(embeddings.c[name] for name in ("id", "key", "vectors", "tokens", "attempts")))
    .join(embeddings, embeddings.c.id == lines.c.embedding_id)
    .where(lines.c.batch_id == bindparam("batch"))
    .order_by(lines.c.line)
)


def lines_of(connection: Connection, batch_id: int) -> Iterator[Line]:
    """The lines of a batch, in the order of its input file."""
    for row in plain(connection, _LINES, {"batch": batch_id}):
        yield Line(*row)


def add_lines(tx: Tx, batch_id: int, embedding_ids: Sequence[int], source_id: int | None = None) -> None:
    """Make these embeddings the lines of a batch, in this order.

    They are on the bill of `source_id`, or, without one, each on that of the source of its text.
    """
    rows = ((batch_id, line, embedding_id, source_id) for line, embedding_id in enumerate(embedding_ids))
    many(tx.connection, insert(lines), ("batch_id", "line", "embedding_id", "source_id"), rows)
    if source_id is None:
        attribute(tx, batch_id)


def attribute(tx: Tx, batch_id: int) -> None:
    """Put each line of a batch on the bill of a source: that of its text's first chunk, as far as there is one."""
    whose = (
        select(versions.c.source_id)
        .join(chunks, chunks.c.version_id == versions.c.id)
        .where(chunks.c.embedding_id == lines.c.embedding_id)
        .order_by(chunks.c.version_id)
        .limit(1)
    )
    mine = lines.c.batch_id == batch_id
    tx.connection.execute(update(lines).where(mine).values(source_id=whose.scalar_subquery()))


@dataclass(frozen=True)
class Settled:
    """How one line ended. `pack_row` is the first row of its vectors when it succeeded.

    `tokens` are those that are booked; `assumed`: its answer does not report them.
    """

    line: int
    embedding_id: int
    outcome: int
    tokens: int | None
    detail: str | None
    pack_row: int | None
    assumed: bool = False


def note_outcomes(tx: Tx, batch_id: int, settled: Sequence[Settled]) -> None:
    """Record how lines ended, and leave their embeddings in the batch."""
    mine = (lines.c.batch_id == bindparam("of_batch")) & (lines.c.line == bindparam("of_line"))
    names = ("outcome", "tokens", "detail", "assumed", "of_batch", "of_line")
    rows = ((s.outcome, s.tokens, s.detail, int(s.assumed), batch_id, s.line) for s in settled)
    many(tx.connection, update(lines).where(mine), names, rows)


def count_lines_for(connection: Connection, batch_id: int, source_id: int) -> int:
    """How many lines of a batch are on the bill of a source."""
    where = (lines.c.batch_id == batch_id) & (lines.c.source_id == source_id)
    return int(connection.execute(select(func.count()).where(where)).scalar_one())
