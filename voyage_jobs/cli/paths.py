"""Paths on the command line. An empty one, of a variable that is not set, names nothing: it would be this folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


class _Named(click.Path):
    """A path that is not empty, as `Path`; `there` demands that it exists."""

    def __init__(self, *, there: bool = False, **kinds: bool) -> None:
        super().__init__(exists=there, path_type=Path, **kinds)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path. Fails for an empty one."""
        if not os.fspath(value):
            self.fail("it is empty (is a variable not set?).", param, ctx)
        return super().convert(value, param, ctx)


ANY = _Named()
ANY_THERE = _Named(there=True)
FILE = _Named(dir_okay=False)
FILE_THERE = _Named(there=True, dir_okay=False)
FOLDER = _Named(file_okay=False)
FOLDER_THERE = _Named(there=True, file_okay=False)
