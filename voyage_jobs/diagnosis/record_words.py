"""What is wrong with a file of records, in words: for `status`, and for a plan before the file was ever read."""

from __future__ import annotations

from collections.abc import Iterator

from voyage_jobs.core.plural import counted
from voyage_jobs.records.rows import LACKS
from voyage_jobs.sources import names
from voyage_jobs.state.record_files import FROZEN, RecordFile


def frozen(source: str, each: RecordFile) -> str:
    """Why no record of it is deleted; empty if it is not frozen."""
    if each.reason != FROZEN:
        return ""
    return f"{source}:{names.display(each.name)} is frozen, no record of it is deleted: {each.detail}"


def unread(source: str, each: RecordFile) -> str:
    """Why it was not read; empty if it was."""
    if each.reason in (None, FROZEN):
        return ""
    why = f"{each.reason} ({names.display(each.detail)})" if each.detail else str(each.reason)
    return f"{source}:{names.display(each.name)} cannot be read as records: {why}"


def left_out(source: str, each: RecordFile) -> str:
    """Which of its rows are no record, by their lines; empty if all are."""
    if not each.left_out:
        return ""
    told = "; ".join(
        f"{counted(lack.count, 'row')} {LACKS.get(what, what)} (line {names.display(', '.join(lack.first))})"
        for what, lack in each.left_out.items()
    )
    return f"{source}:{names.display(each.name)} has {counted(each.records, 'record')}; {told}"


def all_of(source: str, each: RecordFile) -> Iterator[str]:
    """Everything that is wrong with it."""
    yield from filter(None, (told(source, each) for told in (frozen, unread, left_out)))
