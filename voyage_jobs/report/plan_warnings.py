"""What a person should know before saying yes to a plan, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from voyage_jobs.clock import iso
from voyage_jobs.config.prices import batch_price
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.diagnosis.rebuild_words import plan_warning
from voyage_jobs.diagnosis.rooms import rooms as all_rooms
from voyage_jobs.plural import counted
from voyage_jobs.report.source_plan import Keys, SourcePlan
from voyage_jobs.sources.files import SkipReason
from voyage_jobs.state import rebuild, sources
from voyage_jobs.state.story import View


def warnings(
    connection: View,
    settings: Settings,
    now: int,
    plans: Sequence[SourcePlan],
    report: dict[str, Any],
    keys: Keys,
) -> Iterator[str]:
    """All of them. `now` is in microseconds, `report` the plan so far."""
    yield from _about_settings(connection, settings, keys)
    for each in plans:
        yield from _about_source(each)
    tokens, dollars = report["batches"]["tokens"], report["price_usd"]["batch"]
    yield from _about_run(settings, tokens, dollars)
    yield from _about_budgets(connection, settings, now, plans, tokens)
    most = settings.batching.max_in_flight_batches
    if report["batches"]["count"] > most:
        yield f"At most {most} batches are under way at a time; the others follow as these end."
    if tokens and dollars:
        yield "The price is what the list says: free tokens of an account do not count for batches."


def _about_settings(connection: View, settings: Settings, keys: Keys) -> Iterator[str]:
    yield from vendor_of(settings).doubts(keys.profile)
    in_force = rebuild.in_force(connection)
    if in_force is not None and in_force != keys.profile:
        yield plan_warning(keys.profile, in_force)
    if keys.count.flaw is not None:
        yield f"Tokens are estimated: {keys.count.flaw}."


def _about_source(plan: SourcePlan) -> Iterator[str]:
    if plan.frozen:
        yield f"Source {plan.name} is frozen: {plan.frozen}."
    elif plan.would_freeze:
        yield f"Source {plan.name} would be frozen, and nothing of it deleted: {plan.would_freeze}."
    if plan.unreadable_folders:
        yield f"{counted(plan.unreadable_folders, 'folder')} of source {plan.name} cannot be read."
    large = plan.skipped[SkipReason.TOO_LARGE]
    if large:
        yield f"Larger than the max_file_bytes of source {plan.name}, and not taken: {counted(large, 'file')}."


def _about_run(settings: Settings, tokens: int, dollars: float | None) -> Iterator[str]:
    limits = settings.budget
    if limits.run_tokens is not None and tokens > limits.run_tokens:
        yield f"budget.run_tokens allows {limits.run_tokens:,} of {tokens:,} tokens in one run."
    if limits.run_usd is not None and dollars is not None and dollars > limits.run_usd:
        yield f"budget.run_usd allows ${limits.run_usd:g} of ${dollars:.4f} in one run."


def _about_budgets(
    connection: View, settings: Settings, now: int, plans: Sequence[SourcePlan], tokens: int
) -> Iterator[str]:
    rows = {row.name: row.id for row in sources.all_sources(connection)}
    of_source = {rows[each.name]: each.tokens for each in plans if each.name in rows}
    for room in all_rooms(connection, settings, batch_price(settings), now):
        asked = tokens if room.source_id is None else of_source.get(room.source_id, 0)
        if room.anew_at is not None and asked > room.tokens:
            yield (
                f"{room.setting} allows {max(0, room.tokens):,} of {asked:,} tokens now; the rest goes on at"
                f" {iso(room.anew_at)}."
            )
