"""What must hold when all is done, whatever happened before: by the files, the table and the provider's ledger."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from typing import Any

import log_events
import numpy as np

from tests.splits import sent, split
from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core import states
from voyage_jobs.core.clock import Clock, SystemClock
from voyage_jobs.report.status import status
from voyage_jobs.simulator import Simulator
from voyage_jobs.simulator.vectors import Embedder
from voyage_jobs.splitting.forms import RULES
from voyage_jobs.steps.splitting import split_options
from voyage_jobs.table import PublishedTable

from .stage import KEY, Stage

_AT_REST = {
    "attempts are open": "SELECT COUNT(*) FROM attempts WHERE state = 'open'",
    "batches are not closed": "SELECT COUNT(*) FROM batches WHERE state != 'closed'",
    "publications are open": "SELECT COUNT(*) FROM publications WHERE done_at IS NULL",
    "versions wait": "SELECT COUNT(*) FROM versions WHERE state IN ('waiting', 'ready')",
    "removals wait": "SELECT COUNT(*) FROM versions WHERE retire = 1 AND state = 'published'",
    "files are left at the provider": "SELECT COUNT(*) FROM remote_files WHERE deleted_at IS NULL",
    "tokens are reserved": "SELECT COALESCE(SUM(CASE kind WHEN 'reserved' THEN tokens WHEN 'released' THEN -tokens"
    " ELSE 0 END), 0) FROM spend",
    "needed embeddings are not held": "SELECT COUNT(*) FROM embeddings e WHERE e.state != 2"
    " AND EXISTS (SELECT 1 FROM chunks c WHERE c.embedding_id = e.id)",
}
_KINDS = {
    "source": states.Source,
    "document": states.Document,
    "version": states.Version,
    "batch": states.Batch,
    "attempt": states.Attempt,
}


def converge(stage: Stage, calls: int = 3) -> None:
    """Start again, as an operator or a supervisor would, until everything is done; then everything must be right.

    More than one call is needed only where files were written while the one before was at work, or where something
    between here and the provider kept it from deleting what is no longer needed there: `sync` does not wait for that.
    """
    for _ in range(calls):
        ended = stage.sync()
        if ended.code == 0 and not stage.sim.files._files:
            break
    assert ended.code == 0, f"sync ended with {ended.code}: {ended.out}\n{stage.tail()}"
    assert stage.status()["healthy"], stage.status()["problems"]
    logged = stage.log.read_text()
    told = [*log_events.faults(log_events.parsed(logged)), *log_events.leaks(logged, [KEY], [])]
    assert not told, told
    try:
        everything_is_right(stage.settings, stage.sim, SystemClock())
    except AssertionError as exc:
        raise AssertionError(f"{exc}\n{stage.tail()}") from exc


def everything_is_right(settings: Settings, sim: Simulator, clock: Clock, *, paid_twice: int = 0) -> None:
    """The promises. `paid_twice`: how many texts the provider was rightly asked for a second time."""
    wanted = expected(settings)
    assert shown(settings) == wanted
    sim.settle()
    twice = sim.ledger.billed_more_than_once()
    assert len(twice) == paid_twice, f"billed more than once: {twice}"
    report = status(settings, clock)
    assert report["healthy"], report["problems"]
    assert report["table"]["rows"] == len(wanted)
    tokens = report["tokens"]
    assert tokens["settled"] - tokens["expedited"] == sim.ledger.batch_tokens
    assert tokens["expedited"] <= sim.ledger.sync_tokens <= tokens["expedited"] + tokens["maybe_paid"]
    nothing_is_left(settings, sim)
    with contextlib.closing(sqlite3.connect(f"file:{settings.data_dir}/state.db?mode=ro", uri=True)) as state:
        at_rest(state)
        history_is_legal(state)


def expected(settings: Settings) -> dict[tuple[str, int], tuple[str, str]]:
    """(path, ordinal) -> (text, content hash) of every chunk of the files as they are now."""
    docs, options = settings.sources[0].path, split_options(settings, RULES)
    found = {}
    for file in sorted(docs.rglob("*.md")):
        if file.name.startswith("."):
            continue
        path, text = file.relative_to(docs).as_posix(), file.read_text()
        whole = content_hash(text)
        for chunk in split(text, path, options).chunks:
            found[path, chunk.ordinal] = (text[chunk.start : chunk.end], whole)
    return found


def embedded(settings: Settings) -> dict[tuple[str, int], str]:
    """(path, ordinal) -> what is embedded for it: its text with the header."""
    docs, options = settings.sources[0].path, split_options(settings, RULES)
    return {
        (path, at): text
        for file in sorted(docs.rglob("*.md"))
        for path in (file.relative_to(docs).as_posix(),)
        for at, text in enumerate(sent(file.read_text(), path, options))
    }


def content_hash(text: str) -> str:
    """As the table has it."""
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def shown(settings: Settings) -> dict[tuple[str, int], tuple[str, str]]:
    """The same of every row of the table; the vector of each that is what the files have now must be that of its text.

    What stands above an older text is not known any more, and it went into the vector.
    """
    profile = profile_of(settings)
    table = PublishedTable.open(settings.lancedb.uri, settings.lancedb.table, profile)
    found: dict[tuple[str, int], tuple[str, str]] = {}
    embedder = Embedder(profile.model, profile.dimension)
    header_and_text, now = embedded(settings), expected(settings)
    for batch in table.keys(None, ("path", "ordinal", "text", "content_hash", "vector")):
        for row in batch.to_pylist():
            key = (row["path"], row["ordinal"])
            assert key not in found, f"{key} is there twice"
            found[key] = (row["text"], row["content_hash"])
        fresh = [
            row for row in batch.to_pylist() if now.get(key := (row["path"], row["ordinal"])) == found[key]
        ]
        texts = [header_and_text[row["path"], row["ordinal"]] for row in fresh]
        vectors = np.array([row["vector"] for row in fresh], np.float32)
        if texts:
            assert np.allclose(embedder.embed(texts), vectors, atol=1e-5), "a vector is not that of its text"
    return found


def nothing_is_left(settings: Settings, sim: Simulator) -> None:
    """No spool file, no half-written file, and nothing at the provider."""
    assert [path.name for path in settings.paths.spool.iterdir()] == []
    assert list(settings.paths.vectors.rglob("*.tmp")) == []
    assert [file.filename for file in sim.files._files.values()] == []


def at_rest(state: sqlite3.Connection) -> None:
    """Nothing waits for anything."""
    assert state.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for rule, sql in _AT_REST.items():
        count = state.execute(sql).fetchone()[0]
        assert not count, f"at rest, {rule}: {count}"


def history_is_legal(state: sqlite3.Connection) -> None:
    """Every row came to its state by legal moves, all on record, none by an instance that was superseded."""
    last: dict[tuple[str, int], Any] = {}
    newest = 0
    sql = "SELECT kind, subject, origin, target, epoch FROM transitions ORDER BY id"
    for kind, subject, origin, target, epoch in state.execute(sql):
        assert epoch >= newest, f"a superseded instance moved {kind} {subject} to {target}"
        newest = epoch
        if kind == "embedding":
            continue
        assert last.get((kind, subject)) == origin, (
            f"{kind} {subject} was not {origin} before it was {target}"
        )
        if origin is not None and origin != target:
            states.check(_KINDS[kind](origin), _KINDS[kind](target))
        last[kind, subject] = target
    for kind in _KINDS:
        for row_id, word in state.execute(
            f"SELECT id, state FROM {'batches' if kind == 'batch' else kind + 's'}"
        ):
            assert last.get((kind, row_id)) == word, f"{kind} {row_id} is {word}: not by its last move"
