"""Upkeep by the table's own statistics: few files, few deleted rows, old versions gone, the indexes up to date.

Nothing here is needed for correct answers, and nothing happens unless the statistics ask for it. Compaction
is bounded by rows, so that one call takes seconds and the next one goes on. Building an index (`indexes.py`) is the one
long step; it happens once, and later rows are added to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from voyage_jobs.errors import CorruptionError
from voyage_jobs.table.engine import open_reading, open_writing
from voyage_jobs.table.flip import ROWS_PER_FRAGMENT
from voyage_jobs.table.indexes import INDEX, WORD_INDEX, coverage, drop, faults, kinds, tend_index

LEAST_KEEP_S = 3600
# Lance plans groups of up to three target fragments and skips a group that is over the limit.
_LEAST_ROWS_PER_CALL = 3 * ROWS_PER_FRAGMENT
_COMPACT_BATCH_ROWS = 1_024  # with 8,192, Lance's own choice, 810 MiB instead of 670


@dataclass(frozen=True)
class Upkeep:
    """When to do what.

    `small_fragments`: merge once so many hold less than half of a full fragment. `deleted_share`: rewrite a
    fragment once this share of its rows is deleted. `rows_per_call`: compact at most so many rows in one
    call. `versions`: remove old versions once there are so many that are older than `keep_s` seconds (at
    least an hour: readers may still hold them). `index_from_rows`: build the indexes of vectors and of what is filtered
    from here on, `words_from_rows`: that of words, whose stems are of `language`; `unindexed_rows`: add rows to one
    once so many are outside, to that of words at a tenth of the table already. Without `reshape` another program
    compacts and indexes, and only old versions are removed here.
    """

    small_fragments: int = 8
    deleted_share: float = 0.1
    rows_per_call: int = _LEAST_ROWS_PER_CALL
    versions: int = 20
    keep_s: int = LEAST_KEEP_S
    index_from_rows: int = 50_000
    unindexed_rows: int = 20_000
    words_from_rows: int = 1_000
    language: str = "English"
    reshape: bool = True

    def __post_init__(self) -> None:
        if self.keep_s < LEAST_KEEP_S:
            raise ValueError(f"keep_s must be at least {LEAST_KEEP_S}: readers may hold a version that long")
        if self.rows_per_call < _LEAST_ROWS_PER_CALL:
            raise ValueError(
                f"rows_per_call must be at least {_LEAST_ROWS_PER_CALL}, or compaction may stand still"
            )


@dataclass(frozen=True)
class Stats:
    """The table in numbers. `bytes` counts the data files a reader of this version needs; the folder may hold
    more."""

    version: int
    versions: int
    rows: int
    fragments: int
    small_fragments: int
    worst_deleted_share: float
    deleted_rows: int
    indexed: bool
    unindexed_rows: int
    words_indexed: bool
    words_unindexed_rows: int
    bytes: int


@dataclass(frozen=True)
class Tended:
    """What one call of `tend` did."""

    fragments_removed: int = 0
    fragments_added: int = 0
    index_built: bool = False
    rows_indexed: int = 0
    words_index_built: bool = False
    words_rows_indexed: int = 0
    versions_removed: int = 0
    bytes_removed: int = 0


def measure(dataset: Any) -> Stats:
    """Read the statistics from manifests alone; no data file is opened."""
    fragments = [fragment.metadata for fragment in dataset.get_fragments()]
    deleted = [fragment.num_deletions for fragment in fragments]
    live = {fragment.id: fragment.num_rows for fragment in fragments}
    indexes = coverage(dataset)
    rows = sum(live.values())
    return Stats(
        version=dataset.version,
        versions=len(dataset.version_refs()),
        rows=rows,
        fragments=len(fragments),
        small_fragments=sum(rows < ROWS_PER_FRAGMENT // 2 for rows in live.values()),
        worst_deleted_share=max(
            (gone / fragment.physical_rows for gone, fragment in zip(deleted, fragments, strict=True)),
            default=0.0,
        ),
        deleted_rows=sum(deleted),
        indexed=INDEX in indexes,
        unindexed_rows=indexes[INDEX].outside if INDEX in indexes else rows,
        words_indexed=WORD_INDEX in indexes,
        words_unindexed_rows=indexes[WORD_INDEX].outside if WORD_INDEX in indexes else rows,
        bytes=sum(file.file_size_bytes or 0 for fragment in fragments for file in fragment.files),
    )


def tend(dataset: Any, policy: Upkeep, sync: Callable[[], object], *, floats: bool) -> Tended:
    """Do what the statistics ask for. `sync` is called before anything old is removed and again at the end.

    `floats`: whether a vector index makes sense; other vectors are searched exactly.
    """
    before = measure(dataset)
    done = _reshaped(dataset, before, policy, floats=floats) if policy.reshape else Tended()
    with open_writing(dataset.uri):
        versions_removed, bytes_removed = _clean(dataset, before, policy, sync)
    sync()
    return replace(done, versions_removed=versions_removed, bytes_removed=bytes_removed)


def _reshaped(dataset: Any, before: Stats, policy: Upkeep, *, floats: bool) -> Tended:
    drop(dataset, [name for name, each in coverage(dataset).items() if each.damage])
    try:
        return _reshape(dataset, before, policy, floats=floats)
    except CorruptionError:
        damaged = faults(dataset)  # files of the right size that nevertheless cannot be read
        if not damaged:
            raise
        drop(dataset, damaged)
        return _reshape(dataset, before, policy, floats=floats)


def _reshape(dataset: Any, before: Stats, policy: Upkeep, *, floats: bool) -> Tended:
    """Compact, then see to the indexes.

    Both read the indexes that there are. Raises `CorruptionError` if one cannot be read.
    """
    with open_reading(dataset.uri), open_writing(dataset.uri):
        removed, added = _compact(dataset, before, policy)
        wanted = kinds(
            floats=floats,
            vectors_from=policy.index_from_rows,
            words_from=policy.words_from_rows,
            language=policy.language,
        )
        covered = coverage(dataset)  # again: compaction has moved rows
        done = {
            kind.name: tend_index(dataset, kind, covered.get(kind.name), before.rows, policy.unindexed_rows)
            for kind in wanted
        }
    return Tended(removed, added, *done.get(INDEX, (False, 0)), *done[WORD_INDEX])


def _compact(dataset: Any, before: Stats, policy: Upkeep) -> tuple[int, int]:
    crowded = before.small_fragments >= policy.small_fragments
    if not crowded and before.worst_deleted_share <= policy.deleted_share:
        return 0, 0
    done = dataset.optimize.compact_files(
        target_rows_per_fragment=ROWS_PER_FRAGMENT,
        materialize_deletions_threshold=policy.deleted_share,
        max_source_rows=policy.rows_per_call,
        num_threads=1,
        batch_size=_COMPACT_BATCH_ROWS,
    )
    return done.fragments_removed, done.fragments_added


def _clean(dataset: Any, before: Stats, policy: Upkeep, sync: Callable[[], object]) -> tuple[int, int]:
    if before.versions < policy.versions:
        return 0, 0
    # A compaction's files are not durable yet, and what they replace is about to go.
    sync()
    done = dataset.cleanup_old_versions(timedelta(seconds=policy.keep_s), error_if_tagged_old_versions=False)
    return done.old_versions, done.bytes_removed
