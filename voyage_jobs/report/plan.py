"""`plan`: what a run would send and what that would cost. Reads sources and state, writes to neither, sends nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voyage_jobs.clock import Clock, iso, now_us
from voyage_jobs.config.prices import batch_price
from voyage_jobs.config.settings import Settings
from voyage_jobs.report.input_files import InputFiles
from voyage_jobs.report.source_plan import Keys, SourcePlan, SourcePlanner
from voyage_jobs.steps import budget
from voyage_jobs.steps.context import Progress, no_progress
from voyage_jobs.steps.texts import Texts
from voyage_jobs.store import embeddings, foresight, notes, sources
from voyage_jobs.store.foresight import NoState
from voyage_jobs.store.store import ReadOnlyStore
from voyage_jobs.store.story import View
from voyage_jobs.voyage import models

_EVERYTHING = 1 << 60


def plan(
    settings: Settings,
    clock: Clock,
    *,
    max_inputs: int | None = None,
    folder: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """The plan as plain data, in the shape that docs/status.md promises. Memory: 20 bytes and a set's entry per key.

    `max_inputs` is how much would be sent at most; `folder` gets the input files. Raises `ConfigError` for a folder
    that is not empty, `StateError` for a state that cannot be read.
    """
    path = settings.paths.state_db
    store: ReadOnlyStore = ReadOnlyStore(path) if path.exists() else NoState()
    keys = Keys(settings)
    with InputFiles(settings, max_inputs, folder) as files, store.read() as connection:
        waiting = _Waiting(settings, keys)
        waiting.count(connection, Texts(store), files, progress)
        known = {row.name: row for row in sources.all_sources(connection)}
        plans = [
            SourcePlanner(settings, source, known.get(source.name), keys, files, progress).run(connection)
            for source in sorted(settings.sources, key=lambda source: source.name)
        ]
        report = _report(settings, plans, waiting, files)
        warned = _warnings(connection, settings, clock, plans, report, keys)
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

    def count(self, connection: View, texts: Texts, files: InputFiles, progress: Progress) -> None:
        """Count it, and put it first: it is sent first."""
        profile_id = foresight.profile_row(connection, self._keys.profile.fingerprint)
        if profile_id is None:
            return
        for refusals in embeddings.backlog(connection, profile_id).refusals:
            for wanted in embeddings.wanted(connection, profile_id, refusals, _EVERYTHING):
                found = texts.of_embedding(wanted)
                if found is None:
                    self.without_text += 1
                    continue
                self.embeddings += 1
                self.tokens += wanted.tokens
                files.add(wanted.key, found, wanted.tokens)
                progress("counting what waits", self.embeddings, None)


def _report(
    settings: Settings, plans: Sequence[SourcePlan], waiting: _Waiting, files: InputFiles
) -> dict[str, Any]:
    new = sum(each.embeddings for each in plans)
    new_tokens = sum(each.tokens_estimated for each in plans)
    reused_tokens = sum(each.reused_tokens for each in plans)
    price, model = batch_price(settings), models.find(settings.voyage.model)
    sync_price = None if model is None else model.sync_usd_per_million
    batch_usd, sync_usd = models.price(files.tokens, price), models.price(files.tokens, sync_price)
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
        "tokens_estimated": {
            "new": new_tokens,
            "already_waiting": waiting.tokens,
            "to_send": new_tokens + waiting.tokens,
            "reused": reused_tokens,
        },
        "batches": {
            "count": files.batches,
            "inputs": files.inputs,
            "bytes": files.bytes,
            "tokens_estimated": files.tokens,
        },
        "price_usd": {
            "batch": batch_usd,
            "synchronous": sync_usd,
            "saved_by_batch": None if batch_usd is None or sync_usd is None else sync_usd - batch_usd,
            "saved_by_reuse": models.price(reused_tokens, price),
            "batch_per_million": price,
            "synchronous_per_million": sync_price,
            "as_of": models.PRICES_AS_OF,
        },
    }


def _warnings(
    connection: View,
    settings: Settings,
    clock: Clock,
    plans: Sequence[SourcePlan],
    report: dict[str, Any],
    keys: Keys,
) -> Iterator[str]:
    """What a person should know before saying yes, a sentence each."""
    voyage, tokens = settings.voyage, report["batches"]["tokens_estimated"]
    yield from models.doubts(
        voyage.model,
        endpoint=voyage.endpoint,
        output_dimension=voyage.output_dimension,
        output_dtype=voyage.output_dtype,
    )
    made_for = notes.get(connection, notes.PROFILE)
    if made_for not in (None, keys.profile.to_json()):
        yield (
            f"{settings.data_dir} was made for {made_for}, the settings ask for {keys.profile.to_json()}:"
            " `sync` and `run` will refuse."
        )
    for each in plans:
        if each.frozen:
            yield f"Source {each.name} is frozen: {each.frozen}."
        elif each.would_freeze:
            yield f"Source {each.name} would be frozen, and nothing of it deleted: {each.would_freeze}."
        if each.unreadable_folders:
            yield f"{each.unreadable_folders} folders of source {each.name} cannot be read."
    now = now_us(clock)
    for room in budget.rooms(connection, settings, batch_price(settings), now):
        if room.anew_at is not None and room.source_id is None and tokens > room.tokens:
            yield (
                f"{budget.setting_of(room)} allows about {max(0, room.tokens):,} of these {tokens:,} tokens now; the"
                f" rest goes on at {iso(room.anew_at)}."
            )
    most = settings.batching.max_in_flight_batches
    if report["batches"]["count"] > most:
        yield f"At most {most} batches are under way at a time; the others follow as these end."
    if tokens and report["price_usd"]["batch"]:
        yield "The price is what the list says: free tokens of an account do not count for batches."
