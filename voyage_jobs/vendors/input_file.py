"""Writing the input file of a batch, line by line, so that it is whole or not there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from voyage_jobs.core import durable
from voyage_jobs.core.crash import crash_point


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """An input file on disk: its size in `bytes`, its number of `lines` and its SHA-256."""

    path: Path
    bytes: int
    lines: int
    sha256_hex: str


def write_input(path: Path, lines: Iterable[bytes]) -> WrittenFile:
    """Write the lines durably; the same lines make the same bytes. `DiskFullError` leaves nothing behind."""
    digest = hashlib.sha256()
    size = count = 0
    with durable.writing(path, private=True) as out:
        for line in lines:
            out.write(line)
            digest.update(line)
            size += len(line)
            count += 1
        crash_point("spool.written")
    crash_point("spool.renamed")
    return WrittenFile(path=path, bytes=size, lines=count, sha256_hex=digest.hexdigest())
