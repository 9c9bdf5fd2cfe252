"""One section cut so that an edit leaves the pieces around it alone: by its blocks, at places that the text chooses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from voyage_jobs.splitting.blocks import Ranked
from voyage_jobs.splitting.cuts import Places, cut_text
from voyage_jobs.splitting.header import header_of
from voyage_jobs.splitting.pieces import trimmed
from voyage_jobs.splitting.sections import Region

_LEAST = 4  # a piece of a section has at least this part of what a chunk may have, where its blocks allow it
_MOST_LEAD = 4  # and a lead takes at most this part

Ranks = Callable[[str, int, int, int], Ranked]
"""Finds the places at which a text may be cut: (text, start, end, size); see `blocks.py`."""


class Part(NamedTuple):
    """`text[start:end]`, without white space at its ends, and what goes with it from the block that it begins in."""

    start: int
    end: int
    lead: str = ""


def parts(text: str, region: Region, size: int, ranks: Ranks, *, leads: bool) -> list[Part]:
    """The parts of a region, each of at most `size` characters with its lead."""
    start, end = trimmed(text, region.start, region.end)
    if end - start <= size:
        return [Part(start, end)] if start < end else []
    found = ranks(text, region.start, end, size)
    body, _ = trimmed(text, region.head_end, end)
    found.keep(body + 1, region.tail or end)
    found.add_around_blanks(text, body, end, size // 2)

    with_lead = leads and bool(found.leads)

    def lead(at: int) -> str:
        return found.lead(at)[: size // _MOST_LEAD].rstrip() if with_lead else ""

    def most(at: int) -> int:
        return size - len(header_of("", lead(at))) if with_lead else size

    firm = () if found.firm is None else (found.firm,)
    cuts = cut_text(text, Places(text, found.places), start, *firm or (end,), most, size // _LEAST)
    bounds = [start, *cuts, *firm, end]
    cut = (Part(*trimmed(text, low, high), lead(low)) for low, high in pairwise(bounds))
    return [part for part in cut if part.start < part.end]
