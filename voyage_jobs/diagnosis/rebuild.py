"""Which vectors the table has, which ones are asked for, how far a new table is, and what can be switched back to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import ceil
from typing import Any

from voyage_jobs.config.prices import batch_price
from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import US, iso
from voyage_jobs.core.profile import Profile
from voyage_jobs.core.states import UNFINISHED
from voyage_jobs.state import batches, ledger, plan_state, previous_table, rebuild
from voyage_jobs.state.history import View
from voyage_jobs.state.previous_table import Previous
from voyage_jobs.state.rebuild import Build, Progress, Spent

_HISTORY = 200  # batches by which the finish is foretold
_PATHS = 20


@dataclass(frozen=True)
class Vectors:
    """What is known of the profiles in one moment. `change_tokens`: of embedding everything under what is asked for."""

    asked: Profile
    table: Profile | None
    build: Build | None
    progress: Progress | None
    spent: Spent | None
    unread_paths: tuple[str, ...]
    likely_at: int | None
    previous: Previous | None
    change_tokens: int | None
    change_usd: float | None

    @property
    def active(self) -> Profile | None:
        """Under which texts are embedded."""
        return self.table if self.build is None else self.build.target

    @property
    def changed(self) -> bool:
        """Whether the configuration asks for something else."""
        return self.active is not None and self.active != self.asked


def look(connection: View, settings: Settings, now: int) -> Vectors:
    """Read it. `settings` are those of the configuration; `now` in microseconds UTC."""
    asked = profile_of(settings)
    table, build = rebuild.served(connection), rebuild.build(connection)
    progress = spent = likely_at = change_tokens = None
    paths: tuple[str, ...] = ()
    if build is not None:
        profile_id = plan_state.profile_row(connection, build.target.fingerprint) or 0
        progress = rebuild.progress(connection, profile_id)
        spent = rebuild.spent(connection, profile_id, build.began_at)
        likely_at = _likely_at(connection, settings, progress, profile_id, now)
        if progress.scanned and progress.unread:
            paths = tuple(rebuild.unread_paths(connection, profile_id, _PATHS))
    elif table is not None and table != asked:
        live = rebuild.live_tokens(connection, table.fingerprint)
        held = rebuild.held_tokens(connection, asked.fingerprint)
        change_tokens = max(0, live - held)
    return Vectors(
        asked=asked,
        table=table,
        build=build,
        progress=progress,
        spent=spent,
        unread_paths=paths,
        likely_at=likely_at,
        previous=previous_table.previous(connection),
        change_tokens=change_tokens,
        change_usd=None if change_tokens is None else ledger.usd(change_tokens, batch_price(settings)),
    )


def _likely_at(
    connection: View, settings: Settings, progress: Progress, profile_id: int, now: int
) -> int | None:
    """When the last batch is likely to end, by how long batches took here; None where that is not known."""
    took = batches.durations_s(connection, settings.provider.type, _HISTORY)
    if not progress.scanned or not progress.open_chunks or not took:
        return None
    median_us = int(took[len(took) // 2] * US)
    under_way = [b for b in batches.in_state(connection, *UNFINISHED) if b.profile_id == profile_id]
    at_work = [(batch.submitted_at or now) + median_us for batch in under_way]
    unsent = max(0, progress.open_chunks - sum(batch.inputs for batch in under_way))
    batching = settings.batching
    waves = ceil(ceil(unsent / batching.max_inputs) / batching.max_in_flight_batches)
    return max([now, now + waves * median_us, *at_work])


def as_dict(found: Vectors) -> dict[str, Any]:
    """For `--json`, in the shape that docs/status.md promises."""
    return {
        "table": _profile(found.table),
        "asked": _profile(found.asked),
        "sending": not found.changed,
        "change": None
        if found.change_tokens is None
        else {"tokens": found.change_tokens, "cost_usd": found.change_usd},
        "building": _building(found),
        "previous": _previous(found.previous),
    }


def _profile(profile: Profile | None) -> dict[str, Any] | None:
    if profile is None:
        return None
    return {**json.loads(profile.to_json()), "fingerprint": profile.fingerprint}


def _building(found: Vectors) -> dict[str, Any] | None:
    build, progress, spent = found.build, found.progress, found.spent
    if build is None or progress is None or spent is None:
        return None
    return {
        "profile": _profile(build.target),
        "began_at": iso(build.began_at),
        "by": build.who,
        "failures_accepted": build.leave_out,
        "blocked": progress.blocked and not build.leave_out,
        "held": build.hold,
        "documents": {
            "read": progress.documents,
            "ready": progress.ready,
            "failed": progress.refused,
            "unread": progress.unread,
        },
        "chunks": {
            "total": progress.chunks,
            "open": progress.open_chunks,
            "failed": progress.failed_chunks,
        },
        "sources_to_read": list(progress.unscanned_sources),
        "frozen_sources": list(progress.frozen_sources),
        "unread_paths": list(found.unread_paths),
        "tokens": {"settled": spent.settled_tokens, "reserved": spent.reserved_tokens},
        "cost_usd": {"settled": spent.settled_usd, "reserved": spent.reserved_usd},
        "likely_at": iso(found.likely_at),
    }


def _previous(previous: Previous | None) -> dict[str, Any] | None:
    if previous is None:
        return None
    return {
        "profile": _profile(previous.profile),
        "table_version": previous.table_version,
        "switched_at": iso(previous.switched_at),
        "until_at": iso(previous.until_at),
    }
