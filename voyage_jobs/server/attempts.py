"""Wrong tokens, by client: each is answered later than the one before, and after a few nothing more is looked at.

A client is an address (of IPv6 a /64, which is what one customer is given). While the answer to one wrong token is
held back, the client's others are refused unread: asking in parallel gains nothing. Tokens and cookies are counted
apart, so that somebody who guesses tokens does not put out those who are logged in at the same address; a cookie that
was refused before is no new guess, so that a page left open after the token was replaced locks nobody out.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from voyage_jobs.core.clock import Clock
from voyage_jobs.server.guard import Kind, Proof

DELAYS_S = (1.0, 2.0, 4.0, 8.0)
"""For how long the answers to the first wrong tokens are held back; the next wrong one locks the client out."""
LOCKED_S = 300.0
FORGOTTEN_S = 900.0
MOST_CLIENTS = 1_024


@dataclass
class _Record:
    """What one client offered: how often, when it may offer again, when all is forgotten (monotonic), and hashes."""

    wrong: int = 0
    again_at: float = 0.0
    forgotten_at: float = 0.0
    seen: set[bytes] = field(default_factory=set)


class Attempts:
    """The clients that offered something wrong lately. For one event loop; bounded, the oldest are forgotten first."""

    def __init__(self, clock: Clock, log: Any) -> None:
        self._clock, self._log = clock, log
        self._records: OrderedDict[tuple[Kind, str], _Record] = OrderedDict()

    def wait_s(self, client: str, proof: Proof) -> int:
        """In how many whole seconds this may be looked at; 0 for now."""
        record = self._record(client, proof.kind)
        if record is None or _is_repeated(record, proof):
            return 0
        return max(0, math.ceil(record.again_at - self._clock.mono()))

    def wrong(self, client: str, proof: Proof) -> float:
        """Count what was looked at and is wrong; for how many seconds the answer is to be held back."""
        now, record = self._clock.mono(), self._record(client, proof.kind)
        if record is not None and _is_repeated(record, proof):
            return 0.0
        if record is None:
            record = self._records[proof.kind, client] = _Record()
            self._log.warning("page.token_rejected", client=client, what=str(proof.kind))
        self._records.move_to_end((proof.kind, client))
        while len(self._records) > MOST_CLIENTS:
            self._records.popitem(last=False)
        record.wrong += 1
        record.seen.add(_digest(proof))
        if record.wrong > len(DELAYS_S):
            record.again_at = record.forgotten_at = now + LOCKED_S
            what, for_s = str(proof.kind), LOCKED_S
            self._log.warning(
                "page.client_locked_out", client=client, what=what, wrong=record.wrong, for_s=for_s
            )
            return 0.0
        delay_s = DELAYS_S[record.wrong - 1]
        record.again_at, record.forgotten_at = now + delay_s, now + FORGOTTEN_S
        return delay_s

    def __len__(self) -> int:
        return len(self._records)

    def _record(self, client: str, kind: Kind) -> _Record | None:
        record = self._records.get((kind, client))
        if record is not None and self._clock.mono() >= record.forgotten_at:
            del self._records[kind, client]
            return None
        return record


def _is_repeated(record: _Record, proof: Proof) -> bool:
    return proof.kind is Kind.COOKIE and _digest(proof) in record.seen


def _digest(proof: Proof) -> bytes:
    return hashlib.sha256(proof.value.encode("utf-8", "surrogatepass")).digest()
