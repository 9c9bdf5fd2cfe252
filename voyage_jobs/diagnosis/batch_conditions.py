"""What is not as it should be, or worth knowing, of batches and the embeddings in them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from voyage_jobs.core.clock import US, iso
from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import BEFORE_THE_JOB, UNFINISHED, Batch
from voyage_jobs.diagnosis.blocker import (
    ASSEMBLE,
    CREATE,
    EVERY_STEP,
    OF_A_BATCH,
    RECONCILE,
    SUBMIT,
    Blocker,
    Mover,
    shortened,
)
from voyage_jobs.diagnosis.circuits import PASSING_FAILURES
from voyage_jobs.diagnosis.entry import Blockers, Cause, Say, entered_in
from voyage_jobs.diagnosis.snapshot import Facts, Gate, Moment
from voyage_jobs.state.batches import NO_ROOM, UNUSABLE, BatchRow
from voyage_jobs.vendors.remote import Phase

DEADLINE_GRACE_S = 600
MOVED_ON_BY: dict[Batch, tuple[str, ...]] = {
    **dict.fromkeys(BEFORE_THE_JOB, (SUBMIT,)),
    Batch.UPLOADED: (SUBMIT, CREATE),
    Batch.CREATING: (RECONCILE,),
    Batch.RUNNING: ("poll",),
    Batch.ENDED: ("collect",),
}
"""What must not be kept back for an open batch to move on."""
_RESUMES = "The next `voyage-jobs sync` or `voyage-jobs run` resumes it."
_REFS = 5  # refs named in one message

CAUSES: list[Cause] = []
cause = entered_in(CAUSES)


@cause("parked", moved_by=Mover.DECISION, stops=tuple(OF_A_BATCH))
def _parked(gate: Gate, say: Say) -> Blockers:
    for batch in gate.open:
        if batch.state is Batch.PARKED and batch.code != UNUSABLE:
            yield say(
                f"Batch {batch.ref} is parked with {counted(batch.inputs, 'text')}",
                batch.hint or f"`voyage-jobs retry {batch.ref}` tries again.",
                words=batch.reason,
                batch=batch.ref,
                since=batch.failing_since,
                numbers={"inputs": batch.inputs},
            )


@cause("failing", moved_by=Mover.TIME)
def _failing(gate: Gate, say: Say) -> Blockers:
    """Batches that fail alone. Others do not wait for them."""
    for batch in gate.open:
        if batch.state is not Batch.PARKED and batch.error is not None and batch.failures:
            again = (
                f"It is tried again at {iso(batch.due_at)}; nothing is lost and no other batch waits for it."
            )
            yield say(
                f"Batch {batch.ref} ({batch.state}) failed {counted(batch.failures, 'time')} in a row",
                f"{again} {batch.hint}" if batch.hint else again,
                words=batch.error,
                severity="info" if batch.failures < PASSING_FAILURES else "problem",
                stops=frozenset(MOVED_ON_BY[batch.state]),
                batch=batch.ref,
                since=batch.failing_since,
                until=batch.due_at,
            )


@cause("unknown_status", moved_by=Mover.PROVIDER, severity="info")
def _unknown_status(gate: Gate, say: Say) -> Blockers:
    """In its time; past that it is stuck."""
    for batch in gate.open:
        if (
            batch.state is Batch.RUNNING
            and has_unknown_status(gate, batch)
            and not is_overdue(batch, gate.now)
        ):
            yield say(
                f"{gate.provider} calls the job of batch {batch.ref} {batch.remote_status!r}, a word that voyage-jobs"
                " does not know",
                "Nothing to do: it is asked about again. An hour past its window its results are taken, if it names"
                " any.",
                batch=batch.ref,
            )


def has_unknown_status(gate: Gate, batch: BatchRow) -> bool:
    """Whether the provider has a word for the job that is not known."""
    return bool(batch.remote_status) and gate.vendor.phase(batch.remote_status or "") is Phase.UNKNOWN


def is_overdue(batch: BatchRow, now: int) -> bool:
    """Whether the job should have ended, and some minutes ago."""
    return batch.deadline_at is not None and now - batch.deadline_at > DEADLINE_GRACE_S * US


@cause("refused", needs=Facts, moved_by=Mover.PROCESS, severity="info")
def _refused(facts: Facts, say: Say) -> Blockers:
    for batch in facts.refused:
        words, full = batch.reason or "no reason given", batch.code == NO_ROOM
        hint = "Nothing to do: its lines are sent again in smaller batches until the bad one is alone."
        text = f"{facts.provider} refused batch {batch.ref}"
        if full:
            hint = "Nothing to do: its lines are sent again as jobs end, and no more than there is room for."
            text = f"{facts.provider} had no room for batch {batch.ref}"
        yield say(text, hint, words=words, batch=batch.ref)


@cause("duplicate_jobs", needs=Facts, moved_by=Mover.TIME, severity="info")
def _duplicates(facts: Facts, say: Say) -> Blockers:
    if facts.duplicates:
        yield say(
            f"{facts.duplicates} second jobs for one batch were found at {facts.provider}, and cancelled",
            "The log has their ids (`batch.duplicate`); what they had finished is on the provider's bill, and in no sum"
            " here.",
        )


@cause("in_flight", needs=Moment, moved_by=Mover.PROVIDER, stops=("embed",))
def _in_flight(moment: Moment, say: Say) -> Blockers:
    """The ordinary course of things; at the end of a `sync` it is what remains."""
    unsent = [batch for batch in moment.open if batch.state in BEFORE_THE_JOB]
    sent = [batch for batch in moment.open if batch.state in UNFINISHED and batch.state not in BEFORE_THE_JOB]
    for words, jobs in (("In flight", sent), ("Not sent yet", unsent)):
        if not jobs:
            continue
        inputs = counted(sum(batch.inputs for batch in jobs), "input")
        yield say(
            f"{words}: {counted(len(jobs), 'batch')} with {inputs}: {refs(jobs)}",
            f"Nothing is lost. {_RESUMES}",
            severity="wait" if moment.run is None else "info",
        )


def refs(jobs: Sequence[BatchRow]) -> str:
    """Their refs, the first few."""
    named = ", ".join(batch.ref for batch in jobs[:_REFS])
    return named + (f" and {len(jobs) - _REFS} more" if len(jobs) > _REFS else "")


@cause("timeout", needs=Moment, moved_by=Mover.PROCESS, stops=tuple(EVERY_STEP))
def _timeout(moment: Moment, say: Say) -> Blockers:
    if moment.run is not None and moment.run.timed_out:
        yield say("The time limit of --timeout was reached", _RESUMES)


@cause("failed", needs=Moment, moved_by=Mover.OPERATOR, stops=("embed",))
def _failed(moment: Moment, say: Say) -> Blockers:
    if not moment.failed:
        return
    if isinstance(moment, Facts):
        reasons = [(shortened(each) or "").rstrip(".") for each in moment.failure_reasons]
        words = "; ".join(reasons) or "no reason given"
        hint = "`voyage-jobs retry` tries them again; documents with other chunks are published without them."
    else:
        words, hint = None, "`voyage-jobs status` says why, `voyage-jobs retry` tries them again."
    what = counted(moment.failed, moment.noun)
    yield say(f"{what} could not be embedded", hint, words=words, numbers={f"{moment.noun}s": moment.failed})


@cause("cancelled", needs=Moment, moved_by=Mover.OPERATOR, stops=("embed",))
def _cancelled(moment: Moment, say: Say) -> Blockers:
    if moment.cancelled:
        what = counted(moment.cancelled, moment.noun)
        yield say(f"Cancelled and still needed: {what}", "`voyage-jobs retry` sends them again.")


@cause("text_missing", needs=Moment)
def _text_missing(moment: Moment, _say: Say) -> Blockers:
    """Where nothing else explains at the end of a `sync` that texts wait."""
    if moment.run is not None and moment.run.quiet and moment.waiting.embeddings:
        yield text_missing("their files have changed or gone")


def text_missing(text: str) -> Blocker:
    """What is to be sent or shown has no text: its file is not what it was when it was read."""
    hint = "Nothing to do: the next scan that finds the files reads them again."
    stops = frozenset({ASSEMBLE, "publish"})
    return Blocker(text, hint, "text_missing", Mover.PROCESS, "wait", stops=stops)
