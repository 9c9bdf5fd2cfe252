"""Giving memory back to the system: a daemon at rest should not hold what a busy minute needed.

glibc keeps freed blocks for later, in an arena for each thread, and raises by itself the size from which a block is
mapped alone and given back at once (`M_MMAP_THRESHOLD` in mallopt(3)). Under Lance's threads that is hundreds of
megabytes after one build of an index. With another C library nothing happens here.
"""

from __future__ import annotations

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3  # from malloc.h
_MAPPED_ALONE_BYTES = 128 * 1024  # the value that glibc begins with; set once, it stays


def keep_large_blocks_apart() -> None:
    """From now on the memory of large blocks goes back to the system when they are freed. Before heavy imports."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MAPPED_ALONE_BYTES)


def give_back() -> None:
    """Hand the pages that nothing uses to the system; takes milliseconds."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
