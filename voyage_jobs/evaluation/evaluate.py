"""An evaluation: what it will cost, its runs, and what they are worth by every metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.profile import Profile
from voyage_jobs.evaluation.collection import Collection
from voyage_jobs.evaluation.places import Place, Target, missing
from voyage_jobs.evaluation.query_vectors import Bill, Progress, QueryVectors
from voyage_jobs.evaluation.run import Asked, Run, ask
from voyage_jobs.retrieval.retriever import Retriever
from voyage_jobs.table.view import View, view_of

if TYPE_CHECKING:
    import httpx


class Evaluation:
    """The runs that are asked for over one collection; every table is opened once, and stays the version that it is."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        collection: Collection,
        asked: Sequence[Asked],
        depth: int,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings, self._clock, self._transport = settings, clock, transport
        self._collection, self._asked, self._depth = collection, asked, depth
        self._views = {each.where: self._view(each.where) for each in asked}
        self._vectors: dict[Profile, QueryVectors] = {}
        for each in asked:
            profile = self._views[each.where].profile
            if each.mode != "words" and profile not in self._vectors:
                self._vectors[profile] = QueryVectors(settings, profile, clock, transport)

    def _view(self, where: str) -> View:
        version = int(where) if where else None
        return view_of(self._settings.lancedb.uri, self._settings.lancedb.table, version)

    @property
    def _texts(self) -> list[str]:
        return [question.text for question in self._collection.questions]

    def bills(self) -> list[Bill]:
        """What `run` would send, and its price, by model."""
        return [vectors.bill(self._texts) for vectors in self._vectors.values()]

    def missing(self) -> list[Target]:
        """Relevant places that the table of the first run does not have: no search can find them."""
        view = next(iter(self._views.values()))
        return missing(self._collection.targets, [Place(*place) for place in set(view.places())])

    def run(self, progress: Progress) -> list[Run]:
        """Embed what is lacking, then ask everything. Raises ConfigError, VendorError, CorruptionError."""
        for vectors in self._vectors.values():
            vectors.fetch(self._texts, progress)
        return [self._run(asked, progress) for asked in self._asked]

    def _run(self, asked: Asked, progress: Progress) -> Run:
        view = self._views[asked.where]
        vectors = self._vectors.get(view.profile)
        retriever = Retriever(self._settings, self._clock, self._transport, view)
        began = self._clock.mono()
        rankings, warnings = ask(
            retriever,
            self._collection.questions,
            asked,
            self._depth,
            lambda text: vectors.of(text).tolist() if vectors else [],
            progress,
        )
        facts = {
            "mode": asked.mode,
            "table_version": view.version,
            "rows": view.dataset.count_rows(),
            "profile": view.profile.told,
            "depth": self._depth,
            "took_s": round(self._clock.mono() - began, 3),
        }
        return Run(asked.name, rankings, facts, warnings)
