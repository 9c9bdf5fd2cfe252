"""`kill -9` at random moments: the rounds that every run of the suite can afford."""

from __future__ import annotations

import lancedb
import pytest

from .kills import live
from .reader import Reader

KILLS = 10


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_it_gets_everything_done_once(tmp_path, seed):
    tally = live(tmp_path, seed, KILLS)
    print(f"repeat: python -m tests.crash --lives {seed}:{seed + 1} --kills {KILLS}; {tally}")


def test_who_watches_waits_for_a_table_that_is_being_made(tmp_path):
    """Its folder comes before its first version; a process that was killed between the two leaves it so for long."""
    (tmp_path / "chunks.lance" / "data").mkdir(parents=True)
    watching = Reader(str(tmp_path), "chunks")
    assert not watching.look()
    (tmp_path / "chunks.lance" / "data").rmdir()
    lancedb.connect(tmp_path).create_table("chunks", [{"path": "a.md", "content_hash": "1", "ordinal": 0}])
    assert watching.look()
    assert watching.documents == {("a.md", "1", (0,))}
