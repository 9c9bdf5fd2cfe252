"""CSV and TSV: fields between separators, names in the first line."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import BinaryIO

from voyage_jobs.readers.encodings import AUTO
from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.records.recipe import Recipe
from voyage_jobs.records.rows import MAX_RECORD_BYTES, Fault, Lack, Row

_SEPARATORS = (",", ";", "\t", "|")
_SAMPLE_BYTES = 1 << 18
_WIDEST = 2  # bytes of a line end
_ENDS_INSIDE = "unexpected end of data"
_TOLD_SEPARATOR = re.compile(r'"?sep=([^\r\n"])"?[\r\n]*')  # what Excel puts above the names, and reads
_SIGNS = re.compile(r"[^\w ]+")


def rows(file: BinaryIO, recipe: Recipe) -> Iterator[Row | Fault]:
    """A row for each line, or for the several lines that a field in quotes takes. Raises Refused."""
    csv.field_size_limit(MAX_RECORD_BYTES)
    text = io.TextIOWrapper(file, encoding=_encoding(file, recipe), errors="surrogateescape", newline="")
    try:
        yield from _rows(text, file, recipe)
    finally:
        text.detach()


def _rows(text: io.TextIOWrapper, file: BinaryIO, recipe: Recipe) -> Iterator[Row | Fault]:
    given = iter(partial(text.readline, MAX_RECORD_BYTES), "")
    above, told, first = _to_the_names(given)
    separator = recipe.delimiter or told or _separator(first, recipe)
    reader = csv.reader(chain((first,), given), delimiter=separator, strict=True)
    names = _names(reader, recipe)
    width, last = len(names), None
    while True:
        try:
            found = next(reader)
        except StopIteration:
            break
        except csv.Error as exc:
            cut = _ENDS_INSIDE in str(exc)
            if last is not None:
                yield last
                last = None
            yield Fault(above + reader.line_num, Lack.CUT_SHORT if cut else Lack.BROKEN, str(exc))
            continue
        if last is not None:
            yield last
            last = None
        if len(found) == width:
            yield Row(above + reader.line_num, dict(zip(names, found, strict=True)))
        elif found:
            said = f"{len(found)} fields; the first line has {width}"
            last = Fault(above + reader.line_num, Lack.BROKEN, said)
    if last is not None:
        yield last if ends_with_line(file) else last._replace(lack=Lack.CUT_SHORT)


def _to_the_names(given: Iterator[str]) -> tuple[int, str, str]:
    """How many lines are above the one with the names, the separator that one of them tells, and the line."""
    told = ""
    for above, line in enumerate(given):
        if sign := _TOLD_SEPARATOR.fullmatch(line):
            told = sign[1]
        elif line.strip():
            return above, told, line
    raise Refused(Refusal.EMPTY, "no line with names")


def _names(reader: Iterator[list[str]], recipe: Recipe) -> list[str]:
    """Those of the first line, which has what is asked for, once."""
    try:
        names = [name.strip() for name in next(reader)]
    except csv.Error as exc:
        raise Refused(Refusal.BROKEN, f"its first line: {exc}") from None
    asked = {*recipe.needed}
    if len(names) == 1 < len(asked) and asked <= {*_SIGNS.split(names[0])} and not recipe.delimiter:
        said = f"its first line is one name, {names[0]!r}: if another sign is between names, set `delimiter`"
        raise Refused(Refusal.BROKEN, said)
    recipe.demand(names)
    twice = next((name for name in recipe.fields if names.count(name) > 1), None)
    if twice is not None:
        raise Refused(Refusal.BROKEN, f"its first line has the name {twice!r} more than once")
    return names


def _separator(first: str, recipe: Recipe) -> str:
    """The one by which the first line has most of the names that are asked for, else most names."""

    def worth(separator: str) -> tuple[int, int]:
        names = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
        return sum(field in names for field in recipe.fields), len(names)

    return max(_SEPARATORS, key=worth)


def _encoding(file: BinaryIO, recipe: Recipe) -> str:
    sample = file.read(_SAMPLE_BYTES)
    file.seek(0)
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if sample.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if recipe.encoding not in ("", AUTO):
        return recipe.encoding
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252" if recipe.encoding == AUTO else "utf-8-sig"
    return "utf-8-sig"


def ends_with_line(file: BinaryIO) -> bool:
    """Whether its last line has an end; leaves the file where that is."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _WIDEST))
    return file.read().rstrip(b"\0").endswith((b"\n", b"\r"))
