"""Counting tokens as the provider does: with the model's own tokenizer where its file is at hand, else by an estimate.

The provider's SDK counts the same way (truncation off, special tokens as the tokenizer's file has them). Nothing here
touches the network: see `hub.py` for where the file comes from.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voyage_jobs.core.tokens import estimate_each

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ESTIMATE = "estimate"
_SLICE_CHARS = 1_000_000  # an encoding takes some hundred bytes a token: count long documents part by part


class TokenCounter:
    """Counts tokens by the tokenizer in `path`; by the estimate, which over-counts, if that is None or no tokenizer.

    The file is read when the first text is counted. `counter(texts)` gives one count per text.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.flaw: str | None = None
        """Why a file that is there cannot be used, once that is known."""

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text."""
        tokenizer = self._tokenizer
        if tokenizer is None:
            return estimate_each(texts)
        return [len(found) for part in _slices(texts) for found in tokenizer.encode_batch_fast(part)]

    @property
    def exact(self) -> bool:
        """Whether counts are the tokenizer's."""
        return self._tokenizer is not None

    @functools.cached_property
    def name(self) -> str:
        """`estimate`, or `tokenizer` with a hash of its file: equal names count equally."""
        if self.path is None or not self.exact:
            return ESTIMATE
        return f"tokenizer {hashlib.blake2b(self.path.read_bytes(), digest_size=8).hexdigest()}"

    @functools.cached_property
    def signature(self) -> str:
        """Says without reading the file whether it may be another than before; empty if there is none."""
        try:
            found = self.path.stat() if self.path else None
        except OSError:
            found = None
        return "" if found is None else f"{self.path}:{found.st_size}:{found.st_mtime_ns}"

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer | None:
        if self.path is None or not self.path.exists():
            return None
        try:
            return load(self.path)
        except ValueError as exc:
            self.flaw = str(exc)
            return None


def load(path: Path) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`, without truncation and padding. Raises ValueError if it is none."""
    from tokenizers import Tokenizer  # 0.1 s: only for those who count

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:
        raise ValueError(f"{path} cannot be used as a tokenizer: {exc}") from exc
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _slices(texts: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    chars = 0
    for text in texts:
        part.append(text)
        chars += len(text)
        if chars >= _SLICE_CHARS:
            yield part
            part, chars = [], 0
    if part:
        yield part
