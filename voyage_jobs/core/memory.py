"""Giving memory back to the system: a daemon at rest should not hold what a busy minute needed.

glibc keeps freed blocks for later, in an arena for each thread, and raises by itself the size from which a block is
mapped alone and given back at once (`M_MMAP_THRESHOLD` in mallopt(3)). Under Lance's threads that is hundreds of
megabytes after one build of an index. With another C library nothing happens here.
"""

from __future__ import annotations

import contextlib
import gc

_M_MMAP_THRESHOLD = -3  # from malloc.h
_YOUNG = 70_000  # new containers after which Python looks for cycles among them; its default is 700
_MAPPED_ALONE_BYTES = 128 * 1024  # the value that glibc begins with; set once, it stays


def keep_large_blocks_apart() -> None:
    """From now on the memory of large blocks goes back to the system when they are freed. Before heavy imports."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MAPPED_ALONE_BYTES)


def collect_seldom() -> None:
    """Look for cycles of garbage a hundredth as often as Python does by default.

    Loading our libraries makes half a million objects that stay, and a scan or a batch holds tens of thousands of rows
    at a time: there is nothing to find in them, however often they are gone through.
    """
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def look_no_more() -> None:
    """Have Python's end look for no garbage: what is left goes with the process.

    It would go several times through all that libraries made, a fifth of the time of a command that finds no news.
    """
    gc.freeze()


def give_back() -> None:
    """Hand the pages that nothing uses to the system; takes milliseconds."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
