"""What every benchmark needs: a median of runs, the peak memory of a fresh process, a table row.

A figure is worth something only beside two others taken in the same run on the same machine: the naive way
(what one would write first) and the floor (the least work any program could do). `row` prints all three.
"""

from __future__ import annotations

import gc
import multiprocessing
import re
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


def measure(fn: Callable[[], object], runs: int = 3, clock: Callable[[], float] = time.perf_counter) -> float:
    """The median time of `runs` calls of `fn`, in seconds, wall time as a rule; garbage is collected before each."""
    times = []
    for _ in range(runs):
        gc.collect()
        start = clock()
        fn()
        times.append(clock() - start)
    return statistics.median(times)


def measure_together(
    fns: dict[str, Callable[[], object]], runs: int = 3, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """The median of each, in seconds, taken in turns so that a noisy minute hits all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in fns}
    for _ in range(runs):
        for name, fn in fns.items():
            times[name].append(measure(fn, 1, clock))
    return {name: statistics.median(taken) for name, taken in times.items()}


def peak_rss_mib(fn: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Call `fn(*args)` in a fresh interpreter: (its peak resident memory in MiB, what `fn` returned).

    `fn` must be a module's top-level function, and it, its arguments and its answer must pickle. The
    interpreter and its imports are counted, as an operator looking at the process would count them.
    """
    context = multiprocessing.get_context("spawn")  # a fork would start with our own memory
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs, fn, args))
    child.start()
    theirs.close()
    try:
        failure, mib, answer = ours.recv()
    except EOFError:
        failure, mib, answer = "the child died without a word", 0.0, None
    child.join()
    if failure:
        raise RuntimeError(f"{fn.__name__} failed in its child process (exit {child.exitcode}): {failure}")
    return mib, answer


def _child(pipe: Connection, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        answer = fn(*args)
    except BaseException:
        pipe.send((traceback.format_exc(), 0.0, None))
    else:
        pipe.send((None, peak_of_this_process_mib(), answer))


def peak_of_this_process_mib() -> float:
    """The most memory this process has had resident so far, in MiB."""
    try:
        # Not getrusage: on Linux its figure is inherited from the parent through fork and exec.
        with open("/proc/self/status", encoding="ascii") as status:
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read())
        if found:
            return int(found.group(1)) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024) if sys.platform == "darwin" else peak / 1024


def header() -> None:
    """Print the head of the table that `row` fills."""
    print("| path | ours | naive | floor | ratio |")
    print("|---|---|---|---|---|")


def row(
    path: str,
    ours: float | str,
    naive: float | str | None = None,
    floor: float | str | None = None,
    ratio: str | None = None,
) -> None:
    """Print one row. Numbers are seconds; without a `ratio` it is worked out from them."""
    if ratio is None:
        parts = []
        if isinstance(ours, float) and isinstance(naive, float):
            parts.append(f"{naive / ours:.2f}x as fast as naive")
        if isinstance(ours, float) and isinstance(floor, float):
            parts.append(f"{ours / floor:.2f}x the floor's time")
        ratio = ", ".join(parts) or "-"
    print(f"| {path} | {_cell(ours)} | {_cell(naive)} | {_cell(floor)} | {ratio} |", flush=True)


def _cell(value: float | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms"
