"""Which facts hold at this moment, by the state. Asks only for what is open or in trouble, so that it costs little."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from voyage_jobs.clock import US, iso
from voyage_jobs.config.settings import Settings
from voyage_jobs.notify.events import Fact
from voyage_jobs.plural import counted
from voyage_jobs.sources import names
from voyage_jobs.state import batches, embeddings, lanes, notices, sources, tally
from voyage_jobs.state.remaining import Work
from voyage_jobs.states import Batch
from voyage_jobs.steps import budget
from voyage_jobs.steps.budget import Room

_REFUSING = {
    "auth": "The vendor refuses the API key",
    "quota": "The vendor keeps this account to the limits of one without a payment method",
}


def troubles(
    connection: Any, settings: Settings, profile_id: int, price: float | None, now: int
) -> Iterator[Fact]:
    """Everything that is wrong. `price`: USD per million tokens, if known."""
    yield from _refused(connection)
    yield from _parked(connection)
    yield from _frozen(connection)
    yield from _failed(connection)
    yield from _budget(connection, settings, profile_id, price, now)
    yield from _stale(connection, settings.notify.stale_s, now)


def _refused(connection: Any) -> Iterator[Fact]:
    lane = lanes.closed(connection).get(lanes.VENDOR)
    if lane is not None and lane.code in _REFUSING:
        hint = "Mend it; work goes on by itself then. `voyage-jobs status` has the vendor's words."
        yield Fact("refused", lane.code, f"{_REFUSING[lane.code]}, since {iso(lane.since_at)}.", hint)


def _parked(connection: Any) -> Iterator[Fact]:
    for batch in batches.in_state(connection, Batch.PARKED):
        yield Fact(
            "parked",
            batch.ref,
            f"Batch {batch.ref} with {counted(batch.inputs, 'input')} cannot go on by itself.",
            f"`voyage-jobs history {batch.ref}` tells why; `voyage-jobs retry {batch.ref}` tries again.",
            ref=batch.ref,
            numbers={"inputs": batch.inputs},
        )


def _frozen(connection: Any) -> Iterator[Fact]:
    for row in sources.all_sources(connection):
        if row.frozen_reason is not None:
            yield Fact(
                "frozen",
                row.name,
                f"Source {row.name} is frozen, nothing of it is deleted: {names.display(row.frozen_reason)}.",
                f"Bring {names.display(row.path)} back, or, if that is meant: `voyage-jobs confirm {row.name}`.",
                source=row.name,
            )


def _failed(connection: Any) -> Iterator[Fact]:
    failed = notices.count_failed(connection)
    if failed:
        yield Fact(
            "failed",
            "failed",
            f"{counted(failed, 'embedding')} could not be made.",
            "`voyage-jobs status` says why, `voyage-jobs retry` tries them again.",
            size=failed,
            numbers={"embeddings": failed},
        )


def _budget(
    connection: Any, settings: Settings, profile_id: int, price: float | None, now: int
) -> Iterator[Fact]:
    rooms = list(budget.rooms(connection, settings, price, now))
    if not rooms:
        return
    waiting = tally.waiting(connection)
    of_source = embeddings.waiting_by_source(connection, profile_id) if waiting.embeddings else {}
    for room in rooms:
        tokens = waiting.tokens if room.source_id is None else of_source.get(room.source_id, 0)
        if tokens and (room.tokens <= 0 or room.tokens < (waiting.first_tokens or 0)):
            yield _used_up(room, tokens)


def _used_up(room: Room, tokens: int) -> Fact:
    key = budget.setting_of(room)
    goes_on = "with the next run" if room.anew_at is None else f"at {iso(room.anew_at)}"
    return Fact(
        "budget",
        key,
        f"{key} is used up; about {tokens:,} tokens wait.",
        f"It goes on {goes_on}, or when {key} is raised.",
        numbers={"tokens_waiting": tokens},
    )


def _stale(connection: Any, stale_s: float | None, now: int) -> Iterator[Fact]:
    if stale_s is None:
        return
    for name, oldest, documents in notices.unpublished_since(connection):
        age_s = (now - oldest) / US
        if age_s > stale_s:
            yield Fact(
                "stale",
                name,
                f"{documents:,} changed documents of source {name} wait for the table, the oldest for"
                f" {age_s / 3600:.1f} hours.",
                "`voyage-jobs status` tells what they wait for.",
                source=name,
                numbers={"documents": documents, "oldest_s": round(age_s)},
            )


def finished(work: Work) -> Fact:
    """What was done since the work began."""
    return Fact(
        "finished",
        "work",
        f"Done: {counted(work.documents_published, 'document')} published, {work.documents_removed:,} removed,"
        f" {counted(work.batches_collected, 'batch')} collected.",
        "Nothing to do.",
        numbers={
            "documents_published": work.documents_published,
            "documents_removed": work.documents_removed,
            "chunks_published": work.chunks_published,
            "batches_collected": work.batches_collected,
            "tokens_settled": work.settled_tokens,
            "usd_settled": work.settled_usd,
        },
    )
