"""Build the input file of a batch: texts become a synced JSONL file with its SHA-256.

    python -m benchmarks.bench_jsonl [--lines 100000] [--chars 1500] [--folder DIR]

*Naive* is `json.dumps` per line into a file. *Floor* is writing lines that are ready. Both are synced like
ours, and neither hashes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import harness
from voyage_jobs.core.profile import EMBEDDINGS
from voyage_jobs.vendors.input_file import write_input
from voyage_jobs.vendors.rest.lines import input_line

WORDS = [
    "embedding",
    "table",
    "größe",
    "folder",
    "of",
    "a",
    "chunk",
    "Œuvre",
    "vector",
    "und",
    "restart",
    '"quoted"',
    "\n",
]


def texts(lines: int, chars: int) -> list[tuple[str, str]]:
    """Ids and texts of about `chars` characters, all different."""
    filler = " ".join(WORDS) * (chars // 60 + 1)
    found = []
    for number in range(lines):
        custom_id = hashlib.blake2b(number.to_bytes(8, "little"), digest_size=20).hexdigest()
        start = number % 97
        found.append((custom_id, f"{number} " + filler[start : start + chars]))
    return found


def ours(path: Path, pairs: list[tuple[str, str]]) -> None:
    write_input(path, (input_line(custom_id, EMBEDDINGS, [text]) for custom_id, text in pairs))


def naive(path: Path, pairs: list[tuple[str, str]]) -> None:
    with open(path, "w") as out:
        for custom_id, text in pairs:
            out.write(json.dumps({"custom_id": custom_id, "body": {"input": [text]}}) + "\n")
        out.flush()
        os.fsync(out.fileno())


def floor(path: Path, lines: Iterable[bytes]) -> None:
    with open(path, "wb") as out:
        for line in lines:
            out.write(line)
        out.flush()
        os.fsync(out.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--chars", type=int, default=1500)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", help="where to work; a temporary folder is made in it")
    options = parser.parse_args()
    pairs = texts(options.lines, options.chars)
    ready = [input_line(custom_id, EMBEDDINGS, [text]) for custom_id, text in pairs]
    work = Path(tempfile.mkdtemp(prefix="bench-jsonl-", dir=options.folder))
    try:
        taken = harness.measure_together(
            {
                "ours": lambda: ours(work / "ours", pairs),
                "naive": lambda: naive(work / "naive", pairs),
                "floor": lambda: floor(work / "floor", ready),
            },
            options.runs,
        )
    finally:
        shutil.rmtree(work)
    harness.header()
    harness.row(f"JSONL of {options.lines} x {options.chars} characters", *taken.values())


if __name__ == "__main__":
    main()
