"""A JSON array of objects, read one by one: the file need not fit into memory."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.records.recipe import Recipe
from voyage_jobs.records.rows import MAX_RECORD_BYTES, NESTED, Fault, Lack, Row

_BLANK = " \t\r\n"
_BEGUN = re.compile(r"[\w\\.+-]{0,9}\s*")  # a number, a word or an escape of which the rest may follow
_SIGNS = re.compile(r'"(?:[^"\\]|\\.)*+"|["\[\]{}]', re.DOTALL)
_DEEPER = {"{": 1, "[": 1, "}": -1, "]": -1}


def rows(file: BinaryIO, _recipe: Recipe) -> Iterator[Row | Fault]:
    """A row for each element. Raises Refused where nothing tells the end of a broken one: what follows is not known."""
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
            if not sign:
                break
            if sign != ",":
                raise Refused(Refusal.BROKEN, f"row {number}: no comma before it")
            window.at += 1
            if window.sign() == "]":
                yield Fault(number, Lack.BROKEN, "no value after the last comma")
                continue
        try:
            yield _row(number, window)
        except EOFError:
            break
    if window.sign() != "]":
        yield Fault(number, Lack.CUT_SHORT, "the array has no end")
        return
    window.at += 1
    if window.sign():
        yield Fault(number + 1, Lack.BROKEN, "there is more after the end of the array")


def _row(number: int, window: _Window) -> Row | Fault:
    """Raises EOFError where the text ends in it, Refused where it is broken and nothing tells its end."""
    try:
        found = window.value()
    except ValueError as exc:
        said = exc.msg if isinstance(exc, json.JSONDecodeError) else f"{exc}".partition(";")[0]
        if not window.skip():
            raise Refused(Refusal.BROKEN, f"row {number}: {said}") from None
        return Fault(number, Lack.BROKEN, said)
    return Row(number, found) if isinstance(found, dict) else Fault(number, Lack.BROKEN, "no object")


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
        """The value that begins here. Raises EOFError where the text ends in it, ValueError if it is none or
        too large."""
        while True:
            try:
                found, end = self._decode(self._part, self.at)
            except RecursionError:
                raise ValueError(NESTED) from None
            except ValueError as exc:
                if not self._may_go_on(exc):
                    raise
                if self.whole:
                    raise EOFError from exc
                if len(self._part) - self.at > MAX_RECORD_BYTES:
                    raise ValueError(f"more than {MAX_RECORD_BYTES:,} bytes") from None
            else:
                if end < len(self._part) or self.whole:  # else a number may go on
                    self.at = end
                    return found
            self._more()

    def _may_go_on(self, exc: ValueError) -> bool:
        """Whether what is wrong is that there is no more of it."""
        if not isinstance(exc, json.JSONDecodeError):
            return False  # a number of thousands of digits
        return exc.msg.startswith("Unterminated") or bool(_BEGUN.fullmatch(self._part, exc.pos))

    def skip(self) -> bool:
        """Go past the broken value that begins here, to where its brackets close and a comma or the end of the array
        follows; False where its quotes and brackets do not fit, or it is none with brackets, or too large."""
        while self._part[self.at] in "{[":
            depth, end = 0, 0
            for sign in _SIGNS.finditer(self._part, self.at):
                depth += _DEEPER.get(sign[0], 0)
                if not depth:
                    end = sign.end()
                if not depth or sign[0] == '"':
                    break
            if end:
                self.at = end
                return self.sign() in (",", "]")
            if self.whole or len(self._part) - self.at > MAX_RECORD_BYTES:
                break
            self._more()
        return False
