"""What `verify --repair` writes: each contradiction that it found is undone by one statement."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select, text, update

from voyage_jobs.core import states
from voyage_jobs.state import audit, ledger, moves, record_files, versions
from voyage_jobs.state import embeddings as embedding_rows
from voyage_jobs.state.orders import LOST_ANSWER
from voyage_jobs.state.outcomes import OPEN, RETURNED
from voyage_jobs.state.schema import TOTALS, batches, documents, embeddings, lines, segments, spend, texts
from voyage_jobs.state.schema import versions as version_table
from voyage_jobs.state.statements import slices
from voyage_jobs.state.store import Tx
from voyage_jobs.state.texts import HAS_A_FILE
from voyage_jobs.state.versions import UNSETTLED_MTIME

_OVER = ("collected", "closed", "refused", "cancelled")


def drop_leftovers(tx: Tx, version_ids: Sequence[int]) -> None:
    """Let go of the chunks of versions that are over, and of the texts of all that are not on their way."""
    for version_id in version_ids:
        state = audit.current_state(tx.connection, "version", version_id)
        if state in (states.Version.RETIRED, states.Version.SUPERSEDED):
            versions.discard(tx, [version_id])
        elif state == states.Version.PUBLISHED:
            mine = select(version_table.c.id).where(version_table.c.id == version_id, HAS_A_FILE)
            tx.connection.execute(delete(texts).where(texts.c.version_id.in_(mine)))


# Purpose: count what every source has and shows.
_TOTALS = text(
    "UPDATE sources SET "
    + ", ".join(f"{each} = n.{each}" for each in TOTALS)
    + f" FROM ({audit.COUNTED}) AS n WHERE n.id = sources.id"
)


def count_totals(tx: Tx) -> None:
    """Count again what `status` tells of each source."""
    tx.connection.execute(_TOTALS)


def want_astray(tx: Tx, embedding_ids: Sequence[int]) -> None:
    """Packed embeddings that no open batch has are wanted again."""
    mine = embeddings.c.id == bindparam("of_id")
    packed, wanted = states.Embedding.PACKED, states.Embedding.WANTED
    rows = ((embedding_id,) for embedding_id in embedding_ids)
    moves.move_each(tx, embeddings, mine, packed, wanted, ("of_id",), rows, wanted_at=tx.now)


def close_lines(tx: Tx, batch_ids: Sequence[int]) -> None:
    """Lines of batches that are over, and that have no end, came to nothing."""
    for part in slices(batch_ids):
        still = lines.c.batch_id.in_(part) & (lines.c.outcome == OPEN)
        tx.connection.execute(update(lines).where(still).values(outcome=RETURNED))


def make_anew(tx: Tx, version_ids: Sequence[int], cause: str) -> None:
    """Have versions replaced by new ones of the same content: in doubt until then, and their files read again."""
    for version_id in version_ids:
        where = version_table.c.id == version_id
        found = select(version_table.c.document_id, version_table.c.state).where(where)
        row = tx.connection.execute(found).one()
        if row.state == states.Version.PUBLISHED:
            tx.connection.execute(update(version_table).where(where).values(doubtful=1))
            versions.discard(tx, [version_id])
        else:
            versions.supersede(tx, [row.document_id], cause)
        forget_stats(tx, [row.document_id])


def forget_stats(tx: Tx, document_ids: Sequence[int]) -> None:
    """Have these documents read again by the next scan."""
    for part in slices(document_ids):
        mine = documents.c.id.in_(part)
        tx.connection.execute(update(documents).where(mine).values(mtime_ns=UNSETTLED_MTIME))
        record_files.read_again(tx, mine)


# Purpose: is a newer version of the same document on its way?
_SUPERSEDED = text(
    "SELECT 1 FROM versions v JOIN versions n ON n.document_id = v.document_id"
    " WHERE v.id = :id AND n.state IN ('waiting', 'ready')"
)


def publish_again(tx: Tx, version_ids: Sequence[int], cause: str) -> None:
    """Put published versions back in line; the table serves what it has until they are published again.

    Those that a newer version is about to replace are marked as in doubt instead: whatever comes next replaces them.
    """
    superseded: list[int] = []
    for version_id in version_ids:
        state = audit.current_state(tx.connection, "version", version_id)
        if state != states.Version.PUBLISHED:
            continue
        if tx.connection.execute(_SUPERSEDED, {"id": version_id}).first() is not None:
            superseded.append(version_id)
            continue
        ready, published = states.Version.READY, states.Version.PUBLISHED
        moves.move(tx, version_table, version_id, published, ready, cause, published_at=None)
        versions.recount(tx, version_id, version_id)
    make_anew(tx, superseded, cause)


def move_held(tx: Tx, embedding_id: int, row: int | None) -> None:
    """The vectors of a held embedding lie elsewhere in its segment, or nowhere: then it is wanted again."""
    mine = embeddings.c.id == embedding_id
    if row is None:
        embedding_rows.unhold(tx, mine)
        held, wanted = states.Embedding.HELD, states.Embedding.WANTED
        moves.record(tx, "embedding", embedding_id, held, wanted, "its segment does not hold it")
    else:
        tx.connection.execute(update(embeddings).where(mine).values(pack_row=row))


def segment_and_key(tx: Tx, embedding_id: int) -> tuple[str, bytes] | None:
    """The segment a held embedding is said to be in, and its key; None if it is not held."""
    held = select(segments.c.name, embeddings.c.key).join(segments, segments.c.id == embeddings.c.pack_id)
    row = tx.connection.execute(held.where(embeddings.c.id == embedding_id)).first()
    return None if row is None else (row[0], row[1])


# Purpose: what a batch says of its money, and its lines.
_MONEY = text(
    "SELECT state, tokens_estimated AS estimated, usd_per_million AS price, created_at,"
    " COALESCE(collected_at, ended_at) AS ended_at, tokens_settled AS settled, mode,"
    f" mode = 'sync' AND {LOST_ANSWER} AS is_lost,"
    " (SELECT SUM(tokens) FROM lines WHERE batch_id = b.id) AS of_lines,"
    " (SELECT COALESCE(SUM(assumed), 0) FROM spend WHERE batch_id = b.id) AS assumed FROM batches b WHERE id = :id"
)


def book_again(tx: Tx, batch_ids: Sequence[int]) -> None:
    """Replace what is booked for batches by what they and their lines say."""
    for batch_id in batch_ids:
        batch = tx.connection.execute(_MONEY, {"id": batch_id}).one()
        wrong = spend.c.batch_id == batch_id
        if batch.mode == states.Mode.BATCH:
            wrong &= spend.c.kind != "maybe_paid"  # a job that was given up is known by its booking alone
        tx.connection.execute(delete(spend).where(wrong))
        ledger.reserve(tx, batch_id, batch.estimated, batch.price)
        if batch.state in _OVER or batch.settled is not None:  # or parked, with results that cannot be used
            ledger.release(tx, batch_id, batch.estimated, batch.price)
        if batch.is_lost:
            ledger.lose(tx, batch_id, batch.estimated, batch.price)
        if batch.settled is not None:
            settled = batch.settled if batch.of_lines is None else batch.of_lines
            tx.connection.execute(
                update(batches).where(batches.c.id == batch_id).values(tokens_settled=settled)
            )
            assumed = min(
                settled, max(0, batch.assumed)
            )  # of a bill that a segment told, only its booking knows
            ledger.settle(tx, batch_id, settled, batch.price, assumed)
        _at_their_time(tx, batch_id, batch.created_at, batch.ended_at)


def _at_their_time(tx: Tx, batch_id: int, created_at: int, ended_at: int | None) -> None:
    """Budgets count by day: what is booked again belongs to the day on which it was spent."""
    reserved = spend.c.kind == "reserved"
    for at, kinds in ((created_at, reserved), (ended_at, ~reserved)):
        if at is not None:
            which = (spend.c.batch_id == batch_id) & kinds
            tx.connection.execute(update(spend).where(which).values(at=at))


def put_on_record(tx: Tx, kind: str, subject: int) -> None:
    """Note in the history that something was found in the state it is in, so that it is told once."""
    note(tx, kind, subject, f"{audit.VERIFIED}found like this")


def note(tx: Tx, kind: str, subject: int, cause: str) -> None:
    """Put something into the history of a row without moving it."""
    state = audit.current_state(tx.connection, kind, subject)
    if state is not None:
        here = audit.KINDS[kind][1](state)
        moves.record(tx, kind, subject, here, here, cause)
