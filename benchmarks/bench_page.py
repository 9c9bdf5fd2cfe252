"""The page over a million chunks: scrape of /metrics, /api/status, and first paint in headless Chromium.

python -m benchmarks.bench_page [--chunks N] [--quick]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.bench_state import fill, settle, short_text
from tests.browser.chromium import BINARY, Browser
from voyage_jobs.config.address import Address
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.server.door import Door
from voyage_jobs.server.ready import OthersReadiness
from voyage_jobs.state.store import Store

TIMES = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="100,000 chunks")
    arguments = parser.parse_args()
    chunks = 100_000 if arguments.quick else arguments.chunks
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        data_dir.mkdir()
        store = Store.open(data_dir / "state.db", SystemClock())
        fill(store, chunks, short_text)
        settle(store, 0.15)  # in batches of 100,000: a tenth is left
        store.close()
        print(f"{chunks:,} chunks, a tenth of them on their way")
        measure(Settings(data_dir=data_dir, sources=[{"name": "docs", "path": "/srv/docs"}]), Path(folder))


def measure(settings: Settings, folder: Path) -> None:
    clock = SystemClock()
    ready = OthersReadiness(settings, clock)
    with Door(settings, Address("127.0.0.1", 0), clock, Quiet(), ready=ready) as door:
        assert door.wait_settled(30)
        url = f"http://127.0.0.1:{door.port}"
        for path in ("/metrics", "/api/status"):
            told = [timed(url + path) for _ in range(TIMES)]
            wall, cpu = zip(*told, strict=True)
            print(
                f"{path}: {statistics.median(wall):.2f} s (best {min(wall):.2f}), {statistics.median(cpu):.2f} s of"
                f" processor time, median of {TIMES}, each made again (bar: 1 s)"
            )
        if BINARY is None:
            print("no Chromium here: first paint not measured")
            return
        with Browser(folder / "profile") as browser:
            paints(browser, url)


def timed(url: str) -> tuple[float, float]:
    """One answer that had to be made: seconds, and seconds of this process's processor time."""
    began, before = time.perf_counter(), time.process_time()
    with urllib.request.urlopen(url) as answer:
        answer.read()
        kept_s = float(answer.headers["X-Kept-Seconds"])
    took = time.perf_counter() - began, time.process_time() - before
    time.sleep(kept_s + 0.1)
    return took


def paints(browser: Browser, url: str) -> None:
    """First paint, and when the counts are there, from the beginning of the navigation."""
    first, whole = [], []
    for number in range(TIMES):
        timed(url + "/api/status")
        browser("Network.clearBrowserCache")
        browser.open(f"about:blank#{number}")
        browser.open(url + "/")
        browser.wait("document.querySelector('.count')")
        browser.wait("performance.getEntriesByName('first-contentful-paint').length")
        whole.append(browser.run(_WHEN_COUNTED))
        first.append(browser.run("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    median: Any = statistics.median
    print(
        f"first paint {median(first):.0f} ms (best {min(first):.0f}), counts there after {median(whole):.0f} ms"
        f" (best {min(whole):.0f}), median of {TIMES}, cold cache (bar: 1000 ms)"
    )


_WHEN_COUNTED = (
    "performance.getEntriesByType('resource').filter((each) => each.name.endsWith('/api/status'))"
    ".map((each) => each.responseEnd)[0]"
)


class Quiet:
    """A log that nobody reads."""

    def __getattr__(self, level: str) -> Any:
        return lambda *args, **fields: None


if __name__ == "__main__":
    main()
