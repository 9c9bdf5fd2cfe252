"""Judging the lines that are exactly as documented, and only those, as fast as their numbers can be parsed.

simdjson hands the numbers to numpy without making Python objects. Whatever is unusual in any way is left to
the careful reader, so this one never has to say what is wrong; all it must be is right when it says yes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pybase64
import simdjson

from voyage_jobs.voyage.results import Expectation, GoodLine, tokens_or_none

_BIG_LINE_BYTES = 1024 * 1024

# The sum of squares of a vector that is finite and not all zero beyond doubt, also once it is cast to
# float32. Voyage's vectors have length 1.
_LEAST, _MOST = 1e-30, 1e30

# What simdjson and its objects raise for lines that are not as documented.
_UNUSUAL = (KeyError, TypeError, ValueError, IndexError, RuntimeError, AttributeError, OverflowError)


class QuickReader:
    """Reads one line at a time. Not to be shared by threads: it re-uses one parser."""

    def __init__(self, expectation: Expectation) -> None:
        self._count_of = expectation.count_of
        self._nested = expectation.profile.contextualized
        self._shape = (1, expectation.profile.width)
        # Base64 carries the numbers in the vendor's byte order, which is little-endian.
        self._dtype = np.dtype(expectation.profile.storage_dtype).newbyteorder("<")
        self._is_float = self._dtype.kind == "f"
        self._parser = simdjson.Parser()

    def read(self, line: bytes) -> GoodLine | None:
        """The line's vectors if it is a success to the letter, in order; None for any other line."""
        if len(line) > _BIG_LINE_BYTES:
            self._parser = simdjson.Parser()  # or its buffers would stay as large as the largest line
        try:
            return self._documented(line)
        except _UNUSUAL:
            return None

    def _documented(self, line: bytes) -> GoodLine | None:
        parsed: Any = self._parser.parse(line)
        custom_id, response = parsed["custom_id"], parsed["response"]
        if not isinstance(custom_id, str) or response["status_code"] != 200:
            return None
        body = response["body"]
        rows = body["data"]
        if self._nested:
            (window,) = rows
            rows = window["data"]
        count = len(rows)
        if not count or self._count_of(custom_id) != count:
            return None
        vectors, lists = [], 0
        for slot, row in enumerate(rows):
            index, embedding = row["index"], row["embedding"]
            if index != slot or type(index) is not int:
                return None
            if isinstance(embedding, str):
                vectors.append(self._from_base64(embedding))
            else:
                vectors.append(self._from_numbers(embedding))
                lists += 1
        # Buffers are flattened: only the count of brackets tells that there are no lists within the lists.
        if lists and not _has_lists(line, 1 + self._nested + lists):
            return None
        tokens = tokens_or_none(body["usage"]["total_tokens"])
        return GoodLine(custom_id, vectors[0] if count == 1 else np.concatenate(vectors), tokens)

    def _from_base64(self, text: str) -> np.ndarray:
        vector = np.frombuffer(pybase64.b64decode(text, validate=True), self._dtype)
        if not (_LEAST < vector.dot(vector) < _MOST if self._is_float else vector.any()):
            raise ValueError("not sound beyond doubt")
        return vector.reshape(self._shape)

    def _from_numbers(self, numbers: Any) -> np.ndarray:
        if self._is_float:
            wide = np.frombuffer(numbers.as_buffer(of_type="d"), np.float64)
            if not _LEAST < wide.dot(wide) < _MOST:
                raise ValueError("not sound beyond doubt")
            return wide.reshape(self._shape)
        integers = np.frombuffer(numbers.as_buffer(of_type="i"), np.int64)
        vector = integers.astype(self._dtype)
        if not vector.any() or not np.array_equal(integers, vector):
            raise ValueError("not sound beyond doubt")
        return vector.reshape(self._shape)


def _has_lists(line: bytes, count: int) -> bool:
    """Whether `[` stands in the line exactly `count` times, at memchr speed."""
    at = -1
    for _ in range(count):
        at = line.find(b"[", at + 1)
        if at < 0:
            return False
    return line.find(b"[", at + 1) < 0
