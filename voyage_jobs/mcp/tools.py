"""What the tools do, without the protocol: plain questions, plain answers.

An answer is made for a reader that pays by the word: short keys, bounded texts, and a way to ask for more. Every text
in it comes from a document, so none of it is an instruction; the server says so to its clients.
"""

from __future__ import annotations

from typing import Any, Literal

from voyage_jobs.config.item_sources import names_of, with_item_sources
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, day_or_span
from voyage_jobs.errors import ConfigError
from voyage_jobs.report.status import status
from voyage_jobs.retrieval import documents
from voyage_jobs.retrieval.result import Hit, Mode, Query
from voyage_jobs.retrieval.retriever import Retriever, demand_sources

MOST_HITS = 50
MOST_DOCUMENTS = 500
_SOURCE_KEYS = ("name", "documents", "published_documents", "unpublished_documents", "frozen")


class Tools:
    """The four tools of one project. Threads may share them."""

    def __init__(self, settings: Settings, clock: Clock, retriever: Retriever | None = None) -> None:
        self._settings, self._clock = settings, clock
        self._retriever = retriever or Retriever(settings, clock)

    def search(
        self,
        query: str,
        k: int = 8,
        mode: Mode = "hybrid",
        source: str | None = None,
        path: str | None = None,
        since: str | None = None,
        where: str | None = None,
        expand: int | Literal["section"] = 0,
    ) -> dict[str, Any]:
        """The best chunks for a question. Raises ConfigError for one that makes no sense, CorruptionError."""
        asked = Query(
            query,
            k=k,
            mode=mode,
            sources=(source,) if source else (),
            paths=(path,) if path else (),
            since=self._since(since),
            where=where or None,
            expand=expand,
        )
        found = self._retriever.search(asked, names_of(self._settings))
        return {
            "hits": [_hit(each) for each in found.hits],
            "mode": found.mode,
            "more": found.more,
            "warnings": list(found.warnings),
        }

    def read(
        self,
        source: str,
        path: str,
        section: str | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> dict[str, Any]:
        """A document's text: all of it, one section, or from one character to another. Raises as `search`."""
        view = self._retriever.view()
        return documents.read(view, source, path, section=section, start=start, end=end).as_dict()

    def list_documents(
        self, source: str | None = None, glob: str | None = None, limit: int = 100
    ) -> dict[str, Any]:
        """The documents of a source, or at paths that a glob matches. Raises as `search`."""
        demand_sources(self._settings, [source] if source else [], names_of(self._settings))
        view = self._retriever.view()
        found, total = documents.listed(view, [source] if source else [], [glob] if glob else [], limit)
        return {"documents": [each.as_dict() for each in found], "total": total}

    def status(self) -> dict[str, Any]:
        """How current the table is, and what is wrong. Never raises for what the state may be."""
        report = status(with_item_sources(self._settings), self._clock)
        held = (report["profile"] or {}).get("table") or {}
        return {
            "as_of": report["as_of"],
            "healthy": report["healthy"],
            "headline": report["headline"]["text"],
            "rows": report["table"]["rows"],
            "model": held.get("model", self._settings.section.model),
            "sources": [{key: each[key] for key in _SOURCE_KEYS} for each in report["sources"]],
            "problems": [each["message"] for each in report["problems"]],
        }

    def _since(self, text: str | None) -> Any:
        if not text:
            return None
        try:
            return day_or_span(text, self._clock)
        except ValueError as exc:
            raise ConfigError("since must be a day such as 2026-03-01, or a span such as 30d.") from exc


def _hit(hit: Hit) -> dict[str, Any]:
    told = {
        "source": hit.source,
        "path": hit.path,
        "section": " > ".join(hit.section),
        "text": hit.context,
        "start": hit.start,
        "end": hit.end,
        "score": round(hit.score, 4),
        "modified_at": hit.modified_at.isoformat(timespec="seconds"),
    }
    for key in ("title", "place", "url"):
        if value := getattr(hit, key):
            told[key] = value
    return told
