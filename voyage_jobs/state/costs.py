"""What was spent, summed up by day, source, model or batch; and the same summed up from the lines, to compare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

from voyage_jobs.state.dialect import day_of, json_field
from voyage_jobs.state.ledger import BILLED

BY = ("day", "source", "model", "batch")

# A name for the group of a row of `spend`, by what is asked for. A day is one of UTC.
_GROUPS = {
    "day": day_of("p.at"),
    "source": "s.name",
    "model": "CASE p.kind WHEN 'query' THEN 'search (rerank)' ELSE "
    + json_field("COALESCE(f.body, (SELECT value FROM meta WHERE key = 'profile'))", "model")
    + " END",
    "batch": "b.ref",
}
_SUM = (
    "SUM(p.tokens) FILTER (WHERE {0}), SUM(p.usd) FILTER (WHERE {0}),"
    " COALESCE(SUM(p.tokens) FILTER (WHERE {0} AND p.usd IS NULL), 0) > 0"  # what was taken back has no price, either
)
_ASSUMED = "SUM(p.assumed), SUM(p.usd * p.assumed / p.tokens), COUNT(*) FILTER (WHERE p.usd IS NULL AND p.assumed > 0)"
# Purpose: money and tokens by group. What is reserved counts until its batch is over; what is neither a reservation,
# its release, a saving nor in doubt was paid.
_COSTS = (
    "SELECT {group} AS grouped, COUNT(DISTINCT p.batch_id) AS batches, "
    + ", ".join([*map(_SUM.format, ("paid", "open", "saved", "expedited", "maybe", "fresh")), _ASSUMED])
    + " FROM (SELECT *, kind NOT IN ('reserved', 'released', 'saved', 'maybe_paid') AS paid, kind = 'saved' AS saved,"
    "   kind = 'expedited' AS expedited, kind = 'maybe_paid' AS maybe, kind = 'expedited' AND EXISTS (SELECT 1"
    "    FROM batches l WHERE l.id = spend.batch_id AND l.fresh_documents IS NOT NULL) AS fresh,"
    "   kind = 'reserved' AND NOT EXISTS (SELECT 1 FROM spend r WHERE r.batch_id = spend.batch_id"
    "    AND r.kind = 'released') AS open FROM spend WHERE at >= :since) p"
    " LEFT JOIN batches b ON b.id = p.batch_id LEFT JOIN profiles f ON f.id = b.profile_id"
    " LEFT JOIN sources s ON s.id = p.source_id"
    " WHERE paid OR saved OR open OR maybe GROUP BY grouped ORDER BY {order}"
)


@dataclass(frozen=True)
class Cost:
    """One group. `name` is None where it is not known (for batches: what reuse saved).

    `expedited` is the part of `paid` that was paid at the full price, `fresh` the part of that which changes of sources
    with `fresh_within_s` cost, `assumed` the part that no answer reported;
    `maybe_paid` is in none of them. A USD figure is None if any part of it has no price.
    """

    name: str | None
    batches: int
    paid_tokens: int
    paid_usd: float | None
    reserved_tokens: int
    reserved_usd: float | None
    saved_tokens: int
    saved_usd: float | None
    expedited_tokens: int
    expedited_usd: float | None
    maybe_paid_tokens: int
    maybe_paid_usd: float | None
    assumed_tokens: int
    assumed_usd: float | None
    fresh_tokens: int
    fresh_usd: float | None


def costs(connection: Connection, by: str, since: int) -> list[Cost]:
    """Everything since a time (microseconds), by one of `BY`: days and batches in their order, others by name."""
    order = "MIN(p.id)" if by == "batch" else "grouped"
    sql = _COSTS.format(group=_GROUPS[by], order=order)
    found = []
    for name, batches, *sums in connection.execute(text(sql), {"since": since}):
        paid, reserved, saved, expedited, maybe, fresh, assumed = (
            _money(*sums[at : at + 3]) for at in range(0, len(sums), 3)
        )
        found.append(Cost(name, batches, *paid, *reserved, *saved, *expedited, *maybe, *assumed, *fresh))
    return found


def _money(tokens: int | None, usd: float | None, unpriced: int | None) -> tuple[int, float | None]:
    return int(tokens or 0), None if unpriced else float(usd or 0.0)


@dataclass(frozen=True)
class Mismatch:
    """A batch whose booked cost is not what its lines say, for one source (None: not known)."""

    ref: str
    source: str | None
    booked_tokens: int
    line_tokens: int
    booked_usd: float | None
    line_usd: float | None


# Purpose: what is booked for a batch and source, beside what its lines say at the price of the batch.
_RECOMPUTED = text(
    "SELECT b.ref, s.name, SUM(x.booked), SUM(x.counted), COALESCE(SUM(x.booked_usd), 0.0), b.usd_per_million FROM"
    " (SELECT batch_id, source_id, tokens AS booked, 0 AS counted, usd AS booked_usd FROM spend"
    f"  WHERE kind IN {BILLED} AND batch_id IS NOT NULL"
    "  UNION ALL SELECT batch_id, source_id, 0, tokens, 0 FROM lines WHERE tokens > 0) x"
    " JOIN batches b ON b.id = x.batch_id LEFT JOIN sources s ON s.id = x.source_id"
    " WHERE b.tokens_settled IS NOT NULL"
    " GROUP BY x.batch_id, x.source_id HAVING SUM(x.booked) + SUM(x.counted) > 0 ORDER BY x.batch_id, s.name"
)
_CENT_OF_A_CENT = 0.0001


def recompute(connection: Connection) -> Iterator[tuple[Mismatch, bool]]:
    """Every batch and source that was settled, and whether the books and the lines agree. Reads all lines."""
    for ref, source, booked, counted, booked_usd, price in connection.execute(_RECOMPUTED):
        line_usd = None if price is None else counted * price / 1_000_000
        told_usd = None if price is None else booked_usd
        same = booked == counted and (line_usd is None or abs(booked_usd - line_usd) < _CENT_OF_A_CENT)
        yield Mismatch(ref, source, booked, counted, told_usd, line_usd), same
