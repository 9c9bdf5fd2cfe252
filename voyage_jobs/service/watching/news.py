"""Which changes are worth a scan: those of files that the rules keep, and of folders that they enter."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import NamedTuple

from voyage_jobs.service.watching.file_events import ADDED, MODIFIED, Change
from voyage_jobs.sources import names
from voyage_jobs.sources.ignored import IGNORE_FILE
from voyage_jobs.sources.source import Source

# The kernel forgets events beyond its queue (16,384 by default) without the library saying so; after so many at once
# folders may have come that nobody has heard of.
MANY = 4_096


class News(NamedTuple):
    """`worth_a_scan`: something of the source changed. `folders`: folders came or went, so others must be watched."""

    worth_a_scan: bool
    folders: bool


def judge(changes: Sequence[Change], root: str, source: Source, watched: Collection[str]) -> News:
    """What a handful of changes below `root`, where the source is, comes to."""
    if len(changes) >= MANY:
        return News(worth_a_scan=True, folders=True)
    files = False
    for kind, path in changes:
        below = names.encode_listed(os.path.relpath(path, root))
        if path in watched:
            if kind != MODIFIED:  # that of a folder only says that something in it came or went
                return News(worth_a_scan=True, folders=True)
        elif (kind == ADDED and source.enters(below) and os.path.isdir(path)) or os.path.basename(
            path
        ) == IGNORE_FILE:
            return News(worth_a_scan=True, folders=True)
        elif not files:
            files = source.keeps(below)
    return News(worth_a_scan=files, folders=False)
