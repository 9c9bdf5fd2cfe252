"""Which reader takes which file: those of this package, of installed packages, and those that a program registers.

An installed package names its readers in the entry point group `voyage_jobs.readers`. They are loaded when a reader is
first asked for. One that cannot be used is left out, and `doctor` says why: no package may end the daemon.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import TypeVar

from voyage_jobs.errors import ConfigError
from voyage_jobs.readers.asciidoc import ASCIIDOC
from voyage_jobs.readers.code import CODE
from voyage_jobs.readers.epub import EPUB
from voyage_jobs.readers.html import HTML
from voyage_jobs.readers.mail import MAIL, OUTLOOK
from voyage_jobs.readers.notebook import NOTEBOOK
from voyage_jobs.readers.office import OFFICE
from voyage_jobs.readers.opendocument import OPEN_SLIDES, OPENDOCUMENT
from voyage_jobs.readers.org import ORG
from voyage_jobs.readers.pdf import PDF
from voyage_jobs.readers.reader import FORMS, Json, Reader, ReaderOptions
from voyage_jobs.readers.rtf import RTF
from voyage_jobs.readers.sheets import SHEETS
from voyage_jobs.readers.text import MARKDOWN, RST, TEXT

_T = TypeVar("_T")
GROUP = "voyage_jobs.readers"
BUILT_IN: tuple[Reader, ...] = (
    MARKDOWN,
    RST,
    ASCIIDOC,
    ORG,
    HTML,
    NOTEBOOK,
    PDF,
    OFFICE,
    SHEETS,
    OPENDOCUMENT,
    OPEN_SLIDES,
    RTF,
    EPUB,
    MAIL,
    OUTLOOK,
    *CODE,
    TEXT,  # the last takes what no suffix claims
)
NO_OPTIONS: ReaderOptions = {}
OURS, BY_PROGRAM = "built in", "registered by this program"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SUFFIX = re.compile(r"\.[^./\s]{1,32}")


@dataclass(frozen=True, eq=False)
class Registered:
    """A reader in use. `origin`: built in, registered by the program, or the package that brings it."""

    reader: Reader
    origin: str = OURS
    options: Mapping[str, Json] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """That of the reader."""
        return self.reader.name

    @cached_property
    def missing(self) -> str:
        """The first library that it needs and that is not installed; empty if it can read."""
        needs: tuple[str, ...] = getattr(self.reader, "needs", ())
        return next((each for each in needs if not _is_installed(each)), "")

    @cached_property
    def is_plain_meanwhile(self) -> bool:
        """Whether its files are read as plain text, since a library of it is not installed."""
        return bool(self.missing) and getattr(self.reader, "plain_without", False)

    def lacking(self, library: str) -> str:
        """What to say where this library is missing."""
        extra = getattr(self.reader, "extra", "")
        how = f": pip install 'voyage-jobs[{extra}]'" if extra else ""
        return f"reader {self.name} needs {library}{how}"


@dataclass(frozen=True)
class Broken:
    """An entry point whose reader cannot be used."""

    name: str
    origin: str
    why: str


class Registry:
    """Readers by suffix. Safe to share between threads: what is looked up is never changed, but replaced whole."""

    def __init__(
        self,
        built_in: Sequence[Reader] = BUILT_IN,
        installed: Callable[[], Iterable[EntryPoint]] | None = None,
    ) -> None:
        self._lock = threading.RLock()  # a package may register a reader while it is loaded
        self._loading = False
        self._installed = installed or (lambda: entry_points(group=GROUP))
        self._loaded = False
        self._broken: tuple[Broken, ...] = ()
        self._readers = tuple(Registered(reader) for reader in built_in)
        self._told: dict[tuple[Registered, str], Registered] = {}
        self.fallback = self._readers[-1]
        """Takes what no suffix claims."""
        self._take(self._readers)

    @property
    def readers(self) -> tuple[Registered, ...]:
        """All that can be used, in the order in which they came."""
        self._load()
        return self._readers

    @property
    def broken(self) -> tuple[Broken, ...]:
        """Entry points whose readers cannot be used."""
        self._load()
        return self._broken

    def of(self, path: str) -> Registered:
        """The reader of a file, by its suffix."""
        found = self.claimant(path)
        return self.fallback if found.is_plain_meanwhile else found

    def claimant(self, path: str) -> Registered:
        """The reader that the suffix of a file belongs to, whether it can read or not."""
        self._load()
        return self._by_suffix.get(path[path.rfind(".") :].lower(), self.fallback)

    def told(self, each: Registered, options: Mapping[str, Json]) -> Registered:
        """The same reader with further options; the very same object for the same ones."""
        if not options:
            return each
        every = {**each.options, **options}
        key = each, json.dumps(every, sort_keys=True)
        with self._lock:
            return self._told.setdefault(key, Registered(each.reader, each.origin, every))

    def has(self, name: str) -> bool:
        """Whether there is a reader of this name, with the libraries that it needs."""
        self._load()
        return any(each.name == name and not each.missing for each in self._readers)

    def register(self, reader: Reader, options: Mapping[str, Json] | None = None) -> None:
        """Add a reader of this program's own, or put it in place of the one that it registered under this name."""
        self._load()
        with self._lock:
            others = tuple(
                each
                for each in self._readers
                if each.name != getattr(reader, "name", "") or each.origin != BY_PROGRAM
            )
            fault = _fault(reader, others) or _fault_of_options(options or {})
            if fault is not None:
                raise ConfigError(f"This reader cannot be used: {fault}.")
            self._take((*others, Registered(reader, BY_PROGRAM, dict(options or {}))))

    def _take(self, readers: tuple[Registered, ...]) -> None:
        self._by_suffix = {suffix: each for each in readers for suffix in each.reader.suffixes}
        self._readers = readers

    def _load(self) -> None:
        """Take in what installed packages bring, once."""
        if self._loaded:
            return
        with self._lock:
            if self._loaded or self._loading:
                return
            self._loading = True
            found = [
                self._installed_reader(point)
                for point in sorted(self._installed(), key=lambda each: each.name)
            ]
            self._broken = tuple(each for each in found if each is not None)
            self._loaded = True

    def _installed_reader(self, point: EntryPoint) -> Broken | None:
        """Take one in; what is wrong with it, if it cannot be used."""
        origin = point.value
        try:
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            reader = _loaded(point)
            fault = _fault(reader, self._readers)
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - code of another package: whatever it does, ours goes on
            fault = f"{type(exc).__name__}: {exc}"
        if fault is not None:
            return Broken(point.name, origin, fault)
        self._take((*self._readers, Registered(reader, origin)))
        return None


_registry = Registry()


def reader_of(path: str, options: ReaderOptions = NO_OPTIONS) -> Registered:
    """The reader of a file, by its suffix, and what it is told."""
    found = _registry.of(path)
    return told(found, options.get(found.name, {}))


def claimant(path: str) -> Registered:
    """The reader that the suffix of a file belongs to, whether it can read or not."""
    return _registry.claimant(path)


def told(reader: Registered, options: Mapping[str, Json]) -> Registered:
    """The same reader with further options."""
    return _registry.told(reader, options)


def fallback() -> Registered:
    """The reader that takes what no suffix claims."""
    return _registry.fallback


def readers(options: ReaderOptions = NO_OPTIONS) -> tuple[Registered, ...]:
    """All readers that can be used, and what they are told."""
    return tuple(told(each, options.get(each.name, {})) for each in _registry.readers)


def extra_for(path: str) -> str:
    """What of ours would have to be installed to read a file, by its suffix ("pdf", say); empty if nothing has."""
    found = reader_of(path)
    return str(getattr(found.reader, "extra", "")) if found.missing else ""


def is_here(name: str) -> bool:
    """Whether there is a reader of this name, with the libraries that it needs."""
    return _registry.has(name)


def broken() -> tuple[Broken, ...]:
    """Readers of installed packages that cannot be used."""
    return _registry.broken


def register_reader(reader: Reader, options: Mapping[str, Json] | None = None) -> None:
    """Have this program read a further kind of file: those with the reader's suffixes, where `include` names them.

    It holds for all projects of the program, so register it before the first one works. `options` are handed to the
    reader, and are part of the identity of what it has read. A second call with the same name replaces the first.
    Raises `ConfigError` for a reader that cannot be used: a suffix or a name that another reader has, say.
    """
    _registry.register(reader, options)


def _loaded(point: EntryPoint) -> Reader:
    """What an entry point names: a reader, or a class of readers."""
    found = point.load()
    reader: Reader = found() if isinstance(found, type) else found
    return reader


def _fault(reader: Reader, others: Sequence[Registered]) -> str | None:
    """Why a reader cannot be used; None if it can."""
    if isinstance(reader, type):
        return f"{reader.__name__} is a class, and not an object of it: {reader.__name__}()"
    name, version = getattr(reader, "name", None), getattr(reader, "version", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"its name is {name!r}, not a word in lower case"
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        return f"the version of {name} is {version!r}, not a whole number from 1"
    suffixes, forms = _all(str, reader, "suffixes"), _all(str, reader, "forms")
    if not suffixes or not all(_SUFFIX.fullmatch(each) and each == each.lower() for each in suffixes):
        return f"the suffixes of {name} are not a tuple of words in lower case that begin with a dot"
    if not forms or not set(forms) <= set(FORMS):
        return f"the forms of {name} are not a tuple of some of {', '.join(FORMS)}"
    if _all(bytes, reader, "heads") is None:
        return f"the heads of {name} are not a tuple of bytes"
    if not isinstance(getattr(reader, "isolated", None), bool):
        return f"whether {name} is isolated is not said"
    if reader.isolated and type(reader).__module__ == "__main__":
        return f"{name} is to run in a process of its own, which cannot import its class from a script"
    if _all(str, reader, "needs") is None and hasattr(reader, "needs"):
        return f"what {name} needs is not a tuple of names of modules"
    if not callable(getattr(reader, "read", None)):
        return f"{name} has no method `read`"
    if any(each.name == name for each in others):
        return f"there is a reader called {name} already"
    taken = {suffix: each.name for each in others for suffix in each.reader.suffixes}
    return next((f"{each} belongs to reader {taken[each]}" for each in suffixes if each in taken), None)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # its package is missing, or broken
        return False


def _all(kind: type[_T], reader: Reader, attribute: str) -> tuple[_T, ...] | None:
    """A tuple of one kind; None if the attribute is anything else."""
    value = getattr(reader, attribute, None)
    return value if isinstance(value, tuple) and all(isinstance(each, kind) for each in value) else None


def _fault_of_options(options: Mapping[str, Json]) -> str | None:
    if not isinstance(options, Mapping):
        return "its options are no dict"
    try:
        json.dumps(options, allow_nan=False)
    except (TypeError, ValueError) as exc:
        return f"its options are not JSON ({exc})"
    return None
