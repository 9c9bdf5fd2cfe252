"""The one door to `watchfiles`: an eye on a set of folders, by the kernel's events or by looking again and again.

Every folder is named one by one, none is watched recursively: the library's own recursion follows symbolic links out of
the source, and enters folders that the rules leave out. Outside facts: watchfiles 1.x raises OSError for the kernel's
limit of watches, and drops overflows of its queue (https://github.com/samuelcolvin/watchfiles/issues/348).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from voyage_jobs.errors import VoyageJobsError

Change = tuple[int, str]
"""(kind, path): one of the kinds below, and the path as the system names it."""

ADDED, MODIFIED, DELETED = 1, 2, 3

# How long the library waits for more before it hands on what it has, and how often it looks whether it should end.
_STEP_MS = 500
_GATHER_MS = 1_600


class WatchError(VoyageJobsError):
    """The folder cannot be watched."""


class WatchLimitError(WatchError):
    """The system's limit for watched folders is reached."""


class FileEvents(Protocol):
    """Looks at folders until it is closed."""

    def look(self, wait_s: float, stopping: threading.Event) -> Sequence[Change] | None:
        """What changed within `wait_s`, maybe nothing; None: something did, and it cannot be told what.

        Raises WatchError if nothing will be seen any more. Comes back soon once `stopping` is set.
        """

    def close(self) -> None:
        """Look no more."""


OpenFileEvents = Callable[[Sequence[str], float | None], FileEvents]
"""Opens an eye on folders: `open(folders, poll_s)`; `poll_s` is None for the kernel's events."""


def open_file_events(folders: Sequence[str], poll_s: float | None) -> FileEvents:
    """Watches exactly these folders, not on those below. Raises FileNotFoundError if one has gone, or WatchError."""
    from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

    try:
        rust = RustNotify(list(folders), False, poll_s is not None, int((poll_s or 0.3) * 1000), False, False)
    except FileNotFoundError:
        raise
    except (OSError, WatchfilesRustInternalError) as exc:
        raise _told(exc) from exc
    return _RustFileEvents(rust, WatchfilesRustInternalError)


def _told(error: Exception) -> WatchError:
    """The library's words end in names of folders, which may be many."""
    text = str(error).partition(" about [")[0]
    if "watch limit" in text or "os error 24" in text or "os error 28" in text:
        return WatchLimitError(text)
    return WatchError(text)


class _RustFileEvents:
    def __init__(self, rust: object, broken: type[Exception]) -> None:
        self._rust = rust
        self._broken = broken

    def look(self, wait_s: float, stopping: threading.Event) -> Sequence[Change] | None:
        wait_ms = max(_STEP_MS, int(wait_s * 1000))
        try:
            seen = self._rust.watch(_GATHER_MS, _STEP_MS, wait_ms, stopping)  # type: ignore[attr-defined]
        except self._broken as exc:
            if "decode path" in str(exc):  # a name that is no text: this eye says nothing else from now on
                return None
            raise WatchError(str(exc)) from exc
        return () if isinstance(seen, str) else tuple(seen)

    def close(self) -> None:
        self._rust.close()  # type: ignore[attr-defined]
