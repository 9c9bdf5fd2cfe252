"""Rows of the table, made out of facts and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from voyage_jobs.table.columns import COLUMNS, VECTOR, Facts, array_of
from voyage_jobs.table.schema import schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from voyage_jobs.core.profile import Profile


def make_batch(profile: Profile, facts: Sequence[Facts], vectors: np.ndarray[Any, Any]) -> pa.RecordBatch:
    """Rows of the table: these facts, and for each its line of `vectors`."""
    import pyarrow as pa

    wanted = schema(profile)
    flat = pa.array(vectors.reshape(-1))
    arrays = {VECTOR: pa.FixedSizeListArray.from_arrays(flat, type=wanted.field(VECTOR).type)}
    for column in COLUMNS:
        if column.value is not None:
            arrays[column.name] = array_of(list(map(column.value, facts)), wanted.field(column.name).type)
    arrays |= {column.name: column.made(arrays) for column in COLUMNS if column.made is not None}
    return pa.RecordBatch.from_arrays([arrays[name] for name in wanted.names], schema=wanted)
