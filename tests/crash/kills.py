"""`kill -9` at moments drawn from a seed, while somebody edits, moves and deletes documents."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voyage_jobs.vendors.registry import by_type

from . import checks
from .documents import Author
from .stage import Stage, end
from .watcher import watched

_COMMANDS = (("run",), ("sync",), ("sync", "--no-wait"))
_WEIGHTS = (6, 3, 1)
_MAY_END_WITH: dict[str, tuple[int, ...]] = {"run": (), "sync": (0, 3)}
_LONGEST_S = 2.5
_EARLY = 0.15


@dataclass
class Tally:
    """What the kills struck: `killed` by command, `found` by what was unfinished in the state right afterwards."""

    killed: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    looks: int = 0

    def add(self, other: Tally) -> None:
        """Add another tally to this one."""
        self.killed.update(other.killed)
        self.found.update(other.found)
        self.ended += other.ended
        self.looks += other.looks


def live(root: Path, seed: int, kills: int, *, reader: bool = True, vendor: str = "voyage") -> Tally:
    """One life of so many kills; raises AssertionError if a promise was broken."""
    rng = random.Random(seed)
    tally = Tally()
    with Stage(
        root,
        seed=seed,
        faults=_faults_at_once(rng) if by_type(vendor).traits.sync_only else _faults(rng),
        batch_seconds=rng.choice((0.2, 0.6, 1.5)),
        max_inputs=rng.choice((6, 100)),
        vendor=vendor,
    ) as stage:
        author = Author(stage, seed)
        author.begin()
        with watched(stage, author, tally) if reader else contextlib.nullcontext():
            for _ in range(kills):
                _round(stage, author, rng, tally)
            checks.converge(stage)
    return tally


def _faults(rng: random.Random) -> dict[str, Any]:
    """What is sick in a life: in most of them one item in a few, for some seconds, in one of these ways each."""
    sick = {"probability": 0.25, "seconds": rng.choice((0.5, 2.0, 4.0))}
    ways: dict[str, dict[str, Any]] = {
        "results_sick": {**sick, "how": rng.choice(("status", "short", "bad_gzip", "reset"))},
        "upload_sick": {**sick, "how": rng.choice(("reset", "intercepted"))},
        "job_sick": sick,
        "file_size_lies": {**sick, "by": rng.choice((-1, 1))},
        "job_created_at": {**sick, "value": rng.choice(("1970", "year1", "year9999", "future"))},
        "list_entry_odd": {
            "probability": 0.3,
            "what": rng.choice(("no_status", "no_id", "bare_id", "not_object")),
        },
        "intercepted": {"probability": 0.05, "times": 12},
    }
    return {way: ways[way] for way in ways if rng.random() < 0.4}


def _faults_at_once(rng: random.Random) -> dict[str, Any]:
    """The same for a provider that answers at once: of some calls the answer is lost, an error or another's."""
    some = {"on": "embeddings", "probability": 0.1, "times": 12}
    ways: dict[str, dict[str, Any]] = {
        "answer_lost": {**some, "as": "read_error"},
        "server_error": {**some, "after_effect": rng.random() < 0.5},
        "rate_limited": {**some, "retry_after_s": 1},
        "intercepted": some,
    }
    return {way: ways[way] for way in ways if rng.random() < 0.6}


def _round(stage: Stage, author: Author, rng: random.Random, tally: Tally) -> None:
    """Start a command, work on the documents beside it, kill it: sometimes early, mostly after it has begun to work."""
    command = rng.choices(_COMMANDS, _WEIGHTS)[0]
    before = stage.logged_bytes
    process = stage.start(*command)
    if rng.random() > _EARLY:
        while stage.logged_bytes == before and process.poll() is None:
            time.sleep(0.01)
    for moment in _moments(rng):
        time.sleep(moment)
        author.act()
    code = process.poll()
    if code is None:
        end(process, signal.SIGKILL)
        tally.killed[" ".join(command)] += 1
    else:
        assert code in _MAY_END_WITH[command[0]], f"{command} ended with {code}\n{stage.tail()}"
        tally.ended += 1
    tally.found.update(_unfinished(stage.data_dir / "state.db"))


def _moments(rng: random.Random) -> Iterator[float]:
    """Waits between edits, up to the kill."""
    total = rng.uniform(0, _LONGEST_S)
    edits = rng.randint(0, 3)
    cuts = sorted(rng.uniform(0, total) for _ in range(edits))
    previous = 0.0
    for cut in [*cuts, total]:
        yield cut - previous
        previous = cut


def _unfinished(state_db: Path) -> list[str]:
    """The states of batches and publications that a killed process left to the next one."""
    if not state_db.exists():
        return ["no state yet"]
    with contextlib.closing(sqlite3.connect(f"file:{state_db}?mode=ro", uri=True)) as state:
        try:
            found = [
                f"batch {row[0]}"
                for row in state.execute("SELECT state FROM batches WHERE state != 'closed'")
            ]
            found += [
                f"publication {row[0]}"
                for row in state.execute("SELECT kind FROM publications WHERE done_at IS NULL")
            ]
            ready = state.execute("SELECT COUNT(*) FROM versions WHERE state = 'ready'").fetchone()[0]
        except sqlite3.OperationalError:  # killed before the first migration was committed
            return ["no schema yet"]
    return sorted({*found, *(["documents ready"] if ready else [])}) or ["nothing in flight"]
