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


def money(usd: float) -> str:
    """`$12.30`; four decimals below a dollar: `$0.0123`; what these would round away is `<$0.0001`."""
    if 0 < usd < 0.0001:
        return "<$0.0001"
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"


def room(size: int) -> str:
    """Bytes of a disk as `2.1 GiB`, and below one GiB as `148 MiB`: powers of 1024."""
    return f"{size / 2**30:,.1f} GiB" if size >= 1 << 30 else f"{size / 2**20:.0f} MiB"
