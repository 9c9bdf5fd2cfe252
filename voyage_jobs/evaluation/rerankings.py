"""Better orders of what was found, by a model that reads query and text: each is paid for once and kept, by its key.

The key is that of the model, the query and the very texts, in their order: another table, splitter or mode gives
another one, and the same search the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voyage_jobs.config.prices import price_of, sync_price
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core import retry
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.profile import RERANK, KeyMaker, Profile
from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.errors import ConfigError, RateLimitedError
from voyage_jobs.evaluation.jobs import Jobs, Request, Working, demand_room
from voyage_jobs.evaluation.kept import Bill, Kept, Progress, Rows
from voyage_jobs.retrieval.calls import Calls, NotAskedError, Order

if TYPE_CHECKING:
    import httpx

CANDIDATES = 50
"""So many of the best are put into another order, as by `search`."""
_OF_THE_QUERY = 1.0  # what is kept under a key has a row for each of its texts, and the query is the first
_TOGETHER = 16  # answers that are written at once: a kill pays for so many again
_TRIES = 8  # of a call that the provider does not take now

Ask = tuple[str, Sequence[str]]
"""A query, and the texts that are to be scored for it."""


def reranker(settings: Settings, model: str) -> Profile:
    """What makes scores: one number for each text."""
    return Profile(RERANK, model, 1, "float", None, vendor_of(settings).name)


class Rerankings:
    """The scores of one model. `settings` say who is asked, and whose budgets and ledger the calls are on."""

    def __init__(
        self,
        settings: Settings,
        model: str,
        folder: Path,
        clock: Clock,
        transport: httpx.BaseTransport | None = None,
        working: Working | None = None,
    ) -> None:
        listed = vendor_of(settings).find(model)
        if listed is not None and not listed.reranks:
            raise ConfigError(f"{model} is no reranker; use rerank-2.5, for example.")
        self.model = model
        self._settings, self._clock = settings, clock
        profile = reranker(settings, model)
        self._keys = KeyMaker(profile)
        self._jobs = Jobs(settings, profile, folder, clock, working) if working else None
        self._kept = Kept(folder, profile, clock, *([self._jobs.vectors] if self._jobs else []))
        self._calls = Calls(settings, clock, transport)
        try:
            self._calls.demand_reranker()
        except NotAskedError as exc:
            raise ConfigError(f"Nothing can be reranked: {exc}") from exc

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the query, where that is held. KeyError where it is not."""
        found: list[float] = self._kept.rows(self._key(query, texts))[1:, 0].tolist() if texts else []
        return found

    def bill(self, asks: Iterable[Ask]) -> Bill:
        """What `fetch` would send, and its price."""
        asks = list(asks)
        lacking = self._lacking(asks)
        return self._bill(len(lacking), sum(map(_tokens, lacking)), len(asks) - len(lacking))

    def foreseen(self, queries: Sequence[str], usual_tokens: float, rows: int) -> Bill:
        """About what `fetch` will send, where nobody knows yet what is found: `usual_tokens` are those of a text."""
        count = min(CANDIDATES, rows)
        tokens = sum(round(count * (estimate_tokens(query) + usual_tokens)) for query in queries)
        return self._bill(len(queries), tokens, 0)

    def fetch(self, asks: Iterable[Ask], progress: Progress) -> None:
        """Have scored what is not held, call by call; each is booked. What has come is kept, whatever happens after it.

        Raises ConfigError where a budget has no room for all of it (then nothing is sent), VendorError.
        """
        lacking = self._lacking(asks)
        if self._jobs is not None:
            if lacking:
                self._fetch_by_jobs(self._jobs, lacking, progress)
            return
        demand_room(self._settings, self._price, sum(map(_tokens, lacking)), self._clock)
        found: list[Rows] = []
        billed = 0
        try:
            for done, (query, texts) in enumerate(lacking):
                progress("reranking", done, len(lacking))
                order = self._asked(query, texts)
                scores = np.array([_OF_THE_QUERY, *order.scores], np.float32)
                found.append((self._key(query, texts), scores.reshape(-1, 1)))
                billed += order.tokens
                if len(found) == _TOGETHER:
                    self._kept.add(found, billed)
                    found, billed = [], 0
        finally:
            self._kept.add(found, billed)

    def _fetch_by_jobs(self, jobs: Jobs, lacking: Sequence[Ask], progress: Progress) -> None:
        requests = [
            Request(
                self._key(query, texts), [query, *texts], [0, *(_tokens((query, [text])) for text in texts)]
            )
            for query, texts in lacking
        ]
        jobs.fetch(requests, progress)
        self._kept.look()

    @property
    def _price(self) -> float | None:
        return sync_price(self._settings, self.model) if self._jobs is None else self._jobs.price

    def _asked(self, query: str, texts: Sequence[str]) -> Order:
        """One answer. Where the provider asks to wait, nothing has happened there, and it is asked again."""
        tries = 0
        while True:
            tries += 1
            try:
                return self._calls.rerank(query, texts, self.model)
            except RateLimitedError as exc:
                if tries == _TRIES:
                    raise
                self._clock.wait(max(exc.retry_after_s or 0.0, retry.wait_s("voyage", tries, self._clock)))
            except NotAskedError as exc:
                raise ConfigError(f"Nothing is reranked: {exc}") from exc

    def _lacking(self, asks: Iterable[Ask]) -> list[Ask]:
        """Those that are not held, each once."""
        lacking = {self._key(*ask): ask for ask in asks if ask[1]}
        return [ask for key, ask in lacking.items() if key not in self._kept]

    def _bill(self, count: int, tokens: int, held: int) -> Bill:
        usd = price_of(tokens, self._price)
        return Bill("rerank", self.model, count, tokens, False, usd, held)

    def _key(self, query: str, texts: Sequence[str]) -> bytes:
        return self._keys.key([query, *texts])


def _tokens(ask: Ask) -> int:
    """About what is billed: the query counts for each text."""
    query, texts = ask
    return estimate_tokens(query) * len(texts) + sum(map(estimate_tokens, texts))
