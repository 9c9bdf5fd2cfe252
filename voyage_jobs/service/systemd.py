"""What a service manager is told: ready, how it goes, that it gets on, that it reloads or stops.

The protocol of sd_notify(3): lines of `NAME=value` in one datagram to the socket that `$NOTIFY_SOCKET` names. Without
that variable nobody listens, and nothing is sent. A message that cannot be delivered is lost without harm.

    Manager            the socket
    SystemdNotifier    a thread that feeds the watchdog, only while the step is within its own deadline (see pace.py)
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

from voyage_jobs.core.clock import US, Clock
from voyage_jobs.core.pace import DEADLINES_S, Pace
from voyage_jobs.core.redact import redact

_SEND_TIMEOUT_S = 1.0
_LONGEST_STATUS = 200
_TICK_S = 5.0  # how old a status line may be
_MORE_TIME_S = 60  # asked for again with every tick, as long as the start gets on
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), " ")


class Manager:
    """The service manager at `address` (a path, or `@name` for an abstract socket), or nobody for an empty one."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        """Within this time each heartbeat must follow the last one; None if nobody watches."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address[:1] in {"/", "@"}:  # others, such as vsock, are for virtual machines
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(_SEND_TIMEOUT_S)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Manager:
        """As the environment says; the variables are taken out of it, since no child of ours is the service."""
        address = environ.pop("NOTIFY_SOCKET", "")
        period_us, owner = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        ours = owner in {"", str(os.getpid())}
        watched = ours and period_us.isdecimal() and int(period_us) > 0
        return cls(address, int(period_us) / US if watched else None)

    @property
    def listens(self) -> bool:
        """Whether anybody does."""
        return self._socket is not None

    def tell(self, *lines: str) -> bool:
        """Send one message. False if nobody listens, or it could not be delivered."""
        if self._socket is None:
            return False
        message = "\n".join(lines).encode("utf-8", "backslashreplace")
        try:
            self._socket.sendto(message, self._address)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def status_line(text: str) -> str:
    """`STATUS=` with one printable line, without secrets."""
    line = redact(text).translate(_CONTROLS).strip()
    return f"STATUS={line[: _LONGEST_STATUS - 1] + '…' if len(line) > _LONGEST_STATUS else line}"


class SystemdNotifier:
    """Speaks for one process from its start to its end. Without a listener it does nothing and has no thread."""

    def __init__(
        self, manager: Manager, clock: Clock, pace: Pace, log: Any, stopping: threading.Event
    ) -> None:
        self._manager, self._clock, self._pace, self._log = manager, clock, pace, log
        self._stopping = stopping
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._status = ""
        self._ready = self._said_stopping = self._said_overdue = False
        self._thread = threading.Thread(target=self._run, name="systemd-notifier", daemon=True)

    def __enter__(self) -> SystemdNotifier:
        self.say("Starting")
        if self._manager.listens:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()
        if error is not None:
            self.say(f"Failed: {error}")
        self._manager.close()

    # --- said by the main thread ---

    def say(self, text: str) -> None:
        """A status line, if it is another one."""
        line = status_line(text)
        with self._lock:
            if line != self._status:
                self._status = line
                self._manager.tell(line)

    def ready(self) -> None:
        """The start is over: lock, migration and recovery are done. Or a reload is."""
        self._ready = True
        self._manager.tell("READY=1")

    def reloading(self) -> None:
        """The configuration is read again; `ready` follows. systemd tells messages of one reload by the time."""
        self._manager.tell("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.mono() * US)}")
        self.say("Reading the configuration again")

    def stopping(self) -> None:
        """The end has begun."""
        if not self._said_stopping:
            self._said_stopping = True
            self._manager.tell("STOPPING=1")
            self.say("Stopping: finishing the step at hand")

    # --- said by the thread ---

    def tick(self) -> None:
        """One look at the work: feed the watchdog if it gets on, ask for more time if it still starts."""
        if self._stopping.is_set():
            self.stopping()
        over_s, at = self._pace.overdue_s(), self._pace.at
        if over_s:
            silent_s = DEADLINES_S[at.step] + over_s
            self.say(f"Stuck in {at.step}: no sign of progress for {silent_s / 60:.0f} minutes")
            if not self._said_overdue:
                self._said_overdue = True
                self._log.error("step.overdue", step=at.step, doing=at.told, silent_s=round(silent_s))
            return
        self._said_overdue = False
        self._manager.tell("WATCHDOG=1" if self._ready else f"EXTEND_TIMEOUT_USEC={_MORE_TIME_S * US}")
        if at.told and not self._said_stopping:
            self.say(at.told)

    def _run(self) -> None:
        period_s = self._manager.watchdog_s
        tick_s = _TICK_S if period_s is None else min(_TICK_S, period_s / 3)
        with contextlib.suppress(OSError):  # closed under our feet
            while not self._clock.wait(tick_s, self._closed):
                self.tick()
