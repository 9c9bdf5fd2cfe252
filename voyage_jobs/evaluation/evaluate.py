"""An evaluation: what it will cost, and its runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from voyage_jobs.config.profile import with_profile
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.profile import Profile
from voyage_jobs.evaluation.collection import Collection
from voyage_jobs.evaluation.jobs import Working, has_jobs
from voyage_jobs.evaluation.kept import Bill, Progress
from voyage_jobs.evaluation.places import Place, Target, missing
from voyage_jobs.evaluation.query_vectors import QueryVectors
from voyage_jobs.evaluation.rerankings import CANDIDATES, Ask, Rerankings, reranker
from voyage_jobs.evaluation.run import CONFIGURED, Answers, Asked, Run, ask, reordered
from voyage_jobs.evaluation.tables import Table, Tables
from voyage_jobs.retrieval.retriever import DEFAULT_RERANK_MODEL, Retriever

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
        working: Working | None = None,
    ) -> None:
        """`working`: what is lacking is asked for by batch jobs, where the provider has them."""
        self._clock, self._transport = clock, transport
        self._collection, self._asked, self._depth = collection, asked, depth
        self._tables = {each: tables.at(each.where) for each in asked}
        self._vectors: dict[Profile, QueryVectors] = {}
        self._rerankings: dict[Asked, Rerankings] = {}
        self._answers: dict[Asked, Answers] = {}
        folder = settings.paths.queries
        known: dict[tuple[str, str], Rerankings] = {}
        self.without_jobs: set[str] = set()
        """What providers have no batch jobs of: they are asked at once."""
        for each, table in self._tables.items():
            profile = table.view.profile
            if each.mode != "words" and profile not in self._vectors:
                by = self._by_jobs(with_profile(table.settings, profile), profile, working)
                self._vectors[profile] = QueryVectors(table.settings, profile, folder, clock, transport, by)
            if each.rerank:
                model = _reranker(each, table.settings)
                which = (table.settings.provider.type, model)
                if which not in known:
                    by = self._by_jobs(table.settings, reranker(table.settings, model), working)
                    known[which] = Rerankings(table.settings, model, folder, clock, transport, by)
                self._rerankings[each] = known[which]

    def _by_jobs(self, settings: Settings, profile: Profile, working: Working | None) -> Working | None:
        if working is None or has_jobs(settings, profile):
            return working
        self.without_jobs.add(f"{vendor_of(settings).title} has no batch jobs of {profile.model}")
        return None

    @property
    def _texts(self) -> list[str]:
        return [question.text for question in self._collection.questions]

    def bills(self, progress: Progress) -> list[Bill]:
        """What `run` would send, and its price, by model.

        What reranking costs depends on what is found: where the queries have their vectors, they are asked for that.
        """
        bills = [vectors.bill(self._texts) for vectors in self._vectors.values()]
        lacking = any(bill.texts for bill in bills)
        for asked, rerankings in self._rerankings.items():
            view = self._tables[asked].view
            if lacking and asked.mode != "words":
                rows = view.dataset.count_rows()
                bills.append(rerankings.foreseen(self._texts, view.usual_tokens(), rows))
            else:
                bills.append(rerankings.bill(self._asks(asked, progress)))
        return bills

    def missing(self) -> list[Target]:
        """Relevant places that the table of the first run does not have: no search can find them."""
        view = self._tables[self._asked[0]].view
        return missing(self._collection.targets, [Place(*place) for place in set(view.places())])

    def run(self, progress: Progress) -> list[Run]:
        """Embed and rerank what is lacking, and ask everything. Raises ConfigError, VendorError, CorruptionError."""
        for vectors in self._vectors.values():
            vectors.fetch(self._texts, progress)
        for asked, rerankings in self._rerankings.items():
            rerankings.fetch(self._asks(asked, progress), progress)
        return [self._run(asked, progress) for asked in self._asked]

    def _asks(self, asked: Asked, progress: Progress) -> Iterator[Ask]:
        texts = self._answered(asked, progress).texts
        return ((question.text, texts[question.id]) for question in self._collection.questions)

    def _answered(self, asked: Asked, progress: Progress) -> Answers:
        """What is found before anything is reranked; each mode of each table is asked once."""
        plain = replace(asked, rerank="")
        if plain not in self._answers:
            self._answers[plain] = self._ask(plain, self._tables[asked], progress)
        return self._answers[plain]

    def _ask(self, plain: Asked, table: Table, progress: Progress) -> Answers:
        vectors = self._vectors.get(table.view.profile)
        began = self._clock.mono()
        found = ask(
            Retriever(table.settings, self._clock, self._transport, table.view),
            self._collection.questions,
            plain.mode,
            self._depth,
            lambda text: vectors.of(text).tolist() if vectors else [],
            progress,
            CANDIDATES if any(replace(each, rerank="") == plain for each in self._rerankings) else 0,
        )
        return replace(found, took_s=round(self._clock.mono() - began, 3))

    def _run(self, asked: Asked, progress: Progress) -> Run:
        table, found = self._tables[asked], self._answered(asked, progress)
        rerankings = self._rerankings.get(asked)
        places = dict(found.places)
        if rerankings is not None:
            for question in self._collection.questions:
                scores = rerankings.scores(question.text, found.texts[question.id])
                places[question.id] = reordered(places[question.id], scores)
        facts = {
            "mode": asked.mode,
            "rerank": None if rerankings is None else rerankings.model,
            "table_version": table.view.version,
            "rows": table.view.dataset.count_rows(),
            "profile": table.view.profile.told,
            "depth": self._depth,
            "took_s": found.took_s,
        }
        return Run(asked.name, places, facts, (*table.notes, *found.warnings))


def _reranker(asked: Asked, settings: Settings) -> str:
    """The model that a run names, or the configured one."""
    return (
        settings.search.rerank_model or DEFAULT_RERANK_MODEL if asked.rerank == CONFIGURED else asked.rerank
    )
