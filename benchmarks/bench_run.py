"""The whole run: chunks from files to the table through the simulated provider, and where the time goes.

    python -m benchmarks.bench_run [--chunks N ...]

Each size runs in a fresh process, twice: the second run must send nothing. The simulator works in the same process; the
time spent in it is measured at its door and taken off. Waiting is virtual.
"""

from __future__ import annotations

import argparse
import collections
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness import peak_rss_mib
from voyage_jobs.config.key import KeySource
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.service.worker import working
from voyage_jobs.simulator import Simulator
from voyage_jobs.simulator.transport import SimulatorTransport
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.telemetry.logs import get_logger

SECTIONS = 8
WORDS = "configure install the service with a table of vectors and search documents by meaning not by word".split()


class TimedTransport(httpx.BaseTransport):
    """The simulator's door with a stopwatch: bodies count, too."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner
        self.seconds = 0.0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        began = time.perf_counter()
        response = self._inner.handle_request(request)
        self.seconds += time.perf_counter() - began
        response.stream = TimedStream(response.stream, self)
        return response


class TimedStream(httpx.SyncByteStream):
    def __init__(self, inner: Any, owner: TimedTransport) -> None:
        self._inner = inner
        self._owner = owner

    def __iter__(self) -> Any:
        blocks = iter(self._inner)
        while True:
            began = time.perf_counter()
            block = next(blocks, None)
            self._owner.seconds += time.perf_counter() - began
            if block is None:
                return
            yield block

    def close(self) -> None:
        self._inner.close()


def write_docs(folder: Path, chunks: int) -> None:
    """Markdown files of eight sections, each a chunk of about 1.2 KB that no other has."""
    for number in range(chunks // SECTIONS):
        place = folder / f"part{number // 100}"
        place.mkdir(parents=True, exist_ok=True)
        parts = [f"# Document {number}\n"]
        for section in range(SECTIONS):
            text = " ".join(
                f"{word}{(number * 7 + section * 13 + i) % 811}" for i, word in enumerate(WORDS * 8)
            )
            parts.append(f"## Section {section}\n\n{text}\n")
        (place / f"doc{number}.md").write_text("\n".join(parts), encoding="utf-8")


class TimedPipeline(Pipeline):
    """A pipeline that knows how long each step took."""

    def spent(self) -> collections.Counter[str]:
        return self.__dict__.setdefault("_spent", collections.Counter())

    def _steps(self) -> Any:
        def timed(name: str, step: Any) -> Any:
            def run() -> bool:
                began = time.perf_counter()
                did = bool(step())
                self.spent()[name] += time.perf_counter() - began
                return did

            return run

        return tuple((name, timed(name, step)) for name, step in super()._steps())


def one_run(root: str, encoding: str) -> dict[str, Any]:
    folder = Path(root)
    clock = VirtualClock(start=time.time())
    vendor = folder / "vendor"
    vendor.mkdir(exist_ok=True)
    simulator = Simulator(clock, api_key="pa-bench", seed=1, batch_seconds=600, storage_dir=vendor)
    transport = TimedTransport(SimulatorTransport(simulator))
    settings = Settings(
        data_dir=folder / "data",
        sources=[{"name": "docs", "path": str(folder / "docs")}],
        voyage={"base_url": "http://127.0.0.1:9/v1", "encoding_format": encoding},
        batching={"max_bytes": 200_000_000},
        disk={"min_free_bytes": 0},
    )
    settings.attach(origin=None, warnings=(), api_key=KeySource({"VOYAGE_API_KEY": "pa-bench"}))
    began = time.perf_counter()
    with working(settings, clock, get_logger(), mode="sync", transport=transport) as context:
        pipeline = TimedPipeline(context, eager=True)
        idle = 0
        while idle < 200:
            if pipeline.turn():
                idle = 0
            else:
                clock.advance(pipeline.idle_s())
                idle += 1
                with context.store.read() as connection:
                    if (
                        pipeline.scans
                        and not connection.exec_driver_sql(
                            "SELECT COUNT(*) FROM batches WHERE state != 'closed'"
                        ).scalar()
                    ):
                        break
        rows = context.open_table().rows()
    total = time.perf_counter() - began
    billed = simulator.ledger.billed_more_than_once()
    return {
        "total": total,
        "vendor": transport.seconds,
        "steps": dict(pipeline.spent()),
        "rows": rows,
        "twice": len(billed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--quick", action="store_true", help="2,000 and 10,000 chunks")
    parser.add_argument("--encoding", default="", choices=["", "base64"])
    arguments = parser.parse_args()
    for chunks in [2_000, 10_000] if arguments.quick else arguments.chunks:
        with tempfile.TemporaryDirectory() as root:
            write_docs(Path(root) / "docs", chunks)
            mib, got = peak_rss_mib(one_run, root, arguments.encoding)
            ours = got["total"] - got["vendor"]
            print(f"{chunks:>9,} chunks: {ours:6.1f} s of our own ({chunks / ours:,.0f} chunks/s)", end="")
            print(f", {got['vendor']:.1f} s in the simulator, peak {mib:,.0f} MiB with the simulator", end="")
            print(f", {got['rows']:,} rows, billed twice: {got['twice']}")
            steps = sorted(got["steps"].items(), key=lambda item: -item[1])
            print(
                "          "
                + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in steps if seconds > 0.05)
            )
            _, again = peak_rss_mib(one_run, root, arguments.encoding)
            print(f"          again: {again['total']:.1f} s, {again['rows']:,} rows")


if __name__ == "__main__":
    main()
