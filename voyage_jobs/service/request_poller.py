"""A thread that looks, every second, for what people ask of the process at work, and wakes it from its waits.

It only reads. Without it a request would lie until the wait is over that it came into: seconds, or a quarter of a
minute, in which the person who asked looks at a prompt.
"""

from __future__ import annotations

import threading
from types import TracebackType

from voyage_jobs.errors import VoyageJobsError
from voyage_jobs.state import meta
from voyage_jobs.state.door import Reader

LOOK_S = 1.0


class RequestPoller:
    """Sets `wake` as long as a request is open, from `with` to its end."""

    def __init__(self, state: Reader, wake: threading.Event, look_s: float = LOOK_S) -> None:
        self._state, self._wake, self._look_s = state, wake, look_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="request-poller", daemon=True)

    def __enter__(self) -> RequestPoller:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._over.wait(self._look_s):
            try:
                with self._state.read() as connection:
                    rung = meta.any_open(connection)
            except VoyageJobsError:  # the steps tell what is wrong with the state; this only misses a look
                continue
            if rung:
                self._wake.set()
