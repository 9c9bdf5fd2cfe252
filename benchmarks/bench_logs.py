"""A log read in segments: bytes per CPU second and memory, against its lines alone; how much an append reads again.

`python -m benchmarks.bench_logs --mb 200` writes a log of that size into a temporary folder. At most 200 MiB are then
scanned by the real step into the real state, too: chunks, keys, rows and texts are made.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bench_records import scan_once
from benchmarks.harness import peak_of_this_process_mib, peak_rss_mib
from voyage_jobs.config.key import KeySource
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.memory import collect_seldom
from voyage_jobs.records.formats import LogFile, segments_of
from voyage_jobs.records.formats.log import Reached
from voyage_jobs.records.recipe import recipe_of_logs, records
from voyage_jobs.service.worker import working
from voyage_jobs.telemetry.logs import get_logger

SCANNED = 200 << 20
"""The most that is scanned whole."""
WHAT = (
    "request served from cache",
    "connection refused, trying again",
    "order waits for payment",
    "index rebuilt",
)


def write(path: Path, first: int, size: int) -> int:
    """Append lines until so many bytes are written; the number of the next line."""
    with path.open("ab") as file:
        while size > 0:
            lines = "".join(
                f"2026-05-{at // 864_000 % 28 + 1:02}T{at // 36_000 % 24:02}:{at // 600 % 60:02}:00Z INFO "
                f"{at * 2654435761 % 4294967296:08x} {WHAT[at % 4]} in {at * 7919 % 997} ms for {at * 104729 % 65521}\n"
                for at in range(first, first + 500)
            ).encode()
            first, size = first + 500, size - len(lines)
            file.write(lines)
    return first


def read(path: Path, before: Reached | None = None) -> tuple[int, Reached | None]:
    """How many segments were read as records, and how far they go."""
    with path.open("rb") as file:
        log = LogFile(file, os.fstat(file.fileno()).st_size)
        log.read_on(before)
        return sum(1 for _ in records(recipe_of_logs(("*",), ""), segments_of(log))), log.reached


def scanned(folder: str) -> tuple[float, int, float]:
    """CPU seconds of a first scan of a folder of logs, the documents that it found, and MiB at the peak."""
    collect_seldom()  # as the command line does
    source: Any = {"name": "logs", "path": folder, "logs": ["*.log"]}
    settings = Settings(data_dir=Path(folder, "data"), sources=(source,))
    settings.attach(origin=None, warnings=(), api_key=KeySource({}))
    with working(settings, VirtualClock(start=time.time() + 3600), get_logger(), mode="bench") as context:
        took, scan = scan_once(context)
    return took, scan.read, peak_of_this_process_mib()


def timed(what: Callable[[], object]) -> float:
    """CPU seconds."""
    begun = time.process_time()
    what()
    return time.process_time() - begun


def main() -> None:
    """Write, read, append, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=200)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    size = (50 if options.quick else options.mb) << 20
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "app.log")
        line = write(path, 0, size)
        lines = timed(lambda: sum(1 for _ in path.open("rb")))
        took = timed(lambda: read(path))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        count, reached = read(path)
        write(path, line, 1 << 20)
        again, _ = read(path, reached)
        os.truncate(path, min(SCANNED, path.stat().st_size))
        whole = path.stat().st_size
        _, (made_in, documents, made_mib) = peak_rss_mib(scanned, folder)
    print(
        f"{size >> 20:,} MiB: {size / 1e6 / took:,.0f} MB per CPU second in {count:,} segments, {peak} MiB",
        end="; ",
    )
    print(f"{took / lines:.1f} times its lines alone; {again} segments read after 1 MiB more")
    print(
        f"{whole >> 20:,} MiB scanned whole: {whole / 1e6 / made_in:,.0f} MB per CPU second, {documents:,} documents,"
        f" {made_mib:.0f} MiB"
    )


if __name__ == "__main__":
    main()
