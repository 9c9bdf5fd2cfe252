"""The fresh lane: small changes of sources that promise to be fresh are sent at once, within an allowance.

What it makes is a batch of mode `sync` like any other (see synchronous.py), one at a time, that says for how many
documents it counts. So it is sent by the same step, billed and collected in the same way, and budgets hold for it at
the price of a call.

Whatever goes wrong, the texts go by batch, and nothing is asked for twice: a text that was sent once is never again one
of the lane. A call that is known not to have happened is made again while that still keeps the promise (`fresh_call`);
any other failure opens the circuit `fresh` for a while, in which changes go by batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from voyage_jobs.core import retry
from voyage_jobs.core.clock import US, now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis.blocker import FRESH, SUBMIT
from voyage_jobs.diagnosis.causes import is_kept_back
from voyage_jobs.diagnosis.fresh import Choice, call_of, choose, most_looked_at
from voyage_jobs.diagnosis.rooms import fresh_rooms
from voyage_jobs.diagnosis.snapshot import gate
from voyage_jobs.errors import AuthError, NotSentError, QuotaError, RefusedError, VendorError
from voyage_jobs.state import batches, circuits, fresh, sources
from voyage_jobs.state.backlog import WantedEmbedding
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.fresh import Change
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import budget, synchronous
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import room_for
from voyage_jobs.steps.ending import abandon
from voyage_jobs.steps.pausing import resting
from voyage_jobs.steps.texts import Texts

LASTS_S = 3_600.0
"""A batch of the lane that could not be sent for so long is not sent any more: its day's allowance would be another."""
PATIENCE_S = 30.0
"""A longer wait that the provider asks for is not waited out."""
_SLACK_S = 60.0  # a clock that was set back a little
_NEXT = "Nothing to do: changes go by batch until a call that is made then succeeds."


@dataclass
class Lane:
    """What the lane remembers while the process lives."""

    promised: frozenset[str] | None = None
    """The sources that promised to be fresh when it was looked last."""
    kept: frozenset[int] = frozenset()
    """Versions whose texts the next calls take, so that no batch does."""
    unsendable: set[int] = field(default_factory=set)
    """Versions whose texts cannot be had, or that a plan does not name."""


def kept_from_batches(context: Context) -> frozenset[int]:
    """The versions that go at once with one of the next calls."""
    return context.memory(Lane).kept


def assemble_fresh(context: Context, *, scanning: str | None = None, most_inputs: int | None = None) -> bool:
    """Make one batch of the lane if there is something for it. `scanning`: the source of which a scan runs, which may
    find so much more that it is backlog. Its changes wait for the end of the scan, and no batch takes them meanwhile.
    """
    lane = context.memory(Lane)
    lane.kept = frozenset()
    promises, scanned = _promises(context, lane, scanning)
    if not promises:
        return False
    choice, is_busy = _choice(context, lane, promises, most_inputs)
    if choice is None:
        return False
    lane.kept = frozenset(each.version_id for each in (*choice.now, *choice.later))
    now = [each for each in choice.now if each.source_id != scanned]
    if is_busy or not now or not room_for(context, 3 * synchronous.MOST_BYTES):
        return False
    return _make(context, lane, now)


# --- what is promised ---


def _promises(context: Context, lane: Lane, scanning: str | None) -> tuple[dict[int, int], int | None]:
    """Source -> the newest version that is backlog, for sources whose changes may go at once; that which is scanned."""
    promised = frozenset(each.name for each in context.settings.sources if each.fresh_within_s is not None)
    if not promised and lane.promised == promised:
        return {}, None
    lane.promised = promised
    if context.vendor.traits.sync_only or context.build is not None or not context.may_send:
        return {}, None
    rest = resting(context)
    with context.store.read() as connection:
        rows = sources.all_sources(connection)
        begun = {row.id: fresh.begun_after(connection, row.id) for row in rows}
    found = {}
    for row in rows:
        after = begun[row.id]
        if row.name not in promised or not row.configured:
            if after is not None:
                with context.store.write() as tx:
                    fresh.end(tx, row.id)
        elif row.scanned_at is None or rest.rests(row.name):
            continue
        elif after is not None:
            found[row.id] = after
        elif row.name != scanning:
            with context.store.write() as tx:
                fresh.begin(tx, row.id)
            crash_point("promise.begun")
    return found, next((row.id for row in rows if row.name == scanning), None)


# --- choosing ---


def _choice(
    context: Context, lane: Lane, promises: dict[int, int], most_inputs: int | None
) -> tuple[Choice | None, bool]:
    """What goes at once, and whether a call is being made already; None where nothing may go now."""
    settings, limits = context.settings.fresh, synchronous.limits(context)
    with context.store.read() as connection:
        found = [
            change
            for source_id, after in promises.items()
            for change in fresh.changes(
                connection, source_id, context.profile_id, after, most_looked_at(settings)
            )
            if change.version_id not in lane.unsendable
        ]
        if not found:
            return None, False
        known = gate(context, connection)
        if is_kept_back(known, FRESH) or is_kept_back(known, SUBMIT):
            return None, False
        rooms = list(fresh_rooms(connection, context.settings, context.sync_price, known.now))
        allowance = budget.at_price(context, connection, context.sync_price)
    inputs = limits.inputs if most_inputs is None else min(limits.inputs, most_inputs)
    call = call_of(settings, rooms, inputs, limits.tokens, allowance.tokens)
    choice = choose(found, call, lambda each: allowance.take(each.source_id, each.tokens))
    in_flight = (Batch.PACKED, Batch.SPOOLED, Batch.CREATING)
    return choice, any(batch.is_fresh and batch.state in in_flight for batch in known.open)


def _make(context: Context, lane: Lane, chosen: Sequence[Change]) -> bool:
    """Fix the members of one batch of the lane, and set its cost aside."""
    members, documents = _members(context, lane, chosen)
    if not members:
        return False
    with context.store.write() as tx:
        if not _allowed(context, tx, members):
            return False
        batch = synchronous.make(context, tx, members, fresh_documents=documents)
        crash_point("assemble.before_commit")
    crash_point("assemble.committed")
    context.log.info(
        "batch.assembled", ref=batch.ref, inputs=batch.inputs, tokens_estimated=batch.tokens_estimated
    )
    return True


def _allowed(context: Context, tx: Tx, members: Sequence[WantedEmbedding]) -> bool:
    """Whether the budgets and the day's allowance allow this call at the moment at which it is reserved: a search
    beside may have spent what was there when it was chosen."""
    rooms = fresh_rooms(tx.connection, context.settings, context.sync_price, tx.now)
    most = min((room.tokens for room in rooms), default=None)
    if most is not None and sum(each.tokens for each in members) > most:
        return False
    return budget.allows(budget.at_price(context, tx.connection, context.sync_price), members)


def _members(context: Context, lane: Lane, chosen: Sequence[Change]) -> tuple[list[WantedEmbedding], int]:
    """What these documents lack, each text once, and how many documents that is; those without a text are left out."""
    members, documents = dict[int, WantedEmbedding](), 0
    with context.store.read() as connection:
        texts = Texts(connection)
        for change in chosen:
            lacked = [WantedEmbedding(*row) for row in fresh.lacked_by(connection, change.version_id)]
            is_there = all(texts.of_embedding(each) is not None for each in lacked)
            is_planned = context.only is None or all(each.key in context.only for each in lacked)
            if not (is_there and is_planned):
                lane.unsendable.add(change.version_id)
                continue
            documents += 1
            members.update((each.id, each) for each in lacked)
    return list(members.values()), documents


# --- what came of a call ---


def is_too_old(context: Context, batch: BatchRow) -> bool:
    """Whether a batch of the lane has waited so long that it goes by batch instead."""
    age_s = (now_us(context.clock) - batch.created_at) / US
    return batch.is_fresh and not -_SLACK_S <= age_s <= LASTS_S


def judge(context: Context, sent: BatchRow, error: VendorError | None) -> None:
    """What a call of the lane came to: its answer is here, or it is made again soon, or its texts go by batch."""
    if error is None:
        circuit.fine(context, circuits.FRESH)
        return
    with context.store.write() as tx:
        batch = batches.get(tx.connection, sent.id)
        if isinstance(error, AuthError | QuotaError | NotSentError):  # no other call would fare better
            circuit.failed_in(context, tx, f"request {batch.ref}", error)
        if batch.state is Batch.SPOOLED and not isinstance(error, RefusedError | AuthError | QuotaError):
            failures = circuit.wait_alone(context, tx, batch, "fresh_call", error)
            if not retry.is_over("fresh_call", failures) and (error.retry_after_s or 0.0) <= PATIENCE_S:
                return
    if batch.state is Batch.SPOOLED:
        abandon(context, batch, f"its texts go by batch: {error.message}")
    circuit.stop(
        context, circuits.FRESH, "fresh_deferred", error.message, _NEXT, least_s=error.retry_after_s or 0.0
    )
    crash_point("promise.deferred")
