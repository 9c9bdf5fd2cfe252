"""Whether a process works here and gets on: what a container's health check asks every half minute."""

from __future__ import annotations

from dataclasses import dataclass

from voyage_jobs.config.settings import Settings
from voyage_jobs.core import lock
from voyage_jobs.core.clock import US, Clock, now_us
from voyage_jobs.errors import DiskFullError, StateError
from voyage_jobs.state import meta
from voyage_jobs.state.door import open_state

FRESH_S = 120.0


@dataclass(frozen=True)
class Health:
    """Whether it is alive, and the facts in one sentence."""

    alive: bool
    message: str


def health(settings: Settings, clock: Clock) -> Health:
    """Alive is: the lock is held, and the last heartbeat is younger than `FRESH_S`. Work that waits is no illness."""
    holder = lock.holder(settings.paths.lock)
    if holder is None:
        return Health(False, f"No process works on {settings.data_dir}.")
    try:
        with open_state(settings).read() as connection:
            here = meta.who(connection)
    except (StateError, DiskFullError) as exc:
        return Health(False, f"Process {holder} holds the lock; {exc.message}")
    if here is None:
        return Health(False, f"Process {holder} holds the lock and has given no heartbeat yet.")
    age_s = (now_us(clock) - here.heartbeat_at) / US
    return Health(age_s < FRESH_S, f"Process {holder} gave its last heartbeat {max(0, int(age_s))} s ago.")
