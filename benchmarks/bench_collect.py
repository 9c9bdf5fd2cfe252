"""Collect: a results file becomes a segment.

    python -m benchmarks.bench_collect [--lines 100000] [--dimension 1024] [--naive-lines 20000] [--folder
    DIR]

*Naive* is the same job as a tutorial does it: read the whole file, split it into lines, `json.loads` each, keep
lists of floats, make an Arrow table of them and write that, synced. It gets slower the more it holds, so measuring
it on fewer lines (`--naive-lines`) flatters it.
*Floor* is reading the file line by line and writing as many ready bytes as the segment has, synced. Ours reads,
checks every vector, hashes, writes and syncs the segment. Every figure is the median of fresh processes, taken
in turns; memory is their peak.

Numbers come as a server may write them: *short*, as few digits as tell a float32 (0.0093272925), or *long*, a
float32 that was widened first (0.009327292442321777). Samples of Voyage's answers over HTTP look short, what
its Python library prints looks long.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import harness
from voyage_jobs.core.profile import EMBEDDINGS, Profile

REF = "bench"


def custom_id(number: int) -> str:
    return hashlib.blake2b(number.to_bytes(8, "little"), digest_size=20).hexdigest()


def write_results(path: Path, lines: int, dimension: int, encoding: str) -> None:
    """A results file as documented, of random unit vectors."""
    import numpy as np
    import orjson

    random = np.random.default_rng(1)
    with open(path, "wb", buffering=1 << 20) as out:
        for number in range(lines):
            vector = random.standard_normal(dimension, np.float32)
            vector /= np.linalg.norm(vector)
            embedding: Any = vector
            if encoding == "long":
                embedding = vector.astype(np.float64)
            elif encoding == "base64":
                embedding = base64.b64encode(vector.tobytes()).decode()
            body = {
                "object": "list",
                "data": [{"object": "embedding", "embedding": embedding, "index": 0}],
                "model": "voyage-4",
                "usage": {"total_tokens": 321},
            }
            line = {
                "batch_id": "batch-1",
                "custom_id": custom_id(number),
                "response": {"status_code": 200, "body": body},
                "error": None,
            }
            out.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))


def ours(results: str, folder: str, dimension: int) -> tuple[float, int]:
    from voyage_jobs.segments import SegmentStore
    from voyage_jobs.vendors.rest import careful_reader, quick_reader  # noqa: F401 - before the clock starts
    from voyage_jobs.vendors.rest.results import read_results
    from voyage_jobs.vendors.result_block import Expectation

    profile = Profile(EMBEDDINGS, "voyage-4", dimension, "float", "document")
    start = time.perf_counter()
    with SegmentStore(Path(folder)).writer(profile, REF) as segment:
        for block in read_results(results, Expectation(profile, lambda _: 1)):
            assert not block.problems
            segment.append(block.keys(), block.slots(), block.vectors)
        rows = segment.close().rows
    return time.perf_counter() - start, rows


def naive(results: str, folder: str, dimension: int) -> tuple[float, int]:
    import pyarrow  # noqa: F401 - before the clock starts

    start = time.perf_counter()
    vectors = {}
    text = Path(results).read_text()
    for line in text.splitlines():
        said = json.loads(line)
        vectors[said["custom_id"]] = said["response"]["body"]["data"][0]["embedding"]
    write_naively(vectors, folder, dimension)
    return time.perf_counter() - start, len(vectors)


def naive_base64(results: str, folder: str, dimension: int) -> tuple[float, int]:
    import numpy as np
    import pyarrow  # noqa: F401 - before the clock starts

    start = time.perf_counter()
    vectors = {}
    text = Path(results).read_text()
    for line in text.splitlines():
        said = json.loads(line)
        raw = base64.b64decode(said["response"]["body"]["data"][0]["embedding"])
        vectors[said["custom_id"]] = np.frombuffer(raw, np.float32).tolist()
    write_naively(vectors, folder, dimension)
    return time.perf_counter() - start, len(vectors)


def write_naively(vectors: dict[str, list[float]], folder: str, dimension: int) -> None:
    """What is held becomes a file: one table, one write."""
    import pyarrow as pa

    kind = pa.list_(pa.float32(), dimension)
    table = pa.table({"key": list(vectors), "vector": pa.array(list(vectors.values()), kind)})
    with open(Path(folder) / "naive.arrow", "wb") as out:
        with pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
        out.flush()
        os.fsync(out.fileno())


def floor(results: str, folder: str, dimension: int) -> tuple[float, int]:
    row = bytes(range(256)) * (dimension * 4 // 256 + 1)
    start = time.perf_counter()
    rows = 0
    with (
        open(results, "rb", buffering=1 << 20) as file,
        open(Path(folder) / "floor", "wb", buffering=1 << 20) as out,
    ):
        for _ in file:
            out.write(row[: dimension * 4])
            rows += 1
        out.flush()
        os.fsync(out.fileno())
    return time.perf_counter() - start, rows


def figures(runs: int, *calls: tuple[Any, ...]) -> list[tuple[float, float]]:
    """For each call: its median of vectors per second and its peak MiB."""
    rates: list[list[float]] = [[] for _ in calls]
    peaks = [0.0 for _ in calls]
    for _ in range(runs):
        for which, (fn, *args) in enumerate(calls):
            mib, (seconds, rows) = harness.peak_rss_mib(fn, *args)
            rates[which].append(rows / seconds)
            peaks[which] = max(peaks[which], mib)
    return [(statistics.median(rate), peak) for rate, peak in zip(rates, peaks, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--naive-lines", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="20,000 lines, one run")
    parser.add_argument("--dimension", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", help="where to work; a temporary folder is made in it")
    options = parser.parse_args()
    if options.quick:
        options.lines = options.naive_lines = 20_000
        options.runs = 1
    work = tempfile.mkdtemp(prefix="bench-collect-", dir=options.folder)
    try:
        compare(Path(work), options)
    finally:
        shutil.rmtree(work)


def compare(work: Path, options: argparse.Namespace) -> None:
    some = min(options.naive_lines, options.lines)
    naive_rates: dict[str, float] = {}
    harness.header()
    for encoding in ("short", "long", "base64"):
        few, many = work / f"few-{encoding}.jsonl", work / "many.jsonl"
        write_results(few, some, options.dimension, encoding)
        write_results(many, options.lines, options.dimension, encoding)
        (rate, mib), (slow, slow_mib), (least, _) = figures(
            options.runs,
            (ours, str(many), str(work), options.dimension),
            (naive if encoding != "base64" else naive_base64, str(few), str(work), options.dimension),
            (floor, str(many), str(work), options.dimension),
        )
        ratios = f"{rate / slow:.1f}x naive, {rate / least:.2f}x floor"
        if encoding == "base64":
            told = [
                f"{rate / naive_rates[name]:.1f}x naive with {name} numbers" for name in ("short", "long")
            ]
            ratios = ", ".join([ratios, *told])
        naive_rates[encoding] = slow
        harness.row(
            f"collect {options.lines} x {options.dimension}, {encoding}",
            f"{rate:,.0f} vectors/s, {mib:.0f} MiB",
            f"{slow:,.0f} vectors/s, {slow_mib:.0f} MiB",
            f"{least:,.0f} vectors/s",
            ratios,
        )


if __name__ == "__main__":
    main()
