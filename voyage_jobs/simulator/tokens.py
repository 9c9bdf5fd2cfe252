"""The simulator's token count: a stand-in for the provider's tokenizers, done by hand, or a real tokenizer.

It is the simulator's own count, so that a program that counts wrongly is found out.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from voyage_jobs.errors import ConfigError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

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


class Tokens:
    """Counts and cuts by hand."""

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        return count_tokens(text)

    def truncated(self, text: str, max_tokens: int) -> str:
        """The longest beginning of a text that has at most so many tokens."""
        return truncated(text, max_tokens)


class RealTokens(Tokens):
    """Counts and cuts by a `tokenizer.json`. Raises ConfigError for a file that is none."""

    def __init__(self, file: str) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Tokenizer = Tokenizer.from_file(file)
        except Exception as exc:
            raise ConfigError(f"{file} cannot be used as a tokenizer: {exc}") from exc
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def count(self, text: str) -> int:
        """How many tokens the tokenizer makes of a text."""
        return len(self._tokenizer.encode(text))

    def truncated(self, text: str, max_tokens: int) -> str:
        """The text up to where its last allowed token ends."""
        encoded = self._tokenizer.encode(text)
        return (
            text
            if len(encoded) <= max_tokens
            else text[: max(end for _, end in encoded.offsets[:max_tokens])]
        )


@functools.lru_cache(maxsize=4)
def tokens_of(file: str | None) -> Tokens:
    """The way to count: by this `tokenizer.json`, or by hand."""
    return Tokens() if file is None else RealTokens(file)
