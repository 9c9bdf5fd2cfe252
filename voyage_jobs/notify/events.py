"""What can be told of. Pure words: neither texts of documents nor the provider's own words, which may quote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MEANINGS = {
    "finished": "all work is done and in the table",
    "failed": "chunks could not be embedded",
    "parked": "a batch needs your decision",
    "frozen": "a source may not lose documents until you have looked",
    "budget": "a limit of the budget is used up, and texts wait for it",
    "stale": "changes of a source have not reached the table for longer than notify.stale_s",
    "refused": "the provider refuses the key or the account",
}
"""Every event, and what it means."""

# What an operator, or time, must mend before all is well again.
PROBLEMS = ("failed", "parked", "frozen", "budget", "stale", "refused")


@dataclass(frozen=True)
class Fact:
    """Something that is so. `key` tells it from others of its event; it is told once, until it is over.

    `size` is how large it is, where that matters: a fact that has grown tenfold is told again.
    """

    event: str
    key: str
    message: str
    hint: str
    size: int | None = None
    ref: str | None = None
    source: str | None = None
    numbers: Mapping[str, int | float | None] = field(default_factory=dict)
