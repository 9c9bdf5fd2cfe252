"""Which changes of a source that promises to be fresh go at once, and why the others go by batch. Pure.

The step that sends and the answer to `why` both ask `choose`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from voyage_jobs.config.sections import FreshSettings
from voyage_jobs.diagnosis.rooms import Room
from voyage_jobs.state.fresh import Change

IN_BATCH, TRIED, LARGE, MANY, SPENT = "in_batch", "tried", "large", "many", "spent"
BECAUSE = {
    IN_BATCH: "a part of it is in a batch already, or was cancelled",
    TRIED: "a part of it was sent before and brought no vector",
    LARGE: "it lacks more than one call holds ({inputs:,} texts, {tokens:,} tokens)",
    MANY: "more than fresh.max_documents ({max_documents:,}) documents of its kind wait at once",
    SPENT: "it is more than what is left of the day's allowance in [fresh]",
}
"""Why a change goes by batch, after "because"."""


@dataclass(frozen=True)
class Call:
    """What the lane may send: `inputs` and `tokens` of one call, `documents` that may wait at once, what is `left`."""

    inputs: int
    tokens: int
    max_documents: int
    tokens_left: int | None = None
    documents_left: int | None = None


def call_of(
    settings: FreshSettings, rooms: Sequence[Room], inputs: int, tokens: int, *more: int | None
) -> Call:
    """What one call of `inputs` and `tokens` may send within the day's allowance, and `more` limits of tokens."""
    documents = [int(room.limit - room.used) for room in rooms if room.key == "fresh.daily_documents"]
    left = tokens_left(rooms, *more)
    return Call(inputs, tokens, settings.max_documents, left, min(documents, default=None))


def most_looked_at(settings: FreshSettings) -> int:
    """How many changes of a source tell whether edits, or new documents, are too many."""
    return 2 * settings.max_documents + 1


@dataclass(frozen=True)
class Choice:
    """`now` goes with the next call, `later` with one after it; `because` has the word of `BECAUSE` for the others, by
    version."""

    now: Sequence[Change]
    later: Sequence[Change]
    because: Mapping[int, str]


def choose(found: Iterable[Change], call: Call, take: Callable[[Change], bool] = lambda _: True) -> Choice:
    """Edits of what is served first, then what is new; the smallest first. A document goes whole or not at all.

    `take` takes one out of what its source may spend, if that is enough. It is asked last: what goes by batch for
    another reason is counted as waiting all the same, and uses up nothing.
    """
    waiting = sorted((each for each in found if each.texts), key=_rank)
    because = {each.version_id: word for each in waiting if (word := _unfit(each, call))}
    fit = [each for each in waiting if each.version_id not in because]
    alike = Counter((each.source_id, each.served) for each in fit)
    now, later = list[Change](), list[Change]()
    texts = tokens = spent = 0
    for each in fit:
        if alike[each.source_id, each.served] > call.max_documents:
            because[each.version_id] = MANY
        elif not _is_allowed(call, len(now) + len(later), spent + each.tokens) or not take(each):
            because[each.version_id] = SPENT
        else:
            spent += each.tokens
            if later or texts + each.texts > call.inputs or tokens + each.tokens > call.tokens:
                later.append(each)
            else:
                now.append(each)
                texts, tokens = texts + each.texts, tokens + each.tokens
    return Choice(now, later, because)


def _rank(each: Change) -> tuple[bool, int, int]:
    return (not each.served, each.tokens, each.version_id)


def _unfit(each: Change, call: Call) -> str | None:
    if each.elsewhere:
        return IN_BATCH
    if each.tried:
        return TRIED
    return LARGE if each.texts > call.inputs or each.tokens > call.tokens else None


def _is_allowed(call: Call, documents: int, tokens: int) -> bool:
    if call.documents_left is not None and documents >= call.documents_left:
        return False
    return call.tokens_left is None or tokens <= call.tokens_left


def tokens_left(rooms: Sequence[Room], *more: int | None) -> int | None:
    """The least that these limits, and any other, still allow; None: there is none."""
    known = [room.tokens for room in rooms] + [each for each in more if each is not None]
    return max(0, min(known)) if known else None
