"""Reading a results file: line by line, every line judged by what is in it.

The provider documents an output file of successes and an error file of failures; clients in the wild have met
failures in the first. So both files are read by the same door, and a line is a success only if its vectors
check out: the right number of them, the right width, finite, not all zero, and of length 1 where the model
makes such. Nothing in a file can make the reader raise or return vectors of another shape.

Lines may be huge, cut, repeated, in any order, not JSON at all. Whether an id was seen before is the caller's
to know.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from voyage_jobs.vendors.result_block import (
    BlockBuilder,
    Expectation,
    GoodLine,
    LineOutcome,
    LineProblem,
    NumberedLine,
    ResultBlock,
)

if TYPE_CHECKING:
    from voyage_jobs.vendors.rest.careful_reader import CarefulReader

BLOCK_ROWS = 1024
MAX_LINE_BYTES = 64 * 1024 * 1024
"""1,000 vectors of 2,048 floats as JSON take about 45 MB, the largest line there is reason to expect."""

_READ_AHEAD_BYTES = 1024 * 1024


def read_results(
    source: str | os.PathLike[str] | BinaryIO,
    expectation: Expectation,
    *,
    block_rows: int = BLOCK_ROWS,
    max_line_bytes: int = MAX_LINE_BYTES,
    reader: CarefulReader | None = None,
) -> Iterator[ResultBlock]:
    """Read an output or error file to its end as blocks of about `block_rows` vectors or problems.

    `reader` judges every line, where these bring something other than vectors.
    Never raises for anything the file contains; errors of the disk go up. A line longer than `max_line_bytes`
    is read over and reported as `too_long`. Memory is one block and one line.
    """
    from voyage_jobs.vendors.rest.careful_reader import CarefulReader
    from voyage_jobs.vendors.rest.quick_reader import QuickReader

    careful = reader or CarefulReader(expectation)
    fill = QuickReader(expectation).fill if reader is None else _hand_over
    block = BlockBuilder(expectation, block_rows)
    with _opened(source) as file:
        lines = enumerate(_bounded_lines(file, max_line_bytes), start=1)
        while (unusual := fill(lines, block)) is not None or not block.room:
            found = None if unusual is None else _judged(careful, *unusual)
            needed = len(found.vectors) if isinstance(found, GoodLine) else 1
            if block.room < needed:
                yield block.done()
                block = BlockBuilder(expectation, max(block_rows, needed))
            if unusual is not None:
                block.add(found)
    if block.lines:
        yield block.done()


def _hand_over(lines: Iterator[NumberedLine], block: BlockBuilder) -> NumberedLine | None:
    """The next line, if the block has room for it: none is usual."""
    return next(lines, None) if block.room else None


def _judged(careful: CarefulReader, number: int, line: bytes | None) -> GoodLine | LineProblem | None:
    if line is None:
        return LineProblem(number, None, LineOutcome.MALFORMED, "too_long")
    return careful.read(line, number)


def _bounded_lines(file: BinaryIO, max_line_bytes: int) -> Iterator[bytes | None]:
    """The lines of a file; None for one that is longer than allowed, which is read over in pieces."""
    while line := file.readline(max_line_bytes + 1):
        if len(line) <= max_line_bytes or line.endswith(b"\n"):
            yield line
            continue
        del line
        while (rest := file.readline(_READ_AHEAD_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield None


@contextlib.contextmanager
def _opened(source: str | os.PathLike[str] | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(source, str | os.PathLike):
        with open(source, "rb", buffering=_READ_AHEAD_BYTES) as file:
            yield file
    else:
        yield source
