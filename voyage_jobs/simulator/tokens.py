"""The simulator's token count: a stand-in for the vendor's tokenizers that anybody can do by hand."""

from __future__ import annotations

BYTES_PER_TOKEN = 4


def count_tokens(text: str) -> int:
    """One token for every four bytes of UTF-8 begun, at least one."""
    return max(1, -(-len(text.encode()) // BYTES_PER_TOKEN))


def truncated(text: str, max_tokens: int) -> str:
    """The longest beginning of `text` that has at most `max_tokens` tokens and no broken character."""
    if len(text) <= max_tokens:
        return text  # a character has at most four bytes, hence at most one token
    data = text.encode()
    limit = max_tokens * BYTES_PER_TOKEN
    return text if len(data) <= limit else data[:limit].decode(errors="ignore")
