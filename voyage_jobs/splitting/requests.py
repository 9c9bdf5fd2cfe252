"""What a document that was cut asks for: a chunk each, or a window of neighbours; and the keys of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from voyage_jobs.core.profile import KeyMaker
from voyage_jobs.core.tokens import estimate_each
from voyage_jobs.splitting.header import embedded
from voyage_jobs.splitting.split import Chunk, SplitDocument, SplitOptions
from voyage_jobs.splitting.windows import stable_windows

# One inner list of /v1/contextualizedembeddings holds at most 32,000 tokens (Voyage API reference). The estimate
# over-counts, so this leaves room.
WINDOW_TOKENS = 30_000
WINDOW_CHUNKS = 1_000


class Request(NamedTuple):
    """One request to be, with the chunks that it answers for, in slot order."""

    key: bytes
    chunks: Sequence[Chunk]


def requests_for(
    text: str, document: SplitDocument, options: SplitOptions, keys: KeyMaker, *, contextualized: bool
) -> list[Request]:
    """Group chunks into requests: one each, or windows of neighbours where vectors see their context."""
    chunks, headers = document.chunks, document.headers
    if not contextualized:
        cut: Sequence[Sequence[Chunk]] = [[chunk] for chunk in chunks]
    else:
        sizes = estimate_each([text[chunk.start : chunk.end] for chunk in chunks])
        if options.window_tokens:
            cut = stable_windows(text, document, sizes, options.window_tokens, WINDOW_CHUNKS)
        else:
            cut = windows(chunks, sizes)
    return [
        Request(keys.key([embedded(text, c.start, c.end, headers, c.section) for c in window]), window)
        for window in cut
    ]


def windows(
    chunks: Sequence[Chunk], sizes: Sequence[int], most_tokens: int = WINDOW_TOKENS
) -> list[list[Chunk]]:
    """Cut the chunks of a document into runs that fit one request each.

    `sizes` are estimates, whoever counts the tokens: a tokenizer that comes later must not cut other windows, which
    would be other embeddings, paid again.
    """
    cut: list[list[Chunk]] = []
    tokens = 0
    for chunk, size in zip(chunks, sizes, strict=True):
        if not cut or tokens + size > most_tokens or len(cut[-1]) >= WINDOW_CHUNKS:
            cut.append([])
            tokens = 0
        cut[-1].append(chunk)
        tokens += size
    return cut
