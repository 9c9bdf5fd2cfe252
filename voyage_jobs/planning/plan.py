"""`plan`: what a run would send and what that would cost. Writes to neither sources nor state, sends nothing."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from voyage_jobs.config.prices import batch_price, price_of, prices_as_of, sync_price
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import US, Clock, iso, now_us
from voyage_jobs.core.durable import writing
from voyage_jobs.errors import ConfigError
from voyage_jobs.planning.dearest import dearest
from voyage_jobs.planning.file import PlanWriter, Sink
from voyage_jobs.planning.folders import demand_folders
from voyage_jobs.planning.input_files import InputFiles
from voyage_jobs.planning.rehearsal import Rehearsal, Scanned, rehearsal
from voyage_jobs.planning.warnings import warnings
from voyage_jobs.sources import names
from voyage_jobs.splitting.windows import amplification
from voyage_jobs.state import batches, calibration, plan_state, record_files, scan_notes
from voyage_jobs.state.history import View
from voyage_jobs.state.record_files import RecordFile
from voyage_jobs.steps import encoding
from voyage_jobs.steps.context import Context, Progress, no_progress
from voyage_jobs.steps.texts import Texts

_HISTORY = 200  # batches by which the finish is foretold


@dataclass
class SourcePlan:
    """One source in numbers: documents as a scan finds them, and what their chunks need."""

    name: str
    path: str
    new: int
    changed: int
    moved: int
    vanished: int
    kept: int
    unchanged: int
    skipped: dict[str, int]
    left_out: dict[str, int]
    passed_over: dict[str, int]
    unreadable_folders: int
    broken_front_matter: int
    cut_again: int
    data: dict[str, int]
    parts_left_out: dict[str, int]
    record_files: list[RecordFile]
    chunks: int
    reused_chunks: int
    failed_chunks: int
    embeddings: int
    tokens: int
    reused_tokens: int
    frozen: str | None
    would_freeze: str | None


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
    """The plan as plain data, in the shape that docs/money.md promises.

    `max_inputs` is how much would be sent at most; `folder` gets the input files, the file `out` the plan that `sync
    --plan` carries out; `sink` hears of every entry of it. Memory is flat; what the scan finds goes into a throw-away
    copy of the state, on the disk for temporary files. Raises `ConfigError` for a folder that is not empty and for a
    source that is not there and never was, `StateError` for a state that cannot be read, `DiskFullError` where there is
    no room for the copy.
    """
    demand_folders(settings)
    files = InputFiles(folder)
    if out is None:
        return _plan(settings, clock, max_inputs, files, sink, progress)
    with _writing(out) as file:
        writer = PlanWriter(file)
        writer.begin(settings, clock, vendor_of(settings).tokenizer(settings.tokenizer_file).name)
        report = _plan(settings, clock, max_inputs, files, writer, progress)
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
    max_inputs: int | None,
    files: InputFiles,
    sink: Sink | None,
    progress: Progress,
) -> dict[str, Any]:
    with rehearsal(settings, clock, progress, max_inputs) as tried:
        context = tried.context
        with context.store.read() as connection:
            files.write_params(encoding.job_params(context, connection))
        skipped = sink.skipped if sink is not None else lambda *_: None
        scanned = list(tried.run(files, skipped))
        with context.store.read() as connection:
            waiting = _Waiting.count(tried, connection, files)
            plans = [_numbers(tried, connection, each) for each in scanned]
            if sink is not None:
                _tell(tried, connection, files, scanned, sink)
            report = _report(context.settings, plans, waiting, files)
            report["dearest"] = dearest(connection, tried.since)
            report["windows"] = _windows(tried, connection)
            report["tokens_counted_by"] = context.count.name
            report["calibration"] = _calibration(connection, context, files)
            report["finish"] = _finish(connection, context.settings, clock, len(files.taken) - files.calls)
            asked = plan_state.asked_by_source(connection, tried.since)
        limited = max_inputs is not None and files.inputs >= max_inputs
        warned = list(warnings(tried, plans, report, {} if limited else asked))
    return {
        "as_of": iso(now_us(clock)),
        **report,
        "max_inputs": max_inputs,
        "written": None if files.folder is None else str(files.folder),
        "warnings": warned,
    }


# --- what the scans found ---


def _numbers(tried: Rehearsal, connection: View, each: Scanned) -> SourcePlan:
    """Count a source after everything was scanned and assembled."""
    row, scan, since = each.row, each.scan, tried.since
    result, added = scan.result, scan.added
    assert result is not None  # noqa: S101 - for the type checker: it came to its end
    new, changed = plan_state.new_and_changed(connection, row.id, since)
    gone = Counter(change for change, _ in each.gone)
    places = {vanished.moved_to for _, vanished in each.gone if vanished.moved_to is not None}
    failed_chunks, failed_tokens = plan_state.failed_again(connection, row.id, since)
    return SourcePlan(
        name=row.name,
        path=names.display(row.path),
        new=new - sum(plan_state.is_new(connection, place, since) for place in places),
        changed=changed,
        moved=gone["moved"],
        vanished=gone["vanished"],
        kept=gone["kept"],
        unchanged=result.unchanged + scan.read - new - changed,
        skipped=dict(sorted(each.skipped.items())),
        left_out=dict(sorted(scan.left_out.items())),
        passed_over=scan.walked.passed_over.as_dict(),
        unreadable_folders=len(scan.walked.unreadable_folders),
        broken_front_matter=scan_notes.broken_front_matter(connection, row.id),
        cut_again=plan_state.cut_again(connection, row.id, since),
        data=dict(zip(("files", "tokens"), scan_notes.data_left_out(connection, row.id), strict=True)),
        parts_left_out=scan_notes.parts_left_out(connection, row.id),
        record_files=record_files.noted(connection).get(row.id, []),
        chunks=sum(part.chunks for part in added),
        reused_chunks=sum(part.reused_chunks for part in added) - failed_chunks,
        failed_chunks=failed_chunks,
        embeddings=sum(part.new_embeddings for part in added),
        tokens=sum(part.new_tokens for part in added),
        reused_tokens=sum(part.reused_tokens for part in added) - failed_tokens,
        frozen=row.frozen_reason,
        would_freeze=result.frozen,
    )


@dataclass(frozen=True)
class _Waiting:
    """What waits to be sent since before the plan."""

    embeddings: int
    tokens: int
    without_text: int

    @classmethod
    def count(cls, tried: Rehearsal, connection: View, files: InputFiles) -> _Waiting:
        """Count what was assembled now, and what is left."""
        texts = Texts(connection)
        lost = [
            each.tokens
            for each in plan_state.textless(connection, tried.since)
            if texts.of_embedding(each) is None
        ]
        left = plan_state.waiting(connection, tried.since)
        sent = [plan_state.waited_for(connection, batch_id) for batch_id in files.taken]
        return cls(
            left.embeddings - len(lost) + sum(each.embeddings for each in sent),
            left.tokens - sum(lost) + sum(each.tokens for each in sent),
            len(lost),
        )


def _tell(
    tried: Rehearsal, connection: View, files: InputFiles, scanned: Sequence[Scanned], sink: Sink
) -> None:
    """Tell all that was found, but for what was skipped: that was told as it was met."""
    for batch_id in files.taken:
        for key, tokens in plan_state.waited_in(connection, batch_id):
            sink.waiting(key, tokens)
    for each in scanned:
        name = each.row.name
        for found in plan_state.documents_found(connection, each.row.id, tried.since):
            send = found.version_id and plan_state.sent_for(connection, found.version_id, tried.since)
            change = "new" if found.is_new else "changed"
            sink.document(change, name, found.path, found.content_hash, list(send or ()))
        for change, gone in each.gone:
            if change != "kept":
                sink.gone(change, name, gone.path)


# --- the report ---


def _source(plan: SourcePlan) -> dict[str, Any]:
    facts = ("records", "reason", "detail")
    told = [
        {
            "file": names.display(each.name),
            **{name: getattr(each, name) for name in facts},
            "left_out": {what: asdict(lack) for what, lack in each.left_out.items()},
        }
        for each in plan.record_files
    ]
    return {**asdict(plan), "record_files": told}


def _report(
    settings: Settings, plans: Sequence[SourcePlan], waiting: _Waiting, files: InputFiles
) -> dict[str, Any]:
    new = sum(each.embeddings for each in plans)
    new_tokens = sum(each.tokens for each in plans)
    reused_tokens = sum(each.reused_tokens for each in plans)
    price, dear = batch_price(settings), sync_price(settings)
    by_batch, fresh_usd = files.tokens - files.fresh_tokens, price_of(files.fresh_tokens, dear)
    batch_usd, sync_usd = price_of(by_batch, price), price_of(files.tokens, dear)
    if files.fresh_tokens:
        batch_usd = None if batch_usd is None or fresh_usd is None else batch_usd + fresh_usd
    return {
        "model": settings.section.model,
        "endpoint": settings.section.endpoint,
        "sources": [_source(each) for each in plans],
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
            "count": len(files.taken) - files.calls,
            "inputs": files.inputs - files.fresh_inputs,
            "bytes": files.bytes,
            "tokens": by_batch,
        },
        "fresh": {
            "calls": files.calls,
            "documents": files.fresh_documents,
            "inputs": files.fresh_inputs,
            "tokens": files.fresh_tokens,
            "usd": fresh_usd if files.calls else 0.0,
        },
        "price_usd": {
            "batch": batch_usd,
            "synchronous": sync_usd,
            "saved_by_batch": None if batch_usd is None or sync_usd is None else sync_usd - batch_usd,
            "saved_by_reuse": price_of(reused_tokens, price),
            "batch_per_million": price,
            "synchronous_per_million": dear,
            "as_of": prices_as_of(settings),
        },
    }


def _windows(tried: Rehearsal, connection: View) -> dict[str, Any] | None:
    """What an insertion into what is new would send; None where each chunk is a request of its own."""
    if not tried.context.asked.contextualized:
        return None
    return amplification(*plan_state.windows(connection, tried.since))


def _calibration(connection: View, context: Context, files: InputFiles) -> dict[str, Any] | None:
    """What the estimated tokens are likely to come to, by what was billed of such; None where nothing tells."""
    found = calibration.of_profile(connection, context.profile_id)
    if found is None or context.count.exact:
        return None
    likely = round(files.tokens * found.mean)
    return {
        "batches": found.batches,
        "billed_share": round(found.mean, 4),
        "tokens_likely": likely,
        "batch_usd_likely": price_of(likely, batch_price(context.settings)),
    }


def _finish(connection: View, settings: Settings, clock: Clock, count: int) -> dict[str, Any]:
    """When the last of so many batches would be over, by how long batches took here before; None where none did.
    `window_s` is the provider's promise for one, where it makes one."""
    took = batches.durations_s(connection, settings.provider.type, _HISTORY)
    waves = -(-count // settings.batching.max_in_flight_batches)

    def at(share: float) -> str | None:
        if not took or not count:
            return None
        return iso(now_us(clock) + int(waves * _quantile(took, share) * US))

    window_s = vendor_of(settings).limits.window_s
    return {"batches_known": len(took), "likely_at": at(0.5), "late_at": at(0.9), "window_s": window_s}


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
