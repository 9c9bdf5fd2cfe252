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

from voyage_jobs.readers.encodings import AUTO, guessed_of_part, text_in, utf16_without_mark
from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.records.recipe import Recipe
from voyage_jobs.records.rows import MAX_RECORD_BYTES, Fault, Lack, Row

_SEPARATORS = (",", ";", "\t", "|")
_SAMPLE_BYTES = 1 << 18
_WIDEST = 2  # bytes of a line end
_ENDS_INSIDE = "unexpected end of data"
_TOLD_SEPARATOR = re.compile(r'"?sep=([^\r\n"])"?[\r\n]*')  # what Excel puts above the names, and reads
_SIGNS = re.compile(r"[^\w ]+")
_NOT_ASCII, _RUNS = re.compile(rb"[\x80-\xff]"), re.compile(rb"[\x80-\xff]{3,}")
_LINE_ENDS = ("\r", "\n")
_MOST_SHORTENED = 16 * MAX_RECORD_BYTES
_TOO_LONG = f"more than {MAX_RECORD_BYTES:,} characters in a line"


def rows(file: BinaryIO, recipe: Recipe) -> Iterator[Row | Fault]:
    """A row for each line, or for the several lines that a field in quotes takes. Raises Refused."""
    csv.field_size_limit(MAX_RECORD_BYTES)
    text = io.TextIOWrapper(file, encoding=_encoding(file, recipe), errors="surrogateescape", newline="")
    try:
        yield from _rows(text, file, recipe)
    finally:
        text.detach()


def _rows(text: io.TextIOWrapper, file: BinaryIO, recipe: Recipe) -> Iterator[Row | Fault]:
    above, told, first = _to_the_names(iter(partial(text.readline, MAX_RECORD_BYTES), ""))
    if len(first) == MAX_RECORD_BYTES and not first.endswith(_LINE_ENDS):
        raise Refused(Refusal.BROKEN, f"its first line: {_TOO_LONG}")
    separator, long = recipe.delimiter or told or _separator(first, recipe), list[int]()
    lines = _lines(text, separator, long)
    reader = csv.reader(chain((first,), lines), delimiter=separator, strict=True)
    names = _names(reader, recipe)
    width, last = len(names), None
    while True:
        try:
            found, wrong = next(reader), ""
        except StopIteration:
            break
        except csv.Error as exc:
            found, wrong = [], str(exc)
        at = above + reader.line_num
        if last is not None:
            yield last
            last = None
        if long:
            long.clear()
            yield Fault(at, Lack.TOO_LARGE, _TOO_LONG)
        elif wrong:
            yield Fault(at, Lack.CUT_SHORT if _ENDS_INSIDE in wrong else Lack.BROKEN, wrong)
        elif len(found) == width:
            yield Row(at, dict(zip(names, found, strict=True)))
        elif found:
            last = Fault(at, Lack.BROKEN, f"{len(found)} fields; the first line has {width}")
    if last is not None:
        yield last if ends_with_line(file) else last._replace(lack=Lack.CUT_SHORT)


def _lines(text: io.TextIOWrapper, separator: str, long: list[int]) -> Iterator[str]:
    """Lines, with the length added to `long` of one that is too long. Of that there is only what tells where its row
    ends, quotes and separators: what is in fields does not fit. Raises Refused where these alone do not."""
    between = re.escape(separator)
    needless = re.compile(f'[^"\\r\\n{between}]{{2,}}|(?:{between}){{2,}}|"{{3,}}')
    read = partial(text.readline, MAX_RECORD_BYTES)
    for line in iter(read, ""):
        if len(line) < MAX_RECORD_BYTES or line.endswith(_LINE_ENDS) or not (part := read()):
            yield line
            continue
        short, size = needless.sub(_shortened, line), len(line)
        while part:
            short, size = short + needless.sub(_shortened, part), size + len(part)
            if len(short) > _MOST_SHORTENED:
                raise Refused(Refusal.BROKEN, f"{_TOO_LONG}, of many fields")
            part = "" if part.endswith(_LINE_ENDS) else read()
        long.append(size)
        yield short


def _shortened(found: re.Match[str]) -> str:
    """What comes to the same of a run: its first sign, but two quotes for an even number of them."""
    return '""' if found[0][0] == '"' and len(found[0]) % 2 == 0 else found[0][0]


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
    recipe.demand_once(names, "its first line has")
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
    if recipe.encoding == AUTO:
        return utf16_without_mark(sample) or _guessed(sample)
    return recipe.encoding or "utf-8-sig"


def _guessed(sample: bytes) -> str:
    """UTF-8 where it fits most lines that tell, so that the others are told. Else Windows-1252, of whose letters few
    stand side by side, in some words alone: too few to tell it from others. Else what the sample seems to be."""
    whole = sample if len(sample) < _SAMPLE_BYTES else sample[: sample.rfind(b"\n") + 1]
    lines = [line for line in whole.split(b"\n") if not line.isascii()]
    if 2 * sum(text_in(line, "utf-8") is not None for line in lines) >= len(lines):
        return "utf-8-sig"
    side_by_side = sum(map(len, _RUNS.findall(whole)))
    if 2 * side_by_side < len(_NOT_ASCII.findall(whole)) and text_in(whole, "cp1252") is not None:
        return "cp1252"
    return guessed_of_part(whole) or "utf-8-sig"


def ends_with_line(file: BinaryIO) -> bool:
    """Whether its last line has an end; leaves the file where that is."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _WIDEST))
    return file.read().rstrip(b"\0").endswith((b"\n", b"\r"))
