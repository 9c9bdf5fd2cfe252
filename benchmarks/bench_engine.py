"""What other cores are worth to a scan: slow readers, and ordinary files.

    python -m benchmarks.bench_engine [--files N] [--ms N] [--processes N ...]

Each scan is the first one of a new state, in a process of its own. `slow`: an isolated reader that waits for `--ms` a
file, as one is that renders pages; waiting uses no processor, so the ratio is that of an idle machine. `ordinary`: the
documents of `bench_whole`, by wall time and by the processor time of the process that commits and of its children:
on an idle machine the wall time is at least the longer of the first and of the sum over the cores.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks.bench_whole import write_docs
from benchmarks.harness import peak_rss_mib
from voyage_jobs.config.key import KeySource
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.readers import registry
from voyage_jobs.readers.reader import Json, Reader, Text
from voyage_jobs.service.worker import working
from voyage_jobs.simulator import Simulator
from voyage_jobs.simulator.transport import SimulatorTransport
from voyage_jobs.state import sources
from voyage_jobs.steps import ahead
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.steps.scan import Scan
from voyage_jobs.telemetry.logs import get_logger

WORTH_BYTES = 4 << 20
"""Children are at work sooner than usual, so that a short run shows what they do."""


class Slow(Reader):
    """Takes its time."""

    name = "slow"
    version = 1
    suffixes = (".slow",)
    isolated = True

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:
        """The words of a file, after as many milliseconds as it begins with."""
        ms, _, words = file.read().decode().partition(" ")
        time.sleep(int(ms) / 1000)
        yield Text(words)


def scanned(docs: str, engine: dict[str, Any]) -> dict[str, float]:
    """A first scan of these files: seconds by the clock, of the processor here and of the children; chunks."""
    from benchmarks.bench_engine import Slow as Importable

    ahead.WORTH_BYTES = WORTH_BYTES
    registry._registry = registry.Registry(
        (*registry.BUILT_IN[:-1], Importable(), registry.BUILT_IN[-1]), tuple
    )
    with tempfile.TemporaryDirectory() as root:
        clock = VirtualClock(start=time.time() + 100)
        simulator = Simulator(clock, api_key="pa-bench", seed=1, storage_dir=Path(root))
        settings = Settings(
            data_dir=Path(root) / "data",
            sources=[{"name": "docs", "path": docs, "include": ["*.md", "*.slow"]}],
            voyage={"base_url": "http://127.0.0.1:9/v1"},
            disk={"min_free_bytes": 0},
            engine=engine,
        )
        settings.attach(origin=None, warnings=(), api_key=KeySource({"VOYAGE_API_KEY": "pa-bench"}))
        transport = SimulatorTransport(simulator)
        with working(settings, clock, get_logger(), mode="sync", transport=transport) as context:
            Pipeline(context, eager=True)
            with context.store.read() as connection:
                [row] = sources.all_sources(connection)
            scan = Scan(context, row, settings.sources[0])
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in scan.run():
                pass
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall": wall,
        "cpu": cpu,
        "children": used.ru_utime + used.ru_stime,
        "child_mib": used.ru_maxrss / 1024,
        "chunks": sum(added.chunks for added in scan.added),
    }


def shown(name: str, docs: Path, numbers: list[int]) -> None:
    first: dict[str, float] = {}
    for number in [1, *numbers]:
        engine = {"kind": "local"} if number == 1 else {"kind": "processes", "processes": number}
        mib, got = peak_rss_mib(scanned, str(docs), engine)
        first = first or got
        ideal = max(got["cpu"], (got["cpu"] + got["children"]) / number)
        bound = f" (at most {first['cpu'] / ideal:.2f}x on as many idle cores)" if name == "ordinary" else ""
        print(
            f"{name:>9}, {number} at once: {got['wall']:6.2f} s ({first['wall'] / got['wall']:.2f}x),"
            f" {got['cpu']:.2f} + {got['children']:.2f} CPU s"
            f"{bound}, {got['chunks']:,.0f} chunks, {mib:,.0f} MiB, a child {got['child_mib']:,.0f} MiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_500)
    parser.add_argument("--ms", type=int, default=50)
    parser.add_argument("--processes", type=int, nargs="*", default=[2])
    parser.add_argument("--quick", action="store_true", help="a tenth of the files")
    arguments = parser.parse_args()
    files = arguments.files // 10 if arguments.quick else arguments.files
    with tempfile.TemporaryDirectory() as root:
        slow, docs = Path(root) / "slow", Path(root) / "docs"
        slow.mkdir()
        for number in range(files // 5):
            (slow / f"{number}.slow").write_text(f"{arguments.ms} Words of file {number}.", encoding="utf-8")
        write_docs(docs, "ordinary", files)
        shown("slow", slow, arguments.processes)
        shown("ordinary", docs, arguments.processes)


if __name__ == "__main__":
    main()
