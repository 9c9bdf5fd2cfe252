"""Whole documents, out of the rows of the table: which there are, and what one of them says."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from voyage_jobs.core.profile import KEY_DIGITS
from voyage_jobs.errors import ConfigError
from voyage_jobs.retrieval.passage import joined
from voyage_jobs.table.filters import combined, of_document
from voyage_jobs.table.view import View

LONGEST_TEXT = 20_000
"""Characters that are read at once, to the end of the last chunk."""
_SECTIONS_NAMED = 20
_MARKS = " \t#*=~^-"  # of headings, in the forms that there are
_LISTED = ("source", "path", "title", "modified_at")  # the fields of `Document`
_HEAD = ("chunk_id", "ordinal", "start", "end", "section", "title", "url")


@dataclass(frozen=True)
class Document:
    """One document that the table shows."""

    source: str
    path: str
    title: str
    modified_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {**vars(self), "modified_at": self.modified_at.isoformat(timespec="seconds")}


@dataclass(frozen=True)
class Text:
    """What a document says from `start` to `end`, in characters of the decoded file; None in `next`: that is all.

    What lies between two chunks (blank lines, as a rule) is not in the table.
    """

    source: str
    path: str
    title: str
    url: str
    start: int
    end: int
    text: str
    next: int | None

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return dict(vars(self))


def listed(
    view: View, sources: Sequence[str], paths: Sequence[str], limit: int
) -> tuple[list[Document], int]:
    """The first documents by source and path, and how many there are in all."""
    rows = view.distinct(_LISTED, combined(sources, paths))
    found = sorted(itertools.starmap(Document, rows), key=attrgetter("source", "path"))
    return found[:limit], len(found)


def read(
    view: View,
    source: str,
    path: str,
    *,
    section: str | None = None,
    start: int | None = None,
    end: int | None = None,
) -> Text:
    """The chunks of one document that lie in a section, or between two places; whole chunks, up to `LONGEST_TEXT`.

    `section` is a heading, or several from the outermost with ` > ` between them; of a small one that shares its chunk
    with others the whole chunk is read. Raises ConfigError if the table has no such document or section, or nothing
    there.
    """
    this = of_document(source, path)
    heads = view.rows([*_HEAD], this)
    heads.sort(key=lambda row: row["ordinal"])
    if not heads:
        raise ConfigError(f"There is no document {path!r} of source {source!r} in the table.")
    wanted = [row for row in heads if section is None or _is_in(row["section"], section)]
    if not wanted and section is not None:
        within = {
            row["ordinal"] for row in view.rows(["ordinal", "section", "text"], this) if _holds(row, section)
        }
        wanted = [row for row in heads if row["ordinal"] in within]
    if not wanted:
        raise ConfigError(f"{path} has no section {section!r}.", hint=f"It has {_named(heads)}.")
    wanted = [
        row for row in wanted if (start is None or row["end"] > start) and (end is None or row["start"] < end)
    ]
    if not wanted:
        raise ConfigError(f"{path} has no text there: it ends at {heads[-1]['end']}.")
    taken = 1
    while taken < len(wanted) and wanted[taken]["end"] - wanted[0]["start"] <= LONGEST_TEXT:
        taken += 1
    first, last = wanted[0], wanted[taken - 1]
    spans = [(first["chunk_id"][:KEY_DIGITS], first["ordinal"], last["ordinal"])]
    named = {row["ordinal"] for row in wanted[:taken]}
    chunks = [row for row in view.around(spans) if row["ordinal"] in named]
    chunks.sort(key=lambda row: row["ordinal"])
    following = wanted[taken]["start"] if taken < len(wanted) else None
    return Text(
        source,
        path,
        first["title"],
        first["url"],
        first["start"],
        last["end"],
        joined(chunks),
        following,
    )


def _holds(row: dict[str, Any], asked: str) -> bool:
    """Whether a chunk has a heading in its text: small sections share a chunk, which records the headings above all."""
    *above, last = _parts(asked)
    lines = {line.strip(_MARKS).casefold() for line in row["text"].splitlines()} - {""}
    known = lines | {heading.casefold() for heading in row["section"]}
    return last in lines and known.issuperset(above)


def _parts(asked: str) -> list[str]:
    return [part.strip().casefold() for part in asked.split(" > ")]


def _is_in(headings: Sequence[str], asked: str) -> bool:
    """Whether a chunk stands below a heading, or below several that follow one another."""
    wanted = _parts(asked)
    found = [heading.casefold() for heading in headings]
    return any(found[at : at + len(wanted)] == wanted for at in range(len(found) - len(wanted) + 1))


def _named(heads: Sequence[dict[str, Any]]) -> str:
    found = list(dict.fromkeys(" > ".join(row["section"]) for row in heads if row["section"]))
    if not found:
        return "no sections"
    return ", ".join(found[:_SECTIONS_NAMED]) + (" and more" if len(found) > _SECTIONS_NAMED else "")
