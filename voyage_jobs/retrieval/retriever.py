"""`Retriever`: asks one table or several, as often as wanted, from as many threads as wanted.

What costs nothing always answers. Whatever keeps a query from being embedded (no key, no provider, a budget, a vector
that is none) leaves the search by words, whatever is wrong with words leaves the one by vectors, and where nothing
reranks, the order stands; a warning says so. Only a question that makes no sense, and a table that cannot be read, is
an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.errors import ConfigError, CorruptionError, DiskFullError, StateError, VendorError
from voyage_jobs.retrieval.calls import Calls, NotAskedError
from voyage_jobs.retrieval.candidates import Wanted, candidates
from voyage_jobs.retrieval.passage import widened_in
from voyage_jobs.retrieval.ranking import facets, limited, ranked, reranked
from voyage_jobs.retrieval.result import LONGEST_QUERY, MODES, Hit, Mode, Query, Reranking, Result
from voyage_jobs.retrieval.tables import Seen, demand_one_space, tables_of
from voyage_jobs.table.filters import combined, is_field
from voyage_jobs.table.plain_names import spelled_out
from voyage_jobs.table.view import View
from voyage_jobs.table.words import Found

if TYPE_CHECKING:
    import httpx

LONGEST_READING_S = 5.0
"""How long texts are read where there is no word index."""
DEFAULT_RERANK_MODEL = "rerank-2.5"
_SHARES = 4  # of a document's share are left for the reranker to choose from
_MS = 1_000.0


@dataclass
class _Work:
    """One search on its way."""

    rankings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    took_ms: dict[str, float] = field(default_factory=dict)
    model: str | None = None
    tokens: int | None = 0
    usd: float | None = 0.0
    reranking: Reranking | None = None
    looked_at: int = 0
    complete: bool = True


class Retriever:
    """Searches the table of a project, or these `tables` (see `tables_of`) as if they were one.

    Holds a handle of each table, which follows new versions; threads may share it. With a `view` it searches that one
    version, whatever is published meanwhile.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        transport: httpx.BaseTransport | None = None,
        view: View | None = None,
        tables: Sequence[str] = (),
    ) -> None:
        self._settings, self._clock = settings, clock
        self._view, self._tables, self._elsewhere = view, tables_of(settings, tables), bool(tables)
        self._calls = Calls(settings, clock, transport)

    def search(
        self, query: Query, sources: Sequence[str] | None = None, vector: Sequence[float] | None = None
    ) -> Result:
        """Answer one question. `sources` are the names that there are, where they are more than those of the settings.

        In the modes `hybrid` and `vector` the query is embedded by one synchronous call, which costs a few tokens;
        where its `vector` is given nobody is asked for that. Reranking is another call, which costs as much as the
        candidates are long. Raises `ConfigError` for a question or filter that makes no sense and where there is no
        table, `CorruptionError` for a table that cannot be read.
        """
        names = (
            query.sources if self._elsewhere else sources or [each.name for each in self._settings.sources]
        )
        _demand_sense(query, self._settings, names)
        seen, work = self._seen(), _Work()
        said = query.where
        if said is not None:
            said = spelled_out(said, [each.view.dataset for each in seen])
            for each in seen:
                each.view.check(said, query.where)
        where = combined(query.sources, query.paths, query.since, said, query.fields)
        wanted = Wanted(max(query.candidates, query.k), query.k, query.per_document)
        if query.mode != "words":
            demand_one_space(seen)
            self._ask_vectors(seen, query, wanted, where, work, vector)
        if query.mode != "vector" or "vector" not in work.rankings:
            self._ask_words(seen, query, wanted, where, work)
        with self._timed(work, "fuse"):
            found = ranked(work.rankings)
        if query.per_document:
            found = limited(found, query.per_document * _SHARES)
        found = self._reranked(query, found, work)
        found = limited(found, query.per_document)
        hits = widened_in(found[: query.k], query.expand, {each.name: each.view for each in seen})
        used = (work.model or seen[0].view.profile.model) if "vector" in work.rankings else None
        return Result(
            query,
            _mode_of(work),
            tuple(hits),
            tuple(work.warnings),
            used,
            work.tokens,
            work.usd,
            work.reranking,
            work.took_ms,
            work.looked_at or sum(each.view.dataset.count_rows() for each in seen),
            work.complete,
            more=len(found) > query.k,
            facets=facets(found),
        )

    def view(self) -> View:
        """The version that is searched: the newest. Raises `ConfigError` where there is none, `CorruptionError`."""
        return self._seen()[0].view

    def _seen(self) -> list[Seen]:
        if self._view is not None:
            return [Seen(self._settings.lancedb.table, self._view)]
        return [Seen(each.name, each.views.newest()) for each in self._tables]

    def _ask_vectors(
        self,
        seen: Sequence[Seen],
        query: Query,
        wanted: Wanted,
        where: str | None,
        work: _Work,
        vector: Sequence[float] | None,
    ) -> None:
        try:
            with self._timed(work, "embed"):
                if vector is None:
                    vector = self._embedded(seen[0].view, query.text, work)
            with self._timed(work, "vector"):
                found = candidates(seen, wanted, where, lambda view, k, only: view.by_vector(vector, k, only))
            work.rankings["vector"] = found.rows
            if any(part.damaged for part in found.parts):
                work.warnings.append(_damaged("vector", "every vector was compared"))
        except VendorError as exc:
            work.warnings.append(f"Searched by words alone, for the query was not embedded: {exc.message}")
        except NotAskedError as exc:
            work.warnings.append(f"Searched by words alone: {exc}")
        except ValueError as exc:
            work.warnings.append(f"Searched by words alone, for the vector of the query was refused: {exc}.")

    def _embedded(self, view: View, text: str, work: _Work) -> Sequence[float]:
        found = self._calls.embed(text, view.profile)
        work.model, work.tokens, work.usd = found.model, found.tokens, found.usd
        return found.numbers

    def _ask_words(
        self, seen: Sequence[Seen], query: Query, wanted: Wanted, where: str | None, work: _Work
    ) -> None:
        over_at = self._clock.mono() + LONGEST_READING_S

        def ask(view: View, k: int, only: str | None) -> Found:
            return view.by_words(query.text, k, only, lambda: self._clock.mono() < over_at)

        try:
            with self._timed(work, "words"):
                found = candidates(seen, wanted, where, ask)
        except CorruptionError as exc:
            if "vector" not in work.rankings:
                raise
            work.warnings.append(f"Searched by vectors alone: {exc.message}")
            return
        work.looked_at = sum(part.looked_at for part in found.parts)
        work.complete = found.complete
        if work.looked_at or "vector" not in work.rankings:
            work.rankings["words"] = found.rows
        if any(part.damaged for part in found.parts):
            work.warnings.append(_damaged("word", "the texts were read"))
        if not work.complete:
            work.warnings.append(
                f"Without a word index, the words were looked for in the first {work.looked_at:,} rows only."
            )

    def _reranked(self, query: Query, found: list[Hit], work: _Work) -> list[Hit]:
        """The same hits, the first of them by the reranker's scores, if one was asked for and answers."""
        model = _rerank_model(query, self._settings)
        if model is None or not found:
            return found
        first = found[: max(query.candidates, query.k)]
        try:
            with self._timed(work, "rerank"):
                order = self._calls.rerank(query.text, [hit.text for hit in first], model)
        except VendorError as exc:
            work.warnings.append(f"Not reranked by {model}: {exc.message}")
            return found
        except NotAskedError as exc:
            work.warnings.append(f"Not reranked by {model}: {exc}")
            return found
        work.reranking = Reranking(model, len(first), order.tokens, order.usd)
        return reranked(first, order.scores) + found[len(first) :]

    @contextmanager
    def _timed(self, work: _Work, step: str) -> Iterator[None]:
        began = self._clock.mono()
        try:
            yield
        finally:
            work.took_ms[step] = round((self._clock.mono() - began) * _MS, 1)


def _rerank_model(query: Query, settings: Settings) -> str | None:
    """The model that is to rerank; None if none is. A search by words costs nothing unless it is told to."""
    configured = settings.search.rerank_model
    if isinstance(query.rerank, str):
        return query.rerank
    if query.rerank is None:
        return configured or None if query.mode != "words" else None
    return (configured or DEFAULT_RERANK_MODEL) if query.rerank else None


def _demand_sense(query: Query, settings: Settings, names: Sequence[str]) -> None:
    if not query.text.strip():
        raise ConfigError("There is nothing to look for.")
    given = {"query": (query.text,), "filter": (query.where or "",), "path": query.paths}
    if wrong := [what for what, words in given.items() if not all(map(_is_text, words))]:
        raise ConfigError(
            f"The {wrong[0]} is not valid UTF-8.",
            hint="Its terminal or file has another encoding: convert it, with `iconv -t UTF-8` for example.",
        )
    if len(query.text) > LONGEST_QUERY:
        raise ConfigError(
            f"The query has {len(query.text):,} characters; at most {LONGEST_QUERY:,} are allowed."
        )
    if wrong := [name for name, _ in query.fields if not is_field(name)]:
        raise ConfigError(f"{wrong[0]!r} is no name of a field that can be filtered by.")
    if query.mode not in MODES:
        raise ConfigError(f"mode is {query.mode!r}; it must be one of {', '.join(MODES)}.")
    demand_sources(settings, query.sources, names)


def demand_sources(settings: Settings, asked: Sequence[str], names: Sequence[str]) -> None:
    """Raise ConfigError for a source that is neither among those that there are, nor has rows in the table still."""
    if all(source in names for source in asked):
        return
    left = _shown(settings)
    for source in asked:
        if source not in names and source not in left:
            there = ", ".join(dict.fromkeys((*names, *left)))
            raise ConfigError(f"There is no source {source!r} in the configuration; there is {there}.")


def _shown(settings: Settings) -> Sequence[str]:
    from voyage_jobs.state import sources
    from voyage_jobs.state.door import open_state

    try:
        with open_state(settings).read() as connection:
            return sources.shown_names(connection)
    except (StateError, DiskFullError):
        return ()


def _is_text(word: str) -> bool:
    """Whether it can be sent and compared: arguments in another encoding are read with stand-ins for their bytes."""
    return not any("\ud800" <= character <= "\udfff" for character in word)


def _damaged(index: str, instead: str) -> str:
    return (
        f"The {index} index, or one of a filter, cannot be read: {instead} instead."
        " `voyage-jobs verify --repair` builds it again, at no cost."
    )


def _mode_of(work: _Work) -> Mode:
    if len(work.rankings) == 1:
        return "vector" if "vector" in work.rankings else "words"
    return "hybrid"
