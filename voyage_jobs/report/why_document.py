"""Why a document is in the table, or is not yet, or will not be."""

from __future__ import annotations

from voyage_jobs.core.clock import US
from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import Document, Embedding
from voyage_jobs.diagnosis import record_words
from voyage_jobs.diagnosis.blocker import NOTHING_TO_DO
from voyage_jobs.diagnosis.snapshot import Moment
from voyage_jobs.diagnosis.source_conditions import when_frozen
from voyage_jobs.report import why_file
from voyage_jobs.report.answer import Answer
from voyage_jobs.report.standing import (
    Standing,
    facts_of,
    groups,
    look,
    put_back,
    ref_of,
    since_then,
    word_of,
)
from voyage_jobs.report.why_way import on_its_way, words_of
from voyage_jobs.report.words import when
from voyage_jobs.sources import names
from voyage_jobs.splitting.windows import insertion_told
from voyage_jobs.state import documents, history
from voyage_jobs.state.documents import KEPT, DocumentRow
from voyage_jobs.state.history import VersionHistory, View


def document(connection: View, moment: Moment, row: DocumentRow) -> Answer:
    """How a document stands."""
    view = look(connection, moment, row)
    answer = _stands(view)
    answer.facts = {**facts_of(view), **answer.facts}
    if view.file is not None and (told := record_words.frozen(row.source, view.file)):
        answer.paragraph += f" {told}."
        if answer.reason == "published":
            answer.next = record_words.when_frozen(row.source)
    windows = answer.facts["chunks"]["windows"]
    if windows is not None and row.state == Document.PRESENT:
        answer.paragraph += (
            f" It is sent in {counted(windows['count'], 'window')}: {insertion_told(windows)}."
        )
    return answer


def _stands(view: Standing) -> Answer:
    row = view.row
    if row.state == Document.SKIPPED:
        return _skipped(view)
    if row.state == Document.MISSING:
        return _missing(view)
    if row.state == Document.GONE:
        return _gone(view)
    wanted, served = view.wanted, view.served
    if wanted is not None:
        return on_its_way(view, wanted)
    if served is not None:
        return _published(view, served)
    if view.configured is None:
        said = f"{view.name} was seen {_first(view)}; source {row.source} left the configuration before it"
        next_ = put_back(row.source)
        return Answer("document", ref_of(row), "not_configured", False, f"{said} was sent.", next_)
    said = f"{view.name} was seen {_first(view)}, and no version of it is on record, which should not be."
    return Answer(
        "document", ref_of(row), "no_version", False, said, "`voyage-jobs verify` finds and repairs it."
    )


def _first(view: Standing) -> str:
    return "at a time that is not on record" if view.place.seen_at is None else view.at(view.place.seen_at)


# --- what is not taken, or was and is not there any more ---


def _still_served(view: Standing) -> str:
    served = view.served
    if served is None or served.published_at is None:
        return ""
    return f" The table still serves what it had of it, published {view.at(served.published_at)}."


def _skipped(view: Standing) -> Answer:
    row = view.row
    why = None
    if row.reason == "symlink" and view.configured is not None:
        why = why_file.by_links(view.configured, view.path)  # where it leads, a scan has not looked
    why = why or why_file.skipped(row.reason or "", row.detail, row.source)
    moves = history.moves_of(view.connection, "document", [row.id])
    at = f" {when(moves[-1].at, view.moment.now)}" if moves else ""
    said = f"{view.name} was read{at} and is skipped: {why.text}.{_still_served(view)}"
    next_ = why.next or "Nothing to do, or exclude it so that scans ignore it."
    return Answer("document", ref_of(row), why.code, False, said, next_)


def _missing(view: Standing) -> Answer:
    row, source = view.row, view.configured
    since = row.missing_at or view.moment.now
    where = "the disk" if view.file is None else names.display(view.file.name)
    ago = when(since, view.moment.now)
    refused = why_file.left_out(view.connection, view.moment.settings, row)
    said = f"{view.name} is missing from {where} since {ago}.{_still_served(view)}"
    if refused is not None:
        what = view.name if view.file is None else f"The file of {view.name}"
        said = f"{what} is on disk, and is not taken since {ago}: {refused.text}.{_still_served(view)}"
    if view.source is not None and view.source.frozen_reason is not None:
        said += f" Its source is frozen, so nothing is deleted: {view.source.frozen_reason}."
        return Answer(
            "document",
            ref_of(row),
            "frozen",
            False,
            said,
            when_frozen(view.source),
        )
    if row.reason == KEPT:
        said += " It is kept: `undelete`, or `keep = true` of its source, did that."
        next_ = f"Nothing to do; `voyage-jobs confirm-deletes {row.source}` removes everything that is gone."
        return Answer("document", ref_of(row), "kept", False, said, next_)
    grace_s = source.delete_grace_s if source is not None else 0.0
    until = since + int(grace_s * US)
    if until > view.moment.now:
        said += f" Its grace period ends {view.at(until)}; the scan after that removes it."
    else:
        said += " Its grace period is over: the next scan removes it."
    code, next_ = (
        "missing",
        "Put the file back, or `voyage-jobs undelete` it, to keep it; else nothing to do.",
    )
    if refused is not None:
        code, next_ = refused.code, f"Nothing to do if that is meant; else: {refused.next}"
    return Answer("document", ref_of(row), code, False, said, next_, until)


def _gone(view: Standing) -> Answer:
    row = view.row
    moves = history.moves_of(view.connection, "document", [row.id])
    cause, at = (moves[-1].cause, moves[-1].at) if moves else ("", None)
    when_ = "" if at is None else f" {view.at(at)}"
    to = documents.moved_to(view.connection, row) if cause == "moved" else None
    if to is not None:
        place = f"{row.source}:{names.display(to)}"
        said = f"{view.name} was moved{when_}: it is {place} now, with the same vectors."
        return Answer(
            "document", ref_of(row), "moved", False, said, f"`voyage-jobs why {names.in_shell(place)}`"
        )
    refused = why_file.left_out(view.connection, view.moment.settings, row)
    what = "is gone" if refused is None else "was given up"
    said = f"{view.name} {what}{when_} ({cause or 'no cause on record'})."
    if view.served is not None:
        said += " Its rows are about to leave the table."
    else:
        said += " The table does not show it any more; vectors that were paid for are kept for a while."
    if refused is not None:
        said += f" Its file is on disk, and is not taken: {refused.text}."
        return Answer("document", ref_of(row), refused.code, False, said, refused.next or NOTHING_TO_DO)
    return Answer(
        "document", ref_of(row), "gone", False, said, "Put the file back: the next scan picks it up."
    )


# --- what is in the table ---


def _published(view: Standing, served: VersionHistory) -> Answer:
    row = view.row
    at = served.published_at or view.moment.now
    shown = served.chunks - served.failed_chunks
    version = "" if served.table_version is None else f" (table version {served.table_version})"
    said = f"{view.name} is in the table, as it was read {view.at(served.seen_at)}:"
    said += f" {counted(shown, 'chunk')}, published {view.at(at)}{version}."
    if served.retire:
        said += " Its rows are about to leave the table."
        return Answer("document", ref_of(row), "leaving", True, said, NOTHING_TO_DO)
    since = since_then(view)
    if since is not None:
        said += f" {since.text}"
        return Answer("document", ref_of(row), since.code, True, said, since.next, since.until)
    if served.failed_chunks:
        grouped = groups(history.chunks_of(view.connection, served.id))
        failed = [each for each in grouped if each.state is Embedding.FAILED]
        words = words_of(failed, view.moment.provider)
        said += f" {counted(served.failed_chunks, 'chunk')} more could not be embedded{words}."
        return Answer(
            "document", ref_of(row), "published_without", True, said, "`voyage-jobs retry` tries them again."
        )
    return Answer(
        "document",
        ref_of(row),
        "published",
        True,
        said,
        f"`voyage-jobs history --timeline {word_of(view)}` shows its history.",
    )
