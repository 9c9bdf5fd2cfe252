"""The report of a `sync` as plain data, and the exit code that goes with it."""

from __future__ import annotations

from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import iso
from voyage_jobs.core.exit_codes import ExitCode
from voyage_jobs.service.signals import EXIT_BASE
from voyage_jobs.service.sync import Ending, Outcome

_ENDINGS = {
    Ending.DONE: ExitCode.DONE,
    Ending.UNFINISHED: ExitCode.UNFINISHED,
    Ending.REFUSED: ExitCode.REFUSED,
    Ending.OPERATOR: ExitCode.OPERATOR,
}


def exit_code(ending: Ending, stopped_by: int | None = None) -> int:
    """How the command ends; `stopped_by` is the signal that stopped it, if one did."""
    return int(_ENDINGS.get(ending, EXIT_BASE + (stopped_by or 0)))


def summary(outcome: Outcome, settings: Settings, stopped_by: int | None = None) -> dict[str, Any]:
    """The report of a `sync`, as `--json` gives it."""
    work = outcome.work
    return {
        "result": outcome.ending.value,
        "exit_code": exit_code(outcome.ending, stopped_by),
        "documents": {"published": work.documents_published, "removed": work.documents_removed},
        "chunks_published": work.chunks_published,
        "embeddings_sent": work.embeddings_sent,
        "batches": {"sent": work.batches_sent, "collected": work.batches_collected},
        "tokens": {"settled": work.settled_tokens, "saved": work.saved_tokens},
        "cost_usd": {"settled": work.settled_usd, "saved": work.saved_usd},
        "in_flight": [
            {
                "ref": batch.ref,
                "batch_id": batch.remote_id,
                "state": str(batch.state),
                "inputs": batch.inputs,
                "deadline_at": iso(batch.deadline_at),
            }
            for batch in outcome.in_flight
        ],
        "table": {"uri": settings.lancedb.uri, "name": settings.lancedb.table},
        "problems": [problem.as_dict() for problem in outcome.problems],
        "elapsed_s": round(outcome.elapsed_s, 3),
    }
