"""From the reports of the commands to the results of the API: no figure is worked out here."""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from voyage_jobs.api import results
from voyage_jobs.items import ITEM_KEY
from voyage_jobs.report.batches import batch_as_dict
from voyage_jobs.service.outcome import summary
from voyage_jobs.vendors.tokenizer import ESTIMATE

if TYPE_CHECKING:
    from voyage_jobs.config.settings import Settings
    from voyage_jobs.retrieval.result import Hit, Result
    from voyage_jobs.service.sync import Outcome

Report = Mapping[str, Any]


def plan(report: Report) -> results.Plan:
    """Of `plan --json`."""
    sources = tuple(_source_plan(each) for each in report["sources"])
    return results.Plan(
        report,
        as_of=datetime.fromisoformat(report["as_of"]),
        model=report["model"],
        documents=sum(each.new + each.changed for each in sources),
        chunks=report["chunks"],
        reused_chunks=report["reused_chunks"],
        texts=report["batches"]["inputs"],
        batches=report["batches"]["count"],
        tokens=report["batches"]["tokens"],
        tokens_exact=report["tokens_counted_by"] != ESTIMATE,
        usd=report["price_usd"]["batch"],
        usd_synchronous=report["price_usd"]["synchronous"],
        likely_at=_when(report["finish"]["likely_at"]),
        sources=sources,
        warnings=tuple(report["warnings"]),
    )


def _source_plan(report: Report) -> results.SourcePlan:
    names = ("name", "new", "changed", "moved", "vanished", "unchanged", "chunks", "would_freeze")
    return results.SourcePlan(**{name: report[name] for name in names})


def sync_result(outcome: Outcome, settings: Settings) -> results.SyncResult:
    """Of `sync --json`."""
    work = outcome.work
    return results.SyncResult(
        summary(outcome, settings),
        ending=outcome.ending.value,
        documents_published=work.documents_published,
        documents_removed=work.documents_removed,
        chunks_published=work.chunks_published,
        texts_sent=work.embeddings_sent,
        batches_sent=work.batches_sent,
        batches_collected=work.batches_collected,
        tokens_settled=work.settled_tokens,
        usd_settled=work.settled_usd,
        tokens_saved=work.saved_tokens,
        usd_saved=work.saved_usd,
        in_flight=tuple(batch(batch_as_dict(each)) for each in outcome.in_flight),
        problems=tuple(_problem(each.as_dict()) for each in outcome.problems),
        elapsed_s=outcome.elapsed_s,
    )


def _problem(report: Report) -> results.Problem:
    return results.Problem(**{name: report[name] for name in ("code", "message", "hint", "severity")})


def status(report: Report) -> results.Status:
    """Of `status --json`."""
    return results.Status(
        report,
        as_of=datetime.fromisoformat(report["as_of"]),
        healthy=report["healthy"],
        level=report["headline"]["level"],
        headline=report["headline"]["text"],
        running=report["daemon"]["running"],
        chunks=results.Chunks(**report["chunks"]),
        sources=tuple(_source_status(each) for each in report["sources"]),
        open_batches=tuple(batch(each) for each in report["open_batches"] or ()),
        rows=report["table"]["rows"],
        tokens_waiting=report["tokens"]["estimated"],
        tokens_reserved=report["tokens"]["reserved"],
        tokens_settled=report["tokens"]["settled"],
        usd_settled=report["cost_usd"]["settled"],
        likely_at=_when((report["eta"] or {}).get("likely_at")),
        problems=tuple(_problem(each) for each in report["problems"]),
    )


def _source_status(report: Report) -> results.SourceStatus:
    names = ("name", "path", "configured", "frozen", "documents", "published_documents", "missing")
    return results.SourceStatus(
        **{name: report[name] for name in names},
        chunks=results.Chunks(**report["chunks"]),
        scanned_at=_when(report["scanned_at"]),
    )


def batch(report: Report) -> results.Batch:
    """Of one of `batches --json`."""
    names = (
        "ref",
        "batch_id",
        "state",
        "inputs",
        "completed",
        "failed",
        "tokens_estimated",
        "tokens_settled",
    )
    return results.Batch(
        report,
        **{name: report[name] for name in (*names, "reason", "error", "asks_for")},
        created_at=datetime.fromisoformat(report["created_at"]),
        submitted_at=_when(report["submitted_at"]),
        deadline_at=_when(report["deadline_at"]),
        usd=report["cost_usd"],
    )


def why(report: Report) -> results.Why:
    """Of `why --json`."""
    return results.Why(
        report,
        **{name: report[name] for name in ("kind", "ref", "reason", "published", "next")},
        text=report["paragraph"],
        expected_at=_when(report["expected_at"]),
    )


def hit(found: Hit, item_sources: Container[str]) -> results.Hit:
    """Of one hit of `search --json`. `item_sources` are the names of sources that are sets of items."""
    values = dict(vars(found))
    metadata = dict(values.pop("front_matter"))
    item_id = metadata.pop(ITEM_KEY, None) if found.source in item_sources else None
    return results.Hit(found.as_dict(), item_id=item_id, metadata=metadata, **values)


def hits(found: Result, item_sources: Container[str]) -> results.Hits:
    """Of a whole search."""
    return results.Hits(
        (hit(each, item_sources) for each in found.hits), found.mode, found.warnings, found.tokens
    )


def cost(report: Report) -> results.Cost:
    """Of `cost --json`."""
    rows = tuple(_cost_row(each) for each in report["rows"])
    total = _cost_row({**report["total"], "name": None})
    return results.Cost(report, datetime.fromisoformat(report["as_of"]), rows, total)


def _cost_row(report: Report) -> results.CostRow:
    return results.CostRow(**{name: report[name] for name in results.CostRow.__dataclass_fields__})


def _when(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
