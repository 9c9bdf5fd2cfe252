"""Other readers than those that there are: for one test, in place of the registry of the process."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from importlib.metadata import EntryPoint

from voyage_jobs.readers import registry
from voyage_jobs.readers.reader import Reader


def use(monkeypatch, *built_in: Reader, installed: Iterable[EntryPoint] = ()) -> registry.Registry:
    """These readers and no others, until the test ends."""
    found = registry.Registry(built_in or registry.BUILT_IN, lambda: installed)
    monkeypatch.setattr(registry, "_registry", found)
    return found


def copy_of(reader: Reader, **changed: object) -> Reader:
    """The same reader with other attributes."""
    found = copy.copy(reader)
    for name, value in changed.items():
        setattr(found, name, value)
    return found
