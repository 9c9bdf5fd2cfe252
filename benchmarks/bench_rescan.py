"""Rescan: 100,000 unchanged files in 1,000 folders, through the real scan step and the real state.

    python -m benchmarks.bench_rescan [--quick]

The floor is a bare walk of the same tree with `os.scandir` and one `stat` a file; both are timed in turns.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from benchmarks.harness import measure_together, row
from voyage_jobs.config.key import KeySource
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.service.worker import working
from voyage_jobs.state import sources
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.scan import Scan
from voyage_jobs.telemetry.logs import get_logger


def make_tree(root: Path, files: int, folders: int) -> None:
    for folder in range(folders):
        place = root / f"folder{folder:04}"
        place.mkdir(parents=True)
        for number in range(files // folders):
            (place / f"file{number:03}.md").write_text(f"# {folder} {number}\n\nshort\n", encoding="utf-8")


def bare_walk(root: str) -> int:
    count = 0
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    count += entry.stat(follow_symlinks=False).st_size > 0
    return count


def naive_rescan(context: Context, root: str) -> int:
    """What one would write first: every file looked up by its path in a query of its own, and hashed."""
    import hashlib

    same = 0
    with context.store.read() as connection:
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    digest = hashlib.blake2b(file.read(), digest_size=20).digest()
                sql = "SELECT 1 FROM documents WHERE content_hash = ?"
                same += connection.exec_driver_sql(sql, (digest,)).scalar() is not None
    return same


def scan_once(context: Context) -> int:
    with context.store.read() as connection:
        row_ = sources.all_sources(connection)[0]
    scan = Scan(context, row_, context.settings.sources[0])
    for _ in scan.run():
        pass
    assert scan.result is not None
    return scan.result.unchanged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 files in 200 folders")
    files, folders = (20_000, 200) if parser.parse_args().quick else (100_000, 1_000)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "docs"
        make_tree(root, files, folders)
        settings = Settings(data_dir=Path(place) / "data", sources=[{"name": "docs", "path": str(root)}])
        settings.attach(origin=None, warnings=(), api_key=KeySource({}))
        # The files are an hour old for this clock, so that none is read again to be sure of it.
        clock = VirtualClock(start=time.time() + 3600)
        with working(settings, clock, get_logger(), mode="bench") as context:
            began = time.perf_counter()
            scan_once(context)
            print(f"first scan of {files:,} files: {time.perf_counter() - began:.1f} s")
            unchanged = scan_once(context)
            if unchanged != files:
                raise SystemExit(f"{unchanged} of {files} files were unchanged")
            took = measure_together(
                {
                    "ours": lambda: scan_once(context),
                    "floor": lambda: bare_walk(str(root)),
                    "naive": lambda: naive_rescan(context, str(root)),
                },
                runs=5,
            )
    row("rescan", took["ours"], took["naive"], took["floor"])
    print(f"ratio to the bare walk: {took['ours'] / took['floor']:.2f} (bar: 2.5)")


if __name__ == "__main__":
    main()
