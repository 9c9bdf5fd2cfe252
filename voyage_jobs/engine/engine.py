"""Which engine carries out tasks, and how many at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from voyage_jobs.engine import children
from voyage_jobs.engine.waiting import Steps

_MOST_AUTO = 4
"""Processes that are used unless more are asked for: one process records what they find, and a few keep it busy."""
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class Engine:
    """`ask` has a task carried out; `at_once`: how many it may be asked at the same time."""

    kind: str
    at_once: int
    ask: Callable[[str, bytes, BinaryIO], Steps[dict[str, Any]]]


@lru_cache(8)
def engine_of(kind: str, processes: int, address: str = "") -> Engine:
    """The engine of these settings: `auto` is `processes` where there are two cores; no number: one a core.

    Raises ConfigError for one that is not installed.
    """
    if kind == "ray":
        from voyage_jobs.engine.on_ray import asking

        return Engine(kind, processes or _MOST_AUTO, asking(address))
    number = processes or min(cores(), _MOST_AUTO)
    if kind == "local" or (kind == "auto" and number < 2):
        return Engine("local", 1, children.ask)
    return Engine("processes", number, children.ask)


def cores() -> int:
    """How many this process may use: a container may be given a share of the machine's."""
    here = len(os.sched_getaffinity(0))
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return max(1, min(here, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        return here
