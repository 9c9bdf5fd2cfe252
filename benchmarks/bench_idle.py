"""The daemon at rest: 100,000 published documents in 1,000 folders, nothing changes; watched, polled, and not watched.

    python -m benchmarks.bench_idle [--quick] [--seconds 60]

Files, state and table are made by a real `voyage-jobs sync` against the bundled simulator; then `voyage-jobs run` is
left alone, and what the kernel says of the process is read between two scans: processor time and resident memory. One
more figure is the time from a change of a file until the daemon has scanned it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench_rescan import make_tree
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.simulator import Simulator
from voyage_jobs.simulator.server import HttpServer

KEY = "pa-key-of-a-benchmark"
_CONFIG = """\
data_dir = {data_dir}
[voyage]
base_url = "http://127.0.0.1:{port}/v1"
output_dimension = 256
encoding_format = "base64"
[[sources]]
name = "docs"
path = {docs}
watch = {watch}
[batching]
linger_s = 1
[logging]
format = "json"
"""


def command(config: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "voyage_jobs", "--config", str(config), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "VOYAGE_API_KEY": KEY}


def wait_for(log: Path, event: str, beyond: int = 0, patience_s: float = 300) -> None:
    until = time.monotonic() + patience_s
    while log.read_text().count(f'"event": "{event}"') <= beyond:
        if time.monotonic() > until:
            raise SystemExit(f"no {event} within {patience_s:.0f} s:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int, what: str = "VmRSS") -> float:
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


@contextlib.contextmanager
def daemon(config: Path, log: Path) -> Iterator[int]:
    with log.open("w") as out:
        process = subprocess.Popen(command(config, "run"), stderr=out, env=environment())
    try:
        wait_for(log, "scan.finished")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def freshness_s(docs: Path, log: Path) -> float:
    """From the end of a write until the scan that has found it is over."""
    scans = log.read_text().count('"event": "scan.finished"')
    (docs / "folder0000" / "file000.md").write_text(f"# Changed\n\nat {time.time()}\n", encoding="utf-8")
    began = time.monotonic()
    wait_for(log, "scan.finished", beyond=scans)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 files in 100 folders, 20 seconds")
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    files, folders = (10_000, 100) if arguments.quick else (100_000, 1_000)
    seconds = 20.0 if arguments.quick else arguments.seconds
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        docs, config, log = root / "docs", root / "voyage-jobs.toml", root / "log"
        make_tree(docs, files, folders)
        (root / "vendor").mkdir()
        vendor = Simulator(SystemClock(), api_key=KEY, seed=1, batch_seconds=1.0, storage_dir=root / "vendor")
        server = HttpServer(vendor)
        server.start()

        def configure(watch: object) -> None:
            values = {"data_dir": str(root / "data"), "docs": str(docs), "watch": watch}
            config.write_text(
                _CONFIG.format(port=server.port, **{name: json.dumps(v) for name, v in values.items()})
            )

        configure(False)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command(config, "sync"), env=environment(), check=True, **quiet)
        print("| watch | CPU between scans | resident | peak since its start | a change is scanned after |")
        print("|---|---|---|---|---|")
        for watch in (False, True, "poll"):
            configure(watch)
            with daemon(config, log) as pid:
                time.sleep(10)  # what a start leaves to do
                began, used = time.monotonic(), cpu_s(pid)
                time.sleep(seconds)
                share = (cpu_s(pid) - used) / (time.monotonic() - began)
                resident, peak = rss_mib(pid), rss_mib(pid, "VmHWM")
                fresh = f"{freshness_s(docs, log):.1f} s" if watch else "-"
            mode = json.dumps(watch)
            print(
                f"| {mode} | {share:.2%} of a core | {resident:.0f} MiB | {peak:.0f} MiB | {fresh} |",
                flush=True,
            )
        server.stop()
    print(f"bars: 1 % of a core, 250 MiB; {files:,} documents, {seconds:.0f} s each")


if __name__ == "__main__":
    main()
