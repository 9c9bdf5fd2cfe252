"""Signals as events: the handler only leaves a note, a thread of its own reads it and sets the events.

A handler runs between two bytecodes of the main thread, which may just then be waiting on the very event that is to be
set, with its lock held; setting it there could wait forever. `SimpleQueue.put` is made for handlers.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

EXIT_BASE = 128  # as a shell reports a process that a signal ended


class Signals:
    """SIGINT and SIGTERM set `stopping`, SIGHUP sets `hangup` if it is wanted; each sets `wake`, too.

    The second SIGINT raises KeyboardInterrupt at once. Outside the main thread nothing is installed, and the events
    are still there to be set by others.
    """

    def __init__(self, *, hangup: bool = False) -> None:
        self.stopping = threading.Event()
        self.hangup = threading.Event()
        self.wake = threading.Event()
        self.stopped_by: int | None = None
        """The signal that first asked to stop."""
        self._wants_hangup = hangup
        self._notes: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._reader = threading.Thread(target=self._read, name="signals", daemon=True)

    def stop(self) -> None:
        """Ask to stop, as a signal would."""
        self.stopping.set()
        self.wake.set()

    def __enter__(self) -> Signals:
        self._reader.start()
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if self._wants_hangup else [])]
            self._before = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._notes.put(None)
        self._reader.join()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        again = number == signal.SIGINT and self.stopped_by == signal.SIGINT
        if number != signal.SIGHUP and self.stopped_by is None:
            self.stopped_by = number
        self._notes.put(number)
        if again:
            raise KeyboardInterrupt

    def _read(self) -> None:
        while (number := self._notes.get()) is not None:
            (self.hangup if number == signal.SIGHUP else self.stopping).set()
            self.wake.set()
