"""Four reading processes beside publications, index upkeep and compaction: no error, and no document torn.

`PUBLICATIONS=200` in the environment makes so many (`make search-soak` does), `SEED=7` other ones; both are printed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from table_rows import NAME, PROFILE, batch, opened, vector, version

from voyage_jobs.table import Upkeep
from voyage_jobs.table.view import View, Views, view_of

COUNT, SEED = int(os.environ.get("PUBLICATIONS", "12")), int(os.environ.get("SEED", "1"))
DOCUMENTS = 8
EDITIONS = 5
KINDS = ("kept", "afresh", "lancedb", "filtered")
UPKEEP = Upkeep(words_from_rows=1, index_from_rows=1, small_fragments=3, unindexed_rows=1, deleted_share=0.01)


@pytest.mark.timeout(3_000)
def test_readers_see_whole_documents_of_one_edition(tmp_path: Path) -> None:
    print(f"{COUNT} publications, SEED={SEED}")
    dice = random.Random(SEED)
    table = opened(tmp_path)
    documents = [("docs", f"{number}.md") for number in range(DOCUMENTS)]
    editions = itertools.cycle(f"e{number}" for number in range(EDITIONS))

    def publish(some: list[tuple[str, str]]) -> None:
        rows = [row for doc in some for row in version(doc, next(editions), chunks_of(doc[1]))]
        table.flip(some, iter([batch(rows)]))

    publish(documents)
    table.tend(UPKEEP)
    compacted = 0
    with reading(tmp_path) as results:
        for _ in range(COUNT):
            publish(dice.sample(documents, dice.randrange(1, DOCUMENTS)))
            done = table.tend(UPKEEP)
            compacted += done.fragments_removed
    assert compacted, "nothing was compacted"
    told = [json.loads(each) for each in results]
    print(told)
    assert [each["kind"] for each in told] == list(KINDS)
    assert [each["wrong"] for each in told] == [[]] * len(KINDS)
    assert all(each["rounds"] for each in told)
    assert all(each["versions"] > 1 for each in told), "they saw it change"


def chunks_of(path: str) -> int:
    """How many chunks a document has, at every edition."""
    return 2 + int(path[:-3]) % 4


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[list[str]]:
    """Processes that read until this is left; then what each of them saw. None is forked: Lance has threads."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    readers = [
        subprocess.Popen(
            [sys.executable, __file__, kind, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        for kind in KINDS
    ]
    results: list[str] = []
    try:
        for each in readers:
            assert each.stdout is not None
            assert each.stdout.readline() == "reading\n"
        yield results
        results += [each.communicate("over\n", timeout=120)[0] for each in readers]
    finally:
        for each in readers:
            each.kill()
            each.communicate()


def read_on(kind: str, folder: str) -> dict[str, Any]:
    """What one reader saw, until something stands on its standard input."""
    import select

    wrong: list[str] = []
    rounds, versions = 0, set()
    views = Views(folder, NAME)
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            seen = _seen(kind, views, folder)
        except Exception as exc:
            wrong.append(f"{type(exc).__name__}: {exc}")
            continue
        rounds += 1
        if rounds == 1:
            print("reading", flush=True)
        for version_number, rows in seen:
            versions.add(version_number)
            wrong += torn(rows)
    return {"kind": kind, "rounds": rounds, "versions": len(versions), "wrong": wrong[:5]}


def _seen(kind: str, views: Views, folder: str) -> list[tuple[int, list[dict[str, Any]]]]:
    if kind == "lancedb":
        import lancedb

        table = lancedb.connect(folder).open_table(NAME)
        return [(table.version, table.search().select(["path", "ordinal", "text"]).limit(None).to_list())]
    view: View = views.newest() if kind == "kept" else view_of(folder, NAME)
    where = "source = 'docs' AND ordinal >= 0" if kind == "filtered" else None
    most = 10 * DOCUMENTS
    words = view.by_words(" ".join(f"e{number}" for number in range(EDITIONS)), most, where, lambda: True)
    vectors = view.by_vector(vector(PROFILE, 1).tolist(), most, where)
    assert not words.damaged
    assert not vectors.damaged
    return [(view.version, words.rows), (view.version, vectors.rows)]


def torn(rows: list[dict[str, Any]]) -> list[str]:
    """What of an answer is not whole documents, each of one edition."""
    editions = {(row["path"], row["text"].split()[0]) for row in rows}
    places = Counter((row["path"], row["ordinal"]) for row in rows)
    expected = {
        (f"{number}.md", at) for number in range(DOCUMENTS) for at in range(chunks_of(f"{number}.md"))
    }
    if len(editions) != DOCUMENTS or places != Counter(expected):
        return [f"{sorted(editions)} {sorted(places.items())}"]
    return []


if __name__ == "__main__":
    print(json.dumps(read_on(*sys.argv[1:])), flush=True)
