"""Counts for metrics that `status` does not show. Indexes answer them; nothing walks through what is published."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from voyage_jobs.state.schema import DROPPED, FAILED, PACKED, WANTED
from voyage_jobs.states import Attempt, Embedding

# Purpose: embeddings that are on their way or in trouble: partial indexes have just these.
_FEW = text(
    "SELECT "
    + ", ".join(
        f"(SELECT COUNT(*) FROM embeddings WHERE state = {code})"
        for code in (WANTED, PACKED, FAILED, DROPPED)
    )
)
# Purpose: all embeddings ever (the shortest index is counted).
_ALL = text("SELECT COUNT(*) FROM embeddings")
# Purpose: what became of the calls that create jobs; one row a batch.
_ATTEMPTS = text("SELECT state, COUNT(*) AS times FROM attempts GROUP BY state")
# Purpose: bytes of the packs, without touching the folder.
_PACKS = text("SELECT COALESCE(SUM(bytes), 0) FROM packs")


@dataclass(frozen=True)
class Figures:
    """One moment: embeddings by state (packed stands for submitted, too), create attempts by state, bytes of packs."""

    embeddings: dict[str, int]
    attempts: dict[str, int]
    pack_bytes: int


def figures(connection: Connection) -> Figures:
    """Count them."""
    wanted, packed, failed, dropped = connection.execute(_FEW).one()
    held = int(connection.execute(_ALL).scalar_one()) - wanted - packed - failed - dropped
    states = (Embedding.WANTED, Embedding.PACKED, Embedding.HELD, Embedding.FAILED, Embedding.DROPPED)
    counts = (wanted, packed, held, failed, dropped)
    attempts = {str(state): 0 for state in Attempt}
    attempts.update((row.state, row.times) for row in connection.execute(_ATTEMPTS))
    return Figures(
        dict(zip(map(str, states), counts, strict=True)),
        attempts,
        int(connection.execute(_PACKS).scalar_one()),
    )
