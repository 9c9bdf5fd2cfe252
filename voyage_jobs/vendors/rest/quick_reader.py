"""Judging the lines that are exactly as documented, and only those, as fast as their numbers can be parsed.

simdjson hands the numbers to numpy without making Python objects. Whatever is unusual in any way is left to
the careful reader, so this one never has to say what is wrong; all it must be is right when it says yes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pybase64
import simdjson

from voyage_jobs.core.usage import plausible
from voyage_jobs.vendors.rest.known import lengths, most_billed
from voyage_jobs.vendors.result_block import BlockBuilder, Expectation, NumberedLine

_BIG_LINE_BYTES = 1024 * 1024

# The sum of squares of a vector that is finite and not all zero beyond doubt, also once it is cast to
# float32.
_LEAST, _MOST = 1e-30, 1e30
# More than the rounding of any sum of squares: what is so near to a bound is left to the careful reader.
_DOUBT = 0.01

# What simdjson and its objects raise for lines that are not as documented.
_UNUSUAL = (KeyError, TypeError, ValueError, IndexError, RuntimeError, AttributeError, OverflowError)


class QuickReader:
    """Fills blocks with documented successes. Not to be shared by threads: it re-uses one parser."""

    def __init__(self, expectation: Expectation) -> None:
        self._count_of = expectation.count_of
        self._nested = expectation.profile.contextualized
        self._width = expectation.profile.width
        # Base64 carries the numbers in the provider's byte order, which is little-endian.
        self._dtype = np.dtype(expectation.profile.storage_dtype).newbyteorder("<")
        self._is_float = self._dtype.kind == "f"
        self._least, self._most = _squares(lengths(expectation.profile))
        self._most_tokens = most_billed(expectation.profile)
        self._parser = simdjson.Parser()

    def fill(self, lines: Iterator[NumberedLine], block: BlockBuilder) -> NumberedLine | None:
        """Take lines into the block until one is unusual or does not fit, and return that one.

        None if the block is full or there are no more lines.
        """
        with np.errstate(all="ignore"):  # a sum that overflows is found by looking at it
            while block.room:
                numbered = next(lines, None)
                if numbered is None:
                    return None
                if numbered[1] is None or not self._take(numbered[1], block):
                    return numbered
        return None

    def _take(self, line: bytes, block: BlockBuilder) -> bool:
        """Whether the line is a success to the letter, in order, and now in the block."""
        if len(line) > _BIG_LINE_BYTES:
            self._parser = simdjson.Parser()  # or its buffers would stay as large as the largest line
        try:
            parsed: Any = self._parser.parse(line)
            custom_id, response = parsed["custom_id"], parsed["response"]
            body = response["body"]
            rows = body["data"]
            if response["status_code"] != 200 or type(custom_id) is not str:
                return False
            if self._nested:
                (window,) = rows
                rows = window["data"]
            count = len(rows)
            if self._count_of(custom_id) != count or not 0 < count <= block.room:
                return False
            lists = self._put(rows, block.free(count))
            # Buffers are flattened: only the count of brackets tells that there are no lists within the
            # lists.
            if lists and not _has_lists(line, 1 + self._nested + lists):
                return False
            block.keep(custom_id, count, plausible(body["usage"]["total_tokens"], self._most_tokens))
            return True
        except _UNUSUAL:
            return False

    def _put(self, rows: Any, vectors: np.ndarray) -> int:
        """Write the vectors of the rows in order; how many of them were lists. Raises what `_UNUSUAL` names."""
        lists = 0
        for slot, row in enumerate(rows):
            index, embedding = row["index"], row["embedding"]
            if type(embedding) is str:
                vector = np.frombuffer(pybase64.b64decode(embedding, validate=True), self._dtype)
            else:
                vector = self._from_numbers(embedding)
                lists += 1
            sound = self._least < float(vector.dot(vector)) < self._most if self._is_float else vector.any()
            if not sound or len(vector) != self._width or index != slot or type(index) is not int:
                raise ValueError("not sound beyond doubt")
            vectors[slot] = vector
        return lists

    def _from_numbers(self, numbers: Any) -> np.ndarray:
        """Floats as float64, for they are cast when they are written; integers in the storage type."""
        if self._is_float:
            return np.frombuffer(numbers.as_buffer(of_type="d"), np.float64)
        wide = np.frombuffer(numbers.as_buffer(of_type="i"), np.int64)
        narrow = wide.astype(self._dtype)
        if not np.array_equal(wide, narrow):
            raise ValueError("out of range")
        return narrow


def _squares(allowed: tuple[float, float] | None) -> tuple[float, float]:
    """Between which sums of squares a vector of these lengths is sound beyond doubt."""
    if allowed is None:
        return _LEAST, _MOST
    least, most = allowed
    return least * least + _DOUBT, most * most - _DOUBT


def _has_lists(line: bytes, count: int) -> bool:
    """Whether `[` stands in the line exactly `count` times, at memchr speed."""
    at = -1
    for _ in range(count):
        at = line.find(b"[", at + 1)
        if at < 0:  # pragma: no cover - a list that simdjson found has its bracket
            return False
    return line.find(b"[", at + 1) < 0
