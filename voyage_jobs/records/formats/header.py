"""Files that name their fields once, at the top."""

from __future__ import annotations

from collections.abc import Sequence

from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.records.recipe import Recipe

_SHOWN = 12


def demand(recipe: Recipe, names: Sequence[str]) -> None:
    """Raise Refused where a field that the configuration asks for is not among the names."""
    known = set(names)
    missing = [each for each in recipe.fields if each not in known and each.partition(".")[0] not in known]
    if missing:
        has = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise Refused(Refusal.BROKEN, f"it has no field {missing[0]!r}; it has {has}")
