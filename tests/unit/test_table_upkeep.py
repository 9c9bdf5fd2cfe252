"""Upkeep happens when the statistics ask for it, within its bounds, and changes nothing a reader sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from object_store import files
from table_rows import NAME, PROFILE, content, opened, put, reader

from voyage_jobs.core.profile import Profile
from voyage_jobs.table import PublishedTable, Tended, Upkeep
from voyage_jobs.table import upkeep as upkeep_module

EXPECTED = {("docs", f"{n}.md"): (f"e{n}", 5) for n in range(10)}
NEVER = 10**9


def crowded(folder: Any) -> PublishedTable:
    """Ten flips, hence ten fragments, one with rows deleted."""
    table = opened(folder)
    put(table, {("docs", "gone.md"): ("x", 5), ("docs", "0.md"): ("e0", 5)})
    for doc, edition in list(EXPECTED.items())[1:]:
        put(table, {doc: edition})
    table.delete([("docs", "gone.md")])
    return table


def test_stats_count_what_is_there(home: Any) -> None:
    stats = crowded(home).stats()

    assert (stats.rows, stats.fragments, stats.small_fragments) == (50, 10, 10)
    assert (stats.deleted_rows, stats.worst_deleted_share) == (5, 0.5)
    assert (stats.version, stats.versions) == (12, 12)
    assert (stats.indexed, stats.unindexed_rows) == (False, 50)
    assert stats.bytes == sum(files(home / "chunks.lance" / "data").values())


def test_stats_of_an_empty_table(home: Any) -> None:
    stats = opened(home).stats()

    assert (stats.rows, stats.fragments, stats.worst_deleted_share, stats.bytes) == (0, 0, 0.0, 0)


def test_nothing_asked_nothing_done(home: Any) -> None:
    table = crowded(home)
    before = table.version()

    done = table.tend(Upkeep(small_fragments=11, deleted_share=0.6))

    assert done == Tended()
    assert table.version() == before


@pytest.mark.parametrize(
    ("policy", "after"),
    [
        (Upkeep(small_fragments=10, deleted_share=1.0), (1, 0)),
        (Upkeep(small_fragments=NEVER, deleted_share=0.4), (1, 0)),
    ],
)
def test_fragments_and_deletions_are_compacted(home: Any, policy: Upkeep, after: tuple[int, int]) -> None:
    table = crowded(home)

    done = table.tend(policy)

    assert (done.fragments_removed, done.fragments_added) == (10, 1)
    stats = table.stats()
    assert (stats.fragments, stats.deleted_rows) == after
    assert content(home) == EXPECTED
    assert table.tend(policy) == Tended()


def test_a_start_after_a_compaction_of_indexed_rows_publishes(home: Any) -> None:
    def started(epoch: int) -> PublishedTable:
        return PublishedTable.open(str(home), NAME, PROFILE, create=True, owner="state", epoch=epoch)

    table = started(1)
    put(table, {("docs", f"{n}.md"): ("one", 10) for n in range(4)}, per_batch=10)
    table.tend(Upkeep(words_from_rows=1, small_fragments=NEVER))
    put(table, {("docs", "4.md"): ("one", 10)})
    table.delete([("docs", "0.md")])
    assert table.tend(Upkeep(words_from_rows=1, small_fragments=2, deleted_share=0.01)).fragments_removed

    put(started(2), {("docs", "5.md"): ("one", 10)})
    assert len(content(home)) == 5


def test_old_versions_go_after_a_sync(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep_module, "LEAST_KEEP_S", 0)
    table = crowded(home)
    manifests = home / "chunks.lance" / "_versions"
    counts: list[int] = []
    sync = table.sync
    monkeypatch.setattr(table, "sync", lambda: counts.append(len(files(manifests)) or sync()))

    done = table.tend(Upkeep(keep_s=0, versions=5, small_fragments=2))

    assert done.versions_removed >= 11
    assert done.bytes_removed > 0
    assert counts[0] > 12 > counts[1], "synced before anything was removed, and again at the end"
    assert len(files(home / "chunks.lance" / "data")) == 1
    assert content(home) == EXPECTED


def test_recent_versions_are_kept_for_their_readers(home: Any) -> None:
    table = crowded(home)
    theirs = reader(home)
    theirs.checkout(3)

    assert table.tend(Upkeep(versions=2)).versions_removed == 0
    assert theirs.count_rows() == 15


@pytest.mark.parametrize(
    "settings", [{"keep_s": 3599}, {"rows_per_call": upkeep_module._LEAST_ROWS_PER_CALL - 1}]
)
def test_settings_that_would_do_harm_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        Upkeep(**settings)


def test_index_is_built_once_and_then_fed(home: Any) -> None:
    table = opened(home)
    policy = Upkeep(index_from_rows=300, unindexed_rows=40, small_fragments=NEVER)
    put(table, {("docs", f"{n}.md"): ("one", 10) for n in range(29)}, per_batch=500)
    assert table.tend(policy) == Tended()
    put(table, {("docs", "29.md"): ("one", 10)})

    assert table.tend(policy) == Tended(index_built=True, rows_indexed=300)

    stats = table.stats()
    assert (stats.indexed, stats.unindexed_rows) == (True, 0)
    put(table, {("docs", "30.md"): ("one", 39)})
    assert table.stats().unindexed_rows == 39
    assert table.tend(policy) == Tended()
    put(table, {("docs", "31.md"): ("one", 1)})
    assert table.tend(policy) == Tended(rows_indexed=40)
    assert table.stats().unindexed_rows == 0


def test_what_another_program_reshapes_is_left_to_it_but_for_old_versions(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_module, "LEAST_KEEP_S", 0)
    table = crowded(home)
    policy = {"small_fragments": 2, "words_from_rows": 1, "index_from_rows": 1, "keep_s": 0, "versions": 5}

    done = table.tend(Upkeep(reshape=False, **policy))

    assert done.versions_removed > 0
    assert (done.fragments_removed, done.words_index_built, done.index_built) == (0, False, False)
    assert (table.stats().fragments, table.indexes()) == (10, [])
    assert table.tend(Upkeep(**policy)).fragments_removed


def test_another_program_may_compact_between_publications_and_is_refused_across_one(home: Any) -> None:
    """As lance-ray does it: a plan, its tasks wherever they run, and one commit."""
    import lance
    from lance.optimize import Compaction

    def rewritten() -> tuple[Any, list[Any]]:
        theirs = lance.dataset(f"{home}/{NAME}.lance")
        plan = Compaction.plan(theirs, {"target_rows_per_fragment": 1_000})
        return theirs, [task.execute(theirs) for task in plan.tasks]

    table = crowded(home)
    late = rewritten()
    put(table, {("docs", "1.md"): ("later", 5)})
    with pytest.raises(OSError, match="conflict"):
        Compaction.commit(*late)
    Compaction.commit(*rewritten())
    assert table.stats().fragments == 1
    put(table, {("docs", "2.md"): ("later", 5)})

    assert table.tend(Upkeep(reshape=False)) == Tended()
    assert content(home) == {**EXPECTED, ("docs", "1.md"): ("later", 5), ("docs", "2.md"): ("later", 5)}


def test_a_folder_beside_the_files_of_an_index_is_no_damage(home: Any) -> None:
    table = opened(home)
    put(table, {("docs", "1.md"): ("one", 10)})
    table.tend(Upkeep(words_from_rows=1))
    if isinstance(home, Path):  # where there are folders
        for index in (home / "chunks.lance" / "_indices").iterdir():
            (index / "staging").mkdir()

    assert {each.damage for each in table.indexes()} == {""}


def test_other_vectors_get_no_index(home: Any) -> None:
    profile = Profile("/v1/embeddings", "voyage-4", 16, "int8", None)
    table = opened(home, profile)

    assert table.tend(Upkeep(index_from_rows=0)) == Tended()
