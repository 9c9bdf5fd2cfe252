"""`status`: where everything is, as plain data. What cannot be read is None, with a problem that says so, never 0."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core import lock
from voyage_jobs.core.clock import US, Clock, iso, now_us
from voyage_jobs.diagnosis import rebuild, stuck
from voyage_jobs.diagnosis.blocker import Blocker, Mover, shown
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.rooms import Room
from voyage_jobs.diagnosis.snapshot import Facts, gather
from voyage_jobs.errors import DiskFullError, StateError, StateLostError
from voyage_jobs.report import fresh, headline, outlook
from voyage_jobs.report.batches import batch_as_dict
from voyage_jobs.sources import names
from voyage_jobs.state import ledger
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.door import open_state
from voyage_jobs.state.last_errors import LastError
from voyage_jobs.state.pauses import Pause
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.stats import PLACES, SourceStats
from voyage_jobs.state.table_indexes import Indexes

Report = dict[str, Any]


def status(settings: Settings, clock: Clock) -> Report:
    """The report, in the shape that docs/status.md promises. Never raises for what the state may be."""
    return look(settings, clock)[0]


def look(settings: Settings, clock: Clock) -> tuple[Report, list[Blocker]]:
    """The report and its problems, worst first."""
    return examine(settings, clock)[:2]


def examine(settings: Settings, clock: Clock) -> tuple[Report, list[Blocker], Facts | None]:
    """The same, and the facts behind it; None if the state could not be read."""
    try:
        facts = gather(settings, clock)
    except (StateError, DiskFullError) as exc:
        lost = isinstance(exc, StateLostError) and lock.holder(settings.paths.lock) is None
        code = "state_unreadable" if lost or open_state(settings).exists() else "no_state"
        hint = exc.hint or "`voyage-jobs doctor` looks for the cause."
        found = [Blocker(code=code, text=exc.message, next=hint, moved_by=Mover.OPERATOR)]
        return _without_state(settings, clock, found), found, None
    found = blockers(facts)
    listed = shown(found)
    return _report(settings, facts, found, listed), listed, facts


def _without_state(settings: Settings, clock: Clock, found: list[Blocker]) -> Report:
    """Nothing is known but what is configured."""
    holder = lock.holder(settings.paths.lock)
    nothing = dict.fromkeys(("estimated", "reserved", "settled", "expedited", "maybe_paid", "saved"))
    return {
        "as_of": iso(now_us(clock)),
        "healthy": not any(problem.severity == "problem" for problem in found),
        "headline": _headline(headline.without_state(found, holder)),
        "daemon": {
            "running": holder is not None,
            "pid": holder,
            "heartbeat_age_s": None,
            "mode": None,
            "step": None,
        },
        "sources": [_source(s.name, str(s.path), None, None, 0) for s in settings.sources],
        "chunks": dict.fromkeys(PLACES),
        "batches": None,
        "open_batches": None,
        "tokens": {**nothing, "assumed": None, "exact": None},
        "cost_usd": nothing,
        "budgets": None,
        "fresh": None,
        "paused": None,
        "table": _table(settings, None, None),
        "eta": None,
        "stuck": None,
        "last_errors": None,
        "counters": None,
        "profile": None,
        "problems": [problem.as_dict() for problem in found],
    }


def _report(settings: Settings, facts: Facts, found: list[Blocker], listed: list[Blocker]) -> Report:
    price, totals = facts.price, facts.totals
    return {
        "as_of": iso(facts.now),
        "healthy": not any(problem.severity == "problem" for problem in listed),
        "headline": _headline(headline.headline(facts, listed)),
        "daemon": _daemon(facts),
        "sources": _sources(settings, facts),
        "chunks": {place: facts.chunks(place) for place in PLACES},
        "batches": dict(facts.batches_by_state),
        "open_batches": [_batch(facts, batch) for batch in facts.open],
        "tokens": {
            "estimated": facts.waiting.tokens,
            "reserved": totals.reserved_tokens,
            "settled": totals.settled_tokens,
            "expedited": totals.expedited_tokens,
            "maybe_paid": totals.maybe_paid_tokens,
            "saved": totals.saved_tokens,
            "assumed": totals.assumed_tokens,
            "exact": facts.counted.exact,
        },
        "cost_usd": {
            "estimated": ledger.usd(facts.waiting.tokens, price),
            "reserved": totals.reserved_usd,
            "settled": totals.settled_usd,
            "expedited": totals.expedited_usd,
            "maybe_paid": totals.maybe_paid_usd,
            "saved": totals.saved_usd,
        },
        "budgets": [_budget(facts, room) for room in facts.rooms],
        "fresh": fresh.allowance(facts),
        "paused": [_pause(each) for each in facts.pauses.by_what.values()],
        "table": _table(settings, _rows(facts), facts.table_version, _rows_found(facts), facts.indexes),
        "eta": outlook.outlook(facts, found),
        "stuck": [each.as_dict() for each in stuck.find(facts, found)],
        "last_errors": [_error(each) for each in facts.last_errors],
        "counters": asdict(facts.counters),
        "profile": rebuild.as_dict(facts.vectors),
        "problems": [problem.as_dict() for problem in listed],
    }


def _pause(pause: Pause) -> Report:
    what = "source" if pause.source is not None else pause.what
    return {
        "what": what,
        "source": pause.source,
        "since": iso(pause.since_at),
        "until": iso(pause.until_at),
        "who": pause.who,
    }


def _budget(facts: Facts, room: Room) -> Report:
    source = next((row.name for row in facts.sources if row.id == room.source_id), None)
    key = room.key.rpartition(".")[2]
    return {
        "key": key,
        "source": source,
        "unit": "usd" if key.endswith("_usd") else "tokens",
        "limit": room.limit,
        "used": room.used,
        "anew_at": iso(room.anew_at),
    }


def _headline(found: headline.Headline) -> Report:
    return {"level": found[0], "text": found[1]}


def _batch(facts: Facts, batch: BatchRow) -> Report:
    expected = outlook.of_batch(facts, batch)
    return {**batch_as_dict(batch), "likely_at": iso(expected.likely_at), "late_at": iso(expected.late_at)}


_MORE = {
    "poll": "voyage-jobs doctor --probe",
    "submit": "voyage-jobs doctor --probe",
    "collect": "voyage-jobs doctor --probe",
    "publish": "voyage-jobs verify",
}


def _error(last_error: LastError) -> Report:
    """The last error of a step, and the command that says more."""
    return {
        "step": last_error.step,
        "code": last_error.code,
        "message": last_error.message,
        "hint": last_error.hint,
        "times": last_error.times,
        "first_at": iso(last_error.first_at),
        "last_at": iso(last_error.last_at),
        "over_at": iso(last_error.over_at),
        "more": _MORE.get(last_error.step, "voyage-jobs doctor"),
    }


def _daemon(facts: Facts) -> Report:
    here = facts.here if facts.holder is not None else None
    return {
        "running": facts.holder is not None,
        "pid": facts.holder,
        "heartbeat_age_s": None if here is None else max(0.0, (facts.now - here.heartbeat_at) / US),
        "mode": here and here.mode,
        "step": here and here.step,
    }


def _sources(settings: Settings, facts: Facts) -> list[Report]:
    """Every source that is configured or that the state knows."""
    known = {row.name: row for row in facts.sources}
    listed = [
        _source(row.name, names.display(row.path), row, _stats(facts, row), facts.now)
        | {"watch": facts.watching.get(row.name), "oldest_unpublished": facts.oldest.get(row.id)}
        | {"passed_over": _passed_over(facts, row), "data": _data(facts, row)}
        | {"parts_left_out": _parts(facts, row), "fresh": fresh.of_source(facts, row)}
        for row in facts.sources
    ]
    new = [source for source in settings.sources if source.name not in known]
    return [*listed, *(_source(s.name, names.display(str(s.path)), None, None, facts.now) for s in new)]


def _passed_over(facts: Facts, row: SourceRow) -> dict[str, int] | None:
    notes = facts.scan_notes.get(row.id)
    return None if notes is None or row.scanned_at is None else dict(notes.passed_over)


def _stats(facts: Facts, row: SourceRow) -> SourceStats | None:
    """None until a scan was complete, as long as nothing has come in either."""
    if row.id in facts.source_stats:
        return facts.source_stats[row.id]
    return None if row.scanned_at is None else SourceStats()


def _source(name: str, path: str, row: SourceRow | None, stats: SourceStats | None, now: int) -> Report:
    oldest = stats.oldest_seen_at if stats else None
    return {
        "name": name,
        "path": path,
        "configured": row is None or row.configured,
        "frozen": row.frozen_reason if row else None,
        "documents": stats and stats.present,
        "chunks": dict(stats.chunks) if stats else dict.fromkeys(PLACES),
        "oldest_unpublished_s": None if oldest is None else max(0.0, (now - oldest) / US),
        "published_documents": stats and stats.published_documents,
        "unpublished_documents": stats and stats.waiting_documents,
        "missing": stats and stats.missing,
        "kept": stats and stats.kept,
        "skipped": dict(sorted(stats.skipped.items())) if stats else None,
        "passed_over": None,
        "scanned_at": iso(row.scanned_at) if row else None,
        "next_scan_at": iso(row.scan_due_at) if row and row.scan_due_at else None,
        "watch": None,
        "oldest_unpublished": None,
        "data": None,
        "parts_left_out": None,
        "fresh": None,
    }


def _data(facts: Facts, row: SourceRow) -> Report | None:
    """How many documents hold data that is not embedded, and about how many tokens it has."""
    notes = facts.scan_notes.get(row.id)
    return None if notes is None else {"files": notes.data_files, "tokens": notes.data_tokens}


def _parts(facts: Facts, row: SourceRow) -> dict[str, int] | None:
    notes = facts.scan_notes.get(row.id)
    return None if notes is None else dict(notes.parts)


def _rows(facts: Facts) -> int | None:
    """What the table serves by the state's account; None if the table is not there to serve it."""
    served = facts.chunks("published")
    return served if facts.table_exists or not served else None


def _rows_found(facts: Facts) -> int | None:
    return None if facts.table_rows is None else facts.table_rows.found


def _table(
    settings: Settings,
    rows: int | None,
    version: int | None,
    found: int | None = None,
    indexes: Indexes | None = None,
) -> Report:
    lance = settings.lancedb
    return {
        "uri": lance.uri,
        "name": lance.table,
        "rows": rows,
        "rows_found": found,
        "version": version,
        "indexes": indexes and [asdict(each) for each in indexes.each],
        "indexes_as_of": indexes and iso(indexes.at),
    }
