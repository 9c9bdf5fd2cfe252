"""What was billed of the tokens that were estimated: how far the estimate may be trusted to fill the provider's window.

The estimate errs upwards, by how much depends on the texts and the model. Reservations and budgets go by it as it is;
what may be in flight goes by the highest share that was billed lately, and a plan says the mean beside the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from voyage_jobs.core import states
from voyage_jobs.state import counts
from voyage_jobs.state.statements import Prepared

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


# Purpose: the latest batches whose results are in, as they were estimated and as they were billed.
_LATEST = Prepared(
    "SELECT COUNT(*), SUM(estimated), SUM(billed), MAX(1.0 * billed / estimated) FROM"
    " (SELECT tokens_estimated AS estimated, tokens_settled AS billed FROM batches"
    f"  WHERE profile_id = :profile AND mode = '{states.Mode.BATCH}' AND tokens_settled > 0"
    "   AND tokens_estimated >= :least AND cancel_asked_at IS NULL ORDER BY id DESC LIMIT :latest) AS latest"
)


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
