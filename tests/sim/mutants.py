"""Worse versions of voyage-jobs, each with one safeguard taken out: the simulation must notice every one of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from voyage_jobs.core.clock import now_us
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import VendorError
from voyage_jobs.segments.behind import FileBehind
from voyage_jobs.state import batches, create_calls, missing, publications
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.statements import Prepared
from voyage_jobs.state.store import Store, Tx
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps import collect, reconcile, recover_remote, scan_ending, submit, synchronous
from voyage_jobs.steps.context import Context
from voyage_jobs.vendors import bounded

from .memory_table import MemoryTable
from .story import Plan

LOSSY = frozenset({"answer_lost", "request_lost", "effect_delayed", "job_hidden", "server_error"})
UNSEEN = frozenset({"effect_delayed", "job_hidden"})


@dataclass(frozen=True)
class Mutant:
    """`apply` takes the safeguard out for the time of a block; `plan` is the kind of life that needs it."""

    apply: Callable[[], AbstractContextManager[Any]]
    plan: Plan


def _no_attempt_row() -> AbstractContextManager[Any]:
    """Record the create call after its answer."""

    def create(context: Context, batch: BatchRow, calls: circuit.Calls) -> bool:
        if not calls.more("vendor", "create"):
            return False
        try:
            remote = context.client.create_batch(submit.job_of(context, batch))
        except VendorError as exc:
            circuit.failed(context, f"create {batch.ref}", exc)
            return True
        submit.crash_point("create.answered")
        with context.store.write() as tx:
            attempt = create_calls.open_attempt(tx, batch, None)
            batches.move(tx, batch, Batch.CREATING, "attempt 1")
            batch = batches.get(tx.connection, batch.id)
        reconcile.adopt(context, batch, attempt, remote, "created")
        return True

    return mock.patch.dict(submit._ADVANCE, {Batch.UPLOADED: create})


def _no_quarantine() -> AbstractContextManager[Any]:
    """Believe the list of jobs at once."""
    return mock.patch.object(reconcile, "_seconds_left", return_value=0.0)


def _blind_retry() -> AbstractContextManager[Any]:
    """Create again without looking for the job."""

    def again(context: Context, batch: BatchRow, calls: circuit.Calls) -> bool:
        del calls
        with context.store.read() as connection:
            attempt = create_calls.attempts_of(connection, batch.id)[-1]
        reconcile._give_up_attempt(context, batch, attempt)
        return True

    return mock.patch.dict(submit._ADVANCE, {Batch.CREATING: again})


def _lost_is_never_sent() -> AbstractContextManager[Any]:
    """Take a request whose answer is lost for one that was never sent."""

    def settle(context: Context, batch: BatchRow) -> None:
        with context.store.read() as connection:
            attempt = create_calls.attempts_of(connection, batch.id)[-1]
        synchronous._not_happened(context, batch, attempt, VendorError("It was never sent."))

    return mock.patch.object(synchronous, "_settle", settle)


def _sent_however_late() -> AbstractContextManager[Any]:
    """Send a call however long ago its attempt was recorded."""
    return mock.patch.object(bounded.Bounds, "demand_in_time")


def _any_version() -> AbstractContextManager[Any]:
    """Publish versions that were superseded, too."""
    state = r"(\w+)\.state = 'ready'(?: AND \1\.state IN \([^)]*\))?"
    anything, changed = re.subn(
        state, r"\1.state IN ('ready', 'retired', 'superseded')", str(publications._READY)
    )
    assert changed, "the statement is another one now: so must be this mutant"
    return mock.patch.object(publications, "_READY", publications.text(anything))


@contextlib.contextmanager
def _segment_last() -> Iterator[None]:
    """Record what became of the lines, and only then give the segment its name."""
    late: list[Callable[[], Any]] = []
    close, record = collect.SegmentWriter.close, collect._record

    def close_later(writer: Any) -> Any:
        temp, path = writer._temp, writer._path
        writer._path = temp.with_name(temp.name + ".late")
        written = close(writer)
        kept = writer._path
        late[:] = [lambda: kept.rename(path)]
        return type(written)(written.name.removesuffix(".tmp.late"), *_rest(written))

    def record_first(*args: Any) -> None:
        late_here, late[:] = list(late), []
        record(*args)
        for finish in late_here:
            finish()

    with (
        mock.patch.object(collect.SegmentWriter, "close", close_later),
        mock.patch.object(collect, "_record", record_first),
    ):
        yield


def _rest(written: Any) -> tuple[int, int, str]:
    return written.rows, written.bytes, written.sha256


def _append_only() -> AbstractContextManager[Any]:
    """Add rows without removing the old ones in the same commit."""

    def commit(table: MemoryTable, named: Any, added: Any) -> None:
        both = {key: [*table.documents.get(key, ()), *rows] for key, rows in added.items()}
        original(table, named & added.keys() if added else named, both)

    original = MemoryTable.commit
    return mock.patch.object(MemoryTable, "commit", commit)


def _no_fsync() -> AbstractContextManager[Any]:
    """Give a segment its name without having synced it."""

    def close(file: FileBehind) -> None:
        file.hand_over()
        while file._behind:
            file._behind.popleft().result()
        file._thread.shutdown()
        file._out.close()

    return mock.patch.object(FileBehind, "sync_and_close", close)


def _no_epoch() -> AbstractContextManager[Any]:
    """Let an instance that was superseded go on writing."""

    @contextlib.contextmanager
    def write(store: Store) -> Iterator[Tx]:
        with store._writer.begin() as connection:
            yield Tx(connection, now_us(store.clock), store.epoch)

    return mock.patch.object(Store, "write", write)


def _no_guard() -> AbstractContextManager[Any]:
    """Take an empty folder for a deletion of everything."""
    return mock.patch.object(scan_ending, "why_freeze", return_value=None)


def _kept_let_go() -> AbstractContextManager[Any]:
    """Forget, when grace periods end, what was to be kept."""
    return mock.patch.object(missing, "_DUE", Prepared(missing._MISSING_SINCE))


def _any_folder() -> AbstractContextManager[Any]:
    """Claim what another data folder sent, where half of its texts are known here."""
    return mock.patch.object(recover_remote, "_was_here", return_value=True)


def _any_job() -> AbstractContextManager[Any]:
    """Take any job of the list for the one that is looked for."""
    return mock.patch.object(reconcile, "is_ours", return_value=True)


NO_FAULTS = frozenset[str]()
OF_TWO = {
    "jobs of another folder claimed": Mutant(_any_folder, Plan(only=NO_FAULTS, often=("set back",))),
    "any job adopted": Mutant(_any_job, Plan(only=LOSSY)),
}
"""Those that only a second daemon with the same account can notice."""
MUTANTS = {
    "no attempt row": Mutant(_no_attempt_row, Plan(only=LOSSY, dies_at="create.answered")),
    "no quarantine": Mutant(_no_quarantine, Plan(only=UNSEEN, dies_at="create.answered")),
    "blind retry of create": Mutant(_blind_retry, Plan(only=LOSSY, dies_at="create.answered")),
    "lost answer taken for never sent": Mutant(
        _lost_is_never_sent, Plan(only=NO_FAULTS, dies_at="sync.answered", often=("expedite",))
    ),
    "attempt sent late": Mutant(_sent_however_late, Plan(only=NO_FAULTS, sleeps=0.5)),
    "stale version published": Mutant(_any_version, Plan(only=NO_FAULTS)),
    "pack after the outcomes": Mutant(_segment_last, Plan(only=NO_FAULTS, dies_at="collect.committed")),
    "append instead of flip": Mutant(_append_only, Plan(only=NO_FAULTS)),
    "pack not synced": Mutant(_no_fsync, Plan(only=NO_FAULTS, often=("power loss",))),
    "epoch not checked": Mutant(_no_epoch, Plan(only=NO_FAULTS, often=("takeover",))),
    "kept documents let go": Mutant(_kept_let_go, Plan(only=NO_FAULTS, often=("undelete",))),
    "mass deletion not guarded": Mutant(_no_guard, Plan(only=NO_FAULTS)),
}
