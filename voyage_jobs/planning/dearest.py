"""Which files and folders of a plan cost most: where the money goes, for whoever wonders at the price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from voyage_jobs.sources import names
from voyage_jobs.state import plan_state
from voyage_jobs.state.history import View
from voyage_jobs.state.plan_state import Cost, Since

_SHOWN = 5
_MOSTLY = 0.5


def dearest(connection: View, since: Since) -> dict[str, list[dict[str, Any]]]:
    """The `files` and `folders` for which most tokens are to be sent, first the dearest."""
    folders = dearest_folders(plan_state.cost_by_folder(connection, since))
    return {
        "files": [_told(each) for each in plan_state.dearest(connection, since, _SHOWN)],
        "folders": [_told(each) for each in folders],
    }


def dearest_folders(costs: Iterable[Cost]) -> list[Cost]:
    """The folders in which most is spent, with all below them; for one, that folder in it where most of it is.

    So it is `web/node_modules` that is named, not `web`, and not the thousand folders below.
    """
    whole: Counter[tuple[str, str]] = Counter()
    below: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for source, path, tokens in costs:
        whole[source, path] += tokens
        while path:
            above = path.rpartition("/")[0]
            below.setdefault((source, above), set()).add((source, path))
            path = above  # noqa: PLW2901 - on the way up
            whole[source, path] += tokens
    found = []
    for source in {source for source, _ in whole}:
        for first in below.get((source, ""), ()):
            at = first
            while parts := below.get(at):
                most = max(parts, key=lambda each: whole[each])
                if whole[most] <= _MOSTLY * whole[at]:
                    break
                at = most
            found.append(Cost(*at, whole[at]))
    return sorted(found, key=lambda each: (-each.tokens, each.source, each.path))[:_SHOWN]


def _told(cost: Cost) -> dict[str, Any]:
    return {"source": cost.source, "path": names.display(cost.path), "tokens": cost.tokens}
