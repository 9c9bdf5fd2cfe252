"""The age past which an intent to send something that is paid for is not carried out.

What is noted before a call (an attempt, a reservation) tells others how long to wait before they may do the same. A
process that was stopped or a machine that slept in between would send it long after that wait, and it would be paid
twice. So a call is sent while its intent is young, or never: then nothing has happened for sure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from voyage_jobs.vendors.base import Client

_SHARE = 3
_LEAST_S = 1.0  # of an operator who set a quarantine of next to nothing


def oldest_s(quarantine_s: float) -> float:
    """How old an intent may be when the last byte of its call goes out, in seconds: a third of the quarantine."""
    return max(quarantine_s / _SHARE, _LEAST_S)


@contextlib.contextmanager
def sent_while_young(client: Client, since: float, quarantine_s: float) -> Iterator[None]:
    """Send what this thread calls in this block in time, or never (NotSentError).

    `since` is the `Clock.uptime` before the intent was noted. The client looks at the clock last of all, when it is
    connected, before each piece of the request.
    """
    client.send_by = since + oldest_s(quarantine_s)
    try:
        yield
    finally:
        client.send_by = None
