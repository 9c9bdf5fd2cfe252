"""The table of layers in docs/design.md, made out of the import contracts in pyproject.toml.

    python -m tests.layers            prints it
    python -m tests.layers --write    writes it into docs/design.md

The contract is the one place: the comment above its lines names a layer and its duty (`# name: duty`), the lines that
follow are its modules, the topmost first. The libraries come from the rules on their homes.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PYPROJECT = ROOT / "pyproject.toml"
DESIGN = ROOT / "docs/design.md"

_BEGIN = "<!-- made by `python -m tests.layers --write` out of pyproject.toml -->\n"
_END = "<!-- end of what was made -->\n"
_LINE = re.compile(r'\s*(?:# *(?P<name>[\w ]+): (?P<duty>.+)|"(?P<modules>[^"]+)",?)\s*')


@dataclass
class Layer:
    """One row of the table. `lines` are its modules, those side by side in one line, the topmost line first."""

    name: str
    duty: str
    lines: list[list[str]] = field(default_factory=list)


def contract(pyproject: str, kind: str) -> Mapping[str, Any]:
    """The first contract of this type: the layers of the whole package stand before those inside a folder."""
    listed = tomllib.loads(pyproject)["tool"]["importlinter"]["contracts"]
    return next(each for each in listed if each["type"] == kind)


def layers(pyproject: str) -> list[Layer]:
    """The layers, as the contract and the comments in it say. Raises ValueError for a line that is neither."""
    listed = pyproject.partition("\nlayers = [\n")[2].partition("\n]\n")[0]
    found: list[Layer] = []
    for line in listed.splitlines():
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise ValueError(f"Neither `# name: duty` nor modules: {line!r}")
        if parts["modules"] is None:
            found.append(Layer(parts["name"], parts["duty"]))
        else:
            found[-1].lines.append(re.split(r" *[|:] *", parts["modules"]))
    return found


def table(pyproject: str) -> str:
    """The table in Markdown."""
    homes = _libraries(contract(pyproject, "homes")["homes"])
    rows = ["| Layer | Where | Duty | Alone uses |", "|---|---|---|---|"]
    for layer in layers(pyproject):
        where = " over ".join(", ".join(map(_shown, line)) for line in layer.lines)
        libraries = sorted(
            {library for line in layer.lines for module in line for library in homes.get(module, ())}
        )
        rows.append(f"| {layer.name} | {where} | {layer.duty} | {', '.join(libraries)} |")
    return "\n".join(rows) + "\n"


def _libraries(rules: Iterable[str]) -> dict[str, list[str]]:
    """By module right below the package: the libraries that are imported nowhere else."""
    found: dict[str, list[str]] = {}
    for rule in rules:
        library, _, homes = rule.partition(":")
        if len(tops := {home.strip().partition(".")[0] for home in homes.split(",")}) == 1:
            found.setdefault(tops.pop(), []).append(library)
    return found


def _shown(module: str) -> str:
    return f"`{module}/`" if (ROOT / "voyage_jobs" / module).is_dir() else f"`{module}`"


def written(page: str, made: str) -> str:
    """The page with this table in its place."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError("The page has no place for the table.")
    return f"{before}{begin}\n{made}\n{end}{after}"


def main(arguments: Sequence[str]) -> int:
    """Print the table, or write it."""
    made = table(PYPROJECT.read_text())
    if list(arguments) == ["--write"]:
        DESIGN.write_text(written(DESIGN.read_text(), made))
    else:
        print(made, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
