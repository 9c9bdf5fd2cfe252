"""The vectors of queries: each is paid for once and kept in the data folder, by the key of its profile and text.

They lie in segments of their own in `queries/`, apart from those of documents, which the state accounts for. Deleting
that folder costs the price of the queries, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voyage_jobs.config.prices import price_of, sync_price
from voyage_jobs.config.profile import with_profile
from voyage_jobs.config.provider import connect, vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, now_us
from voyage_jobs.core.profile import KEY_BYTES, KeyMaker, Profile
from voyage_jobs.core.states import Mode
from voyage_jobs.diagnosis.rooms import rooms
from voyage_jobs.errors import ConfigError, CorruptionError
from voyage_jobs.retrieval.calls import query_profile
from voyage_jobs.segments.format import Billed
from voyage_jobs.segments.store import SegmentStore
from voyage_jobs.state.door import open_state
from voyage_jobs.steps.filling import Filling, Limits
from voyage_jobs.steps.synchronous import MOST_BYTES, MOST_INPUTS, MOST_TOKENS

if TYPE_CHECKING:
    import httpx

Progress = Callable[[str, int, int | None], None]
"""Takes (what, done, total or None)."""
_CALL = Limits(MOST_INPUTS, MOST_BYTES, MOST_TOKENS)


@dataclass(frozen=True)
class Bill:
    """What is to be embedded, and its price. `tokens` are estimated unless `exact`; `usd` is None without a price."""

    model: str
    texts: int
    tokens: int
    exact: bool
    usd: float | None
    held: int

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return vars(self)


class QueryVectors:
    """The vectors of queries to tables of one profile, in `folder`. `settings` say who is asked for them."""

    def __init__(
        self,
        settings: Settings,
        profile: Profile,
        folder: Path,
        clock: Clock,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._profile = query_profile(profile, with_profile(settings, profile))
        self._settings = with_profile(settings, self._profile)
        self._clock, self._transport = clock, transport
        self._keys = KeyMaker(self._profile)
        self._count = vendor_of(self._settings).tokenizer(self._settings.tokenizer_file)
        self._store = SegmentStore(folder)
        self._places: dict[bytes, tuple[str, int]] = {}
        for name in self._store.names():
            if name.startswith(f"{self._profile.fingerprint[:12]}/"):
                self._note(name)

    def of(self, text: str) -> np.ndarray:
        """The vector of a query that is held. KeyError for one that is not."""
        name, row = self._places[self._key(text)]
        vector: np.ndarray = self._store.open(name).take(np.array([row]))[0]
        return vector

    def lacking(self, texts: Sequence[str]) -> list[str]:
        """Those that have no vector yet, each once."""
        return [text for text in dict.fromkeys(texts) if self._key(text) not in self._places]

    def bill(self, texts: Sequence[str]) -> Bill:
        """What `fetch` would send, and its price."""
        lacking = self.lacking(texts)
        tokens = sum(self._counted(lacking))
        usd = price_of(tokens, sync_price(self._settings, self._profile.model))
        held = len(set(texts)) - len(lacking)
        return Bill(self._profile.model, len(lacking), tokens, self._count.exact, usd, held)

    def fetch(self, texts: Sequence[str], progress: Progress) -> int | None:
        """Embed what is lacking by synchronous calls; the tokens that were billed, None if an answer did not say.

        What has come is kept, whatever happens after it. Raises ConfigError where a budget has no room for all of it
        (then nothing is sent), VendorError.
        """
        lacking = self.lacking(texts)
        if not lacking:
            return 0
        counts = self._counted(lacking)
        self._demand_room(sum(counts))
        billed: list[int | None] = []
        done = 0
        with connect(self._settings, self._clock, self._transport) as client:
            for part in _calls(lacking, counts):
                progress("embedding queries", done, len(lacking))
                found = client.embed(part, self._profile)
                self._keep(part, found.vectors, found.tokens)
                billed.append(found.tokens)
                done += len(part)
        return None if None in billed else sum(filter(None, billed))

    def _key(self, text: str) -> bytes:
        return self._keys.key([text])

    def _counted(self, texts: Sequence[str]) -> list[int]:
        return self._count([self._profile.prefix + text for text in texts]) if texts else []

    def _keep(self, texts: Sequence[str], vectors: np.ndarray, tokens: int | None) -> None:
        keys = np.frombuffer(b"".join(map(self._key, texts)), np.uint8)
        with self._store.writer(self._profile, f"queries-{self._clock.token()}", Mode.SYNC) as segment:
            segment.append(
                keys.reshape(-1, KEY_BYTES),
                np.zeros(len(texts), np.int32),
                np.ascontiguousarray(vectors, self._profile.storage_dtype),
            )
            written = segment.close(None if tokens is None else Billed(tokens, now_us(self._clock)))
        self._note(written.name)

    def _note(self, name: str) -> None:
        """Know what a segment holds; one that is damaged holds nothing, and its queries are embedded again."""
        row = 0
        try:
            batches = self._store.open(name).keys()
            for keys, _ in batches:
                for key in keys:
                    self._places[key.tobytes()] = (name, row)
                    row += 1
        except CorruptionError:
            return

    def _demand_room(self, tokens: int) -> None:
        state = open_state(self._settings)
        if not self._settings.budget.model_dump(exclude_none=True) or not state.exists():
            return
        with state.read() as connection:
            found = list(
                rooms(
                    connection,
                    self._settings,
                    sync_price(self._settings, self._profile.model),
                    now_us(self._clock),
                )
            )
        # The limit of a run is of that run, that of a source of its documents.
        tight = [room for room in found if room.anew_at and room.source_id is None and room.tokens < tokens]
        if tight:
            raise ConfigError(
                f"{tight[0].setting} allows {max(0, tight[0].tokens):,} tokens, the queries have {tokens:,}."
                " Nothing was sent.",
                hint="Raise it, wait for the next day or month, or evaluate with --run words, which costs nothing.",
            )


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
