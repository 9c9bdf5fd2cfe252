"""Who committed what: each commit names the state, and the start of it (its epoch), that made it.

It is made only while no later start of that state has committed.

One process at a time writes to a table: that is the duty of the lock on the data folder. A copy of that folder on
another machine, or a process that was frozen while another took over, does not see the lock. So before a commit the
versions that somebody else has added since are looked at: where the same state has committed under a later epoch, this
process was superseded and stops. Between that look and the write are milliseconds, which no store closes; what was
written into them is looked at once more afterwards, and never acknowledged.
"""

from __future__ import annotations

import uuid
from typing import Any

from voyage_jobs.errors import EpochLostError
from voyage_jobs.table.engine import open_writing

_STATE, _EPOCH = "voyage_jobs.state", "voyage_jobs.epoch"
_FIRST_LOOK = 3  # versions, at the first commit of a process


class Fence:
    """What one process knows of a table's newest commits. `state` and `epoch` are its own; None: nobody is kept out."""

    def __init__(self, state: str | None, epoch: int | None) -> None:
        self._state, self._epoch = state, epoch
        self._looked_at: int | None = None

    @property
    def properties(self) -> dict[str, str] | None:
        """What a commit of this process carries."""
        if self._state is None or self._epoch is None:
            return None
        return {_STATE: self._state, _EPOCH: str(self._epoch)}

    def demand(self, dataset: Any) -> None:
        """Raise `EpochLostError` if a later start of the same state has committed since the last look."""
        newest = int(dataset.version)
        if self.properties is None or self._looked_at == newest:
            return
        first = newest - _FIRST_LOOK + 1 if self._looked_at is None else self._looked_at + 1
        for version in range(max(1, first), newest + 1):
            self._demand_not_superseded(dataset, version)
        self._looked_at = newest

    def commit(self, dataset: Any, operation: Any) -> Any:
        """Commit an operation that was worked out against this version. The dataset as it is afterwards.

        Raises `EpochLostError`, Lance's own for a conflict.
        """
        import lance

        self.demand(dataset)
        transaction = lance.Transaction(dataset.version, operation, str(uuid.uuid4()), self.properties or {})
        with open_writing(str(dataset.uri)):
            done = lance.LanceDataset.commit(dataset, transaction)
        if int(done.version) == int(dataset.version) + 1:
            self._looked_at = int(done.version)
        else:
            self.demand(done)  # somebody came in between
        return done

    def _demand_not_superseded(self, dataset: Any, version: int) -> None:
        try:
            found = dataset.read_transaction(version)
        except (OSError, ValueError):  # cleaned up: then what came after it is what counts
            return
        except (
            TypeError
        ):  # Lance 14 cannot hand over a compaction that moved indexed rows; none names who made it
            return
        carried = (found and found.transaction_properties) or {}
        if carried.get(_STATE) != self._state or not carried.get(_EPOCH, "").isdigit():
            return
        if int(carried[_EPOCH]) > (self._epoch or 0):
            raise EpochLostError(
                f"Another instance of this data folder has published as version {version} of the table at"
                f" {dataset.uri}; this one stops at once."
            )
