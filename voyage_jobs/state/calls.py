"""Synchronous calls: what was asked for, what came of it, and the money behind each.

A call is on record, with its texts and its reservation, before it is sent. Its end is one transaction: the outcome of
each text, the vectors' place, and what is booked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from voyage_jobs import states
from voyage_jobs.state import embeddings, ledger, moves, versions
from voyage_jobs.state.embeddings import MALFORMED, OPEN, RETURNED, SUCCESS
from voyage_jobs.state.schema import PACKED, call_lines, calls, is_in
from voyage_jobs.state.schema import embeddings as embedding_rows
from voyage_jobs.state.statements import many, new_id
from voyage_jobs.state.store import Tx
from voyage_jobs.state.versions import Made
from voyage_jobs.usage import Billed


@dataclass(frozen=True)
class CallRow:
    """One call: every column of its row; see schema.py for the meaning."""

    id: int
    ref: str
    order_ref: str
    who: str
    state: states.Call
    profile_id: int
    document_id: int
    source_id: int
    inputs: int
    tokens_estimated: int
    usd_per_million: float | None
    sent_at: int
    epoch: int
    closed_at: int | None
    tokens_billed: int | None
    detail: str | None
    assumed: int = 0
    """1 if `tokens_billed` are those that were reserved, because the answer does not report any."""


@dataclass(frozen=True)
class Order:
    """One command that wants texts at once: its own id, who gave it, and the document that it is about."""

    ref: str
    who: str
    document_id: int
    source_id: int


@dataclass(frozen=True)
class Asked:
    """One embedding that a call asks for; `batch_id` is the open batch that it travels in, too."""

    embedding_id: int
    key: bytes
    vectors: int
    tokens: int
    batch_id: int | None


@dataclass(frozen=True)
class Answered:
    """What became of one line of a call: the row of its first vector in the pack, or what was wrong with it."""

    line: int
    embedding_id: int
    pack_row: int | None
    detail: str | None = None


_COLUMNS = ", ".join(field.name for field in fields(CallRow))


def _call(row: Any) -> CallRow:
    return CallRow(**{**row, "state": states.Call(row["state"])})


def begin(
    tx: Tx, ref: str, order: Order, profile_id: int, asked: Sequence[Asked], price: float | None
) -> CallRow:
    """Put a call on record that is about to be sent, and set aside its cost. `price`: USD per million tokens."""
    tokens = sum(each.tokens for each in asked)
    values: dict[str, object] = {
        "ref": ref,
        "order_ref": order.ref,
        "who": order.who,
        "state": str(states.Call.OPEN),
        "profile_id": profile_id,
        "document_id": order.document_id,
        "source_id": order.source_id,
        "inputs": sum(each.vectors for each in asked),
        "tokens_estimated": tokens,
        "usd_per_million": price,
        "sent_at": tx.now,
        "epoch": tx.epoch,
    }
    call_id = new_id(tx.connection, insert(calls).values(**values))
    rows = ((call_id, line, each.embedding_id, each.batch_id) for line, each in enumerate(asked))
    many(tx.connection, insert(call_lines), ("call_id", "line", "embedding_id", "batch_id"), rows)
    call = get(tx.connection, call_id)
    moves.record(
        tx, "call", call_id, None, states.Call.OPEN, f"{call.inputs} inputs, asked for by {order.who}"
    )
    ledger.book_call(tx, call, "reserved", tokens)
    return call


def answered(
    tx: Tx, call: CallRow, pack_id: int | None, lines: Sequence[Answered], billed: Billed, cause: str
) -> None:
    """The call was answered, hence billed: sound vectors are held, the rest is wanted as before."""
    good = [line for line in lines if line.pack_row is not None]
    mine = (call_lines.c.call_id == call.id) & (call_lines.c.line == bindparam("of_line"))
    rows = ((MALFORMED if line.pack_row is None else SUCCESS, line.detail, line.line) for line in lines)
    many(tx.connection, update(call_lines).where(mine), ("outcome", "detail", "of_line"), rows)
    embeddings.hold(tx, pack_id, [(line.pack_row, line.embedding_id) for line in good])
    bad = (embedding_rows.c.id == bindparam("of_id")) & is_in(
        embedding_rows, states.Embedding.WANTED, states.Embedding.PACKED
    )
    one_more = update(embedding_rows).where(bad).values(attempts=embedding_rows.c.attempts + 1)
    many(
        tx.connection, one_more, ("of_id",), [(each.embedding_id,) for each in lines if each.pack_row is None]
    )
    versions.recount_call(tx, call.id)
    ledger.book_call(tx, call, "released", call.tokens_estimated)
    ledger.book_call(tx, call, "expedited", billed.tokens, assumed=billed.assumed)
    facts = {"tokens_billed": billed.tokens, "assumed": int(billed.assumed)}
    _close(tx, call, states.Call.ANSWERED, cause, **facts)


def not_happened(tx: Tx, call: CallRow, why: str) -> None:
    """The vendor never got the call, or refused it: nothing is billed."""
    _return_lines(tx, call)
    ledger.book_call(tx, call, "released", call.tokens_estimated)
    _close(tx, call, states.Call.NOT_HAPPENED, why, tokens_billed=0)


def unknown(tx: Tx, call: CallRow, why: str) -> None:
    """Nobody can tell whether the call was answered: all that it might have cost counts as maybe paid."""
    _return_lines(tx, call)
    ledger.book_call(tx, call, "released", call.tokens_estimated)
    ledger.book_call(tx, call, "maybe_paid", call.tokens_estimated)
    _close(tx, call, states.Call.UNKNOWN, why)


def _return_lines(tx: Tx, call: CallRow) -> None:
    still = (call_lines.c.call_id == call.id) & (call_lines.c.outcome == OPEN)
    tx.connection.execute(update(call_lines).where(still).values(outcome=RETURNED))


def _close(tx: Tx, call: CallRow, target: states.Call, detail: str, **values: object) -> None:
    facts: dict[str, object] = {"closed_at": tx.now, "detail": detail, **values}
    moves.move(tx, calls, call.id, call.state, target, detail, **facts)  # type: ignore[arg-type]


# --- reading ---


def get(connection: Connection, call_id: int) -> CallRow:
    """One call by its row id."""
    return _call(connection.execute(select(calls).where(calls.c.id == call_id)).mappings().one())


def newest_id(connection: Connection) -> int:
    """The number of the latest call; 0 if there was none."""
    return int(connection.execute(select(func.coalesce(func.max(calls.c.id), 0))).scalar_one())


_OPEN = select(calls).where(is_in(calls, states.Call.OPEN)).order_by(calls.c.id)


def open_calls(connection: Connection) -> list[CallRow]:
    """Calls whose outcome is not on record."""
    return [_call(row) for row in connection.execute(_OPEN).mappings()]


def of_order(connection: Connection, order_ref: str) -> list[CallRow]:
    """The calls of one command, first to last."""
    rows = connection.execute(select(calls).where(calls.c.order_ref == order_ref).order_by(calls.c.id))
    return [_call(row) for row in rows.mappings()]


def by_ref(connection: Connection, ref: str) -> CallRow | None:
    """The call with this ref, or None."""
    row = connection.execute(select(calls).where(calls.c.ref == ref)).mappings().first()
    return None if row is None else _call(row)


def of_document(connection: Connection, document_id: int) -> list[CallRow]:
    """The calls that were made for a document, first to last."""
    rows = connection.execute(select(calls).where(calls.c.document_id == document_id).order_by(calls.c.id))
    return [_call(row) for row in rows.mappings()]


# Purpose: the calls that asked for one embedding.
_FOR = text(
    f"SELECT {_COLUMNS} FROM calls WHERE id IN (SELECT call_id FROM call_lines WHERE embedding_id = :id) ORDER BY id"
)


def for_embedding(connection: Connection, embedding_id: int) -> list[CallRow]:
    """The calls that asked for an embedding, first to last."""
    return [_call(row) for row in connection.execute(_FOR, {"id": embedding_id}).mappings()]


@dataclass(frozen=True)
class CallLine:
    """One line of a call; `outcome` is a code of `embeddings.OUTCOME_WORDS`."""

    key: bytes
    outcome: int
    detail: str | None
    batch_ref: str | None


# Purpose: what became of the lines of a call.
_LINES = text(
    "SELECT e.key, l.outcome, l.detail, b.ref FROM call_lines l JOIN embeddings e ON e.id = l.embedding_id"
    " LEFT JOIN batches b ON b.id = l.batch_id WHERE l.call_id = :call ORDER BY l.line"
)


def lines_of(connection: Connection, call_id: int) -> list[CallLine]:
    """The lines of a call, in the order of its request."""
    return [CallLine(*row) for row in connection.execute(_LINES, {"call": call_id})]


# Purpose: how many texts got vectors from the calls of one command.
_HELD = text(
    "SELECT COALESCE(SUM(e.vectors), 0) FROM calls c JOIN call_lines l ON l.call_id = c.id"
    f" JOIN embeddings e ON e.id = l.embedding_id WHERE c.order_ref = :order AND l.outcome = {SUCCESS}"
)


def brought(connection: Connection, order_ref: str) -> int:
    """The number of texts that the calls of one command brought vectors for."""
    return int(connection.execute(_HELD, {"order": order_ref}).scalar_one())


# Purpose: what a call asked for, in the order of its request.
_ASKED = text(
    "SELECT e.id, e.key, e.vectors, e.tokens, l.batch_id FROM call_lines l JOIN embeddings e ON e.id = l.embedding_id"
    " WHERE l.call_id = :call ORDER BY l.line"
)


def asked_by(connection: Connection, call_id: int) -> list[Asked]:
    """What one call asked for."""
    return [Asked(*row) for row in connection.execute(_ASKED, {"call": call_id})]


@dataclass(frozen=True)
class NeededEmbedding:
    """One embedding of a document: its stored state, the place of (the first of) its text, the open batch it is in."""

    id: int
    key: bytes
    vectors: int
    tokens: int
    state: int
    version_id: int
    start: int
    end: int
    batch_id: int | None
    batch_ref: str | None


# What is expected of an embedding by an open batch, if it is in one.
_TRAVELS = (
    f" LEFT JOIN lines l ON l.embedding_id = e.id AND l.outcome = {OPEN} AND e.state = {PACKED}"
    " LEFT JOIN batches b ON b.id = l.batch_id"
)
# Purpose: what the newest content of a document needs, in reading order, and the open batch that each travels in.
_NEEDED = text(
    'SELECT e.id, e.key, e.vectors, e.tokens, e.state, c.version_id, c.start, c."end", b.id, b.ref FROM versions v'
    f" JOIN chunks c ON c.version_id = v.id JOIN embeddings e ON e.id = c.embedding_id{_TRAVELS}"
    " WHERE v.document_id = :document AND v.state IN ('waiting', 'ready', 'published')"
    "  AND v.retire = 0 AND v.doubtful = 0"
    "  AND v.id = (SELECT MAX(n.id) FROM versions n WHERE n.document_id = v.document_id"
    "   AND n.state IN ('waiting', 'ready', 'published'))"
    " GROUP BY e.id ORDER BY MIN(c.ordinal)"
)
# Purpose: how one embedding stands, and the open batch that it travels in.
_KNOWN = text(f"SELECT e.state, b.ref FROM embeddings e{_TRAVELS} WHERE e.key = :key")
# Purpose: where a document's newest content stands.
_STANDS = text(
    "SELECT state, content_hash, text_hash, splitter FROM versions WHERE document_id = :document"
    " AND state IN ('waiting', 'ready', 'published') ORDER BY id DESC LIMIT 1"
)


def needed(connection: Connection, document_id: int) -> list[NeededEmbedding]:
    """The embeddings of the newest live version of a document, each once."""
    return [NeededEmbedding(*row) for row in connection.execute(_NEEDED, {"document": document_id})]


def known(connection: Connection, key: bytes) -> tuple[int, str | None] | None:
    """(stored state, ref of the open batch it is in) of an embedding; None if it was never wanted."""
    row = connection.execute(_KNOWN, {"key": key}).first()
    return None if row is None else (int(row[0]), row[1])


def newest_content(connection: Connection, document_id: int) -> tuple[states.Version, Made] | None:
    """(state, identity) of the newest live version of a document, if it has one."""
    row = connection.execute(_STANDS, {"document": document_id}).first()
    return None if row is None else (states.Version(row[0]), Made(*row[1:]))


@dataclass(frozen=True)
class Tally:
    """Calls and texts in numbers; USD is None where a price is not known."""

    calls: int
    inputs: int
    tokens: int
    usd: float | None


# Purpose: calls whose outcome nobody knows.
_UNKNOWN = text(
    "SELECT COUNT(*) AS calls, COALESCE(SUM(inputs), 0) AS inputs, COALESCE(SUM(tokens_estimated), 0) AS tokens,"
    " SUM(tokens_estimated * usd_per_million / 1000000.0) AS usd,"
    " COUNT(*) FILTER (WHERE usd_per_million IS NULL) AS unpriced"
    " FROM calls WHERE state = 'unknown' AND closed_at >= :since"
)
# Purpose: texts that were expedited while a batch had them, too, and what that batch billed for them.
_TWICE = text(
    "SELECT COUNT(DISTINCT l.call_id) AS calls, COALESCE(SUM(e.vectors), 0) AS inputs,"
    " COALESCE(SUM(b.tokens), 0) AS tokens, SUM(b.tokens * t.usd_per_million / 1000000.0) AS usd,"
    " COUNT(*) FILTER (WHERE t.usd_per_million IS NULL) AS unpriced"
    " FROM call_lines l JOIN calls c ON c.id = l.call_id JOIN lines b ON b.batch_id = l.batch_id"
    "  AND b.embedding_id = l.embedding_id JOIN batches t ON t.id = b.batch_id"
    " JOIN embeddings e ON e.id = l.embedding_id"
    f" WHERE l.outcome = {SUCCESS} AND b.tokens > 0 AND t.collected_at >= :since"
)


def never_known(connection: Connection, since: int = 0) -> Tally:
    """The calls that may have been paid, since a time in microseconds."""
    return _tally(connection, _UNKNOWN, since)


def paid_twice(connection: Connection, since: int = 0) -> Tally:
    """What batches billed for texts that were expedited while they were in them."""
    return _tally(connection, _TWICE, since)


def _tally(connection: Connection, statement: Any, since: int) -> Tally:
    row = connection.execute(statement, {"since": since}).one()
    usd = None if row.unpriced else float(row.usd or 0.0)
    return Tally(int(row.calls), int(row.inputs), int(row.tokens), usd)
