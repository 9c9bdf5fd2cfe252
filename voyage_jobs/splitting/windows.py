"""Windows: the runs of neighbouring chunks that a contextualized model sees together, and that are paid together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from voyage_jobs.splitting.cuts import Places, cut
from voyage_jobs.splitting.split import Chunk, SplitDocument

_WITHIN = 99  # the rank of a place within a section; one between sections has the depth of the section below
_LEAST = 8  # a window has at least this part of what it may have, where its chunks allow it


def amplification(
    windows: int, tokens: int, window_squares: int, chunk_squares: int
) -> dict[str, Any] | None:
    """What an insertion sends again where windows are paid as a whole; None without any.

    By the number of windows, their tokens, and the sums of the squares of those of each window and each chunk: the
    averages are over all places of the text, so that a long window counts for more than a short one. `asked_tokens`
    are those of the window that an insertion falls into, `chunk_tokens` those of its chunk.
    """
    if not tokens:
        return None
    asked, chunk = round(window_squares / tokens), max(1, round(chunk_squares / tokens))
    factor = round(asked / chunk, 1)
    return {"count": windows, "asked_tokens": asked, "chunk_tokens": chunk, "amplification": factor}


def amplification_of(windows: Iterable[Sequence[int]]) -> dict[str, Any] | None:
    """The same by the tokens of the chunks of each window."""
    sizes = [(sum(window), sum(tokens * tokens for tokens in window)) for window in windows]
    tokens = sum(size for size, _ in sizes)
    return amplification(
        len(sizes), tokens, sum(size * size for size, _ in sizes), sum(part for _, part in sizes)
    )


def insertion_told(found: Mapping[str, Any]) -> str:
    """What of it an operator reads."""
    factor = f"{found['amplification']:g} times those of its chunk"
    return f"an insertion sends about {found['asked_tokens']:,} tokens again, {factor}"


def stable_windows(
    text: str, document: SplitDocument, sizes: Sequence[int], most_tokens: int, most_chunks: int
) -> list[list[Chunk]]:
    """The chunks of a document in runs of at most so many tokens and chunks, cut where the text chooses (`cuts.py`), at
    sections if there are some: an edit leaves all windows but one or two as they were.

    `sizes` are estimates, whoever counts the tokens: a better count must not cut other windows.
    """
    chunks, paths = document.chunks, document.sections
    if not chunks:
        return []
    ends = list(accumulate(sizes))
    ranks = (
        len(paths[chunk.section]) if chunk.section != before.section else _WITHIN
        for before, chunk in pairwise(chunks)
    )
    starts = {end: chunk.start for end, chunk in zip(ends, chunks[1:], strict=False)}
    places = Places(text, zip(ends, ranks, strict=False), starts)
    found, left = cut(places, 0, ends[-1], lambda _: most_tokens, most_tokens // _LEAST)
    for low, high in left:
        found += cut(places, low, high, lambda _: most_tokens, 1)[0]
    after = set(found)
    windows: list[list[Chunk]] = [[]]
    for chunk, end in zip(chunks, ends, strict=True):
        windows[-1].append(chunk)
        if end in after:
            windows.append([])
    return [part for window in windows for part in _of_at_most(window, most_chunks)]


def _of_at_most(window: list[Chunk], most: int) -> Iterator[list[Chunk]]:
    yield from (window[at : at + most] for at in range(0, len(window), most))
