"""The vectors of queries: each is paid for once and kept, by the key of its profile and text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voyage_jobs.config.prices import price_of, sync_price
from voyage_jobs.config.profile import with_profile
from voyage_jobs.config.provider import connect, vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.profile import KeyMaker, Profile
from voyage_jobs.evaluation.jobs import Jobs, Request, Working, demand_room
from voyage_jobs.evaluation.kept import Bill, Kept, Progress
from voyage_jobs.retrieval.calls import query_profile
from voyage_jobs.steps.filling import Filling, Limits
from voyage_jobs.steps.synchronous import MOST_BYTES, MOST_INPUTS, MOST_TOKENS
from voyage_jobs.vendors.intent import sent_while_young

if TYPE_CHECKING:
    import httpx

_CALL = Limits(MOST_INPUTS, MOST_BYTES, MOST_TOKENS)


class QueryVectors:
    """The vectors of queries to tables of one profile, in `folder`. `settings` say who is asked for them."""

    def __init__(
        self,
        settings: Settings,
        profile: Profile,
        folder: Path,
        clock: Clock,
        transport: httpx.BaseTransport | None = None,
        working: Working | None = None,
    ) -> None:
        self._profile = query_profile(profile, with_profile(settings, profile))
        self._settings = with_profile(settings, self._profile)
        self._clock, self._transport = clock, transport
        self._keys = KeyMaker(self._profile)
        self._count = vendor_of(self._settings).tokenizer(self._settings.tokenizer_file)
        self._jobs = Jobs(self._settings, self._profile, folder, clock, working) if working else None
        self._kept = Kept(folder, self._profile, clock, *([self._jobs.vectors] if self._jobs else []))

    def of(self, text: str) -> np.ndarray:
        """The vector of a query that is held. KeyError for one that is not."""
        vector: np.ndarray = self._kept.rows(self._key(text))[0]
        return vector

    def lacking(self, texts: Sequence[str]) -> list[str]:
        """Those that have no vector yet, each once."""
        return [text for text in dict.fromkeys(texts) if self._key(text) not in self._kept]

    def bill(self, texts: Sequence[str]) -> Bill:
        """What `fetch` would send, and its price."""
        lacking = self.lacking(texts)
        tokens = sum(self._counted(lacking))
        usd = price_of(tokens, self._price)
        held = len(set(texts)) - len(lacking)
        return Bill("embed", self._profile.model, len(lacking), tokens, self._count.exact, usd, held)

    def fetch(self, texts: Sequence[str], progress: Progress) -> int | None:
        """Embed what is lacking; the tokens of synchronous calls that were billed, None if an answer did not say.

        What has come is kept, whatever happens after it. Raises ConfigError where a budget has no room for all of it
        (then nothing is sent), VendorError.
        """
        lacking = self.lacking(texts)
        if not lacking:
            return 0
        counts = self._counted(lacking)
        if self._jobs is not None:
            requests = [
                Request(self._key(text), [text], [count]) for text, count in zip(lacking, counts, strict=True)
            ]
            self._jobs.fetch(requests, progress)
            self._kept.look()
            return 0
        demand_room(self._settings, self._price, sum(counts), self._clock)
        billed: list[int | None] = []
        done = 0
        with connect(self._settings, self._clock, self._transport) as client:
            for part in _calls(lacking, counts):
                progress("embedding queries", done, len(lacking))
                since = self._clock.uptime()
                with sent_while_young(client, since, self._settings.section.quarantine_s):
                    found = client.embed(part, self._profile)
                rows = [(self._key(text), found.vectors[at : at + 1]) for at, text in enumerate(part)]
                self._kept.add(rows, found.tokens)
                billed.append(found.tokens)
                done += len(part)
        return None if None in billed else sum(filter(None, billed))

    @property
    def _price(self) -> float | None:
        return sync_price(self._settings, self._profile.model) if self._jobs is None else self._jobs.price

    def _key(self, text: str) -> bytes:
        return self._keys.key([text])

    def _counted(self, texts: Sequence[str]) -> list[int]:
        return self._count([self._profile.prefix + text for text in texts]) if texts else []


def _calls(texts: Sequence[str], counts: Sequence[int]) -> Iterator[list[str]]:
    """The texts of each call."""
    part: list[str] = []
    filling = Filling(_CALL)
    for text, tokens in zip(texts, counts, strict=True):
        if not filling.take(1, len(text.encode()), tokens) and part:
            yield part
            part, filling = [], Filling(_CALL)
            filling.take(1, len(text.encode()), tokens)
        part.append(text)
    if part:
        yield part
