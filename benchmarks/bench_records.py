"""Records: a CSV of 1,000,000 rows (about 210 MB) through the real scan step and the real state: read first, looked at
unchanged, read again with one row changed, with a row in front, sorted otherwise, and cut in half.

    python -m benchmarks.bench_records [--quick] [--rows N]

Rows per second of processor time. The naive way hashes each row of `csv.reader` and inserts it by its id into a table
of its own, by the hundred thousand: no text, no chunk, no request, no history.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.harness import header, peak_of_this_process_mib, peak_rss_mib, row
from voyage_jobs.config.key import KeySource
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.memory import collect_seldom
from voyage_jobs.service.worker import working
from voyage_jobs.state import sources
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.scan import Scan
from voyage_jobs.telemetry.logs import get_logger

_WORDS = [
    "lamp",
    "light",
    "kettle",
    "steam",
    "wood",
    "glass",
    "iron",
    "blue",
    "warm",
    "quiet",
    "long",
    "small",
]
_WRITES = itertools.count(1)
_HEAD = "sku,name,brand,price,description\n"
_RECORDS = {
    "id": "sku",
    "text": "{name}\n{brand}\n\n{description}",
    "title": "{name}",
    "columns": {"price": "float", "brand": "string"},
}


def line(number: int, price: int = 0) -> str:
    said = " ".join(_WORDS[(number * 7 + at * 5 + at * at) % len(_WORDS)] for at in range(30))
    return f'SKU{number},Thing {number},Brand {number % 50},{price or number % 100}.5,"Number {number}: {said}"\n'


def write(path: Path, lines: Callable[[], Iterable[str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(_HEAD)
        file.writelines(lines())
    os.utime(path, (1_700_000_000 + next(_WRITES),) * 2)


def naive(place: str) -> float:
    database = sqlite3.connect(Path(place) / "naive.db", isolation_level=None)
    database.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, hash BLOB) WITHOUT ROWID")
    began = time.process_time()
    with (Path(place) / "docs" / "catalog.csv").open(encoding="utf-8", newline="") as file:
        hashed = (
            (each[0], hashlib.blake2b("\0".join(each).encode(), digest_size=20).digest())
            for each in csv.reader(file)
        )
        while part := list(itertools.islice(hashed, 100_000)):
            database.execute("BEGIN")
            database.executemany("INSERT INTO rows VALUES (?, ?)", part)
            database.execute("COMMIT")
    return time.process_time() - began


def scan_once(context: Context) -> tuple[float, Scan]:
    with context.store.read() as connection:
        known = sources.all_sources(connection)[0]
    scan = Scan(context, known, context.settings.sources[0])
    began = time.process_time()
    for _ in scan.run():
        pass
    return time.process_time() - began, scan


def ours(place: str, rows: int) -> tuple[dict[str, float], float]:
    collect_seldom()  # as the command line does
    path = Path(place) / "docs" / "catalog.csv"
    source = {"name": "shop", "path": str(path.parent), "records": _RECORDS}
    settings = Settings(data_dir=Path(place) / "data", sources=[source])
    settings.attach(origin=None, warnings=(), api_key=KeySource({}))
    numbers = list(range(rows))
    changed: list[tuple[str, Callable[[], Iterable[str]], int]] = [
        ("one row changed", lambda: (line(i, 7 if i == rows // 2 else 0) for i in numbers), 1),
        ("one row in front", lambda: map(line, [rows, *numbers]), 2),  # and the one above back as it was
        ("sorted otherwise", lambda: map(line, [rows, *reversed(numbers)]), 0),
        ("cut in half", lambda: map(line, numbers[: rows // 2]), 0),
    ]
    took: dict[str, float] = {}
    with working(settings, VirtualClock(start=time.time() + 3600), get_logger(), mode="bench") as context:
        took["first"], scan = scan_once(context)
        _demand(scan.result is not None and scan.result.changed == rows, "first")
        took["unchanged"], _ = scan_once(context)
        for what, lines, news in changed:
            write(path, lines)
            took[what], scan = scan_once(context)
            _demand(
                scan.result is not None and (scan.result.changed, scan.result.vanished) == (news, 0), what
            )
    return took, peak_of_this_process_mib()


def _demand(held: bool, what: str) -> None:
    if not held:
        raise SystemExit(f"{what}: not what was expected")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50,000 rows")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    rows = 50_000 if options.quick else options.rows
    collect_seldom()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "docs" / "catalog.csv"
        path.parent.mkdir()
        write(path, lambda: map(line, range(rows)))
        size = path.stat().st_size
        bare = naive(place)
        mib, (took, _) = peak_rss_mib(ours, place, rows)
    print(f"{rows:,} rows, {size / 1e6:.0f} MB")
    header()
    row("first read", took["first"], bare, None)
    for what in [name for name in took if name != "first"]:
        row(what, took[what])
    print(
        f"first read: {rows / took['first']:,.0f} rows per CPU second (bar: 20,000), peak {mib:.0f} MiB (bar: 400)"
    )


if __name__ == "__main__":
    main()
