"""The backlog: what choosing a batch costs while little waits, and while very much does.

    python -m benchmarks.bench_backlog [--waiting 50000 1000000] [--inputs 20000]

Chosen are the members of one batch of `--inputs` (the query alone: no text is read), and counted is what waits, as each
turn does. Processor seconds, the best of three.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench_state import fill, short_text
from benchmarks.harness import header, row
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.state import backlog
from voyage_jobs.state.store import Store


def best_s(work: Callable[[], object]) -> float:
    took = []
    for _ in range(3):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def measure(waiting: int, inputs: int) -> tuple[float, float]:
    """Seconds to choose a batch, and to count what waits."""
    with tempfile.TemporaryDirectory(prefix="bench-backlog-") as folder:
        store = Store.open(Path(folder) / "state.db", SystemClock())
        fill(store, waiting, short_text)
        with store.read() as connection:
            chosen = best_s(lambda: list(backlog.wanted(connection, 1, 0, inputs)))
            counted = best_s(lambda: backlog.measure(connection, 1))
        store.close()
    return chosen, counted


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--waiting", type=int, nargs="*", default=[48_000, 1_008_000])
    parser.add_argument("--inputs", type=int, default=20_000)
    options = parser.parse_args()
    header()
    for waiting in options.waiting:
        chosen, counted = measure(waiting, options.inputs)
        row(f"choosing {options.inputs:,} of {waiting:,} waiting", chosen, ratio="-")
        row("  counting them", counted, ratio="-")


if __name__ == "__main__":
    main()
