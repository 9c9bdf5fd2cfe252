"""What the state says, as Prometheus metrics: read, without ever writing, whenever somebody asks.

What could not be read is absent, never 0.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import US, Clock
from voyage_jobs.core.durable import known_free_bytes
from voyage_jobs.core.states import Attempt, Batch
from voyage_jobs.diagnosis.blocker import Blocker
from voyage_jobs.diagnosis.snapshot import Facts
from voyage_jobs.errors import DiskFullError, StateError
from voyage_jobs.report.status import Report, examine
from voyage_jobs.state.door import open_state
from voyage_jobs.state.stats import TableStats, figures
from voyage_jobs.table import TableStatsReader
from voyage_jobs.telemetry.metrics.catalog import BY_NAME
from voyage_jobs.version import __version__

Sample = tuple[str, Mapping[str, str], float | None]
"""(name without prefix, labels, value); a value of None is left out."""


class StateCollector:
    """Registered with prometheus-client, which calls `collect` at every scrape. Never raises for a bad state."""

    def __init__(self, settings: Settings, clock: Clock, *, wait_for_table: bool = True) -> None:
        self.settings, self._clock = settings, clock
        self._wait_for_table = wait_for_table
        self.table = TableStatsReader(settings.lancedb.uri, settings.lancedb.table)
        self.readable = False
        """Whether the last `collect` could read the state."""

    def describe(self) -> Iterable[Any]:
        """Nothing in advance: registering reads no state."""
        return ()

    def collect(self) -> Iterator[Any]:
        """All families, in the catalog's order."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        made: dict[str, Any] = {}
        for name, labels, value in self._samples():
            metric = BY_NAME[name]
            if name not in made:
                kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                made[name] = kind(metric.full_name, metric.help, labels=metric.labels)
            if value is not None:
                made[name].add_metric([labels[label] for label in metric.labels], value)
        yield from made.values()

    def _samples(self) -> Iterator[Sample]:
        began = self._clock.mono()
        report, problems, facts = examine(self.settings, self._clock)
        counted = self._figures() if facts is not None else None
        self.readable = facts is not None and counted is not None
        yield "build_info", {"version": __version__}, 1
        yield "state_readable", {}, float(self.readable)
        if facts is not None and counted is not None:
            yield from _health(report, problems, facts)
            yield from _corpus(report, facts, counted)
            yield from _batches(facts, counted)
            yield from _money(report, facts)
            yield from _fresh(report)
            yield from self._places(report, counted)
        yield "scrape_seconds", {}, self._clock.mono() - began

    def _figures(self) -> TableStats | None:
        try:
            with open_state(self.settings).read() as connection:
                return figures(connection)
        except (StateError, DiskFullError):
            return None

    def _places(self, report: Report, counted: TableStats) -> Iterator[Sample]:
        """The table, and room on the disk."""
        settings, paths = self.settings, self.settings.paths
        table = self.table.read(wait=self._wait_for_table)
        yield "table_rows", {}, report["table"]["rows"]
        yield "table_version", {}, report["table"]["version"]
        yield "table_versions", {}, None if table is None else table.versions
        yield "table_fragments", {}, None if table is None else table.fragments
        yield "disk_used_bytes", {"part": "state"}, open_state(settings).disk_bytes()
        yield "disk_used_bytes", {"part": "vectors"}, counted.segment_bytes
        yield "disk_used_bytes", {"part": "spool"}, _files_in(paths.spool)
        yield "disk_used_bytes", {"part": "table"}, None if table is None else table.bytes
        yield "disk_free_bytes", {}, known_free_bytes(settings.data_dir)
        yield "disk_reserve_bytes", {}, settings.disk.min_free_bytes


def _health(report: Report, problems: list[Blocker], facts: Facts) -> Iterator[Sample]:
    yield "healthy", {}, float(report["healthy"])
    for (code, severity), count in Counter((each.code, each.severity) for each in problems).items():
        yield "problems", {"code": code, "severity": severity}, count
    yield "worker_running", {}, float(report["daemon"]["running"])
    yield "worker_heartbeat_age_seconds", {}, report["daemon"]["heartbeat_age_s"]
    for circuit in facts.circuits.values():
        yield "lane_closed", {"lane": circuit.name, "code": circuit.code}, 1


def _corpus(report: Report, facts: Facts, counted: TableStats) -> Iterator[Sample]:
    for source in report["sources"]:
        about = {"source": source["name"]}
        skipped = source["skipped"]
        yield "documents", {**about, "state": "present"}, source["documents"]
        yield "documents", {**about, "state": "missing"}, source["missing"]
        total = None if skipped is None else sum(skipped.values())
        yield "documents", {**about, "state": "skipped"}, total
        for reason, count in (skipped or {}).items():
            yield "documents_skipped", {**about, "reason": reason}, count
        yield "documents_published", about, source["published_documents"]
        yield "documents_unpublished", about, source["unpublished_documents"]
        for place, count in source["chunks"].items():
            yield "chunks", {**about, "state": place}, count
        known = source["documents"] is not None
        yield (
            "source_oldest_unpublished_seconds",
            about,
            (source["oldest_unpublished_s"] or 0) if known else None,
        )
        yield "source_frozen", about, float(source["frozen"] is not None)
    for row in facts.sources:
        yield "source_last_scan_timestamp_seconds", {"source": row.name}, _seconds(row.scanned_at)
    for state, count in counted.embeddings.items():
        yield "embeddings", {"state": state}, count


def _batches(facts: Facts, counted: TableStats) -> Iterator[Sample]:
    for state in Batch:
        yield "batches", {"state": str(state)}, facts.batches_by_state.get(state, 0)
    inputs: Counter[str] = Counter()
    for batch in facts.open:
        inputs[str(batch.state)] += batch.inputs
    for word, count in inputs.items():
        yield "batch_inputs_open", {"state": word}, count
    oldest = min((batch.created_at for batch in facts.open), default=facts.now)
    yield "batch_oldest_open_seconds", {}, max(0.0, (facts.now - oldest) / US)
    deadlines = [batch.deadline_at for batch in facts.open if batch.deadline_at is not None]
    yield "batch_next_deadline_timestamp_seconds", {}, _seconds(min(deadlines, default=None))
    in_doubt = str(Attempt.OPEN)
    for word, count in counted.attempts.items():
        if word != in_doubt:
            yield "create_attempts_total", {"outcome": word}, count
    yield "create_in_doubt", {}, counted.attempts[in_doubt]
    yield "duplicate_jobs_total", {}, facts.duplicates


def _money(report: Report, facts: Facts) -> Iterator[Sample]:
    tokens, cost = report["tokens"], report["cost_usd"]
    for kind, name in (("estimated", "waiting"), ("reserved", "reserved")):
        yield f"tokens_{name}", {}, tokens[kind]
        yield f"cost_{name}_usd", {}, cost[kind]
    yield "tokens_assumed_total", {}, tokens["assumed"]
    for kind in ("settled", "saved"):
        yield f"tokens_{kind}_total", {}, tokens[kind]
        yield f"cost_{kind}_usd_total", {}, cost[kind]
    for lane, billed in facts.billed_by_lane.items():
        yield "tokens_billed_total", {"lane": lane}, billed
    for room in facts.rooms:
        unit = "usd" if room.key.endswith("_usd") else "tokens"
        yield f"budget_limit_{unit}", {"limit": room.key}, room.limit
        yield f"budget_used_{unit}", {"limit": room.key}, room.used


def _fresh(report: Report) -> Iterator[Sample]:
    for source in report["sources"]:
        fresh, about = source["fresh"], {"source": source["name"]}
        if fresh is not None:
            yield "fresh_promised_seconds", about, fresh["promised_s"]
            yield "fresh_seconds", {**about, "quantile": "0.5"}, fresh["median_s"]
            yield "fresh_seconds", {**about, "quantile": "0.95"}, fresh["p95_s"]
            yield "fresh_changes", {**about, "lane": "fresh"}, fresh["changes"]
            yield "fresh_changes", {**about, "lane": "batch"}, fresh["by_batch"]
    for unit, allowance in (report["fresh"] or {}).get("today", {}).items():
        yield "fresh_limit", {"unit": unit}, allowance["limit"]
        yield "fresh_used", {"unit": unit}, allowance["used"]


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / US


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _files_in(folder: Path) -> int:
    try:
        with os.scandir(folder) as entries:
            return sum(_size(Path(entry.path)) for entry in entries)
    except OSError:
        return 0
