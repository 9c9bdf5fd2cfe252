"""Which files of a source are wanted: patterns in gitignore syntax; hidden files are off by default.

A file is kept when an include pattern matches it, no exclude pattern does, and no part of its path is
hidden. The answers are those of `pathspec.GitIgnoreSpec` for the whole path, in bounded time (`globs.py`); what is done
here besides is to ask it rarely. A walk asks for one folder's files in a row, so everything that the folder decides is
decided once, and plain suffix patterns (`*.md`, `**/*.md`) become one `str.endswith`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from voyage_jobs.errors import ConfigError
from voyage_jobs.sources.globs import LINE_END, SteadyPattern
from voyage_jobs.sources.ignored import Ignored

DEFAULT_INCLUDE: tuple[str, ...] = (
    "*.md",
    "*.markdown",
    "*.mdown",
    "*.mkd",
    "*.mdx",
    "*.rst",
    "*.rest",
    "*.txt",
    "*.text",
    "*.adoc",
    "*.asciidoc",
    "*.org",
    "*.textile",
    "*.log",
    "*.MD",
    "*.RST",
    "*.TXT",
    "*.LOG",
)

_RULES_VERSION = 2  # raise it when the same patterns come to keep other files
_LONGEST_SHOWN = 80
_SUFFIX = re.compile(r"(?:\*\*/)?\*([\w.+-]+)", re.ASCII)


class Refusal(NamedTuple):
    """Why a file is not wanted: `rule` is hidden, excluded (by `pattern`, by way of `part`), not_included, or one of
    `ignored` (`pattern` is then what tells).
    """

    rule: str
    pattern: str | None
    part: str


class PathRules:
    """The rules of one source. Paths are relative to the source, with `/`, as `names.encode` makes them."""

    def __init__(
        self,
        include: Sequence[str],
        exclude: Sequence[str],
        hidden: bool = False,
        ignored: Ignored | None = None,
    ) -> None:
        """Empty `include` means `DEFAULT_INCLUDE`. `hidden` takes names with a leading dot, too; `ignored` is what is
        left out besides.

        Raises ConfigError for a pattern that is none.
        """
        self._include = _Patterns(include or DEFAULT_INCLUDE)
        self._exclude = _Patterns(exclude)
        self._hidden = hidden
        self._ignored = ignored or None
        self._folder = ""
        self._in_folder = self._rules_of("")
        described: list[object] = [_RULES_VERSION, list(include or DEFAULT_INCLUDE), list(exclude), hidden]
        if self._ignored is not None:
            described.append(self._ignored.described)
        self.fingerprint: str = hashlib.blake2b(json.dumps(described).encode(), digest_size=16).hexdigest()

    def keeps(self, rel_path: str) -> bool:
        """Whether the file is wanted."""
        folder, _, name = rel_path.rpartition("/")
        return self.in_folder(folder)(name)

    def why_not(self, rel_path: str) -> Refusal | None:
        """What keeps a file from being wanted; None if nothing does. For an operator: slow and exact."""
        if not self._hidden and (part := next((p for p in rel_path.split("/") if p.startswith(".")), None)):
            return Refusal("hidden", None, part)
        if (excluded := self._exclude.match(rel_path)) is not None:
            above = [rel_path[: at + 1] for at, char in enumerate(rel_path) if char == "/"]
            folder = next((each for each in above if self._exclude.match(each) is not None), rel_path)
            return Refusal("excluded", excluded, folder)
        if self._ignored is not None and (left_out := self._ignored.why(rel_path)) is not None:
            return Refusal(left_out.rule, left_out.by, left_out.part)
        if self._include.match(rel_path) is None:
            return Refusal("not_included", None, rel_path)
        return None

    def enters(self, rel_dir: str) -> bool:
        """Whether the folder can hold a wanted file. The root, "", always can."""
        if not rel_dir:
            return True
        if not self._hidden and _is_hidden(rel_dir):
            return False
        if self._exclude.whole_folder(rel_dir):
            return False
        return self._ignored is None or self._ignored.folder(rel_dir) is None

    def may_change_in(self, rel_dir: str) -> bool:
        """Whether a file that was wanted in the folder may not be any more although the patterns are the same."""
        return self._ignored is not None and self._ignored.speaks_of(rel_dir)

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many folders and files were left out so far that the patterns want, by rule."""
        return {} if self._ignored is None else self._ignored.counted

    def in_folder(self, rel_dir: str) -> Callable[[str], bool]:
        """`keeps` for the names of one folder, with all that the folder decides decided already."""
        return self._decided(rel_dir)[0]

    def allows_in_folder(self, rel_dir: str) -> Callable[[str], bool]:
        """For the names of one folder: whether `include` alone keeps them out, so neither a dot nor `exclude`."""
        return self._decided(rel_dir)[1]

    def _decided(self, rel_dir: str) -> tuple[Callable[[str], bool], Callable[[str], bool]]:
        if rel_dir != self._folder:
            self._in_folder = self._rules_of(rel_dir)
            self._folder = rel_dir
        return self._in_folder

    def _rules_of(self, rel_dir: str) -> tuple[Callable[[str], bool], Callable[[str], bool]]:
        if not self.enters(rel_dir):
            return _nothing, _nothing
        included = self._include.in_folder(rel_dir)
        excluded = self._exclude.in_folder(rel_dir) if self._exclude else None
        ignored = None if self._ignored is None else self._ignored.in_folder(rel_dir)
        hidden = self._hidden

        def allows_name(name: str) -> bool:
            return (hidden or not name.startswith(".")) and (excluded is None or not excluded(name))

        def keeps_name(name: str) -> bool:
            return included(name) and allows_name(name) and (ignored is None or not ignored(name))

        def lacks_pattern(name: str) -> bool:
            return not included(name) and allows_name(name)

        return keeps_name, lacks_pattern


class _Patterns:
    """One list of gitignore patterns, taken apart by what it costs to ask them."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = tuple(lines)
        lines = [line.replace("\n", LINE_END) for line in lines]
        self._spec = _compiled(lines)
        # With a `!` pattern the order counts, and a file may be wanted in an unwanted folder: no short cuts
        # then.
        self._simple = not any(line.startswith("!") for line in lines)
        found = [(line, _SUFFIX.fullmatch(line)) for line in lines]
        self._suffixes = tuple(match.group(1) for _, match in found if match)
        rest = [line for line, match in found if not match]
        self._folders_only = _compiled(rest)
        # A pattern with `/` at its end matches a file only by way of a folder above it.
        self._rest = _compiled([line for line in rest if not line.rstrip().endswith("/")])

    def __bool__(self) -> bool:
        return any(pattern.include is not None for pattern in self._spec.patterns)

    def match(self, rel_path: str) -> str | None:
        """The pattern that takes the path, or None."""
        found = self._spec.check_file(_safe(rel_path))
        return self._lines[found.index] if found.include and found.index is not None else None

    def whole_folder(self, rel_dir: str) -> bool:
        """Whether every file below the folder surely matches."""
        if not self._simple:
            return False
        if self._suffixes and any(part.endswith(self._suffixes) for part in rel_dir.split("/")):
            return True
        return bool(self._folders_only) and self._folders_only.match_file(_safe(rel_dir) + "/")

    def in_folder(self, rel_dir: str) -> Callable[[str], bool]:
        """A function that says whether a name in the folder matches."""
        prefix = _safe(rel_dir) + "/" if rel_dir else ""
        if not self._simple:
            match_any = self._spec.match_file
            return lambda name: match_any(prefix + _safe(name))
        if rel_dir and self.whole_folder(rel_dir):
            return _everything
        suffixes = self._suffixes
        if not self._rest:
            return lambda name: name.endswith(suffixes)
        match_rest = self._rest.match_file
        return lambda name: name.endswith(suffixes) or match_rest(prefix + _safe(name))


def _compiled(lines: Sequence[str]) -> GitIgnoreSpec:
    return GitIgnoreSpec([_pattern(line) for line in lines], backend="simple")


def _pattern(line: str) -> SteadyPattern:
    try:
        return SteadyPattern(line)
    except (ValueError, re.error) as exc:
        shown = repr(line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}...")
        why = exc.msg if isinstance(exc, re.error) else str(exc)
        raise ConfigError(
            f"Not a gitignore pattern: {shown} ({why}).",
            hint="Patterns are written as in a .gitignore file, for example `**/*.md` or `drafts/`.",
        ) from exc


def _safe(path: str) -> str:
    return path.replace("\n", LINE_END)


def _is_hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path


def _everything(_name: str) -> bool:
    return True


def _nothing(_name: str) -> bool:
    return False
