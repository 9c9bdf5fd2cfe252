"""Batches of mode `sync`: one request each, billed when it is answered, of which the provider keeps nothing.

There is no second look, so there is no second try. The attempt row is the last durable act before the request, which
is sent once. Its answer becomes a result file in the spool, synced; from there it is collected like any other. An
answer that is lost (timeout, cut connection, 5xx, nothing that could be read, our own death before the result file is
whole) is booked as maybe paid, and its texts are wanted again. What is known not to have happened (no connection, 4xx,
429, an attempt that was too old to be sent) leaves the batch as it was.

Where there are only such calls, one text may be why answers are lost (a server that breaks at it). So those of a lost
answer go behind others and in smaller company, as after a refusal, and one that was alone fails after some attempts:
if others were answered since it was first lost, or if that is long ago and a plain question is answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import US, now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.durable import is_as_written, remove
from voyage_jobs.core.states import Attempt, Batch, Mode
from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.errors import (
    BadAnswerError,
    DiskFullError,
    InterceptedError,
    ModelRefusedError,
    OutcomeUnknownError,
    RefusedError,
    VendorError,
)
from voyage_jobs.state import (
    batch_lines,
    batches,
    create_calls,
    embeddings,
    ledger,
    provider_files,
    versions,
)
from voyage_jobs.state.backlog import WantedEmbedding
from voyage_jobs.state.batch_lines import Settled
from voyage_jobs.state.batches import BatchRow, Order
from voyage_jobs.state.create_calls import AttemptRow
from voyage_jobs.state.outcomes import TRANSIENT
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps import encoding
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.ending import abandon
from voyage_jobs.steps.filling import Limits
from voyage_jobs.steps.recover_segments import take_in_segment_of
from voyage_jobs.vendors.base import Wanted
from voyage_jobs.vendors.input_file import WrittenFile, write_input

if TYPE_CHECKING:
    from sqlalchemy import Connection

# A lost answer costs what was in its request: far below what providers take.
MOST_INPUTS = 128
MOST_TOKENS = 120_000
MOST_BYTES = 8 * 1024 * 1024
_MISREAD = (400, 413, 422)
"""Statuses with which servers refuse a text in words that are none of their API."""
_WORD = "word"
"""What any model can embed."""
RESULT = "output"
"""The kind of the result file that an answer becomes."""
_ENDED = "the process that sent it ended"
_LONG_US = 6 * 3600 * US
"""An outage of calls alone, while plain questions are answered, is over after so long, as a rule."""


def limits(context: Context) -> Limits:
    """What one request may hold."""
    return limits_of(context.settings)


def limits_of(settings: Settings) -> Limits:
    """The same by the settings alone."""
    known = vendor_of(settings).find(settings.section.model)
    cap = min(MOST_TOKENS, (known and known.line_tokens) or MOST_TOKENS)
    return Limits(settings.section.texts_per_request or MOST_INPUTS, MOST_BYTES, cap)


def make(
    context: Context,
    tx: Tx,
    members: Sequence[WantedEmbedding],
    order: Order | None = None,
    *,
    in_flight: int = 0,
    fresh_documents: int | None = None,
) -> BatchRow:
    """Fix the members of one batch and set its cost aside. `in_flight` of them are in another batch, too; with
    `fresh_documents` it is of the fresh lane, and counts for so many."""
    tokens, inputs = sum(each.tokens for each in members), sum(each.vectors for each in members)
    params = orjson.dumps(encoding.call_params(context)).decode()
    price = context.sync_price
    ref = context.clock.token()
    batch_id = batches.create(
        tx, ref, context.profile_id, inputs, tokens, price, params, Mode.SYNC, order, fresh_documents
    )
    source_id = None if order is None else order.source_id
    embeddings.take(tx, batch_id, [each.id for each in members], source_id=source_id, in_flight=in_flight)
    ledger.reserve(tx, batch_id, tokens, price)
    return batches.get(tx.connection, batch_id)


def send(context: Context, batch: BatchRow) -> VendorError | None:
    """Send one batch whose input file is written. The error, if there is one; the batch tells what it means.

    Afterwards it is `ended` (its answer is in the spool), `cancelled` (its answer is lost) or `spooled` as before
    (known not to have happened).
    """
    wanted = _request(context, batch)
    params = orjson.loads(batch.request_params)
    since = context.clock.uptime()
    with context.store.write() as tx:
        attempt = create_calls.open_attempt(tx, batch, None)
        batches.move(tx, batch, Batch.CREATING, f"attempt {attempt.number}")
        batch = batches.get(tx.connection, batch.id)
    crash_point("sync.attempt.committed")
    try:
        with context.while_young(since):
            answer = context.client.embed_now(wanted, params, context.profile)
        crash_point("sync.answered")
        written = write_input(_result(context, batch), _lines(context, answer, wanted))
    except (OutcomeUnknownError, BadAnswerError) as exc:
        _lose(context, batch, exc.message, exc)
        return exc
    except VendorError as exc:
        _not_happened(context, batch, attempt, exc)
        return exc
    except DiskFullError:  # if not even this can be noted, a later turn does
        _lose(context, batch, "the disk had no room for its answer")
        raise
    crash_point("sync.spooled")
    _answered(context, batch, written)
    return None


def _request(context: Context, batch: BatchRow) -> list[Wanted]:
    with context.store.read() as connection:
        tokens = {line.key.hex(): line.tokens for line in batch_lines.lines_of(connection, batch.id)}
    lines = context.input_path(batch.ref).read_bytes().splitlines()
    asked = [each for each in map(context.vendor.asked_in, lines) if each is not None]
    return [replace(each, tokens=tokens[each.custom_id]) for each in asked]


def _lines(context: Context, answer: bytes, wanted: Sequence[Wanted]) -> Iterator[bytes]:
    return context.vendor.result_lines(answer, wanted, context.profile)


def _result(context: Context, batch: BatchRow) -> Path:
    return context.result_path(batch.ref, RESULT)


def settle_interrupted(context: Context) -> None:
    """Give its end to whatever a process that died was sending. For the process that holds the lock, before anything
    else is sent."""
    with context.store.read() as connection:
        open_ones = batches.in_state(connection, Batch.PACKED, Batch.SPOOLED, Batch.CREATING)
    for batch in open_ones:
        settle_if_interrupted(context, batch)


def settle_if_interrupted(context: Context, batch: BatchRow) -> bool:
    """Give its end to a batch that a process was sending which died, or could not write it down. False if it was not.

    An order whose process died before it sent something is not carried out: only an operator decides to pay for it.
    """
    if batch.is_sync and batch.state is Batch.CREATING:
        _settle(context, batch)
        return True
    if batch.order_ref is not None and batch.state in (Batch.PACKED, Batch.SPOOLED):
        return abandon(context, batch, "its order ended before it was sent")
    return False


def foresee_interrupted(context: Context) -> None:
    """What `settle_interrupted` would come to, for a plan: segments were taken in, and no file is touched."""
    with context.store.read() as connection:
        open_ones = batches.in_state(connection, Batch.PACKED, Batch.SPOOLED, Batch.CREATING)
    for batch in open_ones:
        if batch.state is not Batch.CREATING:
            settle_if_interrupted(context, batch)
        elif batch.is_sync and not _result(context, batch).exists():
            _lose(context, batch, _ENDED)


def _settle(context: Context, batch: BatchRow) -> None:
    path = _result(context, batch)
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        if not take_in_segment_of(context, batch):
            _lose(context, batch, _ENDED)
    else:  # it has its name, so it is whole
        _answered(context, batch, WrittenFile(path, len(found), 0, hashlib.sha256(found).hexdigest()))


def has_answer(context: Context, batch: BatchRow) -> bool:
    """Whether the answer of an ended batch is on disk as it was written."""
    with context.store.read() as connection:
        noted = provider_files.downloaded(connection, batch.id).get(RESULT)
    return noted is not None and is_as_written(_result(context, batch), *noted)


def lose_answer(context: Context, batch: BatchRow) -> None:
    """The answer of an ended batch is not what was written (a disk restored, a folder cleaned).

    Its pack may be whole all the same, if the process died between that and its record.
    """
    remove(_result(context, batch))
    if not take_in_segment_of(context, batch):
        _lose(context, batch, "its input file on disk has changed since it was written")


# --- outcomes ---


def _answered(context: Context, batch: BatchRow, written: WrittenFile) -> None:
    with context.store.write() as tx:
        _close_attempt(tx, batch, Attempt.CREATED, "answered")
        provider_files.note_download(tx, batch.id, RESULT, written.bytes, written.sha256_hex)
        batches.move(tx, batch, Batch.ENDED, "answered", ended_at=tx.now)
    crash_point("sync.committed")


def _lose(context: Context, batch: BatchRow, why: str, error: VendorError | None = None) -> None:
    """Nobody can tell whether it was billed, unless it was read and booked before (and could not be used).

    With the `error` of a call its texts are suspected.
    """
    is_suspect = error is not None and context.vendor.traits.sync_only and batch.order_ref is None
    is_at_fault = error is not None and is_suspect and _is_at_fault(context, batch, error)
    is_booked = batch.tokens_settled is not None
    is_found = False
    cause = f"its answer was lost{'' if is_booked else '; maybe paid'}: {why}"
    with context.store.write() as tx:
        if not is_booked:
            _close_attempt(tx, batch, Attempt.LOST, why)
        batches.move(tx, batch, Batch.CANCELLED, cause, reason=cause, ended_at=tx.now)
        if batch.cancel_asked_at is not None:
            embeddings.give_up(tx, batch.id)
        else:
            if is_suspect:
                embeddings.suspect(tx, batch.id, None)
            if is_at_fault:
                is_found = _count_attempt(context, tx, batch, why)
            embeddings.give_back(tx, batch.id)
        if not is_booked:
            ledger.lose(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
    crash_point("sync.committed")
    if is_found:
        circuit.fine(context)  # nothing is left of what kept the others waiting
    context.log.error("call.unknown", ref=batch.ref, inputs=batch.inputs, error=why)


def _is_at_fault(context: Context, batch: BatchRow, error: VendorError) -> bool:
    """Whether the one text of a batch is why its answer was lost, as far as can be told.

    A first loss says nothing, and an outage uses up no attempts: a plain question must be answered, and others must
    have been, too, since the text was first lost; or that is long ago.
    """
    if isinstance(error, InterceptedError) and error.status not in _MISREAD:
        return False  # a proxy or a login page, which says so to every call
    with context.store.read() as connection:
        first = _first_lost(connection, batch)
        if first is None:
            return False
        is_long = now_us(context.clock) - first.sent_at > _LONG_US
        if not is_long and not create_calls.any_answered(connection, batch.profile_id, first.id):
            return False
    try:
        context.client.probe()
    except VendorError:
        return False
    return True


def _first_lost(connection: Connection, batch: BatchRow) -> create_calls.Lost | None:
    """The first call that was lost with the text of this batch, if that is alone in it."""
    lines = list(batch_lines.lines_of(connection, batch.id))
    return create_calls.first_lost(connection, lines[0].embedding_id) if len(lines) == 1 else None


def _count_attempt(context: Context, tx: Tx, batch: BatchRow, why: str) -> bool:
    """Count a loss against the text that was alone. Whether it has failed, and others are answered."""
    [only], most = batch_lines.lines_of(tx.connection, batch.id), context.settings.batching.max_attempts
    settled = Settled(0, only.embedding_id, TRANSIENT, None, why, None)
    embeddings.settle(tx, batch.id, None, [settled], most)
    versions.recount_batch(tx, batch.id)
    first = _first_lost(tx.connection, batch)
    return (
        only.attempts + 1 >= most
        and first is not None
        and create_calls.any_answered(tx.connection, batch.profile_id, first.id)
    )


def is_about_texts(context: Context, batch: BatchRow, error: VendorError) -> bool:
    """Whether a refused call is looked through for a text to blame, as a job that failed validation is.

    Only where there are no jobs: an order of an operator is a few texts, and says what it was told. Where the call
    before was not answered either, all calls may be refused alike (a model that embeds nothing): then a plain word is
    asked for. Raises VendorError if nobody can tell.
    """
    if not context.vendor.traits.sync_only or not isinstance(error, RefusedError):
        return False
    if isinstance(error, ModelRefusedError) or error.is_gone or error.status is None:
        return False
    with context.store.read() as connection:
        if create_calls.was_answered_before(connection, batch):
            return True
    return _embeds_a_word(context)


def _embeds_a_word(context: Context) -> bool:
    """Whether the provider embeds a plain word. It is on the bill, as a search is."""
    price, asked, since = context.sync_price, estimate_tokens(_WORD), context.clock.uptime()
    with context.store.write() as tx:
        ledger.query_asked(tx, asked, price)
    try:
        with context.while_young(since):
            embedded = context.client.embed([_WORD], context.profile)
    except (OutcomeUnknownError, BadAnswerError):
        with context.store.write() as tx:
            ledger.query_lost(tx, asked, price)
        raise
    except VendorError as exc:
        with context.store.write() as tx:
            ledger.query_not_asked(tx, asked, price)
        if isinstance(exc, RefusedError):
            return False
        raise
    with context.store.write() as tx:
        ledger.query_answered(tx, asked, embedded.tokens, price)
    return True


def _not_happened(context: Context, batch: BatchRow, attempt: AttemptRow, error: VendorError) -> None:
    values: dict[str, object] = {}
    with context.store.write() as tx:
        create_calls.close_attempt(tx, attempt, Attempt.NOT_HAPPENED, error.message)
        if batch.is_fresh or not circuit.is_about_the_account(error):
            alike = create_calls.attempts_in_a_row(tx.connection, batch.id, Attempt.NOT_HAPPENED)
            code = "fresh_call" if batch.is_fresh else "create_call"
            values = {"code": code, "failures": len(alike) - 1, "failing_since": alike[-1].sent_at}
        batches.move(tx, batch, Batch.SPOOLED, error.message, **values)
    crash_point("sync.committed")
    context.log.warning("call.refused", ref=batch.ref, error=error.message)


def _close_attempt(tx: Tx, batch: BatchRow, outcome: Attempt, detail: str) -> None:
    attempt = create_calls.attempts_of(tx.connection, batch.id)[-1]
    create_calls.close_attempt(tx, attempt, outcome, detail)
