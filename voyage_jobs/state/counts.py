"""By what tokens were counted, and counting those anew that wait, when a better counter has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import orjson
from sqlalchemy import Connection

from voyage_jobs.state import notes
from voyage_jobs.state.embeddings import WantedEmbedding
from voyage_jobs.state.store import Tx

_NOTE = "tokens_counted"
ESTIMATE = "estimate"


@dataclass(frozen=True)
class Counted:
    """The counter of the state's tokens: its name, its file's signature, and how far counting anew has come.

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
    found = notes.get(connection, _NOTE)
    return Counted() if found is None else Counted(**orjson.loads(found))


def note(tx: Tx, value: Counted) -> None:
    """Set it."""
    notes.put(tx, _NOTE, orjson.dumps(asdict(value)).decode())


# Purpose: what waits to be sent and was not counted anew yet, with the place of (the first of) its text.
_NEXT = (
    'SELECT e.id, e.key, e.vectors, e.tokens, MIN(c.version_id), c.start, c."end" FROM embeddings e'
    " JOIN chunks c ON c.embedding_id = e.id WHERE e.state = 0 AND e.profile_id = ? AND e.id > ?"
    " GROUP BY e.id ORDER BY e.id LIMIT ?"
)


def to_recount(connection: Connection, profile_id: int, after: int, most: int) -> list[WantedEmbedding]:
    """The next wanted embeddings after an id."""
    rows = connection.exec_driver_sql(_NEXT, (profile_id, after, most))
    return [WantedEmbedding(*row) for row in rows]


def recount(tx: Tx, found: Sequence[tuple[int, Sequence[int]]]) -> None:
    """Set the tokens of embeddings that still wait, and of the chunks they answer for: (id, tokens by slot)."""
    tx.raw.executemany(
        "UPDATE embeddings SET tokens = ? WHERE id = ? AND state = 0",
        [(sum(slots), key) for key, slots in found],
    )
    tx.raw.executemany(
        "UPDATE chunks SET tokens = ? WHERE embedding_id = ? AND slot = ?",
        [(tokens, key, slot) for key, slots in found for slot, tokens in enumerate(slots)],
    )


def advance(tx: Tx, after: int | None) -> None:
    """Note how far counting anew has come; None: to its end."""
    note(tx, replace(counted(tx.connection), recount_after=after))
