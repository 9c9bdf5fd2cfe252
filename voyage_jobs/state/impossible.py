"""Numbers of tokens that nothing can have: where they stand in the state, and what takes their place.

Earlier versions believed whatever an answer reported. A few numbers near 2**63 are enough that SQLite refuses every
sum they are part of ("integer overflow"), and with it every command. A row of the opposite sign does not help, since
the sum fails on its way. So they are replaced: counts by estimates, what a line was billed by what was reserved for it
(marked as assumed), and the money of what they are about is booked again. The history of the batch keeps that
this was done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, CursorResult, text

from voyage_jobs.core.usage import MOST_BATCH_TOKENS, MOST_LINE_TOKENS
from voyage_jobs.state import mending
from voyage_jobs.state.dialect import greatest, hexadecimal, least
from voyage_jobs.state.embeddings import SUM_OF_CHUNKS
from voyage_jobs.state.outcomes import MALFORMED, SUCCESS
from voyage_jobs.state.store import Tx


class _Place(NamedTuple):
    """A column that counts tokens, the most that it can hold, and how a row of its table is named.

    `unless` is a condition under which anything of that size is right, with either sign.
    """

    table: str
    column: str
    most: int
    named: str
    unless: str | None = None

    @property
    def wrong(self) -> str:
        """The condition that a row is wrong. NULL is not: nobody has counted."""
        wrong = f"{self.column} NOT BETWEEN 0 AND {self.most}"
        if self.unless is None:
            return wrong
        return f"({wrong} AND NOT ({self.unless} AND {self.column} BETWEEN {-self.most} AND 0))"


_OF_CHUNK = "'chunk ' || ordinal || ' of version ' || version_id"
_PLACES = (
    _Place("embeddings", "tokens", MOST_LINE_TOKENS, f"'embedding ' || {hexadecimal('key')}"),
    _Place("chunks", "tokens", MOST_LINE_TOKENS, _OF_CHUNK),
    _Place("shelf", "tokens", MOST_LINE_TOKENS, _OF_CHUNK),
    _Place("lines", "tokens", MOST_LINE_TOKENS, "'line ' || line || ' of batch ' || batch_id"),
    _Place("batches", "tokens_estimated", MOST_BATCH_TOKENS, "'batch ' || ref"),
    _Place("batches", "tokens_settled", MOST_BATCH_TOKENS, "'batch ' || ref"),
    # What a search was about to pay is taken back by a row of the other sign.
    _Place("spend", "tokens", MOST_BATCH_TOKENS, "kind || ' of spend row ' || id", "kind = 'query'"),
    _Place("spend", "assumed", MOST_BATCH_TOKENS, "kind || ' of spend row ' || id"),
)


def find(connection: Connection) -> Iterator[str]:
    """Every number of tokens that cannot be, in words. Reads all lines, chunks and embeddings; adds up nothing."""
    for place in _PLACES:
        sql = f"SELECT {place.named}, {place.column} FROM {place.table} WHERE {place.wrong}"
        for name, value in connection.execute(text(sql)):
            yield f"{name}: {place.column} {value}"


_WRONG = {(place.table, place.column): place.wrong for place in _PLACES}
_WRONG_TEXTS = f"SELECT id FROM embeddings WHERE {_WRONG['embeddings', 'tokens']}"
# Purpose: batches of whose money any part rests on such a number.
_BATCHES = (
    f"SELECT batch_id FROM lines WHERE {_WRONG['lines', 'tokens']} OR embedding_id IN ({_WRONG_TEXTS})"
    f" UNION SELECT id FROM batches WHERE {_WRONG['batches', 'tokens_estimated']}"
    f" OR {_WRONG['batches', 'tokens_settled']}"
    f" UNION SELECT batch_id FROM spend WHERE batch_id IS NOT NULL"
    f" AND ({_WRONG['spend', 'tokens']} OR {_WRONG['spend', 'assumed']})"
)
# Purpose: a text's tokens by its length, as the estimate has it for plain text (see tokens.py).
_BY_LENGTH = greatest("1", '("end" - start + 2) / 3')
_CHUNKS = f"UPDATE {{table}} SET tokens = {_BY_LENGTH} WHERE {{wrong}}"
_TEXTS = (
    f"UPDATE embeddings SET tokens = {least(str(MOST_LINE_TOKENS), greatest('1', SUM_OF_CHUNKS))}"
    f" WHERE {_WRONG['embeddings', 'tokens']}"
)
_PAID = f"outcome IN ({SUCCESS}, {MALFORMED})"
# Purpose: what ran is assumed to have cost what was reserved for it; what did not run cost nothing.
_LINES = (
    f"UPDATE lines SET assumed = CASE WHEN {_PAID} THEN 1 ELSE 0 END, tokens = CASE WHEN {_PAID} THEN"
    f" (SELECT {greatest('1', 'e.tokens')} FROM embeddings e WHERE e.id = lines.embedding_id) END"
    f" WHERE {_WRONG['lines', 'tokens']}"
)
# Purpose: a batch reserves what its texts count, and is billed what its lines are.
_OF_BATCH = (
    "UPDATE batches SET tokens_estimated = (SELECT COALESCE(SUM(e.tokens), 0) FROM lines l"
    "  JOIN embeddings e ON e.id = l.embedding_id WHERE l.batch_id = batches.id),"
    " tokens_settled = CASE WHEN tokens_settled IS NOT NULL THEN"
    "  (SELECT COALESCE(SUM(tokens), 0) FROM lines WHERE batch_id = batches.id) END WHERE id = :id"
)
# Purpose: what a reuse saved cannot be told afterwards, and is in no budget.
_SAVED = (
    "UPDATE spend SET tokens = 0, usd = 0.0, assumed = 0 WHERE batch_id IS NULL"
    f" AND ({_WRONG['spend', 'tokens']} OR {_WRONG['spend', 'assumed']})"
)
_CAUSE = "numbers of tokens that cannot be were replaced, and its money booked again"


@dataclass(frozen=True)
class Replaced:
    """How many numbers were replaced, and of how many batches the money was booked again."""

    numbers: int
    batches: int


def replace(tx: Tx) -> Replaced:
    """Put estimates in the place of every number of tokens that cannot be. Costs what `find` does."""

    def run(sql: str, **values: int) -> CursorResult[Any]:
        return tx.connection.execute(text(sql), values)

    numbers = sum(1 for _ in find(tx.connection))
    batch_ids = [int(row[0]) for row in run(_BATCHES)]
    for table in ("chunks", "shelf"):
        run(_CHUNKS.format(table=table, wrong=_WRONG[table, "tokens"]))
    for sql in (_TEXTS, _LINES, _SAVED):
        run(sql)
    for batch_id in batch_ids:
        run(_OF_BATCH, id=batch_id)
    mending.book_again(tx, batch_ids)
    for batch_id in batch_ids:
        mending.note(tx, "batch", batch_id, _CAUSE)
    return Replaced(numbers, len(batch_ids))
