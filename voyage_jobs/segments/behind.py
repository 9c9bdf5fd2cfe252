"""A file that a thread of its own writes and hashes while the caller goes on."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from voyage_jobs.core import private

_MAX_BEHIND = 4  # hand-overs; of one record batch each


class FileBehind:
    """What pyarrow writes a segment to. `write` only notes a piece; `hand_over` sends the noted pieces to the thread.

    Writing, hashing and parsing then share two cores, and the disk is busy before the last byte is known.
    Pieces must not change once noted. An error of the disk comes up at a later `hand_over` or at
    `sync_and_close`.
    """

    def __init__(self, path: Path) -> None:
        self._out = open(path, "wb", opener=private.opener)  # noqa: SIM115 - closed by sync_and_close or discard
        self._hash = hashlib.sha256()
        self._noted: list[Any] = []
        self._behind: deque[Future[None]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="segment")
        self.size = 0

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more."""
        return self._out.closed

    def write(self, piece: Any) -> int:
        """Note a piece to be written; its length in bytes."""
        self._noted.append(piece)
        self.size += len(piece)
        return len(piece)

    def flush(self) -> None:
        """Nothing: only `sync_and_close` says that something is on disk."""

    def hand_over(self) -> None:
        """Let the thread write what was noted; waits if it is too far behind."""
        self._behind.append(self._thread.submit(self._put, self._noted))
        self._noted = []
        while len(self._behind) > _MAX_BEHIND:
            self._behind.popleft().result()

    def sync_and_close(self) -> None:
        """Write the rest, make all of it survive a power loss, and close."""
        self.hand_over()
        while self._behind:
            self._behind.popleft().result()
        self._thread.shutdown()
        self._out.flush()
        os.fsync(self._out.fileno())
        self._out.close()

    def discard(self) -> None:
        """Stop writing and close, whatever was written."""
        self._thread.shutdown(cancel_futures=True)
        with contextlib.suppress(OSError):
            self._out.close()

    def sha256(self) -> str:
        """The SHA-256 of everything written, in hex."""
        return self._hash.hexdigest()

    def _put(self, pieces: list[Any]) -> None:
        start = self._out.tell()
        for piece in pieces:
            self._out.write(piece)
            self._hash.update(piece)
        self._out.flush()
        # Linux starts to write dirty pages of such a range at once, which leaves the final fsync little to
        # wait for; pages not yet on disk stay in memory.
        os.posix_fadvise(self._out.fileno(), start, self._out.tell() - start, os.POSIX_FADV_DONTNEED)
