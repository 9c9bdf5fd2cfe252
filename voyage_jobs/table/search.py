"""Nearest chunks to a vector, best first, with a score that means the same for every kind of vector.

The score is the cosine of the two vectors, 1 for the same direction. Floats are searched by Lance, with the vector
index where there is one. Lance cannot search int8 vectors at all and uint8 ones by Hamming distance only, so these are
compared exactly, streamed through numpy: a quarter or less of the bytes of floats.

- int8: the cosine of the numbers. uint8: the same after taking 128 away, which is how the provider shifts them.
- binary and ubinary: 1 - 2 * (bits that differ) / (bits), the cosine of vectors of plus and minus one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from voyage_jobs.table.documents import rows_at
from voyage_jobs.table.engine import open_reading
from voyage_jobs.table.filters import demand_sense, reading_with

if TYPE_CHECKING:
    import numpy as np

    from voyage_jobs.core.profile import Profile

_SCAN_ROWS = 4_096
_LEAST_PROBES = 32  # partitions of an index to look into, of 8,192 rows each: all of them up to 262,144 rows
_ROWS_PER_PROBE = (
    13_107  # five of eight where there are more: with half of them 2 % of the nearest rows are missed
)
_REFINE = 4  # times k candidates of the index that are compared exactly
_NOWHERE = "the query vector cannot be used: all its numbers are zero, or one is not finite"


def nearest(
    dataset: Any,
    profile: Profile,
    vector: Sequence[float],
    *,
    k: int,
    where: str | None,
    columns: list[str],
    use_index: bool = True,
) -> list[dict[str, Any]]:
    """The `k` rows nearest to `vector` among those that match the SQL filter `where`, each with its `score`.

    Without `use_index` no index is touched, neither that of vectors nor those of filters. Raises `ConfigError` for a
    filter that makes no sense and `ValueError` for a vector of another width, or one that points nowhere.
    """
    if len(vector) != profile.width:
        raise ValueError(f"the query has {len(vector)} numbers, the table's vectors have {profile.width}")
    if where is not None:
        demand_sense(dataset, where)
    if profile.storage_dtype == "float32":
        return _by_lance(dataset, vector, k=k, where=where, columns=columns, use_index=use_index)
    return _exact(dataset, profile, vector, k=k, where=where, columns=columns, use_index=use_index)


def probes(rows: int) -> int:
    """How many partitions of the index are looked into: more are slower, and find what fewer miss."""
    return max(_LEAST_PROBES, rows // _ROWS_PER_PROBE)


def _by_lance(
    dataset: Any, vector: Sequence[float], *, k: int, where: str | None, columns: list[str], use_index: bool
) -> list[dict[str, Any]]:
    import numpy as np

    wanted = np.asarray(vector, dtype=np.float32)
    if not (np.isfinite(wanted).all() and wanted.any()):
        raise ValueError(_NOWHERE)
    asked = {
        "column": "vector",
        "q": wanted,
        "k": k,
        "metric": "cosine",
        "nprobes": probes(dataset.count_rows()),
        "refine_factor": _REFINE,
        "use_index": use_index,
    }
    scanner = dataset.scanner(
        columns=[*columns, "_distance"],
        nearest=asked,
        filter=where,
        prefilter=where is not None,
        use_scalar_index=use_index,
    )
    with reading_with(dataset.uri, where):
        found: list[dict[str, Any]] = scanner.to_table().to_pylist()
    for row in found:
        row["score"] = 1.0 - row.pop("_distance")
    return found


def _exact(
    dataset: Any,
    profile: Profile,
    vector: Sequence[float],
    *,
    k: int,
    where: str | None,
    columns: list[str],
    use_index: bool,
) -> list[dict[str, Any]]:
    """Compare with every row, in batches; only the best `k` addresses are kept."""
    import numpy as np

    score = _scorer(profile, np.asarray(vector))
    best, addresses = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.uint64)
    scanner = dataset.scanner(
        columns=["vector"],
        filter=where,
        with_row_address=True,
        batch_size=_SCAN_ROWS,
        use_scalar_index=use_index,
    )
    with reading_with(dataset.uri, where):
        for batch in scanner.to_batches():
            vectors = batch.column("vector").flatten().to_numpy().reshape(-1, profile.width)
            best = np.concatenate([best, score(vectors)])
            addresses = np.concatenate([addresses, batch.column("_rowaddr").to_numpy()])
            order = np.argsort(-best, kind="stable")[:k]
            best, addresses = best[order], addresses[order]
    return scored_rows(dataset, dict(zip(addresses.tolist(), best.tolist(), strict=True)), columns)


def scored_rows(dataset: Any, scores: dict[int, float], columns: list[str]) -> list[dict[str, Any]]:
    """The rows at these addresses, the best score first, each with its `score`."""
    import numpy as np

    at = np.sort(np.fromiter(scores, dtype=np.uint64, count=len(scores)))
    with open_reading(dataset.uri):
        found = [row for batch in rows_at(dataset, at, columns) for row in batch.to_pylist()]
    for row in found:
        row["score"] = scores[row.pop("_rowaddr")]
    return sorted(found, key=lambda row: -row["score"])


def _scorer(profile: Profile, query: np.ndarray[Any, Any]) -> Callable[[Any], Any]:
    import numpy as np

    if profile.dtype in ("binary", "ubinary"):
        ones = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint16)
        # Offset binary differs from plain bytes in the top bit alone, which cancels out between two of them.
        bits = query.astype(profile.storage_dtype).view(np.uint8)
        return lambda rows: (
            1 - 2 * ones[rows.view(np.uint8) ^ bits].sum(axis=1) / np.float32(profile.dimension)
        )
    shift = np.float32(128 if profile.dtype == "uint8" else 0)
    wanted = query.astype(np.float32) - shift
    length = float(np.linalg.norm(wanted))
    if not np.isfinite(length) or not length:
        raise ValueError(_NOWHERE)
    wanted /= length

    def cosine(rows: Any) -> Any:
        numbers = rows.astype(np.float32) - shift
        return numbers @ wanted / np.maximum(np.linalg.norm(numbers, axis=1), 1e-12)

    return cosine
