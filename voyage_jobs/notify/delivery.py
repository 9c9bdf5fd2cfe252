"""Delivering in threads, so that a sink which hangs keeps nobody waiting: one thread and one queue for each sink.

The threads know nothing of the state. What came of a delivery is fetched by the main loop, which is woken for it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from voyage_jobs.notify.sinks import NotDeliveredError, Sink


@dataclass(frozen=True)
class Delivered:
    """What came of handing `job` to a sink; `error` is None if it was taken."""

    sink: str
    job: object
    error: str | None


class Delivery:
    """Takes jobs for sinks and brings back what came of them. `woken` is called after each, from another thread."""

    def __init__(self, woken: Callable[[], None]) -> None:
        self._woken = woken
        self._queues: dict[str, queue.SimpleQueue[tuple[Sink, object, bytes] | None]] = {}
        self._threads: list[threading.Thread] = []
        self._done: queue.SimpleQueue[Delivered] = queue.SimpleQueue()

    def hand(self, sink: Sink, job: object, body: bytes) -> None:
        """Deliver when the sink has done what it was handed before."""
        if sink.name not in self._queues:
            self._queues[sink.name] = queue.SimpleQueue()
            thread = threading.Thread(
                target=self._work, args=(self._queues[sink.name],), name=f"notify {sink.name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        self._queues[sink.name].put((sink, job, body))

    def take(self) -> list[Delivered]:
        """What has been delivered, or could not be, since the last call."""
        found = []
        while not self._done.empty():
            found.append(self._done.get())
        return found

    def close(self) -> None:
        """Take no more. What is in flight goes on as long as the process does."""
        for waiting in self._queues.values():
            waiting.put(None)

    def _work(self, waiting: queue.SimpleQueue[tuple[Sink, object, bytes] | None]) -> None:
        while (item := waiting.get()) is not None:
            sink, job, body = item
            self._done.put(Delivered(sink.name, job, attempt(sink, body)))
            self._woken()


def attempt(sink: Sink, body: bytes) -> str | None:
    """Why the sink did not take it, or None."""
    try:
        sink.send(body)
    except NotDeliveredError as exc:
        return exc.message
    except Exception as exc:  # noqa: BLE001 - a sink must not take its thread along, and the rest of them
        return f"{type(exc).__name__}: {exc}"
    return None
