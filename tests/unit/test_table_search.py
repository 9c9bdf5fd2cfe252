"""Searching the published table: the score is a cosine, whatever the vectors are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from table_rows import PROFILE, batch, opened, vector

from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import ConfigError
from voyage_jobs.table import PublishedTable, Upkeep
from voyage_jobs.table.search import probes

A, B = ("docs", "a.md"), ("docs", "b.md")


def profile_of(dtype: str) -> Profile:
    return Profile(PROFILE.endpoint, PROFILE.model, 64, dtype, "document")


def filled(folder: Any, profile: Profile, rows: int) -> PublishedTable:
    table = opened(folder, profile)
    names = [(A, n, f"text {n}") for n in range(rows)]
    table.flip([A], (batch(names[start : start + 100], profile) for start in range(0, rows, 100)))
    return table


def as_numbers(vectors: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """What a stored vector means: floats whose cosine is the score."""
    if dtype == "binary":
        vectors = (vectors.astype(np.int16) + 128).astype(np.uint8)
    if dtype in ("binary", "ubinary"):
        return np.unpackbits(vectors, axis=-1).astype(np.float64) * 2 - 1
    return vectors.astype(np.float64) - (128 if dtype == "uint8" else 0)


@pytest.mark.parametrize("dtype", ["float", "int8", "uint8", "binary", "ubinary"])
def test_best_rows_and_their_cosines(home: Any, dtype: str) -> None:
    profile = profile_of(dtype)
    table = filled(home, profile, 300)
    put_aside = [(B, 0, "gone")]
    table.flip([B], iter([batch(put_aside, profile)]))
    table.delete([B])
    query = vector(profile, 17)

    found = table.search(query.tolist(), k=5)

    stored = as_numbers(np.stack([vector(profile, n) for n in range(300)]), dtype)
    wanted = as_numbers(query, dtype)
    cosines = stored @ wanted / np.linalg.norm(stored, axis=1) / np.linalg.norm(wanted)
    assert found[0]["text"] == "text 17"
    assert [row["score"] for row in found] == pytest.approx(sorted(cosines, reverse=True)[:5], abs=1e-5)
    for row in found:
        assert row["score"] == pytest.approx(cosines[row["ordinal"]], abs=1e-5)
        assert row["text"] == f"text {row['ordinal']}"
    assert set(found[0]) == {*table_columns(), "score"}


def table_columns() -> set[str]:
    from voyage_jobs.table import schema

    return set(schema(PROFILE).names) - {"vector"}


@pytest.mark.parametrize("dtype", ["float", "int8"])
def test_filter_comes_before_the_search(home: Any, dtype: str) -> None:
    profile = profile_of(dtype)
    table = filled(home, profile, 200)

    found = table.search(vector(profile, 17).tolist(), k=3, where="ordinal >= 198")

    assert {row["ordinal"] for row in found} == {198, 199}
    assert table.search(vector(profile, 17).tolist(), where="source = 'none'") == []


@pytest.mark.parametrize("dtype", ["float", "int8"])
@pytest.mark.parametrize("where", ["nonsense = 1", "ordinal = ", "source = 'open", ""])
def test_filter_without_sense_is_a_config_error(home: Any, dtype: str, where: str) -> None:
    profile = profile_of(dtype)
    table = filled(home, profile, 10)

    with pytest.raises(ConfigError, match="The filter") as caught:
        table.search(vector(profile, 1).tolist(), where=where)

    assert caught.value.hint


@pytest.mark.parametrize("dtype", ["float", "int8"])
def test_query_of_another_width_is_refused(home: Any, dtype: str) -> None:
    table = filled(home, profile_of(dtype), 10)

    with pytest.raises(ValueError, match="3 numbers"):
        table.search([1.0, 2.0, 3.0])


@pytest.mark.parametrize("dtype", ["float", "int8"])
def test_empty_table_has_no_answers(home: Any, dtype: str) -> None:
    assert opened(home, profile_of(dtype)).search([1.0] * 64) == []


@pytest.mark.parametrize("number", [0.0, -0.0, float("nan"), float("inf"), 1e-60])
def test_floats_that_point_nowhere_are_refused(home: Any, number: float) -> None:
    table = filled(home, profile_of("float"), 10)

    with pytest.raises(ValueError, match="query vector cannot be used"):
        table.search([number] * 64)


@pytest.mark.parametrize(("dtype", "nothing"), [("int8", 0), ("uint8", 128)])
def test_whole_numbers_that_point_nowhere_are_refused_too(home: Any, dtype: str, nothing: int) -> None:
    table = filled(home, profile_of(dtype), 10)

    with pytest.raises(ValueError, match="query vector cannot be used"):
        table.search([nothing] * 64)


def test_index_gives_the_same_answers_and_no_stale_rows(home: Any) -> None:
    profile = profile_of("float")
    table = filled(home, profile, 2_000)
    flat = table.search(vector(profile, 17).tolist(), k=5)

    assert table.tend(Upkeep(index_from_rows=1_000)).index_built

    assert table.search(vector(profile, 17).tolist(), k=1) == flat[:1]
    put_names = [(A, n, f"newer {n}") for n in range(50)]
    table.flip([A], iter([batch(put_names, profile)]))
    found = table.search(vector(profile, 17).tolist(), k=50)
    assert found[0]["text"] == "newer 17"
    assert {row["text"] for row in found} == {f"newer {n}" for n in range(50)}
    table.delete([A])
    assert table.search(vector(profile, 17).tolist()) == []


def test_more_partitions_are_looked_into_where_there_are_more_rows() -> None:
    """All of them at first; five of eight from there on: half of them miss 2 % of what is near (bench_recall)."""
    partition = 8_192
    assert [probes(rows) for rows in (0, 32 * partition)] == [32, 32]
    for rows in (500_000, 1_000_000, 10_000_000):
        assert 0.6 < probes(rows) / (rows / partition) < 0.65
