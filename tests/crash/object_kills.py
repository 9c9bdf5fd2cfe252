"""Real processes that publish into an object store and are killed at random moments, or meet one that fails.

    python -m tests.crash.object_kills [--kills 50] [--publications 200]

A process writes one edition of a few documents after the other and prints each that is acknowledged; it is killed with
`kill -9` and started again. Every document must be whole at every look, no chunk may be there twice, and what was
acknowledged must be there.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "unit")]

import object_store  # noqa: E402 - the folders of the tests come first
from table_rows import NAME, PROFILE, put, whole  # noqa: E402

from voyage_jobs.core.object_uri import ObjectUri  # noqa: E402
from voyage_jobs.table import PublishedTable  # noqa: E402

DOCUMENTS = [("docs", f"{n}.md") for n in range(5)]
FAULTS = {"unavailable": 0.15, "cut": 0.4}
MOST_PUBLICATIONS = 10_000

_PUBLISHES = """
import sys
from tests.crash.object_kills import publish
publish(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""


def table_at(address: str, epoch: int) -> PublishedTable:
    """The table, as the `epoch`-th start of its state opens it."""
    return PublishedTable.open(ObjectUri(address), NAME, PROFILE, create=True, owner="state", epoch=epoch)


def publish(address: str, epoch: int, first: int) -> None:
    """Publish edition after edition, from `first` on, saying which is acknowledged."""
    table = table_at(address, epoch)
    for edition in range(first, MOST_PUBLICATIONS):
        put(table, edition_of(edition))
        table.sync()
        print(edition, flush=True)


def edition_of(edition: int) -> dict[tuple[str, str], tuple[str, int]]:
    """Two documents, with as many chunks as tells editions apart."""
    return {DOCUMENTS[(edition + n) % len(DOCUMENTS)]: (f"e{edition}", 1 + edition % 3) for n in range(2)}


def shown(address: str) -> dict[tuple[str, str], tuple[str, int]]:
    """What a reader sees; fails if a document is not whole or a chunk is there twice."""
    names = ["source", "path", "ordinal", "text", "chunk_id"]
    table = table_at(address, MOST_PUBLICATIONS)
    return whole([row for found in table.keys(None, names) for row in found.to_pylist()])


def expected(last: int) -> dict[tuple[str, str], tuple[str, int]]:
    """The table after all editions up to `last`."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for edition in range(last + 1):
        found |= edition_of(edition)
    return found


def killed(store: object_store.ObjectStore, kills: int, seed: int = 1) -> dict[str, Any]:
    """Kill the publishing process so often. Counts of what was lost or doubled are failures: they raise."""
    chance, address, acknowledged = random.Random(seed), store.place(), -1
    in_doubt = 0
    for kill in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", _PUBLISHES, address, str(kill), str(acknowledged + 1)],
            cwd=ROOT,
            env={**os.environ, **store.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(chance.randint(1, 3))]
        time.sleep(chance.random() * 0.3)
        process.kill()
        said += process.stdout.read().splitlines()
        process.wait()
        acknowledged = max([acknowledged, *(int(line) for line in said if line.strip())])
        found = shown(address)
        if found != expected(acknowledged):
            assert found == expected(acknowledged + 1), f"lost: {found} is not {expected(acknowledged)}"
            in_doubt += 1
    return {"kills": kills, "publications": acknowledged + 1, "committed and not acknowledged": in_doubt}


def failing(store: object_store.ObjectStore, publications: int) -> dict[str, Any]:
    """Publish so often into a store that fails: nothing may be lost, doubled or raised."""
    address = store.place()
    table, before = table_at(address, 1), 0
    store.calls.clear()
    with store.failing(**FAULTS) as struck:
        for edition in range(publications):
            put(table, edition_of(edition))
            table.sync()
            assert sum(found.num_rows for found in table.keys(list(edition_of(edition)))) > 0
            before += 1
            if edition % 20 == 19:
                table.tend()
    assert shown(address) == expected(publications - 1)
    calls = store.calls.total() / publications
    return {
        "publications": before,
        **struck,
        "calls a publication, failed ones and upkeep included": round(calls, 1),
    }


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.object_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--publications", type=int, default=200)
    given = parser.parse_args()
    store = object_store.store()
    os.environ.update(store.environment)
    print(failing(store, given.publications), flush=True)
    print(killed(store, given.kills), flush=True)


if __name__ == "__main__":
    main()
