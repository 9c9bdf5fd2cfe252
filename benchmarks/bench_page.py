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
from voyage_jobs.clock import SystemClock
from voyage_jobs.config.address import Address
from voyage_jobs.config.settings import Settings
from voyage_jobs.server.door import Door
from voyage_jobs.server.ready import OthersReadiness
from voyage_jobs.store.store import Store

TIMES = 7
_FORGET_S = 12.0  # longer than the server keeps an answer


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
        settle(store, 0.1)
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
            took = [timed(url + path) for _ in range(TIMES)]
            print(f"{path}: {statistics.median(took):.2f} s, median of {TIMES}, nothing kept (bar: 1 s)")
        if BINARY is None:
            print("no Chromium here: first paint not measured")
            return
        with Browser(folder / "profile") as browser:
            paints(browser, url)


def timed(url: str) -> float:
    """One answer that had to be made."""
    time.sleep(_FORGET_S)
    began = time.perf_counter()
    with urllib.request.urlopen(url) as answer:
        answer.read()
    return time.perf_counter() - began


def paints(browser: Browser, url: str) -> None:
    """First paint, and when the counts are there, from the beginning of the navigation."""
    first, whole = [], []
    for number in range(TIMES):
        time.sleep(_FORGET_S)
        browser("Network.clearBrowserCache")
        browser.open(f"about:blank#{number}")
        browser.open(url + "/")
        browser.wait("document.querySelector('.count')")
        whole.append(browser.run(_WHEN_COUNTED))
        first.append(browser.run("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    median: Any = statistics.median
    print(
        f"first paint {median(first):.0f} ms (worst {max(first):.0f}), counts shown {median(whole):.0f} ms"
        f" (worst {max(whole):.0f}), median of {TIMES}, cold cache (bar: 1000 ms)"
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
