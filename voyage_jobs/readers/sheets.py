"""Sheets: each a section, its rows as Markdown tables that say the names of the columns again and again."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO

from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.readers.office import hidden_tokens, opened_archive, words_between_tags, words_of_runs
from voyage_jobs.readers.reader import Heading, Json, Place, Reader, Refusal, Refused, Text

_TABLE_CHARS = 1_500
"""A table is no longer, unless its rows are: it fits into a chunk as it is cut by default."""
_SHORTEST_CHARS = 500
_TABLES_EACH = 8
"""From the shortest length on, one row of so many begins a new table. Its words decide which: a row that is put in or
taken out leaves the tables further down as they are."""

_PARTS = re.compile(
    r"(?:styles|content|xl/comments/?[^/]*|xl/(?:worksheets|chartsheets|drawings|charts)/[^/]+|xl/diagrams/data\d*)\.xml\Z"
)
"""Those that say something which no cell has: headers, footers, comments, text boxes, charts."""
_CELLS, _COMMENTS = b"<office:document-content", b"<comments"
_RUNNING = re.compile(rb"<(?:odd|even|first)(?:Header|Footer)>([^<]*)")
_CODES = re.compile(
    rb"&amp;(?:(?:\"|&quot;).*?(?:\"|&quot;)|K[0-9A-Fa-f]{6}|\d+#?|[A-Za-z])"
)  # of fonts, places and fields
_SHAPES = re.compile(rb"<(office:annotation|draw:[a-z-]+)\b[^>]*(?<!/)>.*?</\1>", re.DOTALL)


class SheetsReader(Reader):
    """Of each visible sheet the values, as they were calculated last. The place of a text is its sheet."""

    name = "sheets"
    version = 1
    suffixes = (".xlsx", ".xlsm", ".xls", ".ods")
    forms = ("markdown",)
    isolated = True
    needs = ("python_calamine",)
    extra = "office"

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:  # noqa: ARG002 - it has none
        """All its sheets. Raises Refused for what needs a password, is broken, or unpacks to too much."""
        from python_calamine import (
            CalamineError,
            CalamineWorkbook,
            PasswordError,
            SheetTypeEnum,
            SheetVisibleEnum,
        )

        opened_archive(file, older=True)
        file.seek(0)
        text, headings, places, hidden = "", [], [], 0
        try:
            workbook = CalamineWorkbook.from_filelike(file)
            for sheet in workbook.sheets_metadata:
                if sheet.typ != SheetTypeEnum.WorkSheet:
                    continue
                rows = _filled(workbook.get_sheet_by_name(sheet.name).iter_rows())
                if sheet.visible != SheetVisibleEnum.Visible:
                    hidden += sum(estimate_tokens(" ".join(row)) for row in rows)
                    continue
                name = " ".join(sheet.name.split())
                body = "\n\n".join(_tables(rows))
                if body:
                    head = f"# {name}\n\n"
                    headings.append(Heading(len(text), len(text) + len(head), 1, name))
                    places.append(Place(len(text), "sheet", name))
                    text += f"{head}{body}\n\n"
        except PasswordError:
            raise Refused(Refusal.ENCRYPTED) from None
        except CalamineError:
            raise Refused(Refusal.BROKEN, "no sheets that can be opened") from None
        beside = hidden_tokens(file, text, _PARTS, _beside)
        counted = {"hidden_sheets": hidden, "hidden_text": beside}
        left_out = {what: tokens for what, tokens in counted.items() if tokens}
        yield Text(text, "markdown", metadata={}, headings=headings, places=places, left_out=left_out)


def _beside(part: bytes) -> bytes:
    """What a part says besides its cells."""
    if _CELLS in part:
        return words_between_tags(b" ".join(found[0] for found in _SHAPES.finditer(part)))
    if _COMMENTS in part or b"<office:" in part:
        return words_between_tags(part)
    running = _RUNNING.findall(part) if b"<headerFooter" in part else ()
    return b" ".join([*(_CODES.sub(b" ", said) for said in running), words_of_runs(part)])


def _filled(rows: Iterable[Sequence[object]]) -> list[list[str]]:
    """The rows that say anything, without the columns that say nothing."""
    told = [[_told(cell) for cell in row] for row in rows]
    told = [row for row in told if any(row)]
    used = [
        at for at in range(max(map(len, told), default=0)) if any(at < len(row) and row[at] for row in told)
    ]
    return [[row[at] if at < len(row) else "" for at in used] for row in told]


def _told(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    said = (
        cell.isoformat() if isinstance(cell, datetime.datetime | datetime.date | datetime.time) else str(cell)
    )
    return " ".join(said.replace("\0", "").replace("|", "\\|").split())


def _tables(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first row is taken for the names of the columns."""
    if not rows:
        return
    names = f"{_line(rows[0])}\n|{' --- |' * len(rows[0])}"
    lines, size = [names], len(names)
    for row in rows[1:]:
        line = _line(row)
        if len(lines) > 1 and (
            size + len(line) >= _TABLE_CHARS or (size >= _SHORTEST_CHARS and _begins_a_table(line))
        ):
            yield "\n".join(lines)
            lines, size = [names], len(names)
        lines.append(line)
        size += len(line) + 1
    yield "\n".join(lines)


def _line(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"


def _begins_a_table(line: str) -> bool:
    return hashlib.blake2b(line.encode(errors="replace"), digest_size=1).digest()[0] % _TABLES_EACH == 0


SHEETS = SheetsReader()
