"""The backlog: the embeddings that wait to be sent, in which order, and where their texts stand."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select, tuple_

from voyage_jobs.core.states import Embedding
from voyage_jobs.state.schema import chunks, embeddings, is_in, versions
from voyage_jobs.state.statements import Prepared, plain


@dataclass(frozen=True)
class WantedEmbedding:
    """One embedding that waits to be sent, and where (the first of) its text stands."""

    id: int
    key: bytes
    vectors: int
    tokens: int
    version_id: int
    start: int
    end: int
    section: int
    source_id: int | None = None
    """The source of that version: whose money is spent."""


OTHER, _THEIRS = chunks.alias("other"), versions.alias("theirs")
_OTHERS = select(OTHER.c.version_id, OTHER.c.ordinal).where(OTHER.c.embedding_id == embeddings.c.id)


def is_first(others: Select[tuple[int, int]] = _OTHERS) -> ColumnElement[bool]:
    """Whether a chunk is the first of its embedding (of `others`): in the oldest version that has it."""
    first = others.order_by(OTHER.c.version_id, OTHER.c.ordinal).limit(1).scalar_subquery()
    return tuple_(chunks.c.version_id, chunks.c.ordinal) == first


# A request to be, with the place of (the first of) its text.
REQUEST = select(
    *(embeddings.c[name] for name in ("id", "key", "vectors", "tokens")),
    *(chunks.c[name] for name in ("version_id", "start", "end", "section")),
).join(chunks, chunks.c.embedding_id == embeddings.c.id)
_WAITS = is_in(embeddings, Embedding.WANTED) & (embeddings.c.profile_id == bindparam("profile"))

# Purpose: what to send next: what was wanted first, which is the oldest versions in reading order; each embedding once,
# never one that no live version needs. Those that were in a job that failed validation go by themselves (`refusals`).
# `ix_embeddings_wanted` has this order, so that a batch costs the same however much waits.
_WANTED = (
    REQUEST.add_columns(versions.c.source_id)
    .join(versions, versions.c.id == chunks.c.version_id)
    .where(_WAITS, embeddings.c.refusals == bindparam("refusals"))
    .where(
        is_first(
            _OTHERS.join(_THEIRS, _THEIRS.c.id == OTHER.c.version_id).where(
                _THEIRS.c.source_id.not_in(bindparam("without", expanding=True))
            )
        )
    )
    .order_by(embeddings.c.id)
    .limit(bindparam("most"))
)


def wanted(
    connection: Connection, profile_id: int, refusals: int, most: int, without: Collection[int] = ()
) -> Iterator[WantedEmbedding]:
    """Up to `most` wanted embeddings that have been refused `refusals` times, in the order to send them.

    Texts that only sources in `without` need are left out.
    """
    values = {"profile": profile_id, "refusals": refusals, "most": most, "without": list(without)}
    for row in plain(connection, _WANTED, values):
        yield WantedEmbedding(*row)


# Purpose: the wanted embeddings after one, each with the place of its text.
_NEXT = (
    REQUEST.where(_WAITS, embeddings.c.id > bindparam("after"), is_first())
    .order_by(embeddings.c.id)
    .limit(bindparam("most"))
)


def wanted_after(connection: Connection, profile_id: int, after: int, most: int) -> list[WantedEmbedding]:
    """Up to `most` wanted embeddings after an id, by id."""
    values = {"profile": profile_id, "after": after, "most": most}
    return [WantedEmbedding(*row) for row in plain(connection, _NEXT, values)]


@dataclass(frozen=True)
class Backlog:
    """How much waits to be sent. `oldest_at` is None when nothing does."""

    embeddings: int
    tokens: int
    oldest_at: int | None
    refusals: tuple[int, ...]


# Purpose: is it worth a batch yet?
_BACKLOG = Prepared(
    select(
        func.count(), func.coalesce(func.sum(embeddings.c.tokens), 0), func.min(embeddings.c.wanted_at)
    ).where(_WAITS)
)
_REFUSALS = Prepared(select(embeddings.c.refusals).where(_WAITS).distinct().order_by(embeddings.c.refusals))


def measure(connection: Connection, profile_id: int) -> Backlog:
    """What waits to be sent under one profile."""
    refusals = tuple(row[0] for row in _REFUSALS.rows(connection, profile=profile_id))
    count, tokens, oldest_at = _BACKLOG.row(connection, profile=profile_id)
    return Backlog(count, tokens, oldest_at, refusals)


# Purpose: the tokens that wait to be sent, by the source that would pay.
_BY_SOURCE = (
    select(versions.c.source_id, func.sum(embeddings.c.tokens))
    .select_from(embeddings)
    .join(chunks, chunks.c.embedding_id == embeddings.c.id)
    .join(versions, versions.c.id == chunks.c.version_id)
    .where(_WAITS, is_first())
    .group_by(versions.c.source_id)
)


def by_source(connection: Connection, profile_id: int) -> dict[int, int]:
    """Source -> tokens that wait to be sent."""
    rows = connection.execute(_BY_SOURCE, {"profile": profile_id})
    return {source_id: int(tokens) for source_id, tokens in rows}


def ahead_of(connection: Connection, embedding_id: int, refusals: int) -> int:
    """How many embeddings are sent before this one."""
    mine = embeddings.alias()
    profile = select(mine.c.profile_id).where(mine.c.id == embedding_id).scalar_subquery()
    before = tuple_(embeddings.c.refusals, embeddings.c.id) < tuple_(refusals, embedding_id)
    where = is_in(embeddings, Embedding.WANTED) & (embeddings.c.profile_id == profile) & before
    return int(connection.execute(select(func.count()).where(where)).scalar_one())
