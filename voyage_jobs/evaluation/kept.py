"""What was paid for an evaluation and is kept in the data folder: vectors of queries, and scores of a reranker, by key.

They lie in segments of their own in `queries/`, apart from those of documents, which the state accounts for. Deleting
that folder costs the price of what is asked again, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voyage_jobs.core.clock import Clock, now_us
from voyage_jobs.core.profile import KEY_BYTES, Profile
from voyage_jobs.core.states import Mode
from voyage_jobs.errors import CorruptionError
from voyage_jobs.segments.format import Billed
from voyage_jobs.segments.store import SegmentStore

Progress = Callable[[str, int, int | None], None]
"""Takes (what, done, total or None)."""
Rows = tuple[bytes, np.ndarray]
"""A key, and the rows that were paid for under it."""


@dataclass(frozen=True)
class Bill:
    """What is to be asked for, and its price. `what` is `embed` or `rerank`; `texts` counts queries, `held` those that
    were paid for before. `tokens` are estimated unless `exact`; `usd` is None without a price."""

    what: str
    model: str
    texts: int
    tokens: int
    exact: bool
    usd: float | None
    held: int

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return vars(self)


class Kept:
    """What is held of one profile in `folder`, and in `others`: under each key a row for each of its texts."""

    def __init__(self, folder: Path, profile: Profile, clock: Clock, *others: Path) -> None:
        self._profile, self._clock = profile, clock
        self._store = SegmentStore(folder)
        self._stores = [self._store, *map(SegmentStore, others)]
        self._places: dict[bytes, tuple[SegmentStore, str, list[int]]] = {}
        self.look()

    def look(self) -> None:
        """See what is there by now."""
        for store in self._stores:
            for name in store.names():
                if name.startswith(f"{self._profile.fingerprint[:12]}/"):
                    self._note(store, name)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def rows(self, key: bytes) -> np.ndarray:
        """The rows under a key, in the order of its texts. KeyError for one that is not held."""
        store, name, rows = self._places[key]
        return store.open(name).take(np.array(rows))

    def add(self, found: Sequence[Rows], tokens: int | None) -> None:
        """Keep what has come, synced to disk. `tokens` were billed for it; None: no answer said."""
        if not found:
            return
        counts = [len(rows) for _, rows in found]
        keys = np.frombuffer(
            b"".join(key * count for (key, _), count in zip(found, counts, strict=True)), np.uint8
        )
        slots = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
        vectors = np.concatenate([rows for _, rows in found])
        with self._store.writer(self._profile, f"queries-{self._clock.token()}", Mode.SYNC) as segment:
            segment.append(
                keys.reshape(-1, KEY_BYTES), slots, np.ascontiguousarray(vectors, self._profile.storage_dtype)
            )
            written = segment.close(None if tokens is None else Billed(tokens, now_us(self._clock)))
        self._note(self._store, written.name)

    def _note(self, store: SegmentStore, name: str) -> None:
        """Know what a segment holds; one that is damaged holds nothing, and its queries are paid for again."""
        found: dict[bytes, dict[int, int]] = {}
        row = 0
        try:
            batches = store.open(name).keys()
            for keys, slots in batches:
                for key, slot in zip(keys, slots.tolist(), strict=True):
                    found.setdefault(key.tobytes(), {})[slot] = row
                    row += 1
        except CorruptionError:
            return
        for key, by_slot in found.items():
            self._places[key] = (store, name, [by_slot[slot] for slot in sorted(by_slot)])
