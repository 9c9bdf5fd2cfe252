"""Numbers on the command line; their bounds stand in `bounds.py`. Help texts do not show bounds that nobody meets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

MOST_SHOWN = 1_000_000
"""Of a list, by `--limit`."""


class Whole(click.types.IntParamType):
    """A whole number from `least` to `most`."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number. Fails for anything else."""
        number: int = super().convert(value, param, ctx)
        if not self.least <= number <= self.most:
            self.fail(f"{value} is not between {self.least} and {self.most}.", param, ctx)
        return number


class Finite(click.types.FloatParamType):
    """A number from `least` to `most`; `nan` is none."""

    def __init__(self, least: float, most: float) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Fails for anything else."""
        number: float = super().convert(value, param, ctx)
        if not self.least <= number <= self.most:
            self.fail(f"{value} is not between {self.least} and {self.most}.", param, ctx)
        return number


def limit_option(help_: str = "Show at most N.") -> Callable[[Any], Any]:
    """`--limit N` for a command that lists, as parameter `limit`."""
    return click.option(
        "--limit", type=Whole(1, MOST_SHOWN), default=50, show_default=True, metavar="N", help=help_
    )
