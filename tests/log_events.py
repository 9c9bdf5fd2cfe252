"""What the code can log, read from the code itself: every call of a logger, with level, event and fields."""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1] / "voyage_jobs"
_LOGGER = re.compile(r"\b_*(?:log|logger)_*\s*\.")  # what `_is_level` takes for one
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")


@dataclass
class Logged:
    """One event: the levels and fields that it occurs with; `open` if it may have fields that the code does not
    name.
    """

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    open: bool = False
    places: list[str] = field(default_factory=list)


def logged_by_the_code() -> dict[str, Logged]:
    """Every event by its name."""
    found: dict[str, Logged] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.name == "logs.py":
            continue
        source = file.read_text(encoding="utf-8")
        if not _LOGGER.search(source):
            continue  # parsing all of the package takes seconds
        for name, levels, call in _calls(ast.parse(source)):
            event = found.setdefault(name, Logged())
            event.levels |= levels
            event.fields |= {
                keyword.arg for keyword in call.keywords if keyword.arg and keyword.arg != "exc_info"
            }
            event.open |= any(keyword.arg is None for keyword in call.keywords)
            event.places.append(f"{file.relative_to(PACKAGE)}:{call.lineno}")
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[str, set[str], ast.Call]]:
    """Calls of `log.info("name", ...)`, of whatever a logger is called, and of a name that was bound to such
    methods.
    """
    chosen = {}
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            levels = {each.attr for each in ast.walk(node.value) if _is_level(each)}
            if levels and not any(isinstance(each, ast.Call) for each in ast.walk(node.value)):
                chosen[node.targets[0].id] = levels
    for node in nodes:
        if not (isinstance(node, ast.Call) and node.args):
            continue
        first = node.args[0]
        if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
            continue
        if _is_level(node.func):
            yield first.value, {node.func.attr}, node
        elif isinstance(node.func, ast.Name) and node.func.id in chosen:
            yield first.value, chosen[node.func.id], node


def _is_level(node: ast.AST) -> bool:
    """`....log.<level>`, `log.<level>`, `logger.<level>`."""
    if not (isinstance(node, ast.Attribute) and node.attr in LEVELS):
        return False
    holder = node.value
    name = (
        holder.attr
        if isinstance(holder, ast.Attribute)
        else holder.id
        if isinstance(holder, ast.Name)
        else ""
    )
    return name.strip("_") in ("log", "logger")


@functools.cache
def documented() -> dict[str, tuple[set[str], set[str], bool]]:
    """The catalogue: event -> (levels, fields, whether more fields may come)."""
    page = (PACKAGE.parent / "docs" / "logs.md").read_text(encoding="utf-8")
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            name = cells[0].strip("`")
            assert name not in found, f"{name} stands twice in the catalogue"
            fields = {each.strip().strip("`") for each in cells[2].split(",")} - {"", "-"}
            found[name] = (set(cells[1].replace(",", " ").split()), fields - {"..."}, "..." in fields)
    return found


# What any line may have besides.
_ANYWHERE = {"time", "level", "event", "ref", "held_back", "exception", "exc_info"}
_LONG_ENOUGH = 24  # shorter lines of a document may be words that anybody uses


def faults(events: Iterable[tuple[str, str, dict[str, Any]]]) -> Iterator[str]:
    """What of (level, event, fields) is not as the catalogue says."""
    known = documented()
    for level, event, fields in events:
        if event not in known:
            yield f"{event} is not in docs/logs.md"
            continue
        levels, names, more = known[event]
        if level not in levels:
            yield f"{event} is logged as {level}, and documented as {levels}"
        unknown = set(fields) - names - _ANYWHERE
        if unknown and not more:
            yield f"{event} has the fields {unknown}, which docs/logs.md does not name"


def leaks(logged: str, secrets: Iterable[str], texts: Iterable[str]) -> Iterator[str]:
    """Secrets, and lines of documents, that stand in what was logged."""
    for secret in secrets:
        if secret in logged:
            yield f"the secret {secret!r} was logged"
    for text in texts:
        for line in text.splitlines():
            if len(line) >= _LONG_ENOUGH and line in logged:
                yield f"a text was logged: {line!r}"


def parsed(log: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The lines of a log in JSON form; what is none is passed over."""
    for line in log.splitlines():
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if isinstance(fields, dict) and "event" in fields:
            yield str(fields.get("level")), str(fields["event"]), fields
