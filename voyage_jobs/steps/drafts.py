"""The input file of a batch, written while its lines are chosen, so that no text is read and no line made twice.

It stands under another name until the batch is on record. Which batch it is of is known to this process alone: one that
begins later removes what it finds and writes the file again from the texts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from voyage_jobs.core import durable
from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.private import opener
from voyage_jobs.steps.context import Context
from voyage_jobs.vendors.input_file import WrittenFile

SUFFIX = ".draft"


@dataclass
class Drafts:
    """The drafts of batches that this process has assembled and not yet spooled, by the batch's ref."""

    written: dict[str, WrittenFile] = field(default_factory=dict)


class Draft:
    """Lines on their way into a file, while it is decided what becomes of them."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._digest = hashlib.sha256()
        self._bytes = self._lines = 0
        self.ref: str | None = None
        """The batch that they are of; as long as there is none, nothing is kept."""

    def add(self, line: bytes) -> None:
        """One more line."""
        self._out.write(line)
        self._digest.update(line)
        self._bytes += len(line)
        self._lines += 1

    def kept_as(self, path: Path) -> WrittenFile:
        """What was written, once it is at `path`."""
        return WrittenFile(path, self._bytes, self._lines, self._digest.hexdigest())


@contextlib.contextmanager
def drafting(context: Context) -> Iterator[Draft]:
    """A draft for the next batch. It is gone afterwards, unless it was given the `ref` of one."""
    path = context.spool / f"next{SUFFIX}"
    try:
        with durable.no_room_is_one_error(str(path)), open(path, "wb", opener=opener) as out:
            draft = Draft(out)
            yield draft
        if draft.ref is not None:
            target = path.with_name(f"{draft.ref}{SUFFIX}")
            os.replace(path, target)
            context.memory(Drafts).written[draft.ref] = draft.kept_as(target)
    finally:
        durable.remove(path)


def take(context: Context, ref: str, path: Path, lines: int) -> WrittenFile | None:
    """Have the draft of a batch on the disk at `path`; None if there is none, or not one with so many lines."""
    drafted = context.memory(Drafts).written.pop(ref, None)
    if drafted is None or not drafted.path.exists():
        return None
    if drafted.lines != lines:
        durable.remove(drafted.path)
        return None
    with durable.no_room_is_one_error(str(path)):
        durable.sync_file(drafted.path)
    crash_point("spool.written")
    os.replace(drafted.path, path)
    durable.sync_dir(path.parent)
    crash_point("spool.renamed")
    return replace(drafted, path=path)
