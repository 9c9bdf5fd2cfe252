"""Would it pay to decode result files in other processes? CPU seconds of collecting one file alone, and shared out.

    python -m benchmarks.bench_decode [--lines 100000]

*Alone* is what `collect` does: one thread decodes, another hashes and writes the segment. *Shared* is the most that
could be had: two processes decode one half each into a file, and the one that commits reads these into the segment.
Each part runs by itself in a fresh process, so the figures hold on a busy machine. `At best` is the time on two free
cores with no wait between the parts: for *alone* that of the longer thread, for *shared* half of the sum. Nothing of
the costs of starting, asking and checking is in it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from benchmarks import harness
from benchmarks.bench_collect import write_results
from voyage_jobs.core.profile import EMBEDDINGS, Profile

DIMENSION, KEY_BYTES = 1024, 20
PROFILE = Profile(EMBEDDINGS, "voyage-4", DIMENSION, "float", "document")
ROW = 4 * DIMENSION


def alone(results: str, folder: str) -> tuple[float, float]:
    """CPU seconds of all threads, and of the one that decodes."""
    from voyage_jobs.segments import SegmentStore
    from voyage_jobs.vendors.rest import careful_reader, quick_reader  # noqa: F401 - before the clock starts
    from voyage_jobs.vendors.rest.results import read_results
    from voyage_jobs.vendors.result_block import Expectation

    began, thread = time.process_time(), time.thread_time()
    with SegmentStore(Path(folder)).writer(PROFILE, "alone") as segment:
        for block in read_results(results, Expectation(PROFILE, lambda _: 1)):
            segment.append(block.keys(), block.slots(), block.vectors)
        segment.close()
    return time.process_time() - began, time.thread_time() - thread


def half(results: str, out: str) -> float:
    """CPU seconds of a process that decodes into a file: how many rows, their keys, their vectors, block by block."""
    from voyage_jobs.vendors.rest import careful_reader, quick_reader  # noqa: F401
    from voyage_jobs.vendors.rest.results import read_results
    from voyage_jobs.vendors.result_block import Expectation

    began = time.process_time()
    with open(out, "wb") as file:
        for block in read_results(results, Expectation(PROFILE, lambda _: 1)):
            file.write(len(block.counts).to_bytes(4, "little"))
            file.write(block.keys().tobytes())
            file.write(block.vectors.tobytes())
    return time.process_time() - began


def writing(parts: list[str], folder: str) -> float:
    """CPU seconds of the process that makes a segment of what others decoded."""
    import numpy as np

    from voyage_jobs.segments import SegmentStore

    began = time.process_time()
    with SegmentStore(Path(folder)).writer(PROFILE, "shared") as segment:
        for part in parts:
            with open(part, "rb") as file:
                while head := file.read(4):
                    rows = int.from_bytes(head, "little")
                    keys = np.frombuffer(file.read(KEY_BYTES * rows), np.uint8).reshape(rows, KEY_BYTES)
                    vectors = np.frombuffer(file.read(ROW * rows), np.float32).reshape(rows, DIMENSION)
                    segment.append(keys, np.zeros(rows, np.int32), vectors)
        segment.close()
    return time.process_time() - began


def in_halves(path: Path) -> list[str]:
    """The lines of a file in two files."""
    lines = path.read_bytes().splitlines(keepends=True)
    for name, part in (("first", lines[: len(lines) // 2]), ("second", lines[len(lines) // 2 :])):
        path.with_name(name).write_bytes(b"".join(part))
    return [str(path.with_name(name)) for name in ("first", "second")]


def compare(folder: Path, lines: int, encoding: str) -> None:
    """Print a row for each way."""
    path = folder / "results.jsonl"
    write_results(path, lines, DIMENSION, encoding)
    halves = in_halves(path)
    size = f"{path.stat().st_size / 1e6:,.0f} MB"
    _, (whole, longer) = harness.peak_rss_mib(alone, str(path), str(folder / "alone"))
    print(
        f"| {encoding}, {size} | alone | {longer:.2f} + {whole - longer:.2f} | {whole:.2f} | {longer:.2f} |"
    )
    parts = [str(folder / f"part{at}") for at in (0, 1)]
    decoding = [harness.peak_rss_mib(half, each, part)[1] for each, part in zip(halves, parts, strict=True)]
    for each in (path, *halves):
        os.unlink(each)
    _, wrote = harness.peak_rss_mib(writing, parts, str(folder / "shared"))
    total = sum(decoding) + wrote
    spent = " + ".join(f"{each:.2f}" for each in (*decoding, wrote))
    print(f"| | shared | {spent} | {total:.2f} | {total / 2:.2f} |", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=100_000)
    lines = parser.parse_args().lines
    print("| file | decoded | CPU s | sum | at best, two cores |")
    print("|---|---|---|---|---|")
    for encoding in ("base64", "short"):
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), lines, encoding)


if __name__ == "__main__":
    main()
