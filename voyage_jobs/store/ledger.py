"""Money: what was reserved when a batch was packed, settled when it was collected, released when it came to nothing.

Every row is a fact that never changes. Reserved minus released minus settled-against is what is still at stake:
`release` gives back the whole reservation of a batch at the moment its real cost is settled.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, text

from voyage_jobs.store.schema import spend
from voyage_jobs.store.store import Tx


def usd(tokens: int, usd_per_million: float | None) -> float | None:
    """The price of tokens, or None where the model's price is not known."""
    return None if usd_per_million is None else tokens * usd_per_million / 1_000_000


def reserve(tx: Tx, batch_id: int, tokens: int, price: float | None) -> None:
    """Set aside what a batch may cost."""
    _add(tx, batch_id, "reserved", tokens, price)


def release(tx: Tx, batch_id: int, tokens: int, price: float | None) -> None:
    """Give a batch's reservation back: it was settled, or came to nothing."""
    _add(tx, batch_id, "released", tokens, price)


def settle(tx: Tx, batch_id: int, tokens: int, price: float | None) -> None:
    """Record what the vendor bills for a batch."""
    _add(tx, batch_id, "settled", tokens, price)


def save(tx: Tx, tokens: int, price: float | None) -> None:
    """Record what reuse of held or wanted vectors spared."""
    _add(tx, None, "saved", tokens, price)


def _add(tx: Tx, batch_id: int | None, kind: str, tokens: int, price: float | None) -> None:
    values = {"batch_id": batch_id, "at": tx.now, "kind": kind, "tokens": tokens, "usd": usd(tokens, price)}
    tx.connection.execute(insert(spend).values(**values))


@dataclass(frozen=True)
class Totals:
    """Sums in tokens and USD. `reserved` is what is at stake now; a USD figure is None if any part has no price."""

    reserved_tokens: int
    settled_tokens: int
    saved_tokens: int
    reserved_usd: float | None
    settled_usd: float | None
    saved_usd: float | None


# Purpose: sums by kind, and whether any row of that kind has no price.
_TOTALS = text(
    "SELECT kind, SUM(tokens) AS tokens, SUM(usd) AS usd, SUM(usd IS NULL AND tokens > 0) AS unpriced"
    " FROM spend WHERE at >= :since GROUP BY kind"
)


def totals(connection: Connection, since: int = 0) -> Totals:
    """What was reserved, settled and saved since a time (microseconds UTC)."""
    rows = {row.kind: row for row in connection.execute(_TOTALS, {"since": since})}

    def tokens(kind: str) -> int:
        return int(rows[kind].tokens) if kind in rows else 0

    def money(kind: str) -> float | None:
        if kind not in rows:
            return 0.0
        return None if rows[kind].unpriced else float(rows[kind].usd)

    reserved, released = money("reserved"), money("released")
    at_stake = None if reserved is None or released is None else max(0.0, reserved - released)
    return Totals(
        reserved_tokens=max(0, tokens("reserved") - tokens("released")),
        settled_tokens=tokens("settled"),
        saved_tokens=tokens("saved"),
        reserved_usd=at_stake,
        settled_usd=money("settled"),
        saved_usd=money("saved"),
    )


def used_since(connection: Connection, since: int) -> tuple[int, float]:
    """(tokens, USD) settled since a time plus everything that is at stake now, for comparing with a budget."""
    settled = totals(connection, since)
    at_stake = totals(connection)
    return (
        settled.settled_tokens + at_stake.reserved_tokens,
        (settled.settled_usd or 0.0) + (at_stake.reserved_usd or 0.0),
    )


def of_batch(connection: Connection, batch_id: int) -> dict[str, int]:
    """kind -> tokens of one batch."""
    rows = connection.execute(
        select(spend.c.kind, func.sum(spend.c.tokens))
        .where(spend.c.batch_id == batch_id)
        .group_by(spend.c.kind)
    )
    return {kind: int(tokens) for kind, tokens in rows}
