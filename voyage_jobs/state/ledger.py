"""Money: what was reserved when a batch was assembled, settled when it was collected, released when it came to nothing.

What a batch of mode `sync` is billed has a kind of its own, `expedited`. `maybe_paid` is one of which nobody knows
whether it was answered; so is a job that was given up before its results could be had. A search that reranks is of the
kind `query`, and of no batch.

Every row is a fact that never changes. Reserved minus released is what is still at stake: `release` gives back the
whole reservation of a batch at the moment its real cost is settled. Each amount is booked source by source, as the
lines of the batch say whose texts they are; what no line accounts for has no source.

A row says how many of its tokens are `assumed`: no answer reported what these were billed (see usage.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, TextClause, func, insert, select, text

from voyage_jobs.core.states import Mode
from voyage_jobs.state.outcomes import OPEN
from voyage_jobs.state.schema import batches, spend
from voyage_jobs.state.statements import Prepared
from voyage_jobs.state.store import Tx

if TYPE_CHECKING:
    from voyage_jobs.state.batches import BatchRow


BILLED = "('settled', 'expedited')"
"""The kinds of what a batch was billed, by its mode: as a list of SQL."""
TORN = "torn"
"""The code of a batch that is parked because its results lack lines that are paid: what is there is held."""
MAY_HAVE_RUN = "may_have_run"
"""The code of a batch that is parked because nobody can tell whether its create call made a job."""

_NEVER = 1 << 62  # in microseconds: no time is later


def usd(tokens: int, usd_per_million: float | None) -> float | None:
    """The price of tokens, or None where the model's price is not known."""
    return None if usd_per_million is None else tokens * usd_per_million / 1_000_000


class Share(NamedTuple):
    """What one source pays of an amount, and how much of that is assumed."""

    source_id: int | None
    tokens: int
    assumed: int = 0


# Purpose: what the lines of a batch may cost, by source.
_COUNTED = text(
    "SELECT l.source_id, SUM(e.tokens) FROM lines l JOIN embeddings e ON e.id = l.embedding_id"
    " WHERE l.batch_id = :batch GROUP BY l.source_id"
)
# Purpose: what the lines of a batch whose results could not be read may have cost, by source.
_NOT_ANSWERED = text(
    "SELECT l.source_id, SUM(e.tokens) FROM lines l JOIN embeddings e ON e.id = l.embedding_id"
    f" WHERE l.batch_id = :batch AND l.outcome = {OPEN} AND l.tokens IS NULL GROUP BY l.source_id"
)
# Purpose: what was set aside for a batch, by source.
_RESERVED = text(
    "SELECT source_id, SUM(CASE kind WHEN 'reserved' THEN tokens ELSE -tokens END) FROM spend"
    " WHERE batch_id = :batch AND kind IN ('reserved', 'released') GROUP BY source_id"
)
# Purpose: what the lines of a batch did cost, by source.
_BILLED = text(
    "SELECT source_id, SUM(tokens), SUM(assumed * tokens) FROM lines WHERE batch_id = :batch AND tokens > 0"
    " GROUP BY source_id"
)

# Purpose: what was booked as the bill of a batch, with the other sign, by source.
_TAKEN_BACK = text(
    f"SELECT source_id, -SUM(tokens), -SUM(assumed) FROM spend WHERE batch_id = :batch AND kind IN {BILLED}"
    " GROUP BY source_id"
)


def reserve(tx: Tx, batch_id: int, tokens: int, price: float | None) -> None:
    """Set aside what a batch may cost. Its lines are in."""
    _book(tx, batch_id, "reserved", tokens, price, _COUNTED)


def release(tx: Tx, batch_id: int, tokens: int, price: float | None) -> None:
    """Give a batch's reservation back, once: it was settled, or came to nothing."""
    if not sum(int(share) for _, share in tx.connection.execute(_RESERVED, {"batch": batch_id})):
        return  # its results were settled before they were given up
    _book(tx, batch_id, "released", tokens, price, _RESERVED)


def write_off(tx: Tx, batch: BatchRow) -> None:
    """An operator gives up a batch that is parked. What its job did may be on the bill; nobody knows how much.

    Of a batch whose results were short, what was read is settled, and what was not may be on the bill all the same.
    Called before its lines are closed.
    """
    if (batch.remote_id is not None or batch.code == MAY_HAVE_RUN) and batch.tokens_settled is None:
        lose(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
        return
    release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
    if batch.code == TORN:
        found = tx.connection.execute(_NOT_ANSWERED, {"batch": batch.id}).all()
        _add(tx, batch.id, "maybe_paid", [Share(*row) for row in found], batch.usd_per_million)


def lose(tx: Tx, batch_id: int, tokens: int, price: float | None) -> None:
    """Nobody can tell whether a batch was billed: all that it might have cost counts as maybe paid."""
    release(tx, batch_id, tokens, price)
    _book(tx, batch_id, "maybe_paid", tokens, price, _COUNTED)


def settle(tx: Tx, batch_id: int, tokens: int, price: float | None, assumed: int = 0) -> None:
    """Record what the provider bills for a batch. Its lines are settled; where they tell nothing, `assumed` does."""
    mode = tx.connection.execute(select(batches.c.mode).where(batches.c.id == batch_id)).scalar_one()
    kind = "expedited" if mode == Mode.SYNC else "settled"
    _book(tx, batch_id, kind, tokens, price, _BILLED, assumed)


def settle_anew(tx: Tx, batch_id: int, tokens: int, price: float | None) -> None:
    """Results that were read before say another bill now: what was booked is taken back, source by source."""
    kinds = of_batch(tx.connection, batch_id)
    for kind in ("settled", "expedited"):
        if kind in kinds:
            _book(tx, batch_id, kind, -kinds[kind], price, _TAKEN_BACK)
    settle(tx, batch_id, tokens, price)


def save(tx: Tx, tokens: int, price: float | None, source_id: int | None = None) -> None:
    """Record what reuse of held or wanted vectors spared a source."""
    _add(tx, None, "saved", [Share(source_id, tokens)], price)


def query_asked(tx: Tx, tokens: int, price: float | None) -> None:
    """A search is about to make a call of its own: what that may cost counts from here on."""
    _add(tx, None, "query", [Share(None, tokens)], price)


def query_answered(tx: Tx, asked: int, billed: int | None, price: float | None) -> None:
    """It was answered: what it was billed takes the place of what was asked; None: the answer does not say."""
    query_not_asked(tx, asked, price)
    tokens = asked if billed is None else billed
    _add(tx, None, "query", [Share(None, tokens, asked if billed is None else 0)], price)


def query_not_asked(tx: Tx, asked: int, price: float | None) -> None:
    """It was refused, or did not go out: nothing is billed."""
    _add(tx, None, "query", [Share(None, -asked)], price)


def query_lost(tx: Tx, asked: int, price: float | None) -> None:
    """Nobody can tell whether it was billed."""
    query_not_asked(tx, asked, price)
    _add(tx, None, "maybe_paid", [Share(None, asked)], price)


def settle_found(tx: Tx, kind: str, tokens: int, price: float | None, at: int, assumed: int) -> None:
    """Record what was billed, at that time, for a segment whose batch is not on record: `settled` or `expedited`."""
    row = {"at": at, "kind": kind, "tokens": tokens, "usd": usd(tokens, price), "assumed": assumed}
    tx.connection.execute(insert(spend).values(**row))


def _book(
    tx: Tx,
    batch_id: int,
    kind: str,
    tokens: int,
    price: float | None,
    shares_of: TextClause,
    assumed: int = 0,
) -> None:
    """Book `tokens` in the shares that a statement finds; without a source where these do not come to that sum.

    Where it finds none, `assumed` tells how many of them no answer reported.
    """
    found = tx.connection.execute(shares_of, {"batch": batch_id})
    shares = [Share(*row) for row in found if row[1]]
    if sum(share.tokens for share in shares) != tokens or not shares:
        assumed = sum(share.assumed for share in shares) if shares else assumed
        shares = [Share(None, tokens, min(tokens, assumed))]
    _add(tx, batch_id, kind, shares, price)


def _add(tx: Tx, batch_id: int | None, kind: str, shares: Sequence[Share], price: float | None) -> None:
    about = {"batch_id": batch_id, "at": tx.now, "kind": kind}
    rows = [{**about, **share._asdict(), "usd": usd(share.tokens, price)} for share in shares]
    if rows:
        tx.connection.execute(insert(spend), rows)


@dataclass(frozen=True)
class Totals:
    """Sums in tokens and USD. `reserved` is what is at stake now; a USD figure is None if any part has no price.

    `settled` is all that the provider billed, searches included, `expedited` the part of it that was asked for at once;
    `maybe_paid` comes on top: what batches may have cost whose answer was lost. `assumed` is the part of `settled` that
    no answer reported.
    """

    reserved_tokens: int
    settled_tokens: int
    saved_tokens: int
    reserved_usd: float | None
    settled_usd: float | None
    saved_usd: float | None
    expedited_tokens: int = 0
    expedited_usd: float | None = 0.0
    maybe_paid_tokens: int = 0
    maybe_paid_usd: float | None = 0.0
    assumed_tokens: int = 0


class Sums(NamedTuple):
    """Of rows of the books: `usd` is what those with a price cost, `unpriced` the tokens of those without one."""

    tokens: int
    usd: float
    assumed: int
    unpriced: int

    @property
    def money(self) -> float | None:
        """None if a part of it is not known."""
        return None if self.unpriced else self.usd


# Purpose: sums by kind, and what of it has no price.
_TOTALS = Prepared(
    "SELECT kind, SUM(tokens) AS tokens, COALESCE(SUM(usd), 0.0) AS usd, SUM(assumed) AS assumed,"
    " COALESCE(SUM(tokens) FILTER (WHERE usd IS NULL), 0) AS unpriced FROM spend WHERE at >= :since GROUP BY kind"
)


def _by_kind(connection: Connection, since: int) -> dict[str, Sums]:
    return {row[0]: Sums(int(row[1]), *row[2:]) for row in _TOTALS.rows(connection, since=since)}


def _all(rows: dict[str, Sums], *kinds: str) -> Sums:
    found = [rows[kind] for kind in kinds if kind in rows]
    return Sums(*map(sum, zip(*found, strict=True))) if found else Sums(0, 0.0, 0, 0)


_SETTLED = ("settled", "expedited", "query")


def settled_and_saved(connection: Connection) -> tuple[Sums, Sums]:
    """All that the provider billed, and all that reuse saved."""
    rows = _by_kind(connection, 0)
    return _all(rows, *_SETTLED), _all(rows, "saved")


def totals(connection: Connection, since: int = 0) -> Totals:
    """What was reserved, settled and saved since a time (microseconds UTC)."""
    rows = _by_kind(connection, since)
    reserved, released = _all(rows, "reserved"), _all(rows, "released")
    settled, expedited, saved = _all(rows, *_SETTLED), _all(rows, "expedited"), _all(rows, "saved")
    maybe = _all(rows, "maybe_paid")
    unknown = reserved.unpriced or released.unpriced
    return Totals(
        reserved_tokens=max(0, reserved.tokens - released.tokens),
        settled_tokens=settled.tokens,
        saved_tokens=saved.tokens,
        reserved_usd=None if unknown else max(0.0, reserved.usd - released.usd),
        settled_usd=settled.money,
        saved_usd=saved.money,
        expedited_tokens=expedited.tokens,
        expedited_usd=expedited.money,
        maybe_paid_tokens=maybe.tokens,
        maybe_paid_usd=maybe.money,
        assumed_tokens=_all(rows, *rows).assumed,
    )


# Purpose: what was paid in a span of time, and what is at stake now, of everything or of one source.
_USED = text(
    "SELECT COALESCE(SUM(sign * tokens), 0) AS tokens, COALESCE(SUM(sign * usd), 0.0) AS usd FROM"
    " (SELECT tokens, usd, CASE WHEN kind = 'reserved' THEN 1 WHEN kind = 'released' THEN -1 WHEN kind = 'saved' THEN 0"
    "   WHEN at >= :since AND at < :until THEN 1 ELSE 0 END AS sign"
    "  FROM spend WHERE :source IS NULL OR source_id = :source)"
)
# Purpose: the same for batches that came after others.
_USED_BY_BATCHES = text(
    "SELECT COALESCE(SUM(sign * tokens), 0) AS tokens, COALESCE(SUM(sign * usd), 0.0) AS usd FROM"
    " (SELECT tokens, usd, CASE kind WHEN 'released' THEN -1 WHEN 'saved' THEN 0 ELSE 1 END AS sign FROM spend"
    "  WHERE batch_id > :after)"
)


def used_since(
    connection: Connection, since: int, source_id: int | None = None, *, until: int = _NEVER
) -> tuple[int, float]:
    """(tokens, USD) paid from a time until another plus everything that is at stake now, for comparing with a budget.

    What was booked while the clock was ahead counts for the day and the month that it named, and for none before.
    """
    row = connection.execute(_USED, {"since": since, "until": until, "source": source_id}).one()
    return int(row.tokens), float(row.usd)


def used_by_batches(connection: Connection, after_batch_id: int) -> tuple[int, float]:
    """(tokens, USD) paid for, or at stake in, batches that were assembled after this one."""
    row = connection.execute(_USED_BY_BATCHES, {"after": after_batch_id}).one()
    return int(row.tokens), float(row.usd)


# Purpose: what was billed, by the way in which it was sent.
_BY_LANE = text(
    "SELECT CASE p.kind WHEN 'query' THEN 'search' WHEN 'settled' THEN 'batch' ELSE"
    "  CASE WHEN b.fresh_documents IS NULL THEN 'sync' ELSE 'fresh' END END AS lane, SUM(p.tokens)"
    f" FROM spend p LEFT JOIN batches b ON b.id = p.batch_id WHERE p.kind IN {BILLED} OR p.kind = 'query'"
    " GROUP BY lane"
)
LANES = ("batch", "fresh", "sync", "search")
"""How something is sent that is billed: by a job, at once to be fresh, at once for another reason, for a search."""


def billed_by_lane(connection: Connection) -> dict[str, int]:
    """Tokens that were billed, by each of `LANES`."""
    return dict.fromkeys(LANES, 0) | {lane: int(tokens) for lane, tokens in connection.execute(_BY_LANE)}


def of_batch(connection: Connection, batch_id: int) -> dict[str, int]:
    """kind -> tokens of one batch."""
    rows = connection.execute(
        select(spend.c.kind, func.sum(spend.c.tokens))
        .where(spend.c.batch_id == batch_id)
        .group_by(spend.c.kind)
    )
    return {kind: int(tokens) for kind, tokens in rows}
