"""Judging any line of a results file: plain Python over plain JSON, every rule, a name for every flaw."""

from __future__ import annotations

import binascii
import json
from typing import Any, Never

import numpy as np
import pybase64

from voyage_jobs.core.redact import redact
from voyage_jobs.core.usage import plausible
from voyage_jobs.vendors.rest.known import lengths, most_billed
from voyage_jobs.vendors.rest.wire import shorten
from voyage_jobs.vendors.result_block import (
    ABOUT_THE_ACCOUNT,
    EXPIRED,
    WRONG_DIMENSION,
    Expectation,
    GoodLine,
    LineOutcome,
    LineProblem,
)

_MAX_TEXT_CHARS = 4000  # looked at for secrets; what is kept is shorter
_MAX_CODE_CHARS = 64
_MAX_ID_CHARS = 200
_PASSING = (408, 424, 425, 429, *ABOUT_THE_ACCOUNT)


class CarefulReader:
    """Reads one line at a time, at the speed of `json.loads`."""

    def __init__(self, expectation: Expectation) -> None:
        self._count_of = expectation.count_of
        self._nested = expectation.profile.contextualized
        self._width = expectation.profile.width
        # Base64 carries the numbers in the provider's byte order, which is little-endian.
        self._dtype = np.dtype(expectation.profile.storage_dtype).newbyteorder("<")
        self._is_float = self._dtype.kind == "f"
        self._lengths = lengths(expectation.profile)
        self._most_tokens = most_billed(expectation.profile)

    def read(self, line: bytes, number: int) -> GoodLine | LineProblem | None:
        """What line `number` says, None if it is blank. Never raises for anything a line can contain."""
        if line.isspace():
            return None
        malformed = LineOutcome.MALFORMED
        try:
            said = json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError:
            return LineProblem(number, None, malformed, "not_utf8")
        except (ValueError, RecursionError):
            return LineProblem(number, None, malformed, "not_json")
        if not isinstance(said, dict):
            return LineProblem(number, None, malformed, "not_an_object")
        custom_id, response, error = said.get("custom_id"), said.get("response"), said.get("error")
        body = response.get("body") if isinstance(response, dict) else None
        tokens = plausible(_reported_tokens(body), self._most_tokens)
        status, code, message = _failure(response, error, body)
        if not isinstance(custom_id, str):
            return LineProblem(number, None, malformed, "no_custom_id", status, message, tokens)
        count = self._count_of(custom_id)
        if count is None:
            named, code = shorten(custom_id)[:_MAX_ID_CHARS], code or "unknown_id"
            return LineProblem(number, named, LineOutcome.FOREIGN, code, status, message, tokens)
        flaw = "no_vectors"
        if (status is None or 200 <= status < 300) and isinstance(body, dict):
            try:
                return GoodLine(custom_id, self.vectors(body, count), tokens)
            except FlawError as exc:
                flaw = exc.code
        outcome = _outcome(status, code)
        if outcome is malformed:
            code = flaw
        return LineProblem(number, custom_id, outcome, code or f"http_{status}", status, message, tokens)

    def vectors(self, body: dict[str, Any], count: int) -> np.ndarray:
        """The line's vectors in slot order; `FlawError` names the first thing that is wrong with them."""
        rows = body.get("data")
        if self._nested:
            if not isinstance(rows, list):
                flawed("no_vectors")
            if len(rows) != 1 or not isinstance(rows[0], dict):
                flawed("wrong_count")
            rows = rows[0].get("data")
        if not isinstance(rows, list):
            flawed("no_vectors")
        if not 0 < len(rows) == count:
            flawed("wrong_count")
        slots: list[Any] = [row.get("index") if isinstance(row, dict) else None for row in rows]
        if not all(type(slot) is int for slot in slots) or sorted(slots) != list(range(count)):
            flawed("bad_index")
        vectors = np.empty((count, self._width), self._dtype)
        for slot, row in zip(slots, rows, strict=True):
            vectors[slot] = self._vector(row.get("embedding"))
        if self._is_float and not np.isfinite(vectors).all():
            flawed("not_finite")
        if not vectors.any(axis=1).all():
            flawed("all_zero")
        if self._lengths is not None and not _within(vectors, *self._lengths):
            flawed("wrong_length")
        return vectors

    def _vector(self, embedding: Any) -> np.ndarray:
        if isinstance(embedding, str):
            try:
                raw = pybase64.b64decode(embedding, validate=True)
            except (binascii.Error, ValueError):
                flawed("bad_base64")
            if len(raw) != self._width * self._dtype.itemsize:
                flawed(WRONG_DIMENSION)
            return np.frombuffer(raw, self._dtype)
        if not isinstance(embedding, list):
            flawed("no_vectors")
        if len(embedding) != self._width:
            flawed(WRONG_DIMENSION)
        if not all(type(number) in (int, float) for number in embedding):
            flawed("not_numbers")
        return self._converted(embedding)

    def _converted(self, numbers: list[int | float]) -> np.ndarray:
        try:
            wide = np.array(numbers, np.float64)
        except OverflowError:
            flawed("out_of_range")
        if self._is_float:
            with np.errstate(over="ignore"):
                return wide.astype(self._dtype)
        if not np.isfinite(wide).all():
            flawed("not_finite")
        bounds = np.iinfo(self._dtype)
        if wide.min() < bounds.min or wide.max() > bounds.max:
            flawed("out_of_range")
        if (wide != np.floor(wide)).any():
            flawed("not_integers")
        return wide.astype(self._dtype)


def _within(vectors: np.ndarray, least: float, most: float) -> bool:
    """Whether every vector has a length from `least` to `most`. The sum in float32 could overflow."""
    lengths_of_rows = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return bool((lengths_of_rows >= least).all() and (lengths_of_rows <= most).all())


class FlawError(Exception):
    """Vectors that do not check out; `code` is the reason."""

    def __init__(self, code: str) -> None:
        self.code = code


def flawed(code: str) -> Never:
    """Refuse what a line brings, for this reason."""
    raise FlawError(code)


def _outcome(status: int | None, code: str) -> LineOutcome:
    """The outcome of a line without good vectors: by HTTP status, else by whether it names an error."""
    if code == EXPIRED or status in _PASSING or (status is not None and status >= 500):
        return LineOutcome.TRANSIENT
    if status is not None and 400 <= status < 500:
        return LineOutcome.REFUSED
    # The batch guide knows one code without a status. After any other, asking again costs an attempt of which
    # the caller has few; giving up would cost the embedding.
    return LineOutcome.TRANSIENT if code else LineOutcome.MALFORMED


def _failure(response: Any, error: Any, body: Any) -> tuple[int | None, str, str]:
    """Status, error code (empty if none is named) and message, from wherever the line has them."""
    response = response if isinstance(response, dict) else {}
    body = body if isinstance(body, dict) else {}
    told = body.get("error")  # where OpenAI says why a line was refused
    if not error and isinstance(told, dict):
        error = told
    details = error if isinstance(error, dict) else {"message": error}
    status = _status(response.get("status_code"))
    code = details.get("code")
    if status is None:
        status = _status(code)
    named = shorten(code)[:_MAX_CODE_CHARS] if isinstance(code, str) and _status(code) is None else ""
    if not named and status is None and error:
        named = "error"
    texts = (response.get("message"), body.get("detail"), body.get("message"), details.get("message"))
    message = next((text for text in texts if text), "")
    if not isinstance(message, str):
        message = json.dumps(message, ensure_ascii=False)
    return status, named, shorten(redact(message[:_MAX_TEXT_CHARS]))


def _status(value: Any) -> int | None:
    """An HTTP status given as a number or as its digits."""
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and 100 <= value <= 999 else None


def _reported_tokens(body: Any) -> Any:
    usage = body.get("usage") if isinstance(body, dict) else None
    return usage.get("total_tokens") if isinstance(usage, dict) else None
