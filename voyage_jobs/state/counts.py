"""By what tokens were counted, and counting those again that wait, when a better counter has come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import orjson
from sqlalchemy import Connection, bindparam, update

from voyage_jobs.core.states import Embedding
from voyage_jobs.state import meta
from voyage_jobs.state.schema import chunks, embeddings, is_in
from voyage_jobs.state.statements import many
from voyage_jobs.state.store import Tx

_NOTE = "tokens_counted"
ESTIMATE = "estimate"


@dataclass(frozen=True)
class Counted:
    """The counter of the state's tokens: its name, its file's signature, and how far counting again has come.

    `recount_after`: wanted embeddings up to this id are counted by it; None: all of them are.
    """

    by: str = ESTIMATE
    signature: str = ""
    recount_after: int | None = None

    @property
    def exact(self) -> bool:
        """Whether everything that waits was counted by a tokenizer."""
        return self.by != ESTIMATE and self.recount_after is None


def counted(connection: Connection) -> Counted:
    """By what the tokens of this state were counted."""
    found = meta.get(connection, _NOTE)
    return Counted() if found is None else Counted(**orjson.loads(found))


def note(tx: Tx, value: Counted) -> None:
    """Set it."""
    meta.put(tx, _NOTE, orjson.dumps(asdict(value)).decode())


def recount(tx: Tx, found: Sequence[tuple[int, Sequence[int]]]) -> None:
    """Set the tokens of embeddings that still wait, and of the chunks they answer for: (id, tokens by slot)."""
    mine = (embeddings.c.id == bindparam("of_id")) & is_in(embeddings, Embedding.WANTED)
    rows: Iterable[tuple[int, ...]] = ((sum(slots), row_id) for row_id, slots in found)
    many(tx.connection, update(embeddings).where(mine), ("tokens", "of_id"), rows)
    theirs = (chunks.c.embedding_id == bindparam("of_id")) & (chunks.c.slot == bindparam("of_slot"))
    rows = ((tokens, row_id, slot) for row_id, slots in found for slot, tokens in enumerate(slots))
    many(tx.connection, update(chunks).where(theirs), ("tokens", "of_id", "of_slot"), rows)


def advance(tx: Tx, after: int | None) -> None:
    """Note how far counting again has come; None: to its end."""
    note(tx, replace(counted(tx.connection), recount_after=after))
