"""What a search asks of the provider: the vector of a query, and another order of what was found.

Both are synchronous calls that are billed when they are answered. Neither is made where a budget of the day or month
has no room for it. A vector costs a few tokens and is not booked; reranking costs as much as the texts are long, so it
is reserved before the call and settled after it. One client serves all threads, and no wait for it is long.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.prices import price_of, sync_price
from voyage_jobs.config.profile import with_profile
from voyage_jobs.config.provider import connect, shares_space, vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, now_us
from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.errors import (
    BadAnswerError,
    ConfigError,
    OutcomeUnknownError,
    StateError,
    VendorError,
    VoyageJobsError,
)
from voyage_jobs.vendors.base import Client, Reranker
from voyage_jobs.vendors.intent import sent_while_young

if TYPE_CHECKING:
    import httpx

    from voyage_jobs.core.profile import Profile

LONGEST_WAIT_S = 10.0
"""For an answer: somebody is waiting, and the rest of the search answers without it."""


class NotAskedError(Exception):
    """Nobody was asked, or no answer came; the text says why, as the end of a sentence."""


@dataclass(frozen=True)
class Vector:
    """The vector of a query and what made it, with the tokens that were billed (None: not known) and their price."""

    numbers: Sequence[float]
    model: str
    tokens: int | None
    usd: float | None


@dataclass(frozen=True)
class Order:
    """Scores of texts, in the order in which they were given, with what that cost."""

    scores: Sequence[float]
    tokens: int
    usd: float | None


class Calls:
    """The way to the provider for one project. Threads may share it."""

    def __init__(
        self, settings: Settings, clock: Clock, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._settings, self._clock, self._transport = settings, clock, transport
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Client] = {}

    def embed(self, text: str, profile: Profile) -> Vector:
        """The vector of a query for a table of this profile. Raises NotAskedError, VendorError."""
        settings = with_profile(self._settings, profile)
        asked = query_profile(profile, settings)
        price, since = sync_price(settings, asked.model), self._clock.uptime()
        if self._limited and not self._has_room(settings, price, 1):
            raise NotAskedError("a budget is spent.")
        client = self._client_of(settings)
        with self._while_young(client, since):
            embedded = client.embed([text], asked)
        usd = None if embedded.tokens is None else price_of(embedded.tokens, price)
        return Vector(embedded.vectors[0], asked.model, embedded.tokens, usd)

    def rerank(self, query: str, texts: Sequence[str], model: str) -> Order:
        """How well each text answers the query, by this model. Raises NotAskedError, VendorError."""
        client = self._reranker()
        price = sync_price(self._settings, model)
        asked = estimate_tokens(query) * len(texts) + sum(map(estimate_tokens, texts))
        since = self._clock.uptime()
        self._reserve(asked, price)
        try:
            with self._while_young(client, since):
                found = client.rerank(query, texts, model)
        except (OutcomeUnknownError, BadAnswerError):
            self._book("lost", asked, price)
            raise
        except VendorError:
            self._book("not_asked", asked, price)
            raise
        self._book("answered", asked, price, found.tokens)
        tokens = asked if found.tokens is None else found.tokens
        return Order(found.scores, tokens, price_of(tokens, price))

    def demand_reranker(self) -> None:
        """Raise NotAskedError where the provider has none, or cannot be reached with these settings. Asks nobody."""
        self._reranker()

    def _reranker(self) -> Reranker:
        client = self._client_of(self._settings)
        if not isinstance(client, Reranker):
            raise NotAskedError(f"{vendor_of(self._settings).title} has no reranker.")
        return client

    def _client_of(self, settings: Settings) -> Client:
        """The client of the provider that made the table's vectors, which may be another than the configured one."""
        where = settings.provider.type, settings.section.base_url
        with self._lock:
            if where not in self._clients:
                try:
                    client = connect(_in_haste(settings), self._clock, self._transport)
                except ConfigError as exc:
                    raise NotAskedError(f"the provider cannot be asked: {exc.message}") from exc
                self._clients[where] = client
                weakref.finalize(self, client.__exit__, None, None, None)
            return self._clients[where]

    def _while_young(self, client: Any, since: float) -> contextlib.AbstractContextManager[None]:
        return sent_while_young(client, since, self._settings.section.quarantine_s)

    # --- money ---

    @property
    def _limited(self) -> bool:
        """Whether there is a limit of a day or month: if not, no database is loaded. That of a run is of that run."""
        budget = self._settings.budget.model_dump(exclude_none=True)
        return any(key.startswith(("daily", "monthly")) for key in budget)

    def _has_room(self, settings: Settings, price: float | None, tokens: int) -> bool:
        from voyage_jobs.state.door import open_state

        state = open_state(settings)
        try:
            if not state.exists():
                return True
            with state.read() as connection:
                return _fits(connection, settings, price, tokens, now_us(self._clock))
        except StateError:
            return False

    def _reserve(self, tokens: int, price: float | None) -> None:
        from voyage_jobs.state import ledger

        with self._booking() as tx:
            if not _fits(tx.connection, self._settings, price, tokens, tx.now):
                raise NotAskedError("a budget has no room for it.")
            ledger.query_asked(tx, tokens, price)

    def _book(self, outcome: str, asked: int, price: float | None, billed: int | None = None) -> None:
        """What came of it. Where that cannot be written, the reservation stands for it."""
        from voyage_jobs.state import ledger

        with contextlib.suppress(NotAskedError), self._booking() as tx:
            if outcome == "answered":
                ledger.query_answered(tx, asked, billed, price)
            elif outcome == "lost":
                ledger.query_lost(tx, asked, price)
            else:
                ledger.query_not_asked(tx, asked, price)

    @contextlib.contextmanager
    def _booking(self) -> Iterator[Any]:
        from voyage_jobs.state.door import open_state

        try:
            with open_state(self._settings).beside(self._clock) as tx:
                yield tx
        except (VoyageJobsError, OSError) as exc:
            raise NotAskedError(f"it could not be booked: {getattr(exc, 'message', exc)}") from exc


def _in_haste(settings: Settings) -> Settings:
    """The same, with no wait that is too long for somebody who searches."""
    section: Any = settings.section
    if "timeout_s" not in type(section).model_fields:
        return settings
    hasty = section.model_copy(update={"timeout_s": min(section.timeout_s, LONGEST_WAIT_S)})
    return settings.model_copy(update={settings.section_name: hasty})


def query_profile(profile: Profile, settings: Settings) -> Profile:
    """What makes the vector of a query to a table of `profile`.

    `[search] query_model` does if its vectors can be compared with the table's: the table may be of another model than
    the configuration asks for, until `reprofile`.
    """
    model = settings.search.query_model
    if model and shares_space(vendor_of(settings), profile.model, model):
        profile = replace(profile, model=model)
    side = None if profile.input_type is None else "query"
    return replace(profile, input_type=side, prefix=settings.section.query_prefix)


def _fits(connection: Any, settings: Settings, price: float | None, tokens: int, now: int) -> bool:
    from voyage_jobs.diagnosis.rooms import rooms

    found = rooms(connection, settings, price, now)
    return all(room.tokens >= tokens for room in found if room.anew_at and room.source_id is None)
