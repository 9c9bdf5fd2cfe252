"""The commented example configuration: documentation, and the template of `init`."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

_NAME = "config.example.toml"
_KEY = re.compile(r"^#?(\w+) = ")
_SHORT = {
    "": ("data_dir",),
    "[provider]": ("type",),
    "[voyage]": ("model", "output_dimension", "output_dtype", "input_type"),
    "[[sources]]": ("name", "path", "include", "exclude"),
    "[lancedb]": ("uri",),
    "[budget]": ("daily_usd", "monthly_usd"),
    "[server]": ("listen",),
}
"""The keys that most projects decide, by section; `init --full` lists the others as well."""
_SOURCE_BLOCK = re.compile(r"^\[\[sources\]\]\n.*?(?=^\[)", re.MULTILINE | re.DOTALL)


def example_text() -> str:
    """The example as it is shipped: inside the wheel, or at the top of a checkout."""
    packaged = resources.files("voyage_jobs.config") / _NAME
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).resolve().parents[2] / _NAME).read_text(encoding="utf-8")


def short_example() -> str:
    """The head of the example, and of its keys those that most projects decide, each with its explanation."""
    head, _, rest = example_text().partition("\n\n")
    kept, section = [head, ""], ""
    said: list[str] = []
    for line in rest.splitlines():
        key = _KEY.match(line)
        if line.startswith("["):
            section = line
            if section in _SHORT:
                kept += ["", *said, line]
            said = []
        elif key is None:
            said = [*said, line] if line else []
        else:
            if key[1] in _SHORT.get(section, ()):
                kept += [*said, line]
            said = []
    return "\n".join(kept) + "\n"


def example_with(
    sources: list[tuple[str, str]],
    *,
    data_dir: str | None = None,
    provider: str | None = None,
    full: bool = True,
) -> str:
    """The example with these sources (name, path) in place of its own; explanations stand with the first.

    `data_dir` and `provider` are written where they are given. Without `full` only the keys that most projects decide
    are listed.
    """
    text = example_text() if full else short_example()
    if data_dir is not None:
        line = f"data_dir = {_quoted(data_dir)}"
        text = re.sub(r"^#data_dir = .*$", lambda _: line, text, count=1, flags=re.MULTILINE)
    if provider is not None:
        line = f"type = {_quoted(provider)}"
        text = re.sub(r"^#type = .*$", lambda _: line, text, count=1, flags=re.MULTILINE)
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
