"""What the header does for search: Cranfield by the local model, cut small, with title and section and without.

    python -m benchmarks.bench_header --cranfield DIR

DIR is that of `bench_quality`. Each abstract is a Markdown file, headed by its title. It needs the extra [local].
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.bench_quality import command, scored, write

WAYS = {
    "rules 2": "rules = 2",
    "rules 2 without the header": 'rules = 2\ncontext = "none"',
}


def main(argv: list[str]) -> None:
    """Measure each way at each size and print a row of a table for it."""
    parser = argparse.ArgumentParser(prog="header", description=__doc__)
    parser.add_argument("--cranfield", type=Path, default=None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[600])
    options = parser.parse_args(argv)
    if options.cranfield is None:
        print("left out: name the folder of Cranfield with --cranfield")
        return
    print("| max_chars | Cut by | Chunks | words | vector | hybrid |\n|---|---|---|---|---|---|")
    for size in options.sizes:
        for way, rules in WAYS.items():
            with tempfile.TemporaryDirectory() as here:
                print(
                    f"| {size} | {way} | {_measured(options.cranfield, Path(here), size, rules)} |",
                    flush=True,
                )


def _measured(cranfield: Path, here: Path, size: int, rules: str) -> str:
    write(cranfield, here, f"max_chars = {size}\n{rules}")
    for file in (here / "docs").glob("*.txt"):
        title, _, body = file.read_text().partition("\n\n")
        file.write_text(f"# {title}\n\n{body}")
        file.rename(file.with_suffix(".md"))
    qrels = here / "qrels" / "test.tsv"
    qrels.write_text(qrels.read_text().replace(".txt\t", ".md\t"))
    command(here, "sync", "--json")
    rows = json.loads(command(here, "status", "--json"))["table"]["rows"]
    told = [
        f"{run['metrics']['ndcg@10']['value']:.3f} / {run['metrics']['recall@10']['value']:.3f}"
        for run in scored(here)
    ]
    return " | ".join([f"{rows:,}", *told])


if __name__ == "__main__":
    main(sys.argv[1:])
