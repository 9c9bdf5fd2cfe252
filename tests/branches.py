"""How much of the parts that everything rests on the suite runs: `make coverage` ends with this.

Reads the data of `coverage run`, prints statements and branches of each part and what was not run, and fails if any
part, or all together, is below the bar.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from coverage import Coverage

PARTS = ("steps", "state", "voyage", "segments", "table")
BAR = 95.0
_COUNTS = ("num_statements", "covered_lines", "num_branches", "covered_branches")


def main() -> int:
    """Print the table; 1 if a part is below the bar."""
    files = measured()
    sums = {part: Counter[str]() for part in (*PARTS, "together")}
    missing: list[str] = []
    for name, file in sorted(files.items()):
        part = Path(name).parent.name
        if part not in PARTS:
            continue
        counts = {count: file["summary"][count] for count in _COUNTS}
        sums[part].update(counts)
        sums["together"].update(counts)
        missing += told(name, file)
    print(f"{'':10} {'statements':>20} {'branches':>20}")
    for part, found in sums.items():
        lines = share(found["covered_lines"], found["num_statements"])
        print(f"{part:10} {lines:>20} {share(found['covered_branches'], found['num_branches']):>20}")
    print("\nNot run (line, or line -> line):", *(missing or ["  nothing"]), sep="\n")
    below = [part for part, found in sums.items() if percent(found) < BAR]
    if below:
        print(f"\nBelow {BAR:g} % of branches: {', '.join(below)}.", file=sys.stderr)
    return bool(below)


def measured() -> dict[str, dict]:
    """file -> what coverage says of it."""
    coverage = Coverage()
    coverage.load()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "coverage.json"
        coverage.json_report(outfile=str(out))
        return json.loads(out.read_text())["files"]


def told(name: str, file: dict) -> list[str]:
    """One line about what of a file was not run; none if everything was."""
    lines = set(file["missing_lines"])
    arcs = [(a, b) for a, b in file["missing_branches"] if a not in lines and b not in lines]
    parts = [*map(str, sorted(lines)), *(f"{a} -> {b if b > 0 else 'end'}" for a, b in sorted(arcs))]
    return [f"  {name}: {', '.join(parts)}"] if parts else []


def share(covered: int, total: int) -> str:
    return f"{covered} of {total} {100 * covered / total if total else 100:6.2f} %"


def percent(found: Counter[str]) -> float:
    """Branches that were taken, in percent; a part that was not measured at all has none."""
    return 100 * found["covered_branches"] / found["num_branches"] if found["num_branches"] else 0.0


if __name__ == "__main__":
    sys.exit(main())
