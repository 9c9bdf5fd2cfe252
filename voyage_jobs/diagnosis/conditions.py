"""What is not as it should be, or worth knowing: sources, batches, embeddings, the process and what it keeps. Pure."""

from __future__ import annotations

from voyage_jobs.clock import US, iso
from voyage_jobs.diagnosis import set_back_words
from voyage_jobs.diagnosis.blocker import (
    CREATE,
    EVERY_STEP,
    OF_A_BATCH,
    PACK,
    RECONCILE,
    SUBMIT,
    Blocker,
    Mover,
    shortened,
)
from voyage_jobs.diagnosis.circuits import PASSING_FAILURES
from voyage_jobs.diagnosis.entry import Blockers, Cause, entered_in
from voyage_jobs.diagnosis.snapshot import Facts, Gate, Moment
from voyage_jobs.plural import counted
from voyage_jobs.sources import names
from voyage_jobs.state.batches import UNUSABLE, BatchRow
from voyage_jobs.state.engine import SAFE_LIBRARY, library_is_safe, library_version
from voyage_jobs.state.sources import NOT_CONFIGURED
from voyage_jobs.states import BEFORE_THE_JOB, UNFINISHED, Batch
from voyage_jobs.vendors.voyage.wire import Phase, phase_of

HEARTBEAT_OLD_S = 600
DEADLINE_GRACE_S = 600
RESUMES = "The next `voyage-jobs sync` or `voyage-jobs run` resumes it."
MOVED_ON_BY: dict[Batch, tuple[str, ...]] = {
    **dict.fromkeys(BEFORE_THE_JOB, (SUBMIT,)),
    Batch.UPLOADED: (SUBMIT, CREATE),
    Batch.CREATING: (RECONCILE,),
    Batch.RUNNING: ("poll",),
    Batch.ENDED: ("collect",),
}
"""What must not be kept back for an open batch to move on."""
_REFS = 5  # refs named in one message

CAUSES: list[Cause] = []
cause = entered_in(CAUSES)

# --- sources ---


@cause("frozen", "not_configured", needs=Moment)
def _frozen(moment: Moment) -> Blockers:
    for row in moment.sources:
        if row.frozen_reason is None:
            continue
        gone = row.frozen_reason == NOT_CONFIGURED
        reason = names.display(row.frozen_reason)
        confirm = f"`voyage-jobs confirm-deletes {row.name}`"
        yield Blocker(
            code="not_configured" if gone else "frozen",
            text=f"Source {row.name} is no longer in the configuration; what the table has of it stays"
            if gone
            else f"Source {row.name} is frozen, nothing of it is deleted: {reason}",
            next=f"Put it back, or take its documents out: {confirm}."
            if gone
            else f"Bring {names.display(row.path)} back, or, if that is meant, {confirm}.",
            moved_by=Mover.DECISION,
            stops=frozenset({"delete"}),
            source=row.name,
        )


@cause("never_scanned", needs=Facts)
def _never_scanned(facts: Facts) -> Blockers:
    known = {row.name: row for row in facts.sources}
    for source in facts.settings.sources:
        row = known.get(source.name)
        if row is None or (row.scanned_at is None and row.frozen_reason is None):
            yield Blocker(
                code="never_scanned",
                text=f"Source {source.name} has never been scanned whole",
                next="`voyage-jobs sync` or `voyage-jobs run` scans it.",
                moved_by=Mover.PROCESS,
                severity="info",
                source=source.name,
            )


@cause("unreadable", needs=Facts)
def _unreadable(facts: Facts) -> Blockers:
    for row in facts.sources:
        tally = facts.tallies.get(row.id)
        count = 0 if tally is None else tally.skipped.get("unreadable", 0)
        if count:
            yield Blocker(
                code="unreadable",
                text=f"{counted(count, 'file')} of source {row.name} cannot be read",
                next="Let this user read them; the next scan takes them up.",
                moved_by=Mover.OPERATOR,
                source=row.name,
                numbers={"files": count},
            )


_WATCHES = {
    "watch_limit": (
        "is not watched, {later}: the system watches no more folders for this user",
        'Raise fs.inotify.max_user_watches and max_user_instances (sysctl); or set watch = "poll" or false for it.',
    ),
    "watch_failed": (
        "is not watched, {later}",
        'It is tried again every minute; or set watch = "poll" or false for it.',
    ),
    "watch_silent": (
        "changed without its watch hearing of it; {later}",
        'If another machine, or a program with memory-mapped files, writes there: set watch = "poll" for it.',
    ),
}


@cause(*_WATCHES, needs=Facts)
def _watches(facts: Facts) -> Blockers:
    """An info only: the periodic scans find everything, later."""
    intervals = {source.name: source.scan_interval_s for source in facts.settings.sources}
    for row in facts.sources:
        state = facts.watching.get(row.name, {})
        if not row.configured or state.get("code") not in _WATCHES:
            continue
        text, hint = _WATCHES[str(state["code"])]
        later = f"its changes are found by the scans every {intervals.get(row.name, 0):g} s"
        yield Blocker(
            code=str(state["code"]),
            text=f"Source {row.name} {text.format(later=later)}",
            words=str(state["message"]) if state["code"] == "watch_failed" else None,
            next=hint,
            moved_by=Mover.OPERATOR,
            severity="info",
            source=row.name,
        )


# --- batches ---


@cause("parked")
def _parked(gate: Gate) -> Blockers:
    for batch in gate.open:
        if batch.state is Batch.PARKED and batch.code != UNUSABLE:
            yield Blocker(
                code="parked",
                text=f"Batch {batch.ref} is parked",
                words=batch.reason,
                next=batch.hint or f"`voyage-jobs retry {batch.ref}` tries again.",
                moved_by=Mover.DECISION,
                stops=OF_A_BATCH,
                batch=batch.ref,
                since=batch.failing_since,
                numbers={"inputs": batch.inputs},
            )


@cause("failing")
def _failing(gate: Gate) -> Blockers:
    """Batches that fail alone. Others do not wait for them."""
    for batch in gate.open:
        if batch.state is not Batch.PARKED and batch.error is not None and batch.failures:
            yield Blocker(
                code="failing",
                text=f"Batch {batch.ref} ({batch.state}) failed {counted(batch.failures, 'time')} in a row",
                words=batch.error,
                next=f"It is tried again at {iso(batch.due_at)}; nothing is lost and no other batch waits for it.",
                severity="info" if batch.failures < PASSING_FAILURES else "problem",
                stops=frozenset(MOVED_ON_BY[batch.state]),
                batch=batch.ref,
                since=batch.failing_since,
                until=batch.due_at,
            )


@cause("unknown_status")
def _unknown_status(gate: Gate) -> Blockers:
    """In its time; past that it is stuck."""
    for batch in gate.open:
        if batch.state is not Batch.RUNNING or not has_unknown_status(batch) or is_overdue(batch, gate.now):
            continue
        yield Blocker(
            code="unknown_status",
            text=f"Voyage calls the job of batch {batch.ref} {batch.remote_status!r}, a word that voyage-jobs does not"
            " know",
            next="Nothing to do: it is asked about again. An hour past its window its results are taken, if it names"
            " any.",
            moved_by=Mover.PROVIDER,
            severity="info",
            batch=batch.ref,
        )


def has_unknown_status(batch: BatchRow) -> bool:
    """Whether the provider has a word for the job that is not known."""
    return bool(batch.remote_status) and phase_of(batch.remote_status or "") is Phase.UNKNOWN


def is_overdue(batch: BatchRow, now: int) -> bool:
    """Whether the job should have ended, and some minutes ago."""
    return batch.deadline_at is not None and now - batch.deadline_at > DEADLINE_GRACE_S * US


@cause("refused", "duplicate_jobs", needs=Facts)
def _refused(facts: Facts) -> Blockers:
    for batch in facts.refused:
        yield Blocker(
            code="refused",
            text=f"Voyage refused batch {batch.ref}",
            words=batch.reason or "no reason given",
            next="Nothing to do: its lines are sent again in smaller batches until the bad one is alone.",
            severity="info",
            batch=batch.ref,
        )
    if facts.duplicates:
        yield Blocker(
            code="duplicate_jobs",
            text=f"{facts.duplicates} second jobs for one batch were found at Voyage, and cancelled",
            next="The log has their ids (`batch.duplicate`); what they had finished is on the bill.",
            severity="info",
        )


@cause("in_flight", needs=Moment)
def _in_flight(moment: Moment) -> Blockers:
    """The ordinary course of things; at the end of a `sync` it is what remains."""
    jobs = [batch for batch in moment.open if batch.state in UNFINISHED]
    if jobs:
        inputs = sum(batch.inputs for batch in jobs)
        yield Blocker(
            code="in_flight",
            text=f"In flight: {counted(len(jobs), 'batch')} with {counted(inputs, 'input')}: {refs(jobs)}",
            next=f"Nothing is lost. {RESUMES}",
            moved_by=Mover.PROVIDER,
            severity="info" if moment.run is not None else "wait",
            stops=frozenset({"embed"}),
        )


def refs(jobs: list[BatchRow]) -> str:
    """Their refs, the first few."""
    named = ", ".join(batch.ref for batch in jobs[:_REFS])
    return named + (f" and {len(jobs) - _REFS} more" if len(jobs) > _REFS else "")


@cause("timeout", needs=Moment)
def _timeout(moment: Moment) -> Blockers:
    if moment.run is not None and moment.run.timed_out:
        yield Blocker(
            code="timeout",
            text="The time given by --timeout is over",
            next=RESUMES,
            moved_by=Mover.PROCESS,
            stops=EVERY_STEP,
        )


# --- embeddings ---


@cause("failed", "cancelled", needs=Moment)
def _failed(moment: Moment) -> Blockers:
    facts = moment if isinstance(moment, Facts) else None
    noun = "embedding" if facts is None else "chunk"
    reasons = [] if facts is None else [(shortened(each) or "").rstrip(".") for each in facts.failure_reasons]
    told = "; ".join(reasons) or ("no reason given" if facts else None)
    if moment.failed:
        yield Blocker(
            code="failed",
            text=f"{counted(moment.failed, noun)} could not be embedded",
            words=told,
            next="`voyage-jobs retry` tries them again; their documents are published without them."
            if facts
            else "`voyage-jobs status` says why, `voyage-jobs retry` tries them again.",
            moved_by=Mover.OPERATOR,
            stops=frozenset({"embed"}),
            numbers={f"{noun}s": moment.failed},
        )
    if moment.cancelled:
        yield Blocker(
            code="cancelled",
            text=f"Cancelled by an operator and still needed: {counted(moment.cancelled, noun)}",
            next="`voyage-jobs retry` sends them after all.",
            moved_by=Mover.OPERATOR,
            stops=frozenset({"embed"}),
            numbers={f"{noun}s": moment.cancelled},
        )


@cause("text_missing", needs=Moment)
def _text_missing(moment: Moment) -> Blockers:
    """Where nothing else explains at the end of a `sync` that texts wait."""
    if moment.run is not None and moment.run.quiet and moment.waiting.embeddings:
        yield text_missing("their files have changed or gone")


def text_missing(text: str) -> Blocker:
    """What is to be sent or shown has no text: its file is not what it was when it was read."""
    return Blocker(
        code="text_missing",
        text=text,
        next="Nothing to do: the next scan that finds the files reads them again.",
        moved_by=Mover.PROCESS,
        severity="wait",
        stops=frozenset({PACK, "publish"}),
    )


# --- the process and what it keeps ---


@cause("heartbeat_old", "page_not_served", needs=Facts)
def _process(facts: Facts) -> Blockers:
    if facts.holder is None:
        return
    age_s = (facts.now - facts.here.heartbeat_at) / US if facts.here else 0
    if age_s > HEARTBEAT_OLD_S:
        yield Blocker(
            code="heartbeat_old",
            text=f"Process {facts.holder} holds the lock of {facts.settings.data_dir} and has given no sign of life for"
            f" {int(age_s // 60)} minutes",
            next="Look at its log; if it hangs, end it and start it again: any moment is safe for that.",
            moved_by=Mover.OPERATOR,
        )
    if facts.here is not None and facts.here.mode == "run" and facts.page_problem is not None:
        yield Blocker(
            code="page_not_served",
            text=f"The page and the metrics are not served: {facts.page_problem}",
            next="Free the port, or set server.listen to another and restart; the work goes on without, and it is tried"
            " again by itself.",
            moved_by=Mover.OPERATOR,
        )


@cause("sqlite_old", needs=Facts)
def _machine(facts: Facts) -> Blockers:
    del facts
    if not library_is_safe():
        least = ".".join(map(str, SAFE_LIBRARY))
        yield Blocker(
            code="sqlite_old",
            text=f"SQLite {library_version()} lacks the fix of the WAL-reset race (it is in {least})",
            next="Install `pysqlite3`, or a Python built with a newer SQLite.",
            moved_by=Mover.OPERATOR,
            severity="info",
        )


@cause("state_copied", "state_set_back", "jobs_unchecked", needs=Facts)
def _set_back(facts: Facts) -> Blockers:
    """A state that is older than the world."""
    found = facts.set_back
    if found is not None:
        if set_back_words.is_copied(found):
            yield Blocker(
                code="state_copied",
                text=set_back_words.COPIED,
                next=set_back_words.COPIED_HINT,
                moved_by=Mover.OPERATOR,
            )
        yield Blocker(
            code="state_set_back",
            text=set_back_words.found(found, claiming=facts.claiming),
            next=set_back_words.FOUND_HINT,
            severity="info",
        )
    if facts.unchecked_since is not None:
        yield Blocker(
            code="jobs_unchecked",
            text=set_back_words.unchecked(facts.unchecked_since),
            next=set_back_words.UNCHECKED_HINT,
            moved_by=Mover.OPERATOR,
            since=facts.unchecked_since,
        )


@cause("table_unreadable", "table_missing", "table_reformatting", needs=Facts)
def _table(facts: Facts) -> Blockers:
    place = f"{facts.settings.lancedb.table} in {facts.settings.lancedb.uri}"
    if facts.table_exists is None:
        yield Blocker(
            code="table_unreadable",
            text=f"The table {place} cannot be looked at",
            next="Check its permissions.",
            moved_by=Mover.OPERATOR,
        )
    elif not facts.table_exists and facts.chunks("published"):
        yield Blocker(
            code="table_missing",
            text=f"The table {place} is gone",
            next="Start `voyage-jobs sync` (or restart `run`): it is built again at no cost.",
            moved_by=Mover.OPERATOR,
        )
    elif facts.older_format is not None:
        yield Blocker(
            code="table_reformatting",
            text=f"The table {place} is being rebuilt in a new format, out of its own rows (it has format"
            f" {facts.older_format}). Nothing is sent, and it is read as before meanwhile",
            next="Nothing needs to be done; what is ready is published after it.",
            moved_by=Mover.PROCESS,
            severity="info",
        )


@cause("notify_failing", needs=Facts)
def _untold(facts: Facts) -> Blockers:
    """Whoever relies on being told must hear of it here."""
    for each in facts.untold:
        waits = (
            f"{counted(each.waiting, 'message')} to be delivered"
            if each.waiting
            else f"{counted(each.given_up, 'message')} given up"
        )
        yield Blocker(
            code="notify_failing",
            text=f"Nobody is told by the {each.sink} of [notify]; {waits}",
            words=each.error or "no reason given",
            next="`voyage-jobs notify --test` tries it at once; what waits is tried for a day.",
            moved_by=Mover.OPERATOR,
            name=each.sink,
        )
