"""The commented example configuration: documentation, and the template of `init`."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

_NAME = "config.example.toml"
_SOURCE_BLOCK = re.compile(r"^\[\[sources\]\]\n.*?(?=^\[)", re.MULTILINE | re.DOTALL)


def example_text() -> str:
    """The example as it is shipped: inside the wheel, or at the top of a checkout."""
    packaged = resources.files("voyage_jobs.config") / _NAME
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).resolve().parents[2] / _NAME).read_text(encoding="utf-8")


def example_with(sources: list[tuple[str, str]]) -> str:
    """The example with these sources (name, path) in place of its own; explanations stand with the first."""
    text = example_text()
    block = _SOURCE_BLOCK.search(text)
    if block is None:
        raise AssertionError(f"{_NAME} has no [[sources]] block")
    (name, path), *others = sources
    first = re.sub(r"^name = .*$", lambda _: f"name = {_quoted(name)}", block[0], flags=re.MULTILINE)
    first = re.sub(r"^path = .*$", lambda _: f"path = {_quoted(path)}", first, flags=re.MULTILINE)
    more = "".join(f"[[sources]]\nname = {_quoted(n)}\npath = {_quoted(p)}\n\n" for n, p in others)
    return text[: block.start()] + first + more + text[block.end() :]


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
