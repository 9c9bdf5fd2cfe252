"""What the provider billed, so that a test or an operator can see whether anything was paid twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from voyage_jobs.simulator.endpoints import Unit, list_digest, text_digest

_MOST_LISTED = 1000


class Ledger:
    """Counts what was bought: a text (or list of texts) under the parameters that change a vector.

    Only completed requests are billed. Results that the fault script spoilt (a wrong dimension, NaN ...)
    are billed as well, but kept apart: buying those again is right. Synchronous requests are kept apart
    too: they have another price, and a search repeated is paid again. `billed_at_both_prices` tells what was
    bought synchronously and once more, either way.
    """

    def __init__(self) -> None:
        self._times: dict[str, Counter[bytes]] = {}
        self._sync_times: dict[str, Counter[bytes]] = {}
        self._tokens: Counter[str] = Counter()
        self._batches: dict[str, Counter[str]] = {}

    def bill(self, purchase: str, batch_id: str, units: Iterable[Unit], *, spoilt: bool = False) -> None:
        """A request of a batch was completed."""
        batch = self._batches.setdefault(batch_id, Counter())
        batch["requests"] += 1
        for unit in units:
            batch["units"] += 1
            batch["tokens"] += unit.tokens
            self._tokens["spoilt" if spoilt else "batch"] += unit.tokens
            if not spoilt:
                self._times.setdefault(purchase, Counter())[unit.digest] += 1

    def bill_sync(self, purchase: str, units: Iterable[Unit], *, spoilt: bool = False) -> None:
        """A synchronous request was answered."""
        self._batches.setdefault("", Counter())["requests"] += 1
        for unit in units:
            self._tokens["sync_spoilt" if spoilt else "sync"] += unit.tokens
            if not spoilt:
                self._sync_times.setdefault(purchase, Counter())[unit.digest] += 1

    @property
    def batch_tokens(self) -> int:
        """Tokens billed for good results of batches."""
        return self._tokens["batch"]

    @property
    def spoilt_tokens(self) -> int:
        """Tokens billed for results that the fault script spoilt."""
        return self._tokens["spoilt"]

    @property
    def sync_tokens(self) -> int:
        """Tokens billed for good answers to synchronous requests."""
        return self._tokens["sync"]

    @property
    def sync_spoilt_tokens(self) -> int:
        """Tokens billed for answers to synchronous requests that the fault script spoilt."""
        return self._tokens["sync_spoilt"]

    def units(self) -> int:
        """How many different things were bought in batches."""
        return sum(map(len, self._times.values()))

    def times_billed(self, text: str | list[str]) -> int:
        """How often a text (or a contextualized list of chunks) was bought in batches, all told."""
        digest = text_digest(text) if isinstance(text, str) else list_digest(text)
        return sum(times[digest] for times in self._times.values())

    def times_billed_sync(self, text: str | list[str]) -> int:
        """How often a text (or a contextualized list of chunks) was bought synchronously, all told."""
        digest = text_digest(text) if isinstance(text, str) else list_digest(text)
        return sum(times[digest] for times in self._sync_times.values())

    def billed_at_both_prices(self) -> dict[str, int]:
        """What was bought synchronously and once more, either way; named as by `billed_more_than_once`."""
        return {
            f"{purchase}/{digest.hex()}": count + self._times.get(purchase, Counter())[digest]
            for purchase, times in self._sync_times.items()
            for digest, count in times.items()
            if count + self._times.get(purchase, Counter())[digest] > 1
        }

    def billed_more_than_once(self) -> dict[str, int]:
        """What was bought in batches more than once: `<parameters>/<digest of the text>` to the number of times."""
        return {
            f"{purchase}/{digest.hex()}": count
            for purchase, times in self._times.items()
            for digest, count in times.items()
            if count > 1
        }

    def export(self) -> dict[str, Any]:
        """Everything but the single texts, as plain data; of what was bought twice the first thousand."""
        twice = self.billed_more_than_once()
        return {
            "units": self.units(),
            "units_billed": sum(times.total() for times in self._times.values()),
            "tokens": {name: self._tokens[name] for name in ("batch", "spoilt", "sync", "sync_spoilt")},
            "sync_requests": self._batches.get("", Counter())["requests"],
            "billed_more_than_once": len(twice),
            "billed_at_both_prices": len(self.billed_at_both_prices()),
            "examples": dict(sorted(twice.items())[:_MOST_LISTED]),
            "batches": {name: dict(counts) for name, counts in self._batches.items() if name},
        }
