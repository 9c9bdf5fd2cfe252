"""The simulated provider as the demonstration sees it: its jobs and its bill, over the simulator's control calls."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

_TIMEOUT_S = 10


@dataclass(frozen=True)
class Bill:
    """What was billed in batches: different texts, texts in all, and how many of them more than once."""

    texts: int
    billed: int
    twice: int
    tokens: int


class Vendor:
    """A simulator on this machine, by the base URL that it announced."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._root = base_url.removesuffix("/v1")
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs it has, in the shape of the Batch API."""
        found: list[dict[str, Any]] = self._get("state")["batches"]
        return found

    def refs(self) -> list[str]:
        """The reference that each job carries."""
        return [job["metadata"]["voyage_jobs_ref"] for job in self.jobs()]

    def bill(self) -> Bill:
        """The ledger, by now."""
        ledger = self._get("ledger")
        return Bill(
            ledger["units"],
            ledger["units_billed"],
            ledger["billed_more_than_once"],
            ledger["tokens"]["batch"],
        )

    def answers_lost(self) -> int:
        """How many answers to the create call the fault script made disappear."""
        return int(self._get("state")["faults_fired"].get("answer_lost", 0))

    def _get(self, what: str) -> Any:
        with self._opener.open(f"{self._root}/_simulator/{what}", timeout=_TIMEOUT_S) as answer:
            return json.load(answer)
