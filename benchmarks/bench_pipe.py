"""The pipe: how near a first run over 10 million chunks comes to the least time in which the provider can do it.

    python -m benchmarks.bench_pipe [--share 100] [--chunks 10000000] [--hours 2] [--how run sync] [--sources 1 200]
                                    [--tokenizer] [--slow 1]

On a virtual clock, through the product's own steps and the bundled simulator: scan, assemble, submit, poll, collect. A
chunk here stands for `--share` chunks, and every limit is so much smaller: of a batch (as many lines of 1.2 KB as 50 MB
hold), of the tokens in flight (as many as 3 million chunks have), of what a scan records at once (what it reads in the
5 seconds after which other steps have a turn). Scanning takes time (5,000 chunks a second), a job takes `--hours`
whatever it holds. Nothing is published. All texts are of one length: a few lines differ more than thousands would.

The least time: every wave of jobs as full as the provider allows, by the tokens that it counts, or, where that is
longer, until the last file is read and one job more. Tokens are estimated, until the first results tell how much of the
estimate is billed; with `--tokenizer` they are counted as the provider does. `full` is the mean share of the provider's
window that was in flight from the end of the first hour until nothing waited any more.

With `--slow` so many jobs, spread over the run, take the whole window of 12 hours. The time is then that of all others,
and `slow` tells when the last of these was collected.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from tests.tokenizer_file import make_tokenizer
from tests.world import World
from voyage_jobs.core.clock import US
from voyage_jobs.state import backlog, batches
from voyage_jobs.steps import scan_slices
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.steps.scan import Scan

SECTIONS = 16
FIRST_SLOW, SLOW_EVERY = 10, 40
LINES, WINDOW_CHUNKS, JOBS = 41_000, 3_000_000, 90
MIN_INPUTS, CHUNKS_A_SECOND = 1_000, 5_000
SLICE_CHUNKS = int(scan_slices.SLICE_S * CHUNKS_A_SECOND)  # fewer than 24,000 documents have
HOUR_S, DAY_S = 3_600, 86_400
SLOW_S = 11 * HOUR_S  # who took longer was slow
LOOK_S = 60  # so many jobs are due at other seconds each: one look a minute spares turns
MOST_TURNS = 1_000_000
STEPS = frozenset({"poll", "collect", "scan", "recount", "assemble", "submit", "tidy"})


class Sample(NamedTuple):
    """Tokens of a chunk: as they are estimated, and as the provider counts them."""

    estimated: float
    billed: float


class Found(NamedTuple):
    """What came of one run; times in virtual seconds."""

    chunks: int
    jobs: int
    took_s: float
    scanned_s: float
    full: float
    cpu_s: float
    slow_s: float
    """When the last slow job was collected; 0 if there was none."""


class TimedPipeline(Pipeline):
    """A pipeline in whose world scanning takes time."""

    chunks_a_second = 1.0
    scanned_s = 0.0

    def _scan(self) -> bool:
        before = self._read()
        did = super()._scan()
        read = self._read() - before
        if read:
            self.context.clock.wait(read * SECTIONS / self.chunks_a_second)
            self.scanned_s = self.context.clock.mono()
        return did

    def _read(self) -> int:
        return sum(scan.read for scan in self.begun)

    @property
    def begun(self) -> list[Scan]:
        """Every scan so far."""
        return self.__dict__.setdefault("_begun", [])

    def _begin_scan(self, *given, **named):  # type: ignore[no-untyped-def]
        scan, progress = super()._begin_scan(*given, **named)
        self.begun.append(scan)
        return scan, progress


def write(folder: Path, documents: range) -> None:
    """Documents of so many sections, each a chunk that no other has."""
    for number in documents:
        place = folder / f"part{number // 500}"
        place.mkdir(parents=True, exist_ok=True)
        parts = (
            f"# Section {at:02}\n\nThe text of part {at:02} of number {number:06}." for at in range(SECTIONS)
        )
        (place / f"{number}.md").write_text("\n\n".join(parts), encoding="utf-8")


def counted_by(tokenizer: Path | None) -> dict[str, dict[str, Any]]:
    """The options of a world whose tokens are counted so: by a tokenizer, else a provider counts four bytes as one."""
    if tokenizer is None:
        return {"options": {}, "voyage": {}}
    return {"options": {"tokenizer": str(tokenizer)}, "voyage": {"tokenizer": str(tokenizer)}}


def sample(tokenizer: Path | None) -> Sample:
    """What a chunk comes to."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), **counted_by(tokenizer))
        write(world.docs, range(1_000, 1_020))
        world.run()
        with world.worker() as context, context.store.read() as connection:
            sql = "SELECT SUM(tokens) * 1.0 / COUNT(*) FROM embeddings"
            estimated = connection.exec_driver_sql(sql).scalar_one()
        return Sample(estimated, world.ledger.batch_tokens / world.ledger.units())


def run(
    chunks: int,
    share: int,
    hours: float,
    how: str,
    count: int,
    of: Sample,
    tokenizer: Path | None,
    slow: int = 0,
) -> Found:
    """One first run over `count` sources, in which so many jobs are slow."""
    with tempfile.TemporaryDirectory(prefix="bench-pipe-") as folder:
        root = Path(folder)
        window = int(WINDOW_CHUNKS / share * of.billed)
        counted = counted_by(tokenizer)
        # The default is nine tenths of what is allowed.
        counted["options"]["max_in_flight_tokens"] = window * 10 // 9
        world = World(
            root,
            batch_seconds=hours * HOUR_S,
            **counted,
            faults={
                "job_slow": {"nth": [FIRST_SLOW + SLOW_EVERY * at for at in range(slow)], "done_share": 1.0}
            }
            if slow
            else None,
            batching={
                "max_inputs": LINES // share,
                "min_inputs": max(1, MIN_INPUTS // share),
                "max_in_flight_tokens": window,
                "max_in_flight_batches": JOBS,
            },
        )
        documents = chunks // share // SECTIONS
        each = -(-documents // count)
        listed = []
        for at in range(count):
            write(root / f"source{at}", range(at * each, min(documents, (at + 1) * each)))
            path = str(root / f"source{at}")
            listed.append({"name": f"s{at}", "path": path, "scan_interval_s": DAY_S})
        with (
            mock.patch("voyage_jobs.steps.pipeline.LONGEST_IDLE_S", 600.0),
            mock.patch.object(scan_slices, "SLICE_DOCUMENTS", max(1, SLICE_CHUNKS // SECTIONS // share)),
            mock.patch.object(scan_slices, "SLICE_FOLDERS", max(1, scan_slices.SLICE_FOLDERS // share)),
            world.worker(mode="run" if how == "run" else "sync", sources=listed) as context,
        ):
            return _drive(world, context, how, share, int(window / of.billed * of.estimated))


def _drive(world: World, context: Context, how: str, share: int, window: int) -> Found:
    """Take turns until every chunk is held."""
    pipeline = TimedPipeline(context, eager=how == "sync", scan_once=how == "sync", only=STEPS)
    pipeline.chunks_a_second = CHUNKS_A_SECOND / share
    clock, began, cpu = world.clock, world.clock.mono(), time.process_time()
    flown = waited_s = 0.0
    for _ in range(MOST_TURNS):
        did = pipeline.turn()
        with context.store.read() as connection:
            _, tokens = batches.in_flight(connection)
            waiting = backlog.measure(connection, context.profile_id).embeddings
        now = clock.mono()
        if not did:
            if not (tokens or waiting or pipeline._more_coming()):
                break
            clock.advance(max(LOOK_S, pipeline.idle_s()))
        if waiting and now - began > HOUR_S:
            flown += tokens * (clock.mono() - now)
            waited_s += clock.mono() - now
    with context.store.read() as connection:
        jobs, held, last, last_slow = connection.exec_driver_sql(
            "SELECT COUNT(*), SUM(inputs), MAX(collected_at) FILTER (WHERE NOT slow),"
            " MAX(collected_at) FILTER (WHERE slow) FROM (SELECT *, ended_at - submitted_at > ? AS slow"
            "  FROM batches WHERE collected_at IS NOT NULL)",
            (SLOW_S * US,),
        ).one()
    came_s, slow_s = (at and at / US - (clock.wall() - clock.mono()) - began for at in (last, last_slow))
    full = flown / waited_s / window if waited_s else 1.0
    scanned_s = pipeline.scanned_s - began
    return Found(held, jobs, came_s, scanned_s, full, time.process_time() - cpu, slow_s or 0.0)


def least_s(found: Found, share: int, hours: float) -> float:
    """The least time for as many chunks."""
    waves = math.ceil(found.chunks * share / WINDOW_CHUNKS)
    return max(waves * hours * HOUR_S, found.scanned_s + hours * HOUR_S)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chunks", type=int, default=10_000_000)
    parser.add_argument("--share", type=int, default=100, help="chunks for which one stands")
    parser.add_argument("--hours", type=float, default=2.0, help="how long a job takes")
    parser.add_argument("--how", nargs="*", choices=["run", "sync"], default=["run", "sync"])
    parser.add_argument("--sources", type=int, nargs="*", default=[1, 200])
    parser.add_argument("--slow", type=int, default=0, help="so many jobs take 12 hours")
    parser.add_argument("--quick", action="store_true", help="each stands for a thousand")
    parser.add_argument("--tokenizer", action="store_true", help="count tokens as the provider does")
    options = parser.parse_args()
    share = 1_000 if options.quick else options.share
    with tempfile.TemporaryDirectory() as folder:
        compare(options, share, make_tokenizer(Path(folder) / "t.json") if options.tokenizer else None)


def compare(options: argparse.Namespace, share: int, tokenizer: Path | None) -> None:
    """Print a row for each way and number of sources."""
    of = sample(tokenizer)
    print("| how | sources | jobs | least | hours (virtual) | of the least | full | CPU s | slow |")
    print("|---|---|---|---|---|---|---|---|---|")
    for how in options.how:
        for count in options.sources:
            found = run(options.chunks, share, options.hours, how, count, of, tokenizer, options.slow)
            least = least_s(found, share, options.hours)
            fewest = -(-found.chunks // (LINES // share))
            cells = (
                how,
                count,
                found.jobs,
                f"{fewest} jobs, {least / HOUR_S:.1f} h",
                f"{found.took_s / HOUR_S:.2f}",
                f"{found.took_s / least:.3f}",
                f"{found.full:.0%}",
                f"{found.cpu_s:.0f}",
                f"{found.slow_s / HOUR_S:.1f} h" if found.slow_s else "-",
            )
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
