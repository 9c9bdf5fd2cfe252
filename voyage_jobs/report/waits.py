"""What something that is not in the table waits for, exactly, until when, and what would help. Pure.

The reasons, their order and their words are those of `diagnosis`; here stands what becomes of a text, batch or version
that nothing keeps back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from voyage_jobs.core.clock import US
from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import BEFORE_THE_JOB, Batch
from voyage_jobs.diagnosis.batch_conditions import MOVED_ON_BY, has_unknown_status
from voyage_jobs.diagnosis.blocker import NOTHING_TO_DO, SENDING, Blocker, keeping, sentence
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.snapshot import Moment, Text
from voyage_jobs.report.eta import of_job
from voyage_jobs.report.words import clock_time, span, when
from voyage_jobs.state.batches import BatchRow


@dataclass(frozen=True)
class Wait:
    """A reason: a stable code, a sentence, about when it is over (microseconds UTC, None: not known), what to do."""

    code: str
    text: str
    until: int | None
    next: str


def first(m: Moment, *steps: str, source: str | None = None, batch: str | None = None) -> Wait | None:
    """The first reason that keeps back one of these steps now, for something of that source or batch."""
    found = keeping(blockers(m), *steps, source=source, batch=batch, now=m.now)
    return next((_told(m, each) for each in found), None)


def _told(m: Moment, each: Blocker) -> Wait:
    until = ""
    if each.circuit and each.until is not None and each.until > m.now:
        until = f" until {when(each.until, m.now)}"
    text = sentence(f"{each.text.removesuffix('.')}{until}{f': {each.words}' if each.words else ''}")
    return Wait(each.code, text, each.until, each.next)


def _then(said: str, found: Wait) -> Wait:
    return Wait(found.code, f"{said} {found.text}", found.until, found.next)


# --- a text that is to be sent ---


def to_be_sent(m: Moment, text: Text) -> Wait:
    """Why it was not sent yet."""
    found = first(replace(m, asking=text), *SENDING, source=m.source_name(text.source_id))
    if found is not None:
        return found
    smaller = (
        f" It was in a batch that {m.provider} refused or did not answer, so it goes in a smaller one."
        if text.refusals
        else ""
    )
    before = text.ahead // max(1, m.settings.batching.max_inputs)
    turn = "the next batch" if before < 1 else f"a batch after about {counted(before, 'other')}"
    return Wait("next", f"It goes with {turn}.{smaller}", None, NOTHING_TO_DO)


# --- a batch ---


def of_batch(m: Moment, batch: BatchRow, sent_at: int | None = None) -> Wait | None:
    """What an open batch waits for; None for one that is over. `sent_at`: its last create call."""
    steps = MOVED_ON_BY.get(batch.state, ())
    held = keeping(blockers(m), *steps, batch=batch.ref, now=m.now)
    found = next((_told(m, each) for each in held if each.code != "failing"), None)
    if batch.state is Batch.PARKED:
        return next(
            (_told(m, each) for each in blockers(replace(m, open=[batch])) if each.subject == batch.ref), None
        )
    if batch.is_sync and batch.state in (*BEFORE_THE_JOB, Batch.CREATING):
        return _sent_at_once(m, batch, sent_at)
    if batch.state in BEFORE_THE_JOB:
        said = f"Batch {batch.ref} is {batch.state}, not yet a job at {m.provider}."
        return (
            _then(said, found)
            if found
            else Wait("sending", said + _tried_again(m, batch), None, _to_check(batch))
        )
    if batch.state is Batch.CREATING:
        return _in_doubt(m, batch, sent_at, found)
    if batch.state is Batch.RUNNING:
        return _running(m, batch, found)
    return _to_be_fetched(m, batch, found) if batch.state is Batch.ENDED else None


def _sent_at_once(m: Moment, batch: BatchRow, sent_at: int | None) -> Wait:
    at_once = "It is sent at once, to be fresh" if batch.is_fresh else "It is sent at once"
    asked = at_once if batch.asked_by is None else f"{batch.asked_by} asked for it at once"
    sent = "" if sent_at is None else f": its request was sent at {when(sent_at, m.now)}"
    return Wait("expedited", f"Batch {batch.ref}: {asked}{sent}.", None, NOTHING_TO_DO)


def _tried_again(m: Moment, batch: BatchRow) -> str:
    """How often it has failed, by what, and when it is tried again; empty if it has not."""
    if batch.error is None or batch.due_at <= m.now:
        return ""
    failed = f" {counted(batch.failures, 'try')} failed, the last with: {sentence(batch.error)}"
    return f"{failed} It is tried again at {when(batch.due_at, m.now)}; other batches do not wait for it."


def _to_check(batch: BatchRow) -> str:
    """What its last error asks for, if it does: a proxy's settings, say."""
    return batch.hint if batch.hint and batch.failures else NOTHING_TO_DO


def _in_doubt(m: Moment, batch: BatchRow, sent_at: int | None, found: Wait | None) -> Wait:
    said = (
        f"The call that creates the job of batch {batch.ref} got no answer; it is looked for at {m.provider}"
    )
    until = None if sent_at is None else sent_at + int(m.settings.section.quarantine_s * US)
    said += "." if until is None else f", and sent again only after {clock_time(until, m.now)}."
    return _then(said, found) if found else Wait("in_doubt", said, until, NOTHING_TO_DO)


def _running(m: Moment, batch: BatchRow, found: Wait | None) -> Wait:
    said = f"Batch {batch.ref} is at {m.provider} as job {batch.remote_id}"
    if batch.submitted_at is not None:
        said += f" since {when(batch.submitted_at, m.now)}"
    if batch.remote_status:
        said += f", which says {batch.remote_status!r}"
        if batch.remote_completed is not None:
            said += f", {batch.remote_completed:,} of {batch.remote_total or batch.inputs:,} done"
    if batch.cancel_asked_at is not None:
        said += "; an operator requested its cancellation"
    late = batch.deadline_at is not None and batch.deadline_at < m.now
    timeline = f"`voyage-jobs history --timeline {batch.ref}` shows its history so far."
    if late:
        said += f". Its window ended {when(batch.deadline_at or 0, m.now)}."
        stop = f"`voyage-jobs cancel {batch.ref}`, then `voyage-jobs retry`: what is finished is kept."
        return Wait(
            "unknown_status" if has_unknown_status(m, batch) else "past_deadline",
            said,
            None,
            f"Wait, or {stop}",
        )
    expected = of_job(m.took, batch.submitted_at, m.now)
    if expected.likely_at is not None and expected.late_at is not None:
        said += f". By the {len(m.took):,} that finished here it is likely to end at about"
        said += f" {clock_time(expected.likely_at, m.now)} (in {span((expected.likely_at - m.now) / US)}),"
        said += f" nine in ten by {clock_time(expected.late_at, m.now)}."
    else:
        unknown = "It has been running longer than any before" if m.took else "No job has finished here yet"
        said += f". {unknown}, so its end cannot be predicted"
        said += "." if batch.deadline_at is None else f"; its window ends {when(batch.deadline_at, m.now)}."
    if found is not None and found.code == "daemon_not_running":
        return Wait("at_voyage", f"{said} {found.text}", expected.likely_at, found.next)
    return Wait("at_voyage", said + _tried_again(m, batch), expected.likely_at, timeline)


def _to_be_fetched(m: Moment, batch: BatchRow, found: Wait | None) -> Wait:
    said = f"The job of batch {batch.ref} is over ({batch.remote_status}); its results are fetched next."
    if found is not None:
        return _then(said, found)
    until = batch.due_at if batch.failures else None
    return Wait("fetching", said + _tried_again(m, batch), until, _to_check(batch))


# --- a version whose vectors are all there ---


def to_be_published(m: Moment, *, has_text: bool) -> Wait:
    """Why it is not in the table yet."""
    said = "All its vectors are here."
    found = first(m, "publish")
    if not has_text:
        said += " Its text is not: the file has changed or gone since it was read, so the next scan decides."
        idle = found is not None and found.code == "daemon_not_running"
        return Wait("text_missing", said, None, found.next if found and idle else NOTHING_TO_DO)
    if found is not None:
        return _then(said, found)
    return Wait("ready", f"{said} The next publication brings it into the table.", None, NOTHING_TO_DO)
