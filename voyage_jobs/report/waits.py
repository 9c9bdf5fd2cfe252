"""What something that is not in the table waits for, exactly, until when, and what would help. Pure.

The order of the questions is that of the steps: what only a person moves on comes first, then what nobody is at work
on, then what time brings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from voyage_jobs.clock import US
from voyage_jobs.config.settings import Settings
from voyage_jobs.plural import counted
from voyage_jobs.report.eta import of_job
from voyage_jobs.report.moment import Moment
from voyage_jobs.report.words import clock_time, span, when
from voyage_jobs.state import lanes
from voyage_jobs.state.batches import SEND_REFUSED, UNUSABLE, BatchRow
from voyage_jobs.state.lanes import Lane
from voyage_jobs.state.pauses import Pause
from voyage_jobs.states import BEFORE_THE_JOB, Batch
from voyage_jobs.steps import budget
from voyage_jobs.vendors.remote import Phase

NOTHING_TO_DO = "Nothing to do; `voyage-jobs status --watch` shows it come."
START = "`voyage-jobs sync` goes on with it and ends; `voyage-jobs run` goes on and stays."
REFUSALS = ("auth", "quota")


@dataclass(frozen=True)
class Wait:
    """A reason: a stable code, a sentence, about when it is over (microseconds UTC, None: not known), what to do."""

    code: str
    text: str
    until: int | None
    next: str


def nobody(m: Moment) -> Wait | None:
    """Nobody is at work."""
    if m.holder is not None:
        return None
    last = "" if m.here is None else f"; the last sign of life was at {when(m.here.heartbeat_at, m.now)}"
    return Wait("daemon_not_running", f"No voyage-jobs process is running{last}.", None, START)


def lane(m: Moment, name: str, what: str) -> Wait | None:
    """A lane is closed."""
    shut = m.closed(name)
    return None if shut is None else _lane(m, shut, what)


def _lane(m: Moment, shut: Lane, what: str) -> Wait:
    until = f"{what} until {when(shut.until_at, m.now)}"
    return Wait(shut.code, f"{until}: {_sentence(shut.message)}", shut.until_at, shut.hint or NOTHING_TO_DO)


# --- a text that is to be sent ---


@dataclass(frozen=True)
class Text:
    """A text that waits to be sent: its tokens, whose money it costs, how often its batch was refused."""

    tokens: int
    source_id: int | None
    refusals: int = 0
    ahead: int = 0
    """How many texts are sent before it."""


def to_be_sent(m: Moment, settings: Settings, text: Text) -> Wait:
    """Why it was not sent yet."""
    return next(_unsent(m, settings, text))


def _unsent(m: Moment, settings: Settings, text: Text) -> Iterator[Wait]:
    yield from _for_a_person(m)
    paused = m.pause(text.source_id)
    if paused is not None:
        yield _paused(paused)
    yield from _over_budget(m, text)
    idle = nobody(m)
    if idle is not None:
        yield idle
    vendor = lane(m, lanes.VENDOR, f"{m.provider} is not called")
    disk = lane(m, lanes.DISK, "Nothing is written")
    yield from (each for each in (vendor, disk) if each is not None)
    if m.claiming:
        said = (
            f"The jobs at {m.provider} are looked through first: the state was lost, is older than they are, or could"
            " not be compared with them yet."
        )
        yield Wait("claiming", said, None, NOTHING_TO_DO)
    if m.recounting:
        said = "A new tokenizer is in use: what waits is counted anew before anything is sent."
        yield Wait("recounting", said, None, NOTHING_TO_DO)
    yield from _no_room(m, settings, text)
    yield from _lingering(m, settings)
    smaller = (
        f" It was in a batch that {m.provider} refused, so it goes in a smaller one." if text.refusals else ""
    )
    before = text.ahead // max(1, settings.batching.max_inputs)
    turn = "the next batch" if before < 1 else f"a batch after about {counted(before, 'other')}"
    yield Wait("next", f"It goes with {turn}.{smaller}", None, NOTHING_TO_DO)


def _for_a_person(m: Moment) -> Iterator[Wait]:
    if m.other_profile:
        said = "The settings ask for other vectors than those that are being made, so nothing is sent."
        yield Wait("profile_changed", said, None, "`voyage-jobs reprofile --status` tells more.")
    for batch in m.parked:
        if batch.code == UNUSABLE:
            said = (
                f"Nothing is sent: the results of batch {batch.ref} cannot be used. {_sentence(batch.reason)}"
            )
            yield Wait("unusable_results", said, None, batch.hint or f"`voyage-jobs history {batch.ref}`")
    create = m.closed(lanes.CREATE)
    if create is not None and create.code == SEND_REFUSED:
        yield _lane(m, create, f"{m.provider} refuses one batch after another; none is sent")
    vendor = m.lanes.get(lanes.VENDOR)
    if vendor is not None and vendor.code in REFUSALS:
        yield _lane(m, vendor, f"{m.provider} refuses calls; it is not asked again")


def _paused(pause: Pause) -> Wait:
    """A person has said so."""
    return Wait("paused", str(pause), pause.until_at, f"`{pause.ended_by}` lets it go on.")


def _over_budget(m: Moment, text: Text) -> Iterator[Wait]:
    for room in m.rooms:
        if room.source_id not in (None, text.source_id) or room.tokens >= max(1, text.tokens):
            continue
        if room.anew_at is None and m.holder is None:
            continue  # the run is over, and its limit with it
        key = budget.setting_of(room)
        until = "until the next run" if room.anew_at is None else f"until {when(room.anew_at, m.now)}"
        said = f"The budget does not allow it {until}: {key} is used up."
        yield Wait("budget_reached", said, room.anew_at, f"Raise {key}, or wait.")


def _no_room(m: Moment, settings: Settings, text: Text) -> Iterator[Wait]:
    jobs, tokens = m.in_flight
    batching = settings.batching
    if jobs >= batching.max_in_flight_batches:
        said = f"{counted(jobs, 'batch')} under way are as many as batching.max_in_flight_batches allows."
        yield Wait("in_flight_full", said.replace("batchs", "batches"), None, NOTHING_TO_DO)
    elif tokens + text.tokens > batching.max_in_flight_tokens:
        said = f"{tokens:,} tokens under way are as many as batching.max_in_flight_tokens allows."
        yield Wait("in_flight_full", said, None, NOTHING_TO_DO)
    create = lane(m, lanes.CREATE, f"{m.provider} takes no new job")
    if create is not None:
        yield create
    going = [batch for batch in m.unsent if batch.due_at <= m.now]
    if going:
        said = f"Batch {going[0].ref} is on its way to {m.provider}; the next one is made when it is there."
        yield Wait("one_at_a_time", said, None, NOTHING_TO_DO)


def _lingering(m: Moment, settings: Settings) -> Iterator[Wait]:
    batching = settings.batching
    if m.waiting.oldest_at is None or m.waiting.embeddings >= batching.min_inputs:
        return
    until = m.waiting.oldest_at + int(batching.linger_s * US)
    if until > m.now and (m.here is None or m.here.mode != "sync"):
        few = f"{counted(m.waiting.embeddings, 'text')} of at least {batching.min_inputs:,}"
        said = f"The next batch is gathering ({few}); it goes at {when(until, m.now)} at the latest."
        yield Wait("gathering", said, until, "Nothing to do; `voyage-jobs sync` sends it at once.")


# --- a batch ---


def of_batch(m: Moment, settings: Settings, batch: BatchRow, sent_at: int | None = None) -> Wait | None:
    """What an open batch waits for; None for one that is over. `sent_at`: its last create call."""
    if batch.state is Batch.PARKED:
        said = f"Batch {batch.ref} is parked: {_sentence(batch.reason)}"
        return Wait("parked", said, None, batch.hint or f"`voyage-jobs retry {batch.ref}`")
    if batch.is_sync and batch.state in (*BEFORE_THE_JOB, Batch.CREATING):
        return _sent_at_once(m, batch, sent_at)
    if batch.state in BEFORE_THE_JOB:
        return _on_the_way(m, batch)
    if batch.state is Batch.CREATING:
        return _in_doubt(m, settings, batch, sent_at)
    if batch.state is Batch.RUNNING:
        return _running(m, batch)
    return _to_be_fetched(m, batch) if batch.state is Batch.ENDED else None


def _sent_at_once(m: Moment, batch: BatchRow, sent_at: int | None) -> Wait:
    asked = "It is sent at once" if batch.asked_by is None else f"{batch.asked_by} asked for it at once"
    sent = "" if sent_at is None else f": its request was sent at {when(sent_at, m.now)}"
    return Wait("expedited", f"Batch {batch.ref}: {asked}{sent}.", None, NOTHING_TO_DO)


def _on_the_way(m: Moment, batch: BatchRow) -> Wait:
    shut = lane(m, lanes.VENDOR, f"{m.provider} is not called") or (
        lane(m, lanes.CREATE, f"{m.provider} takes no new job") if batch.state is Batch.UPLOADED else None
    )
    pause = m.pause()
    found = _paused(pause) if pause is not None else shut or nobody(m)
    said = f"Batch {batch.ref} is {batch.state}, not yet a job at {m.provider}."
    if found is not None:
        return Wait(found.code, f"{said} {found.text}", found.until, found.next)
    return Wait("sending", said + _tried_again(m, batch), None, NOTHING_TO_DO)


def _tried_again(m: Moment, batch: BatchRow) -> str:
    """How often it has failed, by what, and when it is tried again; empty if it has not."""
    if batch.error is None or batch.due_at <= m.now:
        return ""
    failed = f" {counted(batch.failures, 'try')} failed, the last with: {_sentence(batch.error)}"
    return f"{failed} It is tried again at {when(batch.due_at, m.now)}; other batches do not wait for it."


def _in_doubt(m: Moment, settings: Settings, batch: BatchRow, sent_at: int | None) -> Wait:
    said = (
        f"The call that creates the job of batch {batch.ref} got no answer; it is looked for at {m.provider}"
    )
    until = None if sent_at is None else sent_at + int(settings.voyage.quarantine_s * US)
    said += "." if until is None else f", and sent again only after {clock_time(until, m.now)}."
    found = lane(m, lanes.VENDOR, f"{m.provider} is not called") or nobody(m)
    if found is not None:
        return Wait(found.code, f"{said} {found.text}", found.until, found.next)
    return Wait("in_doubt", said, until, NOTHING_TO_DO)


def _running(m: Moment, batch: BatchRow) -> Wait:
    said = f"Batch {batch.ref} is at {m.provider} as job {batch.remote_id}"
    if batch.submitted_at is not None:
        said += f" since {when(batch.submitted_at, m.now)}"
    if batch.remote_status:
        said += f", which says {batch.remote_status!r}"
        if batch.remote_completed is not None:
            said += f", {batch.remote_completed:,} of {batch.remote_total or batch.inputs:,} done"
    if batch.cancel_asked_at is not None:
        said += "; a person asked for its cancellation"
    late = batch.deadline_at is not None and batch.deadline_at < m.now
    trace = f"`voyage-jobs trace {batch.ref}` shows its way so far."
    if late:
        said += f". Its window is over since {when(batch.deadline_at or 0, m.now)}."
        known = m.vendor.phase(batch.remote_status or "") is not Phase.UNKNOWN
        stop = f"`voyage-jobs cancel {batch.ref}`, then `voyage-jobs retry`: what is finished is kept."
        return Wait("past_deadline" if known else "unknown_status", said, None, f"Wait, or {stop}")
    expected = of_job(m.took, batch.submitted_at, m.now)
    if expected.likely_at is not None and expected.late_at is not None:
        said += f". By the {len(m.took):,} that ended here it is likely over at about"
        said += f" {clock_time(expected.likely_at, m.now)} (in {span((expected.likely_at - m.now) / US)}),"
        said += f" nine in ten by {clock_time(expected.late_at, m.now)}."
    else:
        unknown = "It is out longer than any before" if m.took else "No job has ended here yet"
        said += f". {unknown}, so its end is not known"
        said += "." if batch.deadline_at is None else f"; its window ends {when(batch.deadline_at, m.now)}."
    found = nobody(m)
    if found is not None:
        return Wait("at_voyage", f"{said} {found.text}", expected.likely_at, found.next)
    return Wait("at_voyage", said + _tried_again(m, batch), expected.likely_at, trace)


def _to_be_fetched(m: Moment, batch: BatchRow) -> Wait:
    said = f"The job of batch {batch.ref} is over ({batch.remote_status}); its results are fetched next."
    shut = lane(m, lanes.VENDOR, f"{m.provider} is not called") or lane(m, lanes.DISK, "Nothing is written")
    found = shut or nobody(m)
    if found is not None:
        return Wait(found.code, f"{said} {found.text}", found.until, found.next)
    if batch.failures:
        said += _tried_again(m, batch)
        return Wait("fetching", said, batch.due_at, NOTHING_TO_DO)
    return Wait("fetching", said, None, NOTHING_TO_DO)


# --- a version whose vectors are all there ---


def to_be_published(m: Moment, *, has_text: bool) -> Wait:
    """Why it is not in the table yet."""
    said = "All its vectors are here."
    if not has_text:
        said += " Its text is not: the file has changed or gone since it was read, so the next scan decides."
        found = nobody(m)
        return Wait("text_missing", said, None, found.next if found else NOTHING_TO_DO)
    found = lane(m, lanes.DISK, "Nothing is written") or nobody(m)
    if found is not None:
        return Wait(found.code, f"{said} {found.text}", found.until, found.next)
    if m.building:
        said += " A table for other vectors is being built: it is shown when that is complete."
        return Wait("reprofiling", said, None, "`voyage-jobs reprofile --status` shows how far that is.")
    return Wait("ready", f"{said} The next publication brings it into the table.", None, NOTHING_TO_DO)


def _sentence(text: str | None) -> str:
    told = (text or "no reason given").rstrip()
    return told if told.endswith((".", "!", "?")) else f"{told}."
