"""Publishing: the first rows of a table, and replacing a share of a large one.

    python -m benchmarks.bench_publish [--rows 100000] [--base 500000] [--dir DIR] [--upkeep]

Rows are 1024 random floats with 1,500 characters of text and the other columns, ten to a document; replaced
documents come back with nine. The floor and the naive way are LanceDB's own `table.add` of data that is ready
in memory: an Arrow table, and a list of dicts. Every measurement runs in a fresh process, whose peak memory
counts all imports (and, for floor and naive, the ready data). Ours gets its rows as an iterator, checks them
and ends with `sync`: its fsync is in the time, the making of the rows is not.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import header, peak_rss_mib, row

DIMENSION = 1024
TEXT_CHARACTERS = 1_500
CHUNKS_PER_DOCUMENT = 10
BATCH_ROWS = 2_000
SEED = 7


def profile() -> Any:
    from voyage_jobs.core.profile import EMBEDDINGS, Profile

    return Profile(EMBEDDINGS, "voyage-4", DIMENSION, "float", "document")


def documents(first: int, count: int) -> list[tuple[str, str]]:
    return [("docs", f"folder-{d % 97}/document-{d}.md") for d in range(first, first + count)]


class Rows:
    """Makes record batches of documents; vectors and texts are cut from random pools made once."""

    def __init__(self) -> None:
        import numpy as np

        from voyage_jobs.table import schema

        self._random = np.random.default_rng(SEED)
        self._vectors = self._random.standard_normal((4_096, DIMENSION), dtype=np.float32)
        letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz      ", dtype=np.uint8)
        self._text = self._random.choice(letters, 1_000_000).tobytes().decode()
        self.schema = schema(profile())

    def batches(self, first: int, count: int, *, chunks: int, edition: int) -> Iterator[Any]:
        """The rows of `count` documents from number `first` on, `chunks` each, in batches of BATCH_ROWS."""
        names = documents(first, count)
        pairs = [(name, ordinal) for name in names for ordinal in range(chunks)]
        for start in range(0, len(pairs), BATCH_ROWS):
            yield self._batch(pairs[start : start + BATCH_ROWS], edition)

    def _batch(self, pairs: list[tuple[tuple[str, str], int]], edition: int) -> Any:
        from voyage_jobs.table.batch import make_batch

        count = len(pairs)
        vectors = self._vectors[self._random.integers(0, len(self._vectors), count)]
        cuts = self._random.integers(0, len(self._text) - TEXT_CHARACTERS, count).tolist()
        facts = [self._facts(*pair, cut, edition) for pair, cut in zip(pairs, cuts, strict=True)]
        return make_batch(profile(), facts, vectors)

    def _facts(self, document: tuple[str, str], ordinal: int, cut: int, edition: int) -> Any:
        from voyage_jobs.core.profile import document_key
        from voyage_jobs.table.columns import Facts

        return Facts(
            source=document[0],
            path=document[1],
            doc_key=document_key(*document),
            ordinal=ordinal,
            text=self._text[cut : cut + TEXT_CHARACTERS],
            title="A title",
            section=["Part", "Section"],
            start=ordinal * TEXT_CHARACTERS,
            end=(ordinal + 1) * TEXT_CHARACTERS,
            tokens=TEXT_CHARACTERS // 4,
            content_hash=edition.to_bytes(20, "big"),
            modified_at=1_780_000_000_000_000,
            embedding_key=f"{cut:032x}{edition:08x}",
            model="voyage-4",
            published_at=1_780_000_000_000_000 + edition,
            front_matter="{}",
        )


def fill(folder: str, rows: int) -> float:
    """A table of `rows` rows by LanceDB alone, streamed. Not measured."""
    import lancedb
    import pyarrow as pa

    made = Rows()
    table = lancedb.connect(folder).create_table("chunks", schema=made.schema, mode="overwrite")
    for start in range(0, rows // CHUNKS_PER_DOCUMENT, 10_000):
        count = min(10_000, rows // CHUNKS_PER_DOCUMENT - start)
        batches = made.batches(start, count, chunks=CHUNKS_PER_DOCUMENT, edition=1)
        table.add(pa.RecordBatchReader.from_batches(made.schema, batches))
    return 0.0


def plain_add(folder: str, rows: int) -> float:
    """The floor: LanceDB's `add` of a ready Arrow table to an empty one."""
    import lancedb
    import pyarrow as pa

    made = Rows()
    batches = made.batches(0, rows // CHUNKS_PER_DOCUMENT, chunks=CHUNKS_PER_DOCUMENT, edition=2)
    ready = pa.Table.from_batches(batches, schema=made.schema)
    table = lancedb.connect(folder).create_table("chunks", schema=made.schema, mode="overwrite")
    return timed(lambda: table.add(ready))


def add_dicts(folder: str, rows: int) -> float:
    """The naive way: LanceDB's `add` of a list of dicts."""
    import lancedb

    made = Rows()
    batches = made.batches(0, rows // CHUNKS_PER_DOCUMENT, chunks=CHUNKS_PER_DOCUMENT, edition=2)
    ready = [record for batch in batches for record in batch.to_pylist()]
    table = lancedb.connect(folder).create_table("chunks", schema=made.schema, mode="overwrite")
    return timed(lambda: table.add(ready))


def first_publication(folder: str, rows: int) -> float:
    """Ours: a flip of new documents into an empty table, then sync."""
    from voyage_jobs.table import PublishedTable

    table = PublishedTable.open(folder, "chunks", profile(), create=True)
    return flipped(table, rows // CHUNKS_PER_DOCUMENT, CHUNKS_PER_DOCUMENT)


def replacement(folder: str, rows: int) -> float:
    """Ours: a flip of documents that are in the table, into nine chunks each, then sync."""
    from voyage_jobs.table import PublishedTable

    table = PublishedTable.open(folder, "chunks", profile())
    before = table.rows()
    count = rows // CHUNKS_PER_DOCUMENT
    taken = flipped(table, count, CHUNKS_PER_DOCUMENT - 1)
    if table.rows() != before - count:
        raise RuntimeError(f"{before} rows became {table.rows()}, not {before - count}")
    return taken


def flipped(table: Any, count: int, chunks: int) -> float:
    """Seconds of one flip with its sync, without the seconds that went into making the rows."""
    waited = 0.0

    def counted(batches: Iterator[Any]) -> Iterator[Any]:
        nonlocal waited
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    made = Rows()
    named = documents(0, count)
    batches = counted(made.batches(0, count, chunks=chunks, edition=3))

    def work() -> None:
        table.flip(named, batches)
        table.sync()

    return timed(work) - waited


def merge(folder: str, rows: int) -> float:
    """What LanceDB alone offers: merge_insert with delete-by-source, in slices of 1,000 documents."""
    import lancedb
    import pyarrow as pa

    made = Rows()
    table = lancedb.connect(folder).open_table("chunks")

    def work() -> None:
        for first in range(0, rows // CHUNKS_PER_DOCUMENT, 1_000):
            count = min(1_000, rows // CHUNKS_PER_DOCUMENT - first)
            names = ",".join(f"'{path}'" for _, path in documents(first, count))
            batches = made.batches(first, count, chunks=CHUNKS_PER_DOCUMENT - 1, edition=4)
            builder = table.merge_insert("chunk_id").when_matched_update_all().when_not_matched_insert_all()
            builder = builder.when_not_matched_by_source_delete(f"source = 'docs' AND path IN ({names})")
            builder.execute(pa.RecordBatchReader.from_batches(made.schema, batches))

    return timed(work)


def upkeep(folder: str, rows: int) -> float:
    """Ours: `tend` until there is nothing left to do, with the index."""
    from voyage_jobs.table import PublishedTable, Tended

    table = PublishedTable.open(folder, "chunks", profile())
    start = time.perf_counter()
    while (done := table.tend()) != Tended():
        print(f"  tend: {done}", flush=True)
    return time.perf_counter() - start


def search(folder: str, rows: int) -> float:
    """Ours: the median of nine searches for ten rows, after one to warm up."""
    from voyage_jobs.table import PublishedTable

    table = PublishedTable.open(folder, "chunks", profile())
    queries = Rows()._vectors[:10]
    return statistics.median([timed(lambda q=query: table.search(q, 10)) for query in queries][1:])


def timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="rows to publish and to replace")
    parser.add_argument("--base", type=int, default=500_000, help="rows of the large table; 0 leaves it out")
    parser.add_argument(
        "--runs", type=int, default=3, help="runs of the first publication; the median counts"
    )
    parser.add_argument("--dir", default=None, help="where to work: needs about 8 GB for the defaults")
    parser.add_argument("--merge", action="store_true", help="also replace with merge_insert")
    parser.add_argument("--upkeep", action="store_true", help="also compact and index the large table")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-publish-", dir=options.dir))
    try:
        run(folder, options)
    finally:
        shutil.rmtree(folder)


def run(folder: Path, options: argparse.Namespace) -> None:
    def fresh(work: Any, rows: int) -> tuple[float, float]:
        """Peak MiB and seconds of `work` on an empty folder."""
        where = folder / work.__name__
        shutil.rmtree(where, ignore_errors=True)
        return peak_rss_mib(work, str(where), rows)

    def median(work: Any) -> tuple[float, float]:
        taken = [fresh(work, options.rows) for _ in range(options.runs)]
        return max(mib for mib, _ in taken), statistics.median(seconds for _, seconds in taken)

    header()
    floor_mib, floor = median(plain_add)
    ours_mib, ours = median(first_publication)
    naive_mib, naive = fresh(add_dicts, options.rows)
    row(f"publish {options.rows} rows first", ours, naive, floor, f"{floor / ours:.2f}x of plain add's speed")
    row("  peak memory", f"{ours_mib:.0f} MiB", f"{naive_mib:.0f} MiB", f"{floor_mib:.0f} MiB", "-")
    if not options.base:
        return
    base = str(folder / "base")
    peak_rss_mib(fill, base, options.base)
    if options.merge:
        copy = str(folder / "merged")
        shutil.copytree(base, copy)
        merge_mib, merged = peak_rss_mib(merge, copy, options.rows)
        shutil.rmtree(copy)
    replaced_mib, replaced = peak_rss_mib(replacement, base, options.rows)
    row(
        f"replace {options.rows} rows in {options.base}",
        replaced,
        merged if options.merge else None,
        floor,
        f"{floor / replaced:.2f}x of plain add's speed",
    )
    row(
        "  peak memory",
        f"{replaced_mib:.0f} MiB",
        f"{merge_mib:.0f} MiB" if options.merge else None,
        None,
        "-",
    )
    if options.upkeep:
        flat_mib, flat = peak_rss_mib(search, base, 0)
        tend_mib, tended = peak_rss_mib(upkeep, base, 0)
        search_mib, found = peak_rss_mib(search, base, 0)
        row(f"search {options.base} rows, index against none", found, flat)
        row("  peak memory", f"{search_mib:.0f} MiB", f"{flat_mib:.0f} MiB", None, "-")
        row("upkeep with index, once", tended, ratio=f"{tend_mib:.0f} MiB at its peak")


if __name__ == "__main__":
    sys.exit(main())
