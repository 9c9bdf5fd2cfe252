"""What a source of documents is: the port that scans, second readings and watches go through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO, FileIO
from typing import NamedTuple, Protocol

from voyage_jobs.errors import VoyageJobsError
from voyage_jobs.sources.files import FileStat, Revision, Skip

Known = Mapping[str, Revision]
"""What is remembered of one folder: name -> revision (`FileStat.key`), of documents and of skipped files."""


class RootMissing(VoyageJobsError):  # noqa: N818 - a state of the source, not a fault of anybody
    """The source is not there: its folder, or what it is in its place."""


class RootIdentity(NamedTuple):
    """Which source a path leads to. Another one than last time usually means that something is not mounted."""

    device: int
    inode: int


@dataclass(slots=True)
class FolderScan:
    """One folder. Every name that is known or wanted counts in one place only.

    A known document in `skipped` is none any more if the skip has a `stat`; without one it could not be
    examined and stays as it is.
    """

    path: str
    """Relative to the source; "" is the source's own folder."""
    device: int = 0
    """The file system that it is on; below a mount point another than the root's."""
    unchanged: int = 0
    """How many known names are as they were."""
    unnoted: list[FileStat] = field(default_factory=list)
    """Those of them whose time of change is not remembered yet."""
    changed: list[FileStat] = field(default_factory=list)
    """Wanted files that are new or not as they were."""
    vanished: list[str] = field(default_factory=list)
    """Known names that are gone, or are folders now."""
    excluded: list[str] = field(default_factory=list)
    """Known names that are still there, but that the rules do not keep (any more)."""
    skipped: list[Skip] = field(default_factory=list)
    """Wanted names that are not taken, if that is news."""
    passed_over: dict[str, int] = field(default_factory=dict)
    """How many files `include` does not name, by kind; hidden and excluded ones are not counted."""
    unreadable: str | None = None
    """Why the folder cannot be listed; then all else is empty, and nothing at or below `path` has
    vanished."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The bytes of one document, at one moment: what is written to it meanwhile does not show."""

    file: BytesIO | BufferedReader[FileIO]
    content_hash: bytes
    """BLAKE2b, 20 bytes, of the bytes as they are."""
    stat: FileStat


class Source(Protocol):
    """Where documents come from. Paths are relative to it, with `/`, as `names.encode` makes them."""

    @property
    def fingerprint(self) -> str:
        """What decides which documents it has: `patterns:limits`. Another one means that all rules are asked again."""

    def identity(self) -> RootIdentity:
        """Which source this is. Raises RootMissing if there is none."""

    def discover(self, known: Callable[[str], Known], *, rules_changed: bool = False) -> Iterator[FolderScan]:
        """Compare every folder with what is known of it, from the root down, names sorted.

        `known(folder)` is asked once for each folder that can be listed. A known name that is as it was is not put to
        the rules again, unless `rules_changed`. Raises RootMissing, before the first folder only.
        """

    def revision(self, path: str) -> FileStat | None:
        """The document as `discover` would list it now; None if it cannot be seen."""

    def open(self, path: str, expected: FileStat) -> Opened | Skip:
        """The bytes of a document that looked as `expected`. Never raises for what it may be or do."""

    def stream(self, path: str, expected: FileStat, *, hashed: bool = True) -> Opened | Skip:
        """The same for a document of any size: it is not taken into memory, so what is written to it meanwhile shows,
        and `revision` afterwards tells whether it was. Close the file."""

    def keeps(self, path: str) -> bool:
        """Whether its rules want a document of this path."""

    def enters(self, folder: str) -> bool:
        """Whether the folder can hold a wanted document."""

    def to_watch(self) -> Iterator[bytes]:
        """The folders whose changes tell of changed documents, as the system names them; none where nothing tells.

        Raises RootMissing.
        """
