"""What is not as it should be, or worth knowing, of sources and of what is read in them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from voyage_jobs.core.plural import counted
from voyage_jobs.diagnosis import record_words
from voyage_jobs.diagnosis.blocker import (
    Mover,
)
from voyage_jobs.diagnosis.entry import Blockers, Cause, Say, entered_in
from voyage_jobs.diagnosis.snapshot import Facts, Moment
from voyage_jobs.sources import names
from voyage_jobs.state.record_files import RecordFile
from voyage_jobs.state.sources import ANOTHER_FOLDER, NOT_CONFIGURED, NOT_WANTED, SourceRow

_FOLDERS = 5
_FILES = 10

CAUSES: list[Cause] = []
cause = entered_in(CAUSES)


@cause("frozen", needs=Moment, moved_by=Mover.DECISION, stops=("delete",))
def _frozen(moment: Moment, say: Say) -> Blockers:
    for row in moment.sources:
        if row.frozen_reason not in (None, NOT_CONFIGURED):
            reason = names.display(row.frozen_reason or "")
            text = f"Source {row.name} is frozen, nothing of it is deleted: {reason}"
            yield say(text, when_frozen(row), source=row.name)


def when_frozen(row: SourceRow) -> str:
    """What to do about a source that is frozen."""
    reason = row.frozen_reason or ""
    undo = f"Bring {names.display(row.path)} back"
    if reason == NOT_CONFIGURED:
        undo = "Put it back into the configuration"
    elif ANOTHER_FOLDER in reason:
        undo = "Set its `path` back"
    elif NOT_WANTED in reason:
        undo = "Change its patterns back (`voyage-jobs why FILE` tells which)"
    return f"{undo}, or, if that is meant, `voyage-jobs confirm-deletes {row.name}`."


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
            hint = "`_front_matter_error` in the table's `front_matter` says what is wrong; what can be read is there."
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
