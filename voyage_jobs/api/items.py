"""A set of texts that a program hands over, in place of a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from voyage_jobs.config.problems import written
from voyage_jobs.errors import ConfigError
from voyage_jobs.items import Item, ItemFolder

GivenItem = Item | tuple[str, str] | tuple[str, str, Mapping[str, Any]]


class Items:
    """Texts with ids, kept in the data folder as a source of this name. Made by `Project.items`.

    `put` and `remove` are durable and send nothing: the next `sync`, or a daemon, does. They may be called while one is
    at work, by any number of threads and processes.
    """

    def __init__(self, name: str, folder: ItemFolder) -> None:
        self._name = name
        self._folder = folder

    def __repr__(self) -> str:
        return f"<voyage_jobs.Items {self._name!r}>"

    @property
    def name(self) -> str:
        """The name of the source: that of `Hit.source`, and what `search(source=...)` takes."""
        return self._name

    def put(self, items: Iterable[GivenItem]) -> int:
        """Store items (`Item`, or tuples of id, text and perhaps metadata), each in place of what its id had before.

        Returns how many are new or have changed. An item that is as before costs a look at its file. Raises
        `ConfigError` at the first that cannot be stored and given back exactly; those before it are stored.
        """
        if isinstance(items, Item) or not isinstance(items, Iterable):
            raise ConfigError(f"items is one {type(items).__name__}; it must be a list of items.")
        return self._folder.put(each if isinstance(each, Item) else _item(each) for each in items)

    def remove(self, ids: Iterable[str]) -> int:
        """Take items away; returns how many were there. They leave the table with the next sync, with no grace period.

        A removal is never taken for a loss: it freezes nothing, however many items it takes.
        """
        if isinstance(ids, str):
            raise ConfigError("ids is one text; it must be a list of ids.")
        if not isinstance(ids, Iterable):
            raise ConfigError(f"ids is {written(ids)}; it must be a list of ids.")
        return self._folder.remove(map(_id, ids))

    def ids(self) -> Iterator[str]:
        """The ids of all items that are stored. Reads every file."""
        return self._folder.ids()


def _id(given: object) -> str:
    if not isinstance(given, str):
        raise ConfigError(f"The id of an item is {written(given)}; it must be a text.")
    return given


def _item(given: object) -> Item:
    if not isinstance(given, tuple) or not 2 <= len(given) <= 3:
        raise ConfigError(
            f"{type(given).__name__} is no item: give an Item, or (id, text) or (id, text, metadata)."
        )
    return Item(*given)
