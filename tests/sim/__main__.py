"""`python -m tests.sim --seed N` tells the story of one life; `--seeds A:B [--jobs 2]` runs many and counts.

`--vendor` names another provider than Voyage. `--two HOURS`: each is two daemons with one account, for so many virtual
hours.
"""

from __future__ import annotations

import argparse
import functools
import gc
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor

from voyage_jobs.core import crash
from voyage_jobs.core.clock import SystemClock

from . import faults
from .life import live
from .providers import ALL, PROVIDERS
from .story import SUSPENDED, UNTOUCHED, Plan, Tally, Violation
from .two import live_as_two

SLICE = 20
LONG_RUN = 10_000
"""So many lives come by every crash point and every fault; fewer may miss a rare one, which is told and no failure."""


def main() -> int:
    """Run; 0 if every promise held and, in a long run, everything that can strike did."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeat one life and tell its story")
    parser.add_argument("--seeds", help="A:B, from A up to B", default="0:2000")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    choices = [*PROVIDERS, ALL]
    parser.add_argument("--vendor", choices=choices, default="voyage", help="the provider; all: by the seed")
    parser.add_argument(
        "--two", type=float, metavar="HOURS", help="two daemons with one account, for so long"
    )
    given = parser.parse_args()
    plan = Plan(vendor=given.vendor)
    lives = live if given.two is None else functools.partial(live_as_two, hours=given.two)
    if given.seed is not None:
        try:
            lives(given.seed, plan=plan, story=True)
        except Violation as exc:
            print(str(exc).splitlines()[-2])
            return 1
        return 0
    first, _, last = given.seeds.partition(":")
    seeds = range(int(first), int(last))
    many_lives = len(seeds) >= LONG_RUN and given.vendor == "voyage" and given.two is None
    return many(seeds, given.jobs, functools.partial(lives, plan=plan), must_strike=many_lives)


def many(seeds: range, jobs: int, lives: Callable[[int], Tally], *, must_strike: bool) -> int:
    """Live all of these, then say how fast it was, what struck, and what never did."""
    clock = SystemClock()
    began = clock.mono()
    total, failed = Tally(), list[str]()
    size = max(1, min(SLICE, len(seeds) // (2 * jobs)))
    parts = [seeds[at : at + size] for at in range(0, len(seeds), size)]
    with ProcessPoolExecutor(jobs, initializer=_spare_the_collector) as pool:
        for tally, broken in pool.map(functools.partial(_some, lives), parts):
            total.add(tally)
            failed += broken
            for line in broken:
                print(line, flush=True)
    took = clock.mono() - began
    rate = len(seeds) / took
    print(
        f"{len(seeds)} lives, {total.turns} turns, {took:.1f} s, {rate:.1f} lives/s with {jobs} process(es)"
    )
    idle = _report(total)
    print(f"{len(failed)} failed" + (f": {', '.join(failed)}" if failed else ""))
    return 1 if failed or (idle and must_strike) else 0


def _spare_the_collector() -> None:
    """Look no further for garbage among what was imported: a tenth of the time of a life."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _some(lives: Callable[[int], Tally], seeds: Iterable[int]) -> tuple[Tally, list[str]]:
    tally, failed = Tally(), []
    for seed in seeds:
        try:
            tally.add(lives(seed))
        except Violation as exc:
            reason, repeat = str(exc).splitlines()[-2:]
            failed.append(f"{repeat}  # {reason[:300]}")
    return tally, failed


def _report(total: Tally) -> list[str]:
    """Print what struck how often; the names of what never did."""
    for title, counts, names in (
        ("faults", total.faults, set(faults.KINDS)),
        ("crash points passed", total.passed, set(crash.POINTS)),
        ("deaths at crash points", total.died, set(crash.POINTS)),
        ("acts", total.acts, set()),
    ):
        print(f"{title}: " + ", ".join(f"{name} {counts[name]}" for name in sorted(names | counts.keys())))
    lacking = (set(faults.KINDS) - total.faults.keys()) | (set(crash.POINTS) - total.died.keys())
    idle = sorted(lacking | ({SUSPENDED, UNTOUCHED} - total.acts.keys()))
    if idle:
        print(f"never struck: {', '.join(idle)}")
    return idle


if __name__ == "__main__":
    sys.exit(main())
