"""The documents of the demonstration: the project's own, or copies of somebody's; and the edit that is made to one."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from voyage_jobs.errors import ConfigError

_SUFFIXES = (".md", ".markdown", ".mdx", ".rst", ".txt")
_MARKDOWN = _SUFFIXES[:3]
_MOST_BYTES = 1_000_000  # of the file that is edited: an edit should fit a screen
_SECTION = """## A section that was not here before

The demonstration put these two sentences in. Every section after them has moved down, yet none of them is new.

"""
_QUESTION_WORDS = range(3, 10)


@dataclass(frozen=True)
class Edit:
    """A section put into a document, before line `number` (from 1); or a paragraph at the end if it has no headings."""

    path: Path
    number: int
    lines: list[str]


def own_documents() -> list[Path]:
    """The project's documents: as installed with the package, else those of the checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_docs"
    if installed.is_dir():
        return sorted(installed.rglob("*.md"))
    root = package.parent
    return [*sorted((root / "docs").rglob("*.md")), root / "README.md"]


def stage_own(target: Path) -> int:
    """Copy the project's documents into `target`; their number. Raises `ConfigError` if they are not there."""
    found = [path for path in own_documents() if path.is_file()]
    if not found:
        raise ConfigError("The project's documents are not installed.", hint="Name a folder with --docs.")
    target.mkdir(parents=True)
    for path in found:
        shutil.copyfile(path, target / path.name)
    return len(found)


def stage_copies(folder: Path, target: Path) -> int:
    """Copy the text files of `folder` into `target`, so that nothing of its owner's is touched; their number.

    Hidden and empty files stay behind, links are not followed. Raises `ConfigError` if there is nothing to copy.
    """
    count = 0
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        wanted = [name for name in files if name.endswith(_SUFFIXES) and not name.startswith(".")]
        there = target / os.path.relpath(where, folder)
        for name in wanted:
            path = Path(where, name)
            if path.is_symlink() or not path.is_file() or not path.stat().st_size:
                continue
            there.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, there / name)
            count += 1
    if not count:
        raise ConfigError(f"There is no Markdown, reStructuredText or plain text in {folder}.")
    return count


def stage_some(folder: Path, target: Path, most_bytes: int, names: tuple[str, ...] = ()) -> int:
    """Copy documents of `folder` into `target`, flat: those of these names, or else the smallest, one at least and more
    up to a size together. Their number."""
    target.mkdir(parents=True)
    found = [path for path in _editable(folder) if path.name in names] or _editable(folder)
    count = total = 0
    for path in sorted(found, key=lambda each: (each.stat().st_size, each.name)):
        total += path.stat().st_size
        if total > most_bytes and count and not names:
            break
        count += 1
        shutil.copyfile(
            path, target / f"{count}-{path.name}" if (target / path.name).exists() else target / path.name
        )
    return count


def add_section(folder: Path) -> Edit:
    """Put a new section into the middle of the document with the most sections."""
    path, headings = max(
        ((path, _headings(_lines(path))) for path in _editable(folder)),
        key=lambda found: (len(found[1]), str(found[0])),
        default=(None, []),
    )
    if path is None:
        raise ConfigError("None of the documents can be edited: they are all too large or no UTF-8.")
    lines, new = _lines(path), _SECTION.splitlines(keepends=True)
    if not headings:
        at, new = len(lines), ["\n", *new[2:3]]
    else:
        at = headings[len(headings) // 2]
    path.write_text("".join([*lines[:at], *new, *lines[at:]]), encoding="utf-8")
    return Edit(path, at + 1, [line.rstrip("\n") for line in new if line.strip()])


def a_question(folder: Path) -> tuple[str, Path] | None:
    """A heading of some words, to be asked for, and the document where it stands; None if there is no heading."""
    found = [
        (line.strip("# \n"), path)
        for path in _editable(folder)
        if path.suffix in _MARKDOWN
        for lines in [_lines(path)]
        for line in (lines[at] for at in _headings(lines))
    ]
    wordy = [each for each in found if len(each[0].split()) in _QUESTION_WORDS]
    return max(wordy or found, key=lambda each: (len(each[0].split()), each[0]), default=None)


def _editable(folder: Path) -> list[Path]:
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in _SUFFIXES and path.is_file()]
    fitting = [path for path in paths if path.stat().st_size <= _MOST_BYTES and _lines(path)]
    return [path for path in fitting if path.suffix in _MARKDOWN] or fitting


def _lines(path: Path) -> list[str]:
    """The lines with their ends; none if it is no UTF-8."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.readlines()
    except UnicodeDecodeError:
        return []


def _headings(lines: list[str]) -> list[int]:
    """Indexes of the second-level headings outside code fences."""
    found, fenced = [], False
    for index, line in enumerate(lines):
        if line.startswith(("```", "~~~")):
            fenced = not fenced
        elif line.startswith("## ") and not fenced:
            found.append(index)
    return found
