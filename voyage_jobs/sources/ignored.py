"""What is left out besides the patterns of a source: what `.gitignore` files name, and what tools have made.

A walk goes from the root down, so a folder is decided once: by the chain of ignore files that hold for the folder above
it, the nearest first, the last line that fits deciding. Files of a repository above the source hold, too, unless they
ignore the source itself, which an operator has named on purpose. What tools make is told by a name that nothing else
has (`node_modules`), by a file that the tool leaves there (`pyvenv.cfg`, `CACHEDIR.TAG`), or by a usual name (`build`)
beside the file of the tool that makes it.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from voyage_jobs.sources import names
from voyage_jobs.sources.globs import LINE_END, SteadyPattern

GITIGNORED, GENERATED = "gitignored", "generated"
IGNORE_FILE = ".gitignore"
_FILE = IGNORE_FILE.encode()
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
_MOST_BYTES = 1 << 20
_MOST_CHAINS = 20_000
_BY_FOLDER = "(?P<ps_d>/)"  # as pathspec writes it
_VERSION = 1  # raise it when other folders come to be taken for what tools make

_ALWAYS = frozenset(
    {
        *(
            "node_modules",
            "bower_components",
            "jspm_packages",
            "__pycache__",
            "site-packages",
            "_build",
            "_site",
        ),
        *(".git", ".hg", ".svn", ".venv", ".tox", ".nox", ".eggs", ".gradle", ".terraform"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache"),
    }
)
_ENDINGS = (".egg-info", ".dist-info")
_FILES = frozenset(
    {
        *(
            "package-lock.json",
            "npm-shrinkwrap.json",
            "pnpm-lock.yaml",
            "yarn.lock",
            "bun.lock",
            "composer.lock",
        ),
        *(
            "poetry.lock",
            "uv.lock",
            "Pipfile.lock",
            "Cargo.lock",
            "Gemfile.lock",
            "go.sum",
            "mix.lock",
            "flake.lock",
        ),
    }
)
_FILE_ENDINGS = (".min.js", ".min.css", ".js.map", ".css.map")
_SIGNS = (b"pyvenv.cfg", b"conda-meta", b"CACHEDIR.TAG")
_SCRIPTS = ("package.json", "pyproject.toml", "setup.py")
_BESIDE = {
    "build": (
        *_SCRIPTS,
        "CMakeLists.txt",
        "build.gradle",
        "build.gradle.kts",
        "meson.build",
        "conf.py",
        "Makefile",
    ),
    "dist": _SCRIPTS,
    "out": ("package.json",),
    "target": ("Cargo.toml", "pom.xml", "build.sbt"),
    "site": ("mkdocs.yml",),
    "public": ("hugo.toml", "hugo.yaml"),
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a path is left out: `gitignored` by a file, or `generated`; `part` is the path or a folder above it."""

    rule: str
    by: str
    part: str


class _Rule(NamedTuple):
    """One line: whether it ignores (or wants after all), and the expressions for files and for folders."""

    ignores: bool
    as_file: re.Pattern[str]
    as_folder: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class _IgnoreFile:
    """One `.gitignore`. `below` is its folder relative to the source; `above` the way from its folder to the source."""

    place: str
    below: str
    above: str
    rules: Sequence[_Rule]
    """The last line first."""

    def verdict(self, path: str) -> bool | None:
        """Whether a path of the source is ignored, wanted in spite of what holds above, or not spoken of."""
        return self.says(self.above + path[len(self.below) :])

    def says(self, path: str) -> bool | None:
        """The same for a path from its own folder."""
        safe, is_folder = path.replace("\n", LINE_END), path.endswith("/")
        for ignores, as_file, as_folder in self.rules:
            if (as_folder if is_folder else as_file).search(safe):
                return ignores
        return None


_Chain = tuple[_IgnoreFile, ...]


class Ignored:
    """What of one source is left out. It remembers what it read: make another to see files as they are later."""

    def __init__(self, root: bytes, *, gitignore: bool, generated: bool) -> None:
        self._root = root
        self._gitignore = gitignore
        self._generated = generated
        self._chains: dict[str, _Chain | LeftOut] = {}
        self.counted: Counter[str] = Counter()
        """How many folders and wanted files were left out, by rule."""

    @property
    def described(self) -> list[object]:
        """What decides, for a fingerprint; what ignore files say is looked up at each scan."""
        return [_VERSION, self._gitignore, self._generated]

    def __bool__(self) -> bool:
        return self._gitignore or self._generated

    def folder(self, rel_dir: str) -> LeftOut | None:
        """Why a folder, or one above it, is left out; None if it is not."""
        found = self._chain(rel_dir)
        return found if isinstance(found, LeftOut) else None

    def speaks_of(self, rel_dir: str) -> bool:
        """Whether an ignore file holds in a folder."""
        return bool(self._chain(rel_dir))

    def in_folder(self, rel_dir: str) -> Callable[[str], bool] | None:
        """What says of a name in the folder whether it is left out; None where nothing can be."""
        chain = self._chain(rel_dir)
        if isinstance(chain, LeftOut):
            return lambda _name: True
        if not chain and not self._generated:
            return None
        prefix = f"{rel_dir}/" if rel_dir else ""

        def is_left_out(name: str) -> bool:
            rule = self._why_file(chain, prefix, name)
            if rule is not None:
                self.counted[rule] += 1
            return rule is not None

        return is_left_out

    def why(self, rel_path: str) -> LeftOut | None:
        """Why a file, or a folder that is written with `/` at its end, is left out."""
        if rel_path.endswith("/"):
            return self.folder(rel_path[:-1])
        chain = self._chain(rel_path.rpartition("/")[0])
        if isinstance(chain, LeftOut):
            return chain
        by = _deciding(chain, rel_path)
        if by is not None:
            return LeftOut(GITIGNORED, by.place, rel_path)
        name = rel_path.rpartition("/")[2]
        return LeftOut(GENERATED, name, rel_path) if self._generated and _is_made(name) else None

    def _why_file(self, chain: _Chain, prefix: str, name: str) -> str | None:
        """The rule by which a file is left out."""
        if self._generated and _is_made(name):
            return GENERATED
        return GITIGNORED if chain and _deciding(chain, prefix + name) is not None else None

    # --- folder by folder ---

    def _chain(self, rel_dir: str) -> _Chain | LeftOut:
        """The ignore files that hold in a folder, the nearest last; or why it is left out."""
        missing = []
        while rel_dir and rel_dir not in self._chains:
            missing.append(rel_dir)
            rel_dir = rel_dir.rpartition("/")[0]
        if rel_dir not in self._chains:
            self._chains[""] = self._at_root()
        chain = self._chains[rel_dir]
        for folder in reversed(missing):
            chain = chain if isinstance(chain, LeftOut) else self._below(chain, folder)
            if len(self._chains) >= _MOST_CHAINS:
                self._chains = {"": self._chains[""]}
            self._chains[folder] = chain
        return chain

    def _below(self, chain: _Chain, folder: str) -> _Chain | LeftOut:
        left_out = self._why_folder(chain, folder)
        if left_out is not None:
            self.counted[left_out.rule] += 1
            return left_out
        own = self._read(self._os_path(folder), folder + "/", "", f"{folder}/.gitignore")
        return chain if own is None else (*chain, own)

    def _why_folder(self, chain: _Chain, folder: str) -> LeftOut | None:
        by = _deciding(chain, folder + "/")
        if by is not None:
            return LeftOut(GITIGNORED, by.place, folder)
        sign = self._made_by(folder) if self._generated else None
        return None if sign is None else LeftOut(GENERATED, sign, folder)

    def _made_by(self, folder: str) -> str | None:
        """By what a folder can be told to be what a tool has made."""
        above, _, name = folder.rpartition("/")
        if name in _ALWAYS or name.endswith(_ENDINGS):
            return name
        place = self._os_path(folder)
        for sign in _SIGNS:
            if os.path.lexists(os.path.join(place, sign)):
                return sign.decode()
        beside = self._os_path(above)
        return next((each for each in _BESIDE.get(name, ()) if _is_in(beside, each)), None)

    # --- ignore files ---

    def _at_root(self) -> _Chain:
        if not self._gitignore:
            return ()
        own = self._read(self._root, "", "", ".gitignore")
        return (*self._above(), *(() if own is None else (own,)))

    def _above(self) -> _Chain:
        """Those of the repository that the source is in, from its root down."""
        place, way, found = os.path.realpath(self._root), "", []
        while not os.path.lexists(os.path.join(place, b".git")):
            parent, name = os.path.split(place)
            if parent == place:
                return ()  # it is in no repository
            place, way = parent, f"{names.encode(name)}/{way}"
            shown = os.path.join(place, _FILE)
            each = self._read(place, "", way, names.display(names.encode(shown)))
            if each is not None:
                found.append(each)
        chain = tuple(reversed(found))
        return () if any(_ignores_source(each) for each in chain) else chain

    def _read(self, folder: bytes, below: str, above: str, place: str) -> _IgnoreFile | None:
        if not self._gitignore:
            return None
        lines = _lines(os.path.join(folder, _FILE))
        return _IgnoreFile(place, below, above, tuple(_rules(lines))) if lines else None

    def _os_path(self, rel_dir: str) -> bytes:
        return os.path.join(self._root, names.decode(rel_dir)) if rel_dir else self._root


def _is_made(name: str) -> bool:
    """Whether a file is a lock file, or minified, by its name."""
    return name in _FILES or name.endswith(_FILE_ENDINGS)


def _deciding(chain: _Chain, path: str) -> _IgnoreFile | None:
    """The ignore file by which a path is left out."""
    for each in reversed(chain):
        verdict = each.verdict(path)
        if verdict is not None:
            return each if verdict else None
    return None


def _ignores_source(each: _IgnoreFile) -> bool:
    """Whether an ignore file above the source speaks of the source's own folder, or one on the way to it."""
    ends = [at + 1 for at, char in enumerate(each.above) if char == "/"]
    return any(each.says(each.above[:end]) for end in ends)


def _lines(path: bytes) -> Sequence[str]:
    try:
        fd = os.open(path, _OPEN)
    except OSError:
        return ()
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ()
        data = os.read(fd, _MOST_BYTES)
    except OSError:
        return ()
    finally:
        os.close(fd)
    return [names.encode(line) for line in data.removeprefix(b"\xef\xbb\xbf").splitlines()]


def _rules(lines: Sequence[str]) -> Iterator[_Rule]:
    """The lines of a file, the last one first; as git does, one that is no pattern is passed over."""
    for line in reversed(lines):
        try:
            found = SteadyPattern(line.replace("\n", LINE_END))
        except (ValueError, re.error):
            continue
        if found.regex is not None and found.include is not None:
            yield _Rule(found.include, *_of_itself(found.regex.pattern))


def _of_itself(pattern: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Expressions for a file and for a folder (written with `/`) that fit the path itself, not one by way of a folder
    above it: that was decided when the folder was met.
    """
    if pattern.endswith("/"):  # `folder/**`: whatever is in it
        pattern += "."
    return re.compile(pattern.replace(_BY_FOLDER, "(?!)")), re.compile(pattern.replace(_BY_FOLDER, r"/\Z"))


def _is_in(folder: bytes, name: str) -> bool:
    return os.path.lexists(os.path.join(folder, name.encode()))
