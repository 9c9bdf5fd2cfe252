"""The long form: deaths at every crash point, lives of `kill -9` at random moments, lives of power losses.

    python -m tests.crash --kills 200 [--lives A:B] [--points none] [--power 200] [--vendor openai|openai-sync]

Prints the command that repeats whatever fails. 0 if every promise held and every point was reached.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from crash import kills, machine, points
from voyage_jobs.core import crash as crash_points
from voyage_jobs.core.clock import SystemClock

KILLS_A_LIFE = 20
_FIRST_LIFE = 100


def main() -> int:
    """Run it; 0 if every promise held and every point was reached."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--kills", type=int, default=200, help="how often a process is killed at a random moment"
    )
    parser.add_argument(
        "--lives", help="A:B, seeds of the lives; else as many as the kills need, from 100 up"
    )
    parser.add_argument("--points", default="all", help="a crash point, all (the default) or none")
    parser.add_argument("--power", type=int, default=60, help="lives in which the power goes three times")
    parser.add_argument("--jobs", type=int, default=2, help="lives at a time")
    parser.add_argument(
        "--vendor",
        choices=["voyage", "openai", "openai-sync"],
        default="voyage",
        help="the provider of the random kills",
    )
    given = parser.parse_args()
    began = SystemClock().mono()
    failed = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        if given.points != "none":
            chosen = sorted(crash_points.POINTS) if given.points == "all" else [given.points]
            failed += _points(pool, chosen)
        if given.kills:
            failed += _kills(pool, _lives(given.lives, given.kills), given.kills, given.vendor)
    if given.power:
        failed += _power(range(given.power), given.jobs)
    print(f"{SystemClock().mono() - began:.0f} s, {failed} failed")
    return 1 if failed else 0


def _points(pool: ThreadPoolExecutor, chosen: list[str]) -> int:
    """Deaths at the first, second and last passage of each point."""
    numbers = {False: _passages(cancelling=False), True: _passages(cancelling=True)}
    tasks = []
    for seed, point in enumerate(chosen, 1):
        once = point in (*points.OF_OTHER_VECTORS, *points.OF_A_READING, *points.OF_A_PROMISE)
        last = 1 if once else numbers[point in points.OF_A_CANCELLATION][point]
        tasks += [(point, number, seed) for number in sorted({1, min(2, last), last} - {0})]
    reached: Counter[str] = Counter()
    failed = 0
    for (point, number, seed), result in zip(
        tasks, pool.map(lambda task: _lived(lambda root: points.die_once(root, *task)), tasks), strict=True
    ):
        reached[point] += result is True
        if not isinstance(result, bool):
            failed += 1
            print(
                f"FAILED {point}:{number} (seed {seed}), repeat: python -m tests.crash --kills 0 --points {point}"
            )
            print(result, flush=True)
    never = [point for point in chosen if not reached[point]]
    print(f"{reached.total()} deaths at {len(chosen) - len(never)} of {len(chosen)} crash points")
    if never:
        print(f"never died at: {', '.join(never)}")
    return failed + len(never)


def _passages(*, cancelling: bool) -> Counter[str]:
    with tempfile.TemporaryDirectory() as root:
        return points.passages(Path(root) / "life", 1, cancelling=cancelling)


def _lives(given: str | None, wanted: int) -> range:
    if given is None:
        return range(_FIRST_LIFE, _FIRST_LIFE + max(1, round(wanted / KILLS_A_LIFE)))
    first, _, last = given.partition(":")
    return range(int(first), int(last))


def _kills(pool: ThreadPoolExecutor, seeds: range, wanted: int, vendor: str) -> int:
    """Lives that share the kills."""
    each = -(-wanted // len(seeds))
    total, failed = kills.Tally(), 0

    def life(seed: int) -> object:
        return _lived(lambda root: kills.live(root, seed, each, vendor=vendor))

    for seed, result in zip(seeds, pool.map(life, seeds), strict=True):
        if isinstance(result, kills.Tally):
            total.add(result)
            continue
        failed += 1
        print(
            f"FAILED, repeat: python -m tests.crash --points none --lives {seed}:{seed + 1} --kills {each}"
            f" --vendor {vendor}"
        )
        print(result, flush=True)
    print(f"{total.killed.total()} kills in {len(seeds)} lives, {total.looks} looks at the table beside them")
    for what, counted in (("killed", total.killed), ("found unfinished", total.found)):
        print(f"  {what}: {', '.join(f'{name} {count}' for name, count in sorted(counted.items()))}")
    return failed


def _power(seeds: range, jobs: int) -> int:
    """Lives with power losses: in processes, since crash points are armed for a whole process."""
    struck = failed = 0
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for seed, life in [(seed, pool.submit(machine.live_somewhere, seed)) for seed in seeds]:
            try:
                struck += life.result()
            except Exception:
                failed += 1
                print(f"FAILED: crash.machine.live_somewhere({seed})")
                print(traceback.format_exc(), flush=True)
    print(f"{struck} power losses in {len(seeds)} lives")
    return failed


def _lived(life: Callable[[Path], object]) -> object:
    """What a life in a folder of its own returns, or the story of what went wrong."""
    with tempfile.TemporaryDirectory() as root:
        try:
            return life(Path(root) / "life")
        except Exception:  # told, counted, and the rest goes on
            return traceback.format_exc()


if __name__ == "__main__":
    raise SystemExit(main())
