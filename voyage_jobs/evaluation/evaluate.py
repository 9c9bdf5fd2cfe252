"""An evaluation: what it will cost, and its runs."""

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
from voyage_jobs.evaluation.tables import Table, Tables
from voyage_jobs.retrieval.retriever import Retriever

if TYPE_CHECKING:
    import httpx


class Evaluation:
    """The runs that are asked for over one collection; every table stays the version that it was when it was opened."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        collection: Collection,
        asked: Sequence[Asked],
        tables: Tables,
        depth: int,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._clock, self._transport = clock, transport
        self._collection, self._asked, self._depth = collection, asked, depth
        self._tables = {each: tables.at(each.where) for each in asked}
        self._vectors: dict[Profile, QueryVectors] = {}
        for each, table in self._tables.items():
            profile = table.view.profile
            if each.mode != "words" and profile not in self._vectors:
                folder = settings.paths.queries
                self._vectors[profile] = QueryVectors(table.settings, profile, folder, clock, transport)

    @property
    def _texts(self) -> list[str]:
        return [question.text for question in self._collection.questions]

    def bills(self) -> list[Bill]:
        """What `run` would send, and its price, by model."""
        return [vectors.bill(self._texts) for vectors in self._vectors.values()]

    def missing(self) -> list[Target]:
        """Relevant places that the table of the first run does not have: no search can find them."""
        view = self._tables[self._asked[0]].view
        return missing(self._collection.targets, [Place(*place) for place in set(view.places())])

    def run(self, progress: Progress) -> list[Run]:
        """Embed what is lacking, then ask everything. Raises ConfigError, VendorError, CorruptionError."""
        for vectors in self._vectors.values():
            vectors.fetch(self._texts, progress)
        return [self._run(asked, table, progress) for asked, table in self._tables.items()]

    def _run(self, asked: Asked, table: Table, progress: Progress) -> Run:
        view = table.view
        vectors = self._vectors.get(view.profile)
        retriever = Retriever(table.settings, self._clock, self._transport, view)
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
        return Run(asked.name, rankings, facts, (*table.notes, *warnings))
