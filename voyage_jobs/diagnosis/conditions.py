"""What is not as it should be, or worth knowing: sources, batches, embeddings, the process and what it keeps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from voyage_jobs.core.clock import US, iso
from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import BEFORE_THE_JOB, UNFINISHED, Batch
from voyage_jobs.diagnosis import record_words, set_back_words
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
from voyage_jobs.sources import names
from voyage_jobs.state.batches import NO_ROOM, UNUSABLE, BatchRow
from voyage_jobs.state.engine import SAFE_LIBRARY, library_is_safe, library_version
from voyage_jobs.state.record_files import RecordFile
from voyage_jobs.state.sources import ANOTHER_FOLDER, NOT_CONFIGURED, SourceRow
from voyage_jobs.table import of_another
from voyage_jobs.vendors.remote import Phase

HEARTBEAT_OLD_S = 600
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
_FOLDERS = 5
_FILES = 10

CAUSES: list[Cause] = []
cause = entered_in(CAUSES)


# --- sources ---


@cause("frozen", needs=Moment, moved_by=Mover.DECISION, stops=("delete",))
def _frozen(moment: Moment, say: Say) -> Blockers:
    for row in moment.sources:
        if row.frozen_reason not in (None, NOT_CONFIGURED):
            reason, path = names.display(row.frozen_reason or ""), names.display(row.path)
            undo = f"Bring {path} back"
            if ANOTHER_FOLDER in reason:
                undo = "Set its `path` back"
            yield say(
                f"Source {row.name} is frozen, nothing of it is deleted: {reason}",
                f"{undo}, or, if that is meant, `voyage-jobs confirm-deletes {row.name}`.",
                source=row.name,
            )


@cause("not_configured", needs=Moment, moved_by=Mover.DECISION, stops=("delete",))
def _not_configured(moment: Moment, say: Say) -> Blockers:
    for row in moment.sources:
        if row.frozen_reason == NOT_CONFIGURED:
            yield say(
                f"Source {row.name} is no longer in the configuration; its rows stay in the table",
                f"Put it back, or take its documents out: `voyage-jobs confirm-deletes {row.name}`.",
                source=row.name,
            )


@cause("never_scanned", needs=Facts, moved_by=Mover.PROCESS, severity="info")
def _never_scanned(facts: Facts, say: Say) -> Blockers:
    known = {row.name: row for row in facts.sources}
    for source in facts.settings.sources:
        row = known.get(source.name)
        if row is None or (row.scanned_at is None and row.frozen_reason is None):
            text = f"Source {source.name} has not been scanned completely yet"
            yield say(text, "`voyage-jobs sync` or `voyage-jobs run` scans it.", source=source.name)


@cause("no_documents", needs=Facts, moved_by=Mover.OPERATOR, severity="info")
def _no_documents(facts: Facts, say: Say) -> Blockers:
    for row in facts.sources:
        notes = facts.scan_notes.get(row.id)
        if not row.configured or row.scanned_at is None or row.frozen_reason is not None or notes is None:
            continue
        known = row.id in facts.source_stats or row.id in facts.record_files
        if not known and not notes.unreadable:
            others = sum(notes.passed_over.values())
            what = (
                f"none of its {counted(others, 'file')} fits its `include`"
                if others
                else "its folder is empty"
            )
            path = names.display(row.path)
            yield say(
                f"Source {row.name} has no documents: {what}",
                f"Put documents into {path}, or correct its `path` or `include`.",
                source=row.name,
            )


@cause("unreadable", needs=Facts, moved_by=Mover.OPERATOR)
def _unreadable(facts: Facts, say: Say) -> Blockers:
    for row in facts.sources:
        stats = facts.source_stats.get(row.id)
        count = 0 if stats is None else stats.skipped.get("unreadable", 0)
        if count:
            text = f"{counted(count, 'file')} of source {row.name} cannot be read"
            yield say(text, "Let this user read them; the next scan reads them.", source=row.name)


@cause("folder_unreadable", needs=Moment, moved_by=Mover.OPERATOR, stops=("delete",))
def _folder_unreadable(moment: Moment, say: Say) -> Blockers:
    for row in moment.sources:
        notes = moment.scan_notes.get(row.id)
        if row.configured and notes is not None and notes.unreadable:
            listed = ", ".join(
                names.display(path) or "its own" for path in notes.unreadable_folders[:_FOLDERS]
            )
            text = f"{counted(notes.unreadable, 'folder')} of source {row.name} cannot be listed ({listed})"
            hint = "Let this user list them, or exclude them; what is known of them is served as it was."
            yield say(text, hint, source=row.name)


@cause("records_frozen", needs=Moment, moved_by=Mover.DECISION, stops=("delete",))
def _records_frozen(moment: Moment, say: Say) -> Blockers:
    for row, each in _record_files(moment):
        if text := record_words.frozen(row.name, each):
            yield say(text, record_words.when_frozen(row.name), source=row.name)


@cause("records_unread", needs=Moment, moved_by=Mover.OPERATOR, stops=("delete",))
def _records_unread(moment: Moment, say: Say) -> Blockers:
    for row, each in _record_files(moment):
        if text := record_words.unread(row.name, each):
            hint = f"{record_words.when_unread(row.name, each)} What is known of it is served as it was."
            yield say(text, hint, source=row.name)


@cause("records_left_out", needs=Moment, moved_by=Mover.OPERATOR, severity="info")
def _records_left_out(moment: Moment, say: Say) -> Blockers:
    for row, each in _record_files(moment):
        if text := record_words.left_out(row.name, each):
            yield say(text, record_words.WHEN_LEFT_OUT, source=row.name)
    for row in moment.sources:
        files = moment.record_files.get(row.id, ()) if row.configured else ()
        if text := record_words.others(row.name, files, _FILES):
            yield say(text, "`voyage-jobs plan --json` lists them all (`record_files`).", source=row.name)


def _record_files(moment: Moment) -> Iterator[tuple[SourceRow, RecordFile]]:
    """The first of them, of each source that is configured."""
    for row in moment.sources:
        for each in moment.record_files.get(row.id, ())[:_FILES] if row.configured else ():
            yield row, each


@cause("front_matter", needs=Facts, moved_by=Mover.OPERATOR, severity="info")
def _front_matter(facts: Facts, say: Say) -> Blockers:
    for row in facts.sources:
        notes = facts.scan_notes.get(row.id)
        if row.configured and notes is not None and notes.broken_front_matter:
            files = counted(notes.broken_front_matter, "file")
            text = f"{files} of source {row.name}: front matter cannot be read whole"
            hint = "`_front_matter_error` in the table's `front_matter` names the line; what can be read is there."
            yield say(text, hint, source=row.name)


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
        "changed without the watch noticing; {later}",
        'If another machine, or a program with memory-mapped files, writes there: set watch = "poll" for it.',
    ),
}


@cause(*_WATCHES, needs=Facts, moved_by=Mover.OPERATOR, severity="info")
def _watches(facts: Facts, say: Say) -> Blockers:
    """An info only: the periodic scans find everything, later."""
    intervals = {source.name: source.scan_interval_s for source in facts.settings.sources}
    for row in facts.sources:
        state = facts.watching.get(row.name, {})
        code = str(state.get("code"))
        if row.configured and code in _WATCHES:
            text, hint = _WATCHES[code]
            later = f"its changes are found by the scans every {intervals.get(row.name, 0):g} s"
            words = str(state["message"]) if code == "watch_failed" else None
            yield say(
                f"Source {row.name} {text.format(later=later)}", hint, code=code, words=words, source=row.name
            )


# --- batches ---


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
            "The log has their ids (`batch.duplicate`); what they had finished is on the bill.",
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


# --- embeddings ---


@cause("failed", needs=Moment, moved_by=Mover.OPERATOR, stops=("embed",))
def _failed(moment: Moment, say: Say) -> Blockers:
    if not moment.failed:
        return
    if isinstance(moment, Facts):
        reasons = [(shortened(each) or "").rstrip(".") for each in moment.failure_reasons]
        words = "; ".join(reasons) or "no reason given"
        hint = "`voyage-jobs retry` tries them again; their documents are published without them."
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


# --- the process and what it keeps ---


@cause("heartbeat_old", needs=Facts, moved_by=Mover.OPERATOR)
def _heartbeat(facts: Facts, say: Say) -> Blockers:
    age_s = (facts.now - facts.here.heartbeat_at) / US if facts.here else 0
    if facts.holder is not None and age_s > HEARTBEAT_OLD_S:
        yield say(
            f"Process {facts.holder} holds the lock of {facts.settings.data_dir} and has given no heartbeat for"
            f" {int(age_s // 60)} minutes",
            "Look at its log; if it hangs, end it and start it again: any moment is safe for that.",
        )


@cause("page_not_served", needs=Facts, moved_by=Mover.OPERATOR)
def _page(facts: Facts, say: Say) -> Blockers:
    served = facts.holder is not None and facts.here is not None and facts.here.mode == "run"
    if served and facts.page_problem is not None:
        yield say(
            f"The page and the metrics are not served: {facts.page_problem}",
            "Free the port, or set server.listen to another and restart; the work continues without it, and it is tried"
            " again automatically.",
        )


@cause("sqlite_old", needs=Facts, moved_by=Mover.OPERATOR, severity="info")
def _machine(_facts: Facts, say: Say) -> Blockers:
    if not library_is_safe():
        least = ".".join(map(str, SAFE_LIBRARY))
        text = f"SQLite {library_version()} lacks the fix of the WAL-reset race (it is in {least})"
        yield say(text, "Install `pysqlite3`, or a Python built with a newer SQLite.")


@cause("state_behind", needs=Facts, moved_by=Mover.PROCESS)
def _behind(facts: Facts, say: Say) -> Blockers:
    """An older copy was put back, and nothing was started since."""
    if facts.behind is not None:
        yield say(set_back_words.behind(facts.behind), set_back_words.BEHIND_HINT)


@cause("state_copied", needs=Facts, moved_by=Mover.OPERATOR)
def _copied(facts: Facts, say: Say) -> Blockers:
    if facts.set_back is not None and set_back_words.is_copied(facts.set_back):
        yield say(set_back_words.COPIED.format(provider=facts.provider), set_back_words.COPIED_HINT)


@cause("state_set_back", needs=Facts, moved_by=Mover.TIME, severity="info")
def _set_back(facts: Facts, say: Say) -> Blockers:
    """A state that was older than the world."""
    if facts.set_back is not None:
        text = set_back_words.found(facts.set_back, facts.provider, claiming=facts.claiming)
        yield say(text, set_back_words.FOUND_HINT, since=facts.set_back.at)


@cause("jobs_unchecked", needs=Facts, moved_by=Mover.OPERATOR)
def _unchecked(facts: Facts, say: Say) -> Blockers:
    since = facts.unchecked_since
    if since is not None:
        yield say(set_back_words.unchecked(since, facts.provider), set_back_words.UNCHECKED_HINT, since=since)


@cause("table_unreadable", needs=Facts, moved_by=Mover.OPERATOR)
def _table_unreadable(facts: Facts, say: Say) -> Blockers:
    if facts.table_exists is None:
        yield say(f"The table {facts.table_name} cannot be looked at", "Check its permissions.")


@cause("table_missing", needs=Facts, moved_by=Mover.OPERATOR)
def _table_missing(facts: Facts, say: Say) -> Blockers:
    if facts.table_exists is False and facts.chunks("published"):
        hint = "Start `voyage-jobs sync` (or restart `run`): it is built again at no cost."
        yield say(f"The table {facts.table_name} is gone", hint)


@cause("table_of_another", needs=Facts, moved_by=Mover.OPERATOR)
def _table_of_another(facts: Facts, say: Say) -> Blockers:
    if facts.table_rows is not None and facts.table_rows.of_another:
        error = of_another(facts.table_name)
        yield say(error.message.rstrip("."), error.hint)


@cause("table_rows", needs=Facts, moved_by=Mover.OPERATOR)
def _table_rows(facts: Facts, say: Say) -> Blockers:
    rows = facts.table_rows
    if facts.behind is not None:
        return  # the table is newer than what the state knows of it
    if rows is not None and rows.differ and not rows.of_another and facts.build is None:
        yield say(
            f"The table {facts.table_name} has {counted(rows.found, 'row')}, and {rows.expected:,} are published:"
            " another program has changed it",
            "`voyage-jobs verify` names the rows, `voyage-jobs verify --repair` mends them at no cost.",
            numbers={"found": rows.found, "expected": rows.expected or 0},
        )


@cause("table_reformatting", needs=Facts, moved_by=Mover.PROCESS, severity="info")
def _reformatting(facts: Facts, say: Say) -> Blockers:
    if facts.table_exists and facts.older_format is not None:
        yield say(
            f"The table {facts.table_name} is being rebuilt in a new format, out of its own rows (it has format"
            f" {facts.older_format}). Nothing is sent, and it is read as before meanwhile",
            "Nothing needs to be done; what is ready is published after it.",
        )


@cause("notify_failing", needs=Facts, moved_by=Mover.OPERATOR)
def _untold(facts: Facts, say: Say) -> Blockers:
    """Whoever relies on being told must hear of it here."""
    for each in facts.untold:
        count, what = (each.waiting, "to be delivered") if each.waiting else (each.given_up, "given up")
        yield say(
            f"The {each.sink} of [notify] fails; {counted(count, 'message')} {what}",
            "`voyage-jobs notify --test` tries it at once; what waits is retried for a day.",
            words=each.error or "no reason given",
            name=each.sink,
        )
