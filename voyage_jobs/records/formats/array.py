"""A JSON array of objects, read one by one: the file need not fit into memory."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.records.recipe import Recipe
from voyage_jobs.records.rows import MAX_RECORD_BYTES, Fault, Lack, Row

_BLANK = " \t\r\n"


def rows(file: BinaryIO, _recipe: Recipe) -> Iterator[Row | Fault]:
    """A row for each element. Raises Refused where the array is broken: what comes after that is not known."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _rows(_Window(text))
    finally:
        text.detach()


def _rows(window: _Window) -> Iterator[Row | Fault]:
    if window.sign() != "[":
        raise Refused(Refusal.BROKEN, "it is no JSON array")
    window.at += 1
    number = 0
    while (sign := window.sign()) != "]":
        number += 1
        if number > 1:
            if sign != ",":
                yield from _end(number, window.whole)
                return
            window.at += 1
        try:
            found = window.value()
        except EOFError:
            yield from _end(number, whole=True)
            return
        yield Row(number, found) if isinstance(found, dict) else Fault(number, Lack.BROKEN, "no object")
    window.at += 1
    if window.sign():
        yield Fault(number + 1, Lack.BROKEN, "there is more after the end of the array")


def _end(number: int, whole: bool) -> Iterator[Fault]:
    """The array ends before its bracket, or goes on as no array does."""
    if not whole:
        raise Refused(Refusal.BROKEN, f"row {number}: no comma before it")
    yield Fault(number, Lack.CUT_SHORT, "the array has no end")


class _Window:
    """The part of the text that is looked at."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._part = ""
        self._decode = json.JSONDecoder().raw_decode
        self.at = 0
        self.whole = False
        """Whether nothing comes after it."""

    def _more(self) -> None:
        more = self._text.read(MAX_RECORD_BYTES)
        self.whole = not more
        self._part = self._part[self.at :] + more
        self.at = 0

    def sign(self) -> str:
        """The next that is not blank; empty at the end."""
        while True:
            while self.at < len(self._part):
                if self._part[self.at] not in _BLANK:
                    return self._part[self.at]
                self.at += 1
            if self.whole:
                return ""
            self._more()

    def value(self) -> Any:
        """The value that begins here, or after blanks. Raises EOFError where the text ends in it, Refused if it is none
        or too large."""
        self.sign()
        while True:
            try:
                found, end = self._decode(self._part, self.at)
            except (ValueError, RecursionError) as exc:
                if self.whole:
                    raise EOFError from exc
                if len(self._part) - self.at > MAX_RECORD_BYTES:
                    raise Refused(Refusal.BROKEN, f"{exc}"[:200]) from None
            else:
                if end < len(self._part) or self.whole:  # else a number may go on
                    self.at = end
                    return found
            self._more()
