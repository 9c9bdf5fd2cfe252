"""Save to searchable in the fresh lane: real processes, a provider whose calls take five seconds, a watched folder.

People save files now and then, three at once at times, while a backlog waits for its batch. Each save is timed until a
reader of the table sees its words. The allowance is made to end on the way in a second run: it must not be exceeded.

Usage: python -m benchmarks.bench_fresh [SAVES]
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lancedb

CALL_S = 5.0
HEAD_BYTES = 150
"""About so long is the head of an answer, which the simulator sends byte by byte."""
SAVES = 40
EVERY_S = (4.0, 14.0)
BACKLOG = 300
BAR_S = 15.0
PATIENCE_S = 120.0
KEY = "pa-a-key-of-the-simulator"
FAULTS = {
    "faults": {
        "head_trickle": {
            "on": "embeddings",
            "how": "bytes",
            "seconds": CALL_S / HEAD_BYTES,
            "probability": 1.0,
        }
    }
}


class Stage:
    """A folder, a simulator and a daemon, as a user has them."""

    def __init__(self, root: Path, daily_tokens: int) -> None:
        self.root, self.docs = root, root / "docs"
        self.docs.mkdir()
        faults = root / "faults.json"
        faults.write_text(json.dumps(FAULTS))
        self._ready = root / "simulate.out"
        self._simulator = self._start(
            "simulate", "--port", "0", "--batch-seconds", "3600", "--faults", str(faults), out=self._ready
        )
        self._config(self._address(), daily_tokens)

    def _start(self, *arguments: str, out: Path) -> subprocess.Popen[bytes]:
        with out.open("wb") as log:
            command = [sys.executable, "-m", "voyage_jobs", *arguments]
            environment = {**os.environ, "VOYAGE_API_KEY": KEY, "VOYAGE_JOBS_LOGGING__FORMAT": "json"}
            return subprocess.Popen(
                command, cwd=self.root, stdout=log, stderr=subprocess.STDOUT, env=environment
            )

    def _address(self) -> str:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for word in self._ready.read_text().split():
                if word.startswith("http://") and word.rstrip(".,").endswith("/v1"):
                    return word.rstrip(".,")
            time.sleep(0.1)
        raise RuntimeError(f"no simulator: {self._ready.read_text()}")

    def _config(self, address: str, daily_tokens: int) -> None:
        (self.root / "voyage-jobs.toml").write_text(
            f'data_dir = "data"\n[voyage]\nbase_url = "{address}"\noutput_dimension = 256\n'
            f"[fresh]\ndaily_tokens = {daily_tokens}\n[disk]\nmin_free_bytes = 0\n"
            '[[sources]]\nname = "docs"\npath = "docs"\nfresh_within_s = 60\n'
        )

    def run(self) -> subprocess.Popen[bytes]:
        """The daemon."""
        return self._start("run", out=self.root / "run.out")

    def status(self) -> dict[str, object]:
        """What `status --json` says."""
        command = [sys.executable, "-m", "voyage_jobs", "status", "--json"]
        environment = {**os.environ, "VOYAGE_API_KEY": KEY}
        done = subprocess.run(
            command, cwd=self.root, capture_output=True, env=environment, check=False, text=True
        )
        return dict(json.loads(done.stdout))

    def close(self, *others: subprocess.Popen[bytes]) -> None:
        """End what runs."""
        for process in (*others, self._simulator):
            process.terminate()
            process.wait(60)


class Reader:
    """Sees what a reader of the table sees: the newest version, every quarter of a second."""

    def __init__(self, root: Path) -> None:
        self._uri = str(root / "data" / "lancedb")
        self.saved: dict[str, float] = {}
        """A word -> when it was saved."""
        self.latest: dict[str, str] = {}
        self.took: dict[str, float] = {}
        self.written_over = 0
        """Saves that nobody will ever see: the next one came before."""

    def look(self) -> None:
        """Note what has come in."""
        try:
            table = lancedb.connect(self._uri).open_table("chunks")
        except (ValueError, FileNotFoundError, RuntimeError):
            return
        texts = " ".join(table.to_arrow().column("text").to_pylist())
        now = time.monotonic()
        for word in [each for each in self.saved if each in texts]:
            self.took[word] = now - self.saved.pop(word)

    def wait(self, seconds: float) -> None:
        """Look on for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.look()
            time.sleep(0.25)


def save(stage: Stage, reader: Reader, name: str, number: int) -> None:
    """Somebody saves a file."""
    word = f"unmistakable{number:04}"
    (stage.docs / name).write_text(f"# {name}\n\nSaved again with {word}. " + "Some more words. " * 40)
    reader.written_over += reader.saved.pop(reader.latest.get(name, ""), None) is not None
    reader.latest[name] = word
    reader.saved[word] = time.monotonic()


def scene(saves: int, daily_tokens: int) -> tuple[list[float], int, dict[str, object]]:
    """Seconds from save to searchable, how many saves were written over, and the last status."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="bench-fresh-") as folder:
        stage = Stage(Path(folder), daily_tokens)
        for number in range(BACKLOG):
            (stage.docs / f"old{number:03}.md").write_text(f"# Old {number}\n\n" + f"words of {number} " * 50)
        daemon, reader = stage.run(), Reader(Path(folder))
        try:
            time.sleep(20)  # the first scan is over: its texts are backlog, and go by batch
            number = 0
            while number < saves:
                for _ in range(3 if rng.random() < 0.15 else 1):
                    save(stage, reader, f"note{rng.randint(0, 19):02}.md", number)
                    number += 1
                reader.wait(rng.uniform(*EVERY_S))
            reader.wait(20.0)
            if daily_tokens >= 1_000_000:
                until = time.monotonic() + PATIENCE_S
                while reader.saved and time.monotonic() < until:
                    reader.wait(1.0)
            return sorted(reader.took.values()), reader.written_over, stage.status()
        finally:
            stage.close(daemon)


def main() -> None:
    """Print the figures."""
    saves = int(sys.argv[1]) if len(sys.argv) > 1 else SAVES
    took, over, found = scene(saves, 1_000_000)
    p95 = took[min(len(took) - 1, int(0.95 * len(took)))]
    told = next(each["fresh"] for each in found["sources"])  # type: ignore[attr-defined]
    print(
        f"{len(took)} of {saves} saves became searchable ({over} were written over before),"
        f" calls take {CALL_S:g} s, {BACKLOG} documents by batch"
    )
    print(f"median {took[len(took) // 2]:.1f} s, p95 {p95:.1f} s, longest {took[-1]:.1f} s; bar {BAR_S:g} s")
    print(
        f"`status` says: p95 {told['p95_s']:.1f} s of {told['changes']} changes, {told['by_batch']} by batch"
    )
    limit = 2_000
    *_, found = scene(saves // 2, limit)
    today = found["fresh"]["today"]["tokens"]  # type: ignore[index]
    print(f"allowance of {limit:,} tokens a day: {today['used']:,} used")


if __name__ == "__main__":
    main()
