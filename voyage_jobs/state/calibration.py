"""What was billed of the tokens that were estimated: how far the estimate may be trusted to fill the provider's window.

The estimate errs upwards, by how much depends on the texts and the model. Only lines that were answered tell: what
failed, expired or was cancelled is billed with nothing, however well it was estimated. Reservations and budgets go by
it as it is; what may be in flight goes by the highest share that was billed lately, and a plan says the mean beside the
estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from voyage_jobs.core import states
from voyage_jobs.state import counts, meta
from voyage_jobs.state.statements import Prepared
from voyage_jobs.state.store import Tx

LATEST = 20
LEAST_TOKENS = 500
"""Batches of fewer (estimated) tokens tell too little."""


@dataclass(frozen=True)
class Calibration:
    """The latest batches of a profile: how many, their tokens as estimated and as billed, and the highest share."""

    batches: int
    estimated_tokens: int
    billed_tokens: int
    highest: float

    @property
    def mean(self) -> float:
        """The share of the estimate that was billed."""
        return self.billed_tokens / self.estimated_tokens


_ANSWERED = "answered_tokens."  # in meta, by batch: the estimated tokens of its lines that were answered
# Purpose: the latest batches whose results are in, as their answered lines were estimated and as they were billed. Of
# those of releases that noted no such sum, only batches whose every line was answered tell.
_LATEST = Prepared(
    "SELECT COUNT(*), SUM(estimated), SUM(billed), MAX(1.0 * billed / estimated) FROM"
    " (SELECT COALESCE(CAST(m.value AS INTEGER), CASE WHEN b.remote_completed = b.remote_total"
    "    THEN b.tokens_estimated END) AS estimated, b.tokens_settled AS billed"
    f"  FROM batches b LEFT JOIN meta m ON m.key = '{_ANSWERED}' || b.id"
    f"  WHERE b.profile_id = :profile AND b.mode = '{states.Mode.BATCH}' AND b.tokens_settled > 0"
    "   AND estimated >= :least AND b.cancel_asked_at IS NULL ORDER BY b.id DESC LIMIT :latest) AS latest"
)


def note(tx: Tx, batch_id: int, estimated_tokens: int) -> None:
    """The results of a batch are in: `estimated_tokens` are those of its lines that were answered."""
    meta.put(tx, f"{_ANSWERED}{batch_id}", str(estimated_tokens))


def of_profile(connection: Connection, profile_id: int) -> Calibration | None:
    """What is known; None where nothing is, and where tokens are counted by the model's tokenizer."""
    if counts.counted(connection).by != counts.ESTIMATE:
        return None
    found = _LATEST.row(connection, profile=profile_id, least=LEAST_TOKENS, latest=LATEST)
    return Calibration(*found) if found[0] else None


def billed_share(connection: Connection, profile_id: int) -> float:
    """What estimated tokens are to be multiplied by to be those of the provider, rather too much than too little."""
    found = of_profile(connection, profile_id)
    return 1.0 if found is None else found.highest
