"""Numbers of things, as people write them."""

from __future__ import annotations

_SIBILANTS = ("ch", "sh", "s", "x")


def counted(number: int, noun: str) -> str:
    """`1 chunk`, `1,200 chunks`, `2 batches`, `3 tries`. Of several words the last is the noun: `1 new text`."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith(_SIBILANTS):
        return f"{number:,} {noun}es"
    if noun.endswith("y"):
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}s"
