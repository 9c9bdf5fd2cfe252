"""What is wrong with a file of records, in words: for `status`, and for a plan before the file was ever read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from voyage_jobs.core.plural import counted
from voyage_jobs.readers.reader import Refusal
from voyage_jobs.records.formats import has_lines
from voyage_jobs.records.rows import LACKS, NO_FIELD
from voyage_jobs.sources import names
from voyage_jobs.state.record_files import FROZEN, RecordFile


def frozen(source: str, each: RecordFile) -> str:
    """Why no record of it is deleted; empty if it is not frozen."""
    if each.reason != FROZEN:
        return ""
    return f"{source}:{names.display(each.name)} is frozen, no record of it is deleted: {each.detail}"


def when_frozen(source: str) -> str:
    """The next step then."""
    return f"Make it whole, or, if that is meant, `voyage-jobs confirm-deletes {source}`."


def unread(source: str, each: RecordFile) -> str:
    """Why it was not read; empty if it was."""
    if each.reason in (None, FROZEN):
        return ""
    why = f"{each.reason} ({names.display(each.detail)})" if each.detail else str(each.reason)
    if each.reason == NO_FIELD and each.detail:
        why = names.display(each.detail)
    return f"{source}:{names.display(each.name)} cannot be read: {why}"


WHEN_NO_FIELD = "Correct the field in `records` of source {source}, or name it in `optional` there."


def when_unread(source: str, each: RecordFile) -> str:
    """The next step then."""
    if each.reason == NO_FIELD:
        return WHEN_NO_FIELD.format(source=source)
    if each.reason == Refusal.EMPTY:
        return f"Give it a first line with names, or exclude it from source {source}."
    return f"Mend it, exclude it, or correct `records`, `logs` or `encoding` of source {source}."


WHEN_LEFT_OUT = "Mend these rows."
"""The next step where rows are no record."""


def left_out(source: str, each: RecordFile) -> str:
    """Which of its rows are no record, by their lines; empty if all are."""
    told = "; ".join(rows_left_out(each))
    return (
        f"{source}:{names.display(each.name)} has {counted(each.records, 'record')}; {told}" if told else ""
    )


def rows_left_out(each: RecordFile) -> Iterator[str]:
    """The same by what is wrong with them."""
    place = "line" if has_lines(each.file) else "row"
    for what, lack in each.left_out.items():
        first = names.display(", ".join(lack.first))
        yield f"{counted(lack.count, 'row')} {LACKS.get(what, what)} ({place} {first})"


def others(source: str, files: Sequence[RecordFile], shown: int) -> str:
    """How many files are like those of which the first are shown; empty if these are all."""
    rest = len(files) - shown
    return (
        f"{counted(rest, 'other file')} of records of source {source} cannot be taken whole"
        if rest > 0
        else ""
    )


def all_of(source: str, each: RecordFile) -> Iterator[str]:
    """Everything that is wrong with it, each with the next step."""
    for text, next_ in (
        (frozen(source, each), when_frozen(source)),
        (unread(source, each), when_unread(source, each)),
        (left_out(source, each), WHEN_LEFT_OUT),
    ):
        if text:
            yield f"{text}. {next_}"
