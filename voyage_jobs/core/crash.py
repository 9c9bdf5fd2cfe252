"""Named crash points: one call at every boundary where dying must be harmless.

In production `crash_point` is a dictionary look-up that finds nothing. The crash suite arms a hook (in process) or sets
`VOYAGE_JOBS_CRASH_AT=name:n`, whereupon the n-th passage kills the process without any clean-up, as `kill -9` would.
Every name stands in `POINTS`; passing an unknown one is a bug and raises.
"""

from __future__ import annotations

import os
from collections.abc import Callable

POINTS: frozenset[str] = frozenset(
    {
        "read.asked",
        "read.answered",
        "scan.slice.before_commit",
        "scan.slice.committed",
        "scan.finish.committed",
        "assemble.before_commit",
        "assemble.committed",
        "spool.written",
        "spool.renamed",
        "spool.committed",
        "upload.before",
        "upload.answered",
        "upload.committed",
        "attempt.committed",
        "create.answered",
        "create.committed",
        "reconcile.listed",
        "reconcile.committed",
        "poll.listed",
        "poll.committed",
        "download.written",
        "download.renamed",
        "download.committed",
        "segment.written",
        "segment.renamed",
        "collect.before_commit",
        "collect.committed",
        "publish.intent.committed",
        "publish.table.done",
        "publish.table.synced",
        "publish.committed",
        "retire.table.done",
        "retire.committed",
        "remote_delete.done",
        "remote_delete.committed",
        "spool_delete.done",
        "close.committed",
        "cancel.sent",
        "cancel.committed",
        "sync.attempt.committed",
        "sync.answered",
        "sync.spooled",
        "sync.committed",
        "promise.begun",
        "promise.deferred",
        "notice.committed",
        "notice.delivered",
        "notice.settled",
        "reprofile.committed",
        "switch.intent.committed",
        "switch.kept",
        "switch.table.done",
        "switch.table.synced",
        "switch.committed",
        "abandon.committed",
        "switch_back.intent.committed",
        "switch_back.table.done",
        "switch_back.committed",
        "previous.released",
    }
)

_EXIT_CODE = 137
_hook: Callable[[str], None] | None = None


def arm(hook: Callable[[str], None] | None) -> None:
    """Call `hook(name)` at every crash point from now on; None disarms."""
    global _hook  # noqa: PLW0603 - one process-wide switch is the point
    _hook = hook


def crash_point(name: str) -> None:
    """Mark a boundary. Returns at once unless a test has armed something."""
    if _hook is not None:
        if name not in POINTS:
            raise AssertionError(f"unknown crash point {name!r}")
        _hook(name)


def arm_from_environment() -> None:
    """Arm `VOYAGE_JOBS_CRASH_AT=name:n` (for tests that kill a real process)."""
    spec = os.environ.get("VOYAGE_JOBS_CRASH_AT")
    if not spec:
        return
    name, _, count = spec.partition(":")
    left = int(count or "1")

    def hook(passed: str) -> None:
        nonlocal left
        if passed == name:
            left -= 1
            if left == 0:
                os._exit(_EXIT_CODE)

    arm(hook)
