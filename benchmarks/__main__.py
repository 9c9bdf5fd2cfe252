"""`make bench`: every benchmark in turn, each in its own process. `--quick` for smaller sizes, names to choose;

what else is given goes to each of them."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ORDER = (
    "start",
    "walk",
    "rescan",
    "engine",
    "records",
    "logs",
    "code",
    "split",
    "splitting",
    "tokens",
    "jsonl",
    "collect",
    "decode",
    "publish",
    "search",
    "recall",
    "eval",
    "state",
    "page",
    "verify",
    "liveness",
    "fresh",
    "quality",
    "queue",
    "pipe",
    "run",
    "whole",
    "idle",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ORDER, []], default=[])
    parser.add_argument("--quick", action="store_true")
    arguments, further = parser.parse_known_args()
    here = Path(__file__).parent
    for name in arguments.names or [name for name in ORDER if (here / f"bench_{name}.py").exists()]:
        print(f"\n## {name}\n", flush=True)
        command = [sys.executable, "-m", f"benchmarks.bench_{name}"]
        source = (here / f"bench_{name}.py").read_text(encoding="utf-8")
        if arguments.quick and "--quick" in source:
            command.append("--quick")
        subprocess.run([*command, *further], check=True)


if __name__ == "__main__":
    main()
