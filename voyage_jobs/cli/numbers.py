"""Numbers on the command line; their bounds stand in `bounds.py`."""

from __future__ import annotations

import math
from typing import Any

import click

MOST_SHOWN = 1_000_000
"""Of a list, by `--limit`."""


class Finite(click.FloatRange):
    """A number within bounds; unlike the range of click it takes no `nan`, which lies outside of every comparison."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Fails for anything else."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number that can be counted with.", param, ctx)
        return number
