"""A folder of an ordinary user, whose rights the test has: root may read everything."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def ordinary_folder() -> Iterator[Path]:
    """The folder; the rights come back with the end."""
    with tempfile.TemporaryDirectory() as made:
        if os.geteuid() != 0:
            yield Path(made)
            return
        os.chown(made, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(made)
        finally:
            os.seteuid(0)
