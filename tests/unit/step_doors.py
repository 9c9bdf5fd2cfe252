"""What the tests of the steps share: going on step by step, and looking at what the stores say."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from world import World, is_quiet

from voyage_jobs.core.retry import POLICIES
from voyage_jobs.core.states import Batch
from voyage_jobs.state import batches, circuits, create_calls, documents, ledger, sources
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.documents import DocumentRow
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.steps.scan import Scan, ScanResult
from voyage_jobs.steps.submit import submit


def prose(name: str, sections: int = 1) -> str:
    """A document with one chunk for each section."""
    return "\n\n".join(f"# {name} {i}\n\nAbout {name}, part {i}. " + "word " * 60 for i in range(sections))


def scan(context: Context, source: str = "docs") -> ScanResult:
    """One whole scan of one source."""
    with context.store.read() as connection:
        row = sources.by_name(connection, source)
    assert row is not None
    settings = context.source_settings(source)
    assert settings is not None
    scanning = Scan(context, row, settings)
    for _ in scanning.run():
        pass
    assert scanning.result is not None
    return scanning.result


def until(world: World, context: Context, state: Batch, *, idle_s: float = 0.0) -> BatchRow:
    """Take turns until the newest batch is in this state. `idle_s`: wait at least so long where nothing is due."""
    steps = Pipeline(context, eager=True, scan_once=True)
    for _ in range(500):
        found = newest(context)
        if found is not None and found.state is state:
            return found
        if not steps.turn():
            world.wait(steps, idle_s)
    raise AssertionError(f"never {state}: {newest(context)} {world.log.events[-5:]}")


def turns(world: World, context: Context, count: int, *, idle_s: float = 0.0) -> None:
    """Take some turns, waiting where there is nothing to do."""
    steps = Pipeline(context, eager=True)
    for _ in range(count):
        if not steps.turn():
            world.clock.advance(max(idle_s, steps.idle_s()))


def settle(world: World, context: Context, *, idle_s: float = 60.0) -> BatchRow:
    """Take turns until nothing is left to do, in strides; the newest batch."""
    steps = Pipeline(context, eager=True, scan_once=True)
    for _ in range(500):
        if not steps.turn():
            if is_quiet(context):
                found = newest(context)
                assert found is not None
                return found
            world.wait(steps, idle_s)
    raise AssertionError(f"still at work: {world.log.events[-10:]}")


# A create call whose outcome nobody knows, and no list that tells.
UNREADABLE_LIST = {
    "answer_lost": {"on": "create_batch", "nth": 1},
    "server_error": {"on": "list_batches"},
}


def parked_in_doubt(world: World, context: Context) -> BatchRow:
    """Let a week pass in which the list that would tell whether there is a job cannot be read; the batch."""
    until(world, context, Batch.CREATING)
    for _ in range(POLICIES["reconcile"].tries or 0):
        world.clock.advance(POLICIES["reconcile"].cap_s)
        submit(context)
    found = newest(context)
    assert found is not None
    assert found.state is Batch.PARKED
    return found


def put_off(world: World, code: str) -> list[dict[str, Any]]:
    """The waits of single batches by one policy, as they were logged."""
    return [each for each in world.log.named("batch.deferred") if each["code"] == code]


def newest(context: Context) -> BatchRow | None:
    """The latest batch, if there is one."""
    with context.store.read() as connection:
        found = batches.newest(connection, 1)
    return found[0] if found else None


def all_batches(context: Context) -> list[BatchRow]:
    """Every batch, oldest first."""
    with context.store.read() as connection:
        return batches.newest(connection, 1000)[::-1]


def attempts(context: Context, batch: BatchRow) -> list[str]:
    """How the create calls of a batch ended."""
    with context.store.read() as connection:
        return [str(each.state) for each in create_calls.attempts_of(connection, batch.id)]


def document(context: Context, path: str, source: str = "docs") -> DocumentRow:
    """What is known of one file."""
    with context.store.read() as connection:
        (found,) = documents.find(connection, source, path)
    return found


def query(context: Context, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    """Rows of the state."""
    with context.store.read() as connection:
        return [tuple(row) for row in connection.execute(text(sql), values)]


def versions_of(context: Context, path: str) -> list[str]:
    """The states of the versions of one document, oldest first."""
    key = document(context, path).id
    return [
        row[0]
        for row in query(context, "SELECT state FROM versions WHERE document_id = :d ORDER BY id", d=key)
    ]


def embeddings_by_state(context: Context) -> dict[str, int]:
    """How many embeddings are in each stored state."""
    words = ("wanted", "packed", "held", "failed", "dropped")
    rows = query(context, "SELECT state, COUNT(*) FROM embeddings GROUP BY state")
    return {words[state]: count for state, count in rows}


def source_row(context: Context, name: str = "docs") -> sources.SourceRow:
    """A source as the state knows it."""
    with context.store.read() as connection:
        found = sources.by_name(connection, name)
    assert found is not None
    return found


def tripped(context: Context) -> dict[str, circuits.Circuit]:
    """Lanes in trouble."""
    with context.store.read() as connection:
        return circuits.tripped(connection)


def money(context: Context) -> ledger.Totals:
    """What was reserved, settled and saved so far."""
    with context.store.read() as connection:
        return ledger.totals(connection)


def shown(world: World) -> dict[str, list[str]]:
    """What a reader of the table sees: path -> its texts, in order."""
    found: dict[str, list[str]] = {}
    for row in world.table_rows("path", "text"):
        found.setdefault(row["path"], []).append(row["text"])
    return found
