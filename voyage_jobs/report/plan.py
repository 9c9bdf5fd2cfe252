"""`plan`: what a run would send and what that would cost. Reads sources and state, writes to neither, sends nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from voyage_jobs.clock import US, Clock, iso, now_us
from voyage_jobs.config.prices import batch_price, prices_as_of, sync_price
from voyage_jobs.config.settings import Settings
from voyage_jobs.durable import writing
from voyage_jobs.errors import ConfigError
from voyage_jobs.report.input_files import InputFiles
from voyage_jobs.report.plan_file import PlanWriter, Sink
from voyage_jobs.report.plan_warnings import warnings
from voyage_jobs.report.source_plan import Keys, SourcePlan, SourcePlanner
from voyage_jobs.state import batches, counts, embeddings, foresight, sources
from voyage_jobs.state.door import Reader, open_state
from voyage_jobs.state.foresight import NoState
from voyage_jobs.state.story import View
from voyage_jobs.steps.context import Progress, no_progress
from voyage_jobs.steps.texts import Texts
from voyage_jobs.vendors.voyage import models

_EVERYTHING = 1 << 60
_HISTORY = 200  # batches by which the finish is foretold


def plan(
    settings: Settings,
    clock: Clock,
    *,
    max_inputs: int | None = None,
    folder: Path | None = None,
    out: Path | None = None,
    sink: Sink | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """The plan as plain data, in the shape that docs/money.md promises. Memory: 20 bytes and a set's entry per key.

    `max_inputs` is how much would be sent at most; `folder` gets the input files, the file `out` the plan that
    `sync --plan` carries out; `sink` hears of every entry of it. Raises `ConfigError` for a folder that is not empty,
    `StateError` for a state that cannot be read.
    """
    keys = Keys(settings)
    if out is None:
        return _plan(settings, clock, keys, max_inputs, folder, sink or Sink(), progress)
    with _writing(out) as file:
        writer = PlanWriter(file)
        writer.begin(settings, clock, keys.count.name)
        report = _plan(settings, clock, keys, max_inputs, folder, writer, progress)
        writer.end(report)
    return report


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    try:
        with writing(path) as file:
            yield file
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc.strerror}.") from exc


def _plan(
    settings: Settings,
    clock: Clock,
    keys: Keys,
    max_inputs: int | None,
    folder: Path | None,
    sink: Sink,
    progress: Progress,
) -> dict[str, Any]:
    state = open_state(settings)
    store: Reader = state if state.exists() else NoState()
    with InputFiles(settings, max_inputs, folder) as files, store.read() as connection:
        waiting = _Waiting(settings, keys)
        waiting.count(connection, Texts(store), files, sink, progress)
        known = {row.name: row for row in sources.all_sources(connection)}
        plans = [
            SourcePlanner(settings, source, known.get(source.name), keys, files, sink, progress).run(
                connection
            )
            for source in sorted(settings.sources, key=lambda source: source.name)
        ]
        report = _report(settings, plans, waiting, files)
        report["tokens_counted_by"] = keys.count.name
        report["finish"] = _finish(connection, settings, clock, files.batches)
        warned = warnings(connection, settings, now_us(clock), plans, report, keys)
        return {
            "as_of": iso(now_us(clock)),
            **report,
            "max_inputs": max_inputs,
            "written": None if folder is None else str(folder),
            "warnings": list(warned),
        }


class _Waiting:
    """What waits to be sent already, from scans before."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self.embeddings = 0
        self.tokens = 0
        self.without_text = 0
        self._keys = keys
        self._batching = settings.batching

    def count(
        self, connection: View, texts: Texts, files: InputFiles, sink: Sink, progress: Progress
    ) -> None:
        """Count it, and put it first: it is sent first."""
        profile_id = foresight.profile_row(connection, self._keys.profile.fingerprint)
        if profile_id is None:
            return
        known = counts.counted(connection)
        anew = known.recount_after is not None or known.by != self._keys.count.name
        for refusals in embeddings.backlog(connection, profile_id).refusals:
            for wanted in embeddings.wanted(connection, profile_id, refusals, _EVERYTHING):
                found = texts.of_embedding(wanted)
                if found is None:
                    self.without_text += 1
                    continue
                tokens = sum(self._keys.count(found)) if anew else wanted.tokens
                self.embeddings += 1
                self.tokens += tokens
                if files.add(wanted.key, found, tokens):
                    sink.waiting(wanted.key, tokens)
                progress("counting what waits", self.embeddings, None)


def _report(
    settings: Settings, plans: Sequence[SourcePlan], waiting: _Waiting, files: InputFiles
) -> dict[str, Any]:
    new = sum(each.embeddings for each in plans)
    new_tokens = sum(each.tokens for each in plans)
    reused_tokens = sum(each.reused_tokens for each in plans)
    price, dear = batch_price(settings), sync_price(settings)
    batch_usd, sync_usd = models.price(files.tokens, price), models.price(files.tokens, dear)
    return {
        "model": settings.voyage.model,
        "endpoint": settings.voyage.endpoint,
        "sources": [{**asdict(each), "skipped": dict(sorted(each.skipped.items()))} for each in plans],
        "chunks": sum(each.chunks for each in plans),
        "reused_chunks": sum(each.reused_chunks for each in plans),
        "embeddings": {
            "new": new,
            "already_waiting": waiting.embeddings,
            "without_text": waiting.without_text,
            "to_send": new + waiting.embeddings,
        },
        "tokens": {
            "new": new_tokens,
            "already_waiting": waiting.tokens,
            "to_send": new_tokens + waiting.tokens,
            "reused": reused_tokens,
        },
        "batches": {
            "count": files.batches,
            "inputs": files.inputs,
            "bytes": files.bytes,
            "tokens": files.tokens,
        },
        "price_usd": {
            "batch": batch_usd,
            "synchronous": sync_usd,
            "saved_by_batch": None if batch_usd is None or sync_usd is None else sync_usd - batch_usd,
            "saved_by_reuse": models.price(reused_tokens, price),
            "batch_per_million": price,
            "synchronous_per_million": dear,
            "as_of": prices_as_of(settings),
        },
    }


def _finish(connection: View, settings: Settings, clock: Clock, count: int) -> dict[str, Any]:
    """When the last of so many batches would be over, by how long batches took here before; None where none did."""
    took = batches.durations_s(connection, _HISTORY)
    waves = -(-count // settings.batching.max_in_flight_batches)

    def at(share: float) -> str | None:
        if not took or not count:
            return None
        return iso(now_us(clock) + int(waves * _quantile(took, share) * US))

    return {"batches_known": len(took), "likely_at": at(0.5), "late_at": at(0.9)}


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
