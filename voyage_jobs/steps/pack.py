"""pack: gather wanted embeddings of the profile into one batch, within the vendor's caps and ours.

One batch is packed at a time and sent before the next. One that cannot be sent now, or that may or may not have become
a job, does not keep back the others; but at most a few such input files wait on the disk. Nothing is packed while
one batch after another is refused, or while the answers for this profile cannot be read: the next would fare no better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from voyage_jobs.clock import US, now_us
from voyage_jobs.config.provider import request_params
from voyage_jobs.crash import crash_point
from voyage_jobs.state import batches, counts, embeddings, lanes, ledger, notes, pauses, sources
from voyage_jobs.state.embeddings import Backlog, WantedEmbedding
from voyage_jobs.state.store import Tx
from voyage_jobs.states import BEFORE_THE_JOB, Batch
from voyage_jobs.steps import budget
from voyage_jobs.steps.budget import Allowance
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import room_for
from voyage_jobs.steps.filling import Filling, Limits
from voyage_jobs.steps.submit import is_unusable
from voyage_jobs.steps.texts import Texts, read_otherwise

# A line that was in a job that failed validation travels in ever smaller company, until the bad one is alone.
SHRINK = 10
_EVERYTHING = 1 << 60
MOST_HELD_UP = 4
ONE_MORE_S = 3_600.0
"""While that many batches cannot be sent, or are in doubt, one more is made an hour: it may fare better."""


def pack(context: Context, *, eager: bool = False, most_inputs: int | None = None) -> bool:
    """Make one batch if it is time to. `eager` does not linger; `most_inputs` caps this batch for a first small try."""
    with context.store.read() as connection:
        recounting = counts.counted(connection).recount_after is not None
        # Before anything is counted: while the vendor is full, this is asked at every turn.
        if recounting or is_blocked(context, connection) or _room_in_flight(context, connection) <= 0:
            return False
        if pauses.now(connection, now_us(context.clock)).all_sending:
            return False
        waiting = embeddings.backlog(connection, context.profile_id)
    if not waiting.embeddings or not (eager or _worth_it(context, waiting)):
        return False
    if not room_for(context, 3 * context.settings.batching.max_bytes):
        return False
    with context.store.write() as tx:
        if embeddings.drop_unneeded(tx):
            waiting = embeddings.backlog(tx.connection, context.profile_id)
    for refusals in waiting.refusals:
        limits = limits_now(context, refusals, most_inputs)
        if limits is not None and _pack_group(context, refusals, limits):
            return True
    return False


def is_blocked(context: Context, connection: Any) -> bool:
    """Whether no other batch is to be made now, whatever waits."""
    now = now_us(context.clock)
    open_batches = batches.in_state(connection, *BEFORE_THE_JOB, Batch.CREATING, Batch.PARKED)
    create = lanes.closed(connection).get(lanes.CREATE)
    is_refused = create is not None and create.code == batches.SEND_REFUSED
    # The batch that is tried every hour may have been cancelled: then another is made when it is time for a try.
    has_probe = any(batch.state is not Batch.PARKED for batch in open_batches)
    if create is not None and is_refused and (has_probe or create.until_at > now):
        return True
    held_up = []
    for batch in open_batches:
        if batch.state is Batch.PARKED:
            if is_unusable(batch, context.profile_id):
                return True
        elif batch.state is Batch.CREATING or batch.due_at > now:
            held_up.append(batch)
        else:
            return True  # it goes next
    if len(held_up) < MOST_HELD_UP:
        return False
    return 0 <= now - max(batch.created_at for batch in held_up) < ONE_MORE_S * US


def _worth_it(context: Context, waiting: Backlog) -> bool:
    """The linger rule: enough is waiting, or the oldest has waited long enough."""
    batching = context.settings.batching
    waited_us = now_us(context.clock) - (waiting.oldest_at or 0)
    return waiting.embeddings >= batching.min_inputs or waited_us >= batching.linger_s * US or waited_us < 0


def _room_in_flight(context: Context, connection: Any) -> int:
    """Tokens that may go to the vendor on top of what is there; none while the jobs there are as many as may be."""
    batching = context.settings.batching
    jobs, tokens = batches.in_flight(connection)
    return batching.max_in_flight_tokens - tokens if jobs < batching.max_in_flight_batches else 0


def limits_now(context: Context, refusals: int, most_inputs: int | None) -> Limits | None:
    """What the next batch may hold, given what is in flight and the budget; None if nothing may go now."""
    batching = context.settings.batching
    with context.store.read() as connection:
        room = _room_in_flight(context, connection)
        left = budget.tokens_left(context, connection)
    if left is not None:
        room = min(room, left)
    inputs = max(1, batching.max_inputs // SHRINK**refusals)
    if most_inputs is not None:
        inputs = min(inputs, most_inputs)
    return Limits(inputs=inputs, bytes=_most_bytes(context), tokens=room) if room > 0 and inputs > 0 else None


def _most_bytes(context: Context) -> int:
    """Of an input file: as configured, or what the provider may still take after it refused a larger one."""
    with context.store.read() as connection:
        learnt = notes.upload_limit(connection, context.settings.batching.max_bytes)
    return context.settings.batching.max_bytes if learnt is None else learnt


def _pack_group(context: Context, refusals: int, limits: Limits) -> bool:
    """Fix the members of one batch and commit them. False if nothing fits or no text can be had."""
    members = _members(context, refusals, limits)
    if not members:
        return False
    ref = context.clock.token()
    tokens = sum(member.tokens for member in members)
    inputs = sum(member.vectors for member in members)
    params = orjson.dumps(request_params(context.settings)).decode()
    with context.store.write() as tx:
        if not _allowed(context, tx, members):
            return False
        batch_id = batches.create(tx, ref, context.profile_id, inputs, tokens, context.price, params)
        embeddings.take(tx, batch_id, [member.id for member in members])
        ledger.reserve(tx, batch_id, tokens, context.price)
        crash_point("pack.before_commit")
    crash_point("pack.committed")
    context.log.info("batch.packed", ref=ref, inputs=inputs, tokens_estimated=tokens)
    return True


def _allowed(context: Context, tx: Tx, members: Sequence[WantedEmbedding]) -> bool:
    """Whether the budgets allow this batch at the moment at which it is reserved."""
    allowance = budget.allowance(context, tx.connection)
    total = sum(member.tokens for member in members)
    if allowance.tokens is not None and total > allowance.tokens:
        return False
    return all(allowance.take(member.source_id, member.tokens) for member in members)


def _members(context: Context, refusals: int, limits: Limits) -> list[WantedEmbedding]:
    """What fits. Sources whose budget is used up are left aside, however much of theirs stands first in line."""
    with context.store.read() as connection:
        allowance = budget.allowance(context, connection)
        allowance.shut |= _resting_sources(context, connection)
        texts = Texts(context.store)
        while True:
            shut = set(allowance.shut)
            members = list(_fitting(context, connection, texts, refusals, limits, allowance))
            if members or allowance.shut == shut:
                break
    read_otherwise(context, texts)
    return members


def _resting_sources(context: Context, connection: Any) -> set[int]:
    """Ids of the sources that a person has paused."""
    resting = pauses.now(connection, now_us(context.clock)).sources
    if not resting:
        return set()
    return {row.id for row in sources.all_sources(connection) if row.name in resting}


def _fitting(
    context: Context, connection: Any, texts: Texts, refusals: int, limits: Limits, allowance: Allowance
) -> Iterator[WantedEmbedding]:
    """Wanted embeddings, in order, until a limit is met. Those whose text cannot be had are passed over."""
    filling = Filling(limits)
    shut = frozenset(allowance.shut)
    only = context.only
    seen, most = 0, limits.inputs if only is None else _EVERYTHING
    while True:
        asked = 0
        line_up = embeddings.wanted(connection, context.profile_id, refusals, most, shut)
        for asked, wanted in enumerate(line_up, start=1):
            if asked <= seen or (only is not None and wanted.key not in only):
                continue
            found = texts.of_embedding(wanted)
            if found is None or not allowance.take(wanted.source_id, wanted.tokens):
                continue
            line = context.vendor.line(wanted.key.hex(), found, context.profile)
            if not filling.take(wanted.vectors, len(line), wanted.tokens):
                return
            context.progress("packing", filling.inputs, None)
            if context.on_line is not None:
                context.on_line(line)
            yield wanted
        if asked < most or filling.inputs >= limits.inputs:
            return
        seen, most = asked, 2 * most  # what was passed over must not keep back what stands behind it
