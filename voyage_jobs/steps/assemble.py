"""assemble: gather wanted embeddings of the profile into one batch, within the provider's caps and ours.

One batch is assembled at a time and sent before the next. One that cannot be sent now, or that may or may not have
become a job, does not keep back the others; but at most a few such input files wait on the disk. `diagnosis/sending.py`
has every reason for which nothing is assembled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from voyage_jobs.config.provider import request_params
from voyage_jobs.core.clock import now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.diagnosis import gathering
from voyage_jobs.diagnosis.blocker import ASSEMBLE
from voyage_jobs.diagnosis.causes import is_kept_back
from voyage_jobs.diagnosis.snapshot import gate
from voyage_jobs.state import (
    backlog,
    batches,
    calibration,
    embeddings,
    ledger,
    meta,
    pauses,
    sources,
    token_limit,
)
from voyage_jobs.state.backlog import Backlog, WantedEmbedding
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import budget, synchronous
from voyage_jobs.steps.budget import Allowance
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import of_batch, room_for
from voyage_jobs.steps.drafts import Draft, drafting
from voyage_jobs.steps.filling import Filling, Limits
from voyage_jobs.steps.fresh import kept_from_batches
from voyage_jobs.steps.texts import Texts, read_otherwise

# A line that was in a job that failed validation travels in ever smaller company, until the bad one is alone.
SHRINK = 10
_EVERYTHING = 1 << 60
_TOLD = 100  # texts after which it is told how far it is


def assemble(
    context: Context, *, eager: bool = False, most_inputs: int | None = None, more_coming: bool = False
) -> bool:
    """Make one batch if it is time to. `eager` does not linger; `most_inputs` caps this batch for a first small try.

    While `more_coming`, from a scan, one that is not full waits (`diagnosis/gathering.py`).
    """
    with context.store.read() as connection:
        # Before anything is counted: while the provider is full, this is asked at every turn.
        if is_kept_back(gate(context, connection), ASSEMBLE):
            return False
        waiting = backlog.measure(connection, context.profile_id)
    if not waiting.embeddings:
        return False
    until = waits_until(context, waiting, eager=eager, more_coming=more_coming)
    limits = {each: limits_now(context, each, most_inputs) for each in waiting.refusals}
    if not any(_is_time(waiting, each, until) for each in limits.values()):
        return False
    if not room_for(context, of_batch(context.settings)):
        return False
    with context.store.write() as tx:
        if embeddings.drop_unneeded(tx):
            waiting = backlog.measure(tx.connection, context.profile_id)
    for refusals in waiting.refusals:
        found = limits.get(refusals)
        if (
            found is not None
            and _is_time(waiting, found, until)
            and _assemble_group(context, refusals, found)
        ):
            return True
    return False


def waits_until(context: Context, waiting: Backlog, *, eager: bool, more_coming: bool) -> int | None:
    """Until when (microseconds) a batch that is not full is put off; None: it may be made now."""
    with context.store.read() as connection:
        jobs, _ = batches.in_flight(connection)
        here = meta.who(connection) if eager and more_coming else None
    return gathering.waits_until(
        context.settings.batching,
        waiting,
        now_us(context.clock),
        jobs,
        eager=eager,
        more_coming=more_coming,
        since=here.started_at if here else 0,
    )


def _is_time(waiting: Backlog, limits: Limits | None, until: int | None) -> bool:
    """Whether a batch may be made within these limits: it would be full and worth a job, or nothing is waited for."""
    if limits is None:
        return False
    if limits.are_met_by(waiting.embeddings, waiting.tokens):
        return not limits.crowded
    return until is None


def limits_now(context: Context, refusals: int, most_inputs: int | None) -> Limits | None:
    """What the next batch may hold, given what is in flight and the budget; None if nothing may go now."""
    batching = context.settings.batching
    with context.store.read() as connection:
        jobs, tokens = batches.in_flight(connection)
        now, name = now_us(context.clock), context.vendor.name
        limit = token_limit.most(connection, name, batching.max_in_flight_tokens, now)
        most = int(limit / calibration.billed_share(connection, context.profile_id))
        left = budget.tokens_left(context, connection)
    room = most - tokens if jobs < batching.max_in_flight_batches else 0
    crowded = gathering.is_crowded(batching, jobs, most, tokens) and (left is None or room < left)
    if left is not None:
        room = min(room, left)
    at_once = synchronous.limits(context) if context.vendor.traits.sync_only else None
    inputs = max(1, (at_once.inputs if at_once else batching.max_inputs) // SHRINK**refusals)
    if most_inputs is not None:
        inputs = min(inputs, most_inputs)
    if room <= 0 or inputs <= 0:
        return None
    if at_once is not None:
        return Limits(inputs, at_once.bytes, min(room, at_once.tokens))
    return Limits(inputs=inputs, bytes=_most_bytes(context), tokens=room, crowded=crowded)


def _most_bytes(context: Context) -> int:
    """Of an input file: as configured, or what the provider may still take after it refused a larger one."""
    with context.store.read() as connection:
        learnt = meta.upload_limit(connection, context.settings.batching.max_bytes)
    return context.settings.batching.max_bytes if learnt is None else learnt


def _assemble_group(context: Context, refusals: int, limits: Limits) -> bool:
    """Fix the members of one batch and commit them. False if nothing fits or no text can be had."""
    is_drafted = not (context.rehearsal or context.vendor.traits.sync_only)
    with drafting(context) if is_drafted else contextlib.nullcontext() as draft:
        members = _members(context, refusals, limits, draft)
        if not members:
            return False
        with context.store.write() as tx:
            if not budget.allows(budget.allowance(context, tx.connection), members):
                return False
            batch = (synchronous.make if context.vendor.traits.sync_only else _make)(context, tx, members)
            crash_point("assemble.before_commit")
        crash_point("assemble.committed")
        if draft is not None:
            draft.ref = batch.ref
    context.log.info(
        "batch.assembled", ref=batch.ref, inputs=batch.inputs, tokens_estimated=batch.tokens_estimated
    )
    return True


def _make(context: Context, tx: Tx, members: Sequence[WantedEmbedding]) -> BatchRow:
    """A batch that becomes a job, with its cost set aside."""
    tokens, inputs = sum(each.tokens for each in members), sum(each.vectors for each in members)
    params = orjson.dumps(request_params(context.settings)).decode()
    batch_id = batches.create(
        tx, context.clock.token(), context.profile_id, inputs, tokens, context.price, params
    )
    embeddings.take(tx, batch_id, [each.id for each in members])
    ledger.reserve(tx, batch_id, tokens, context.price)
    return batches.get(tx.connection, batch_id)


def _members(context: Context, refusals: int, limits: Limits, draft: Draft | None) -> list[WantedEmbedding]:
    """What fits; its lines go into the draft. Sources whose budget is used up are left aside, however much of theirs
    stands first in line."""
    with context.store.read() as connection:
        allowance = budget.allowance(context, connection)
        allowance.shut |= _resting_sources(context, connection)
        texts = Texts(connection)
        while True:
            shut = set(allowance.shut)
            members = []
            for wanted, line in _fitting(context, connection, texts, refusals, limits, allowance):
                members.append(wanted)
                if draft is not None:
                    draft.add(line)
            if members or allowance.shut == shut:
                break
    read_otherwise(context, texts)
    return members


def _resting_sources(context: Context, connection: Any) -> set[int]:
    """Ids of the sources that an operator has paused."""
    resting = pauses.now(connection, now_us(context.clock)).sources
    if not resting:
        return set()
    return {row.id for row in sources.all_sources(connection) if row.name in resting}


def _fitting(
    context: Context, connection: Any, texts: Texts, refusals: int, limits: Limits, allowance: Allowance
) -> Iterator[tuple[WantedEmbedding, bytes]]:
    """Wanted embeddings with their lines, in order, until a limit is met. Those without a text are passed over."""
    filling, params = Filling(limits), request_params(context.settings)
    shut = frozenset(allowance.shut)
    only = context.only
    seen, most = 0, limits.inputs if only is None else _EVERYTHING
    at_once = kept_from_batches(context)
    while True:
        asked = 0
        line_up = backlog.wanted(connection, context.profile_id, refusals, most, shut)
        for asked, wanted in enumerate(line_up, start=1):
            if asked <= seen or (only is not None and wanted.key not in only) or wanted.version_id in at_once:
                continue
            found = texts.of_embedding(wanted)
            if found is None or not allowance.take(wanted.source_id, wanted.tokens):
                continue
            line = context.vendor.line(wanted.key.hex(), found, context.profile, params)
            if not filling.take(wanted.vectors, len(line), wanted.tokens):
                return
            if filling.inputs % _TOLD == 0:
                context.progress("assembling", filling.inputs, None)
            if context.on_line is not None:
                context.on_line(line)
            yield wanted, line
        if asked < most or filling.inputs >= limits.inputs:
            return
        seen, most = asked, 2 * most  # what was passed over must not keep back what stands behind it
