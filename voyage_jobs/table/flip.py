"""The changes the table knows: these documents, or the whole table, have exactly these rows from one version to the
next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voyage_jobs.table.engine import newest_of, open_writing

if TYPE_CHECKING:
    import numpy as np

    from voyage_jobs.table.documents import DocumentSet, Incoming
    from voyage_jobs.table.fence import Fence
    from voyage_jobs.table.whereabouts import Whereabouts

ROWS_PER_FRAGMENT = 100_000  # 550 MB of 1024 floats with text: few files, each rewritten in seconds
_ATTEMPTS = 8


@dataclass(frozen=True)
class Way:
    """How one process gets at a table: where it is, whose commits count, what is known of its rows."""

    path: str
    fence: Fence
    whereabouts: Whereabouts


def replace(dataset: Any, way: Way, documents: DocumentSet, incoming: Incoming | None) -> Any:
    """Let the documents have the incoming rows (None: none) and no others, in one commit. The dataset as it is then.

    `dataset` is the newest version as the caller has just opened it: each look at object storage is a call. Another
    program may commit meanwhile, say by compacting; then the deletions are worked out again against its version and the
    rows, already written, are offered again.
    """
    from lance.commit import CommitConflictError

    way.fence.demand(dataset)
    added = [] if incoming is None else _written(dataset, way.path, incoming)
    if incoming is not None:
        dataset = newest_of(dataset, way.path)  # rows may have taken long to come
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(CommitConflictError):
            return _committed(dataset, way, documents, added)
        dataset = newest_of(dataset, way.path)
    return _committed(dataset, way, documents, added)


def _written(dataset: Any, path: str, incoming: Incoming) -> list[Any]:
    """Write the rows into files that no version of the table mentions yet."""
    from lance.fragment import write_fragments

    try:
        with open_writing(path):
            fragments: list[Any] = write_fragments(
                incoming.reader(),
                dataset,
                mode="append",
                max_rows_per_file=ROWS_PER_FRAGMENT,
                data_storage_version=dataset.data_storage_version,
            )
    except Exception:
        if incoming.failure is not None:
            raise incoming.failure from None
        raise
    return fragments


def _committed(dataset: Any, way: Way, documents: DocumentSet, added: list[Any]) -> Any:
    """Mark the documents' present rows deleted, and commit that together with the added files."""
    import lance

    emptied: list[int] = []
    thinned: list[Any] = []
    with open_writing(way.path):
        for fragment_id, offsets in _by_fragment(documents.addresses(dataset, way.whereabouts)):
            left = dataset.get_fragment(fragment_id).delete_rows(offsets)
            if left is None:
                emptied.append(fragment_id)
            else:
                thinned.append(left)
        if not (added or emptied or thinned):
            return dataset
        operation = lance.LanceOperation.Update(
            removed_fragment_ids=emptied, updated_fragments=thinned, new_fragments=added
        )
    return way.fence.commit(dataset, operation)


def remake(dataset: Any, way: Way, incoming: Incoming) -> Any:
    """Let the whole table have the incoming rows and their schema, in one commit. The dataset as it is afterwards."""
    import lance

    way.fence.demand(dataset)
    try:
        with open_writing(way.path):
            return lance.write_dataset(
                incoming.reader(),
                dataset,
                mode="overwrite",
                max_rows_per_file=ROWS_PER_FRAGMENT,
                data_storage_version=dataset.data_storage_version,
                transaction_properties=way.fence.properties,
            )
    except Exception:
        if incoming.failure is not None:
            raise incoming.failure from None
        raise


def _by_fragment(addresses: np.ndarray[Any, Any]) -> Iterator[tuple[int, list[int]]]:
    """Row addresses, ascending, as (fragment id, physical offsets in it)."""
    import numpy as np

    # A row address is the fragment's id in the upper 32 bits and the row's offset in the lower ones.
    ids = addresses >> 32
    for fragment_id in np.unique(ids):
        yield int(fragment_id), (addresses[ids == fragment_id] & 0xFFFF_FFFF).tolist()
