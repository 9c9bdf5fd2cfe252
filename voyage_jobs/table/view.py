"""The table as searches see it: one version of it at a time, looked up again when there is a newer one."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from voyage_jobs.errors import ConfigError, CorruptionError
from voyage_jobs.table.columns import VECTOR
from voyage_jobs.table.engine import brief, newest_manifest, open_dataset, open_reading, table_path
from voyage_jobs.table.filters import demand_sense, of_document
from voyage_jobs.table.formats import Reading
from voyage_jobs.table.schema import demand_ours, format_of, profile_in, schema
from voyage_jobs.table.search import nearest
from voyage_jobs.table.whereabouts import SCAN_ROWS
from voyage_jobs.table.words import Found, holding

if TYPE_CHECKING:
    from voyage_jobs.core.profile import Profile

_SEARCH_CACHE_BYTES = 256 << 20  # the vector index of 250,000 rows of 1024 numbers stays in it
_NOT_FILLED = "`voyage-jobs sync` fills it; `voyage-jobs status` shows how far it is."
_NEIGHBOURS = 5_000  # rows that one filter asks for, or those of one hit
_FILTERED = 50  # documents that one filter names


@dataclass(frozen=True)
class View:
    """One version of the table. Threads may ask at once: every answer is of this version."""

    dataset: Any
    profile: Profile

    def check(self, where: str, written: str | None = None) -> None:
        """Raise `ConfigError` for a filter that makes no sense for this table; it is named as it was `written`."""
        demand_sense(self.dataset, where, written)

    def by_vector(self, vector: Sequence[float], k: int, where: str | None) -> Found:
        """The `k` nearest rows, best first, with their cosine as `score`; without an index if one is damaged.

        Raises `ValueError` for a vector of another width or one that points nowhere, `ConfigError`, `CorruptionError`.
        """
        ask = functools.partial(
            nearest, self.dataset, self.profile, vector, k=k, where=where, columns=self._columns
        )
        total = self.dataset.count_rows()
        try:
            return Found(self._lifted(ask()), total, complete=True)
        except CorruptionError:
            return Found(self._lifted(ask(use_index=False)), total, complete=True, damaged=True)

    def by_words(self, query: str, k: int, where: str | None, go_on: Callable[[], bool]) -> Found:
        """The `k` best rows that hold words of `query`. `go_on` bounds the reading where there is no word index."""
        found = holding(self.dataset, query, k=k, where=where, columns=self._columns, go_on=go_on)
        return replace(found, rows=self._lifted(found.rows))

    def around(self, wanted: Sequence[tuple[str, int, int]]) -> list[dict[str, Any]]:
        """Rows of documents, by the document's part of their `chunk_id` and the first and last ordinal."""
        found: list[dict[str, Any]] = []
        for part in _in_parts(wanted):
            spans = [
                f"(chunk_id LIKE '{document}%' AND ordinal BETWEEN {first} AND {last})"
                for document, first, last in part
            ]
            scanner = self.dataset.scanner(columns=self._columns, filter=" OR ".join(spans))
            with open_reading(self.dataset.uri):
                found += scanner.to_table().to_pylist()
        return self._lifted(found)

    def rows(self, columns: Sequence[str], where: str) -> list[dict[str, Any]]:
        """These columns of all rows for which a filter of ours holds, in no order."""
        reading = Reading.plan(list(columns), format_of(self.dataset.schema), self.profile)
        scanner = self.dataset.scanner(columns=list(reading.stored), filter=where or None)
        with open_reading(self.dataset.uri):
            found: list[dict[str, Any]] = scanner.to_table().to_pylist()
        return reading.lift_rows(found, self.dataset.schema)

    def distinct(self, columns: Sequence[str], where: str | None) -> set[tuple[Any, ...]]:
        """What plain columns say in these rows, each combination once, in no order. Raises `CorruptionError`."""
        import pyarrow as pa

        seen: set[tuple[Any, ...]] = set()
        scanner = self.dataset.scanner(columns=list(columns), filter=where)
        with open_reading(self.dataset.uri):
            for batch in scanner.to_batches():
                here = pa.Table.from_batches([batch]).group_by(list(columns)).aggregate([]).select(columns)
                seen.update(zip(*(column.to_pylist() for column in here.columns), strict=True))
        return seen

    @property
    def version(self) -> int:
        """The number of this version of the table."""
        return int(self.dataset.version)

    def usual_tokens(self) -> float:
        """How many tokens a text has, on average of the first rows; 0 in an empty table. Raises `CorruptionError`."""
        scanner = self.dataset.scanner(columns=["tokens"], limit=SCAN_ROWS)
        with open_reading(self.dataset.uri):
            tokens: list[int] = scanner.to_table().column("tokens").to_pylist()
        return sum(tokens) / max(1, len(tokens))

    def places(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Source, path and section of every row, read as they are asked for. Raises `CorruptionError`."""
        scanner = self.dataset.scanner(columns=["source", "path", "section"], batch_size=SCAN_ROWS)
        with open_reading(self.dataset.uri):
            for batch in scanner.to_batches():
                source, path, section = (column.to_pylist() for column in batch.columns)
                yield from zip(source, path, map(tuple, section), strict=True)

    def beginnings(self, places: Sequence[tuple[str, str, tuple[str, ...]]]) -> list[str]:
        """The text of the first chunk at each of these places (source, path, section). Raises `CorruptionError`."""
        documents = list(dict.fromkeys((source, path) for source, path, _ in places))
        first: dict[tuple[str, str, tuple[str, ...]], tuple[int, str]] = {}
        for at in range(0, len(documents), _FILTERED):
            named = (of_document(*each) for each in documents[at : at + _FILTERED])
            columns = ["source", "path", "section", "ordinal", "text"]
            scanner = self.dataset.scanner(columns=columns, filter=" OR ".join(named))
            with open_reading(self.dataset.uri):
                rows = scanner.to_table().to_pylist()
            for row in rows:
                place = (row["source"], row["path"], tuple(row["section"]))
                found = (row["ordinal"], row["text"])
                first[place] = min(first.get(place, found), found)
        return [first[place][1] for place in places]

    @property
    def _reading(self) -> Reading:
        names = [name for name in schema(self.profile).names if name not in (VECTOR, "metadata", "id")]
        return Reading.plan(names, format_of(self.dataset.schema), self.profile)

    @property
    def _columns(self) -> list[str]:
        return list(self._reading.stored)

    def _lifted(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self._reading.lift_rows(rows, self.dataset.schema)


def _in_parts(wanted: Sequence[tuple[str, int, int]]) -> Iterator[list[tuple[str, int, int]]]:
    """The spans, as many at a time as one filter is to find rows for."""
    part: list[tuple[str, int, int]] = []
    rows = 0
    for span in wanted:
        size = span[2] - span[1] + 1
        if part and rows + size > _NEIGHBOURS:
            yield part
            part, rows = [], 0
        part.append(span)
        rows += size
    if part:
        yield part


def view_of(uri: str, name: str, version: int | None = None) -> View:
    """One version of a table (None: the newest of now), whatever is published meanwhile.

    Raises `ConfigError` where there is no such table, or version, `CorruptionError`.
    """
    newest = Views(uri, name).newest()
    if version is None or version == newest.version:
        return newest
    try:
        dataset = newest.dataset.checkout_version(version)
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"The table has no version {version} any more: {brief(exc)}",
            hint="The upkeep removes versions that are older than an hour.",
        ) from exc
    profile = profile_in(dataset.schema)
    if profile is None:
        raise CorruptionError(f"Version {version} of the table does not say what its vectors are.")
    return View(dataset, profile)


class Views:
    """The way to the newest version of one table. Keeps one handle, with what it has cached; threads may share it.

    `next_`: what helps where there is none.
    """

    def __init__(self, uri: str, name: str, *, next_: str = _NOT_FILLED) -> None:
        self._uri, self._name, self._next = uri, name, next_
        self._lock = threading.Lock()
        self._known: tuple[str, View] | None = None

    @property
    def path(self) -> str:
        """Where the table is: the same of every way to it."""
        return table_path(self._uri, self._name)

    def newest(self) -> View:
        """The newest version. Raises `ConfigError` where there is no table of ours, `CorruptionError`."""
        path = self.path
        with self._lock:
            manifest = newest_manifest(path)
            if manifest is None:
                raise ConfigError(
                    f"There is no table {self._name!r} in {self._uri}.",
                    hint=self._next,
                )
            if self._known is None or self._known[0] != manifest:
                self._known = (manifest, self._opened(path, manifest))
            return self._known[1]

    def _opened(self, path: str, manifest: str) -> View:
        # Manifests are numbered downwards. A lower version is another table, for which no cache is right.
        later = self._known is not None and os.path.basename(manifest) < os.path.basename(self._known[0])
        session = self._known[1].dataset.session() if later and self._known else None
        dataset = open_dataset(path, cache_bytes=_SEARCH_CACHE_BYTES, session=session)
        demand_ours(dataset.schema, None, path)
        profile = profile_in(dataset.schema)
        if profile is None:
            raise CorruptionError(f"The table at {path} does not say what its vectors are.")
        return View(dataset, profile)
