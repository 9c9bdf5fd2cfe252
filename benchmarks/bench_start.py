"""`voyage-jobs --help` as a whole process, against bare Python and against importing the heavy libraries first."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.harness import row


def seconds(arguments: list[str], runs: int = 9) -> float:
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[runs // 2]


def main() -> None:
    ours = seconds(["-m", "voyage_jobs", "--help"])
    naive = seconds(["-c", "import click, httpx, sqlalchemy, pydantic_settings, pyarrow, lancedb"], runs=3)
    row("voyage-jobs --help", ours, naive, seconds(["-c", "pass"]))
    print(f"help: {ours:.3f} s (bar: 0.25 s)")


if __name__ == "__main__":
    main()
