"""What people ask for on the command line, carried out by whoever holds the lock, and on record with who asked.

Each act is one transaction and returns a small dictionary for the answer. Asking twice does no harm.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from voyage_jobs.errors import ConfigError, VoyageJobsError
from voyage_jobs.states import BEFORE_THE_JOB, Batch
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.recover_all import recover_all
from voyage_jobs.store import batches, documents, embeddings, lanes, ledger, notes, sources, versions
from voyage_jobs.store.batches import BatchRow
from voyage_jobs.store.store import Tx

Answer = dict[str, object]

_LOOKED_AT = 1_000  # of the newest batches, for a ref that was mistyped


def carry_out(context: Context) -> bool:
    """Do everything that was asked for and not done yet."""
    with context.store.read() as connection:
        asked = notes.open_requests(connection)
    for request in asked:
        try:
            answer = perform(context, request.command, request.arguments, request.who)
        except VoyageJobsError as exc:
            answer = {"error": exc.message, "hint": exc.hint, "exit_code": exc.exit_code}
        with context.store.write() as tx:
            notes.answer(tx, request.id, answer)
        context.log.info("request.done", command=request.command, who=request.who, **answer)
    return bool(asked)


def perform(context: Context, command: str, arguments: Mapping[str, object], who: str) -> Answer:
    """Carry out one act. Raises ConfigError if it makes no sense."""
    if command not in _ACTS:
        raise ConfigError(
            f"The process at work does not know how to {command}.",
            hint="It is of another version: restart it, then ask again.",
        )
    return _ACTS[command](context, arguments, who)


def _nearest(word: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, names, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _batch(tx: Tx, word: object) -> BatchRow:
    found = batches.find(tx.connection, str(word)) if word else []
    if not found:
        near = _nearest(str(word), [batch.ref for batch in batches.newest(tx.connection, _LOOKED_AT)])
        raise ConfigError(f"There is no batch {word}.{near}", hint="`voyage-jobs batches` lists them.")
    if len(found) > 1:
        raise ConfigError(f"{len(found)} batches begin with {word}.", hint="Give more of the ref.")
    return found[0]


def _retry(context: Context, arguments: Mapping[str, object], who: str) -> Answer:
    """Failed and cancelled embeddings are wanted again, parked batches give their lines to new ones, waits are over."""
    wanted = arguments.get("ref")
    parked = again = 0
    with context.store.write() as tx:
        chosen = [_batch(tx, wanted)] if wanted else batches.in_state(tx.connection, Batch.PARKED)
        for batch in chosen:
            if batch.state is Batch.PARKED:
                _unpark(tx, batch, f"retry by {who}")
                parked += 1
        stuck = embeddings.stuck(tx.connection, chosen[0].id if wanted else None)
        for embedding_id, stored in stuck:
            embeddings.want_again(tx, embedding_id, stored, f"retry by {who}")
            versions.publish_again(tx, embedding_id, f"retry by {who}")
            again += 1
        for name in (lanes.VENDOR, lanes.CREATE, lanes.DISK):
            lanes.reopen(tx, name)
    return {"batches": parked, "embeddings": again}


def _unpark(tx: Tx, batch: BatchRow, cause: str) -> None:
    batches.move(tx, batch, Batch.CANCELLED, cause)
    embeddings.give_back(tx, batch.id)
    ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)


def _cancel(context: Context, arguments: Mapping[str, object], who: str) -> Answer:
    """Stop a batch. What is answered already is kept; the rest is not sent again until `retry`."""
    with context.store.write() as tx:
        batch = _batch(tx, arguments.get("ref"))
        if batch.state in (*BEFORE_THE_JOB, Batch.PARKED):
            if batch.state is Batch.UPLOADING:  # the file may be there already
                notes.put(tx, notes.STRAYS, str(tx.now))
            batches.move(tx, batch, Batch.CANCELLED, f"cancelled by {who}")
            embeddings.give_up(tx, batch.id)
            ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
            return {"ref": batch.ref, "state": "cancelled"}
        if batch.state in (Batch.CREATING, Batch.RUNNING):
            batches.note(tx, batch.id, cancel_asked_at=batch.cancel_asked_at or tx.now, due_at=0)
            return {"ref": batch.ref, "state": "cancelling"}
    raise ConfigError(
        f"Batch {batch.ref} is {batch.state}: there is nothing to cancel.",
        hint="`voyage-jobs batches` shows open ones.",
    )


def _confirm(context: Context, arguments: Mapping[str, object], who: str) -> Answer:
    """A person says that what vanished from a frozen source is meant to be gone."""
    name = str(arguments.get("source"))
    with context.store.write() as tx:
        row = sources.by_name(tx.connection, name)
        if row is None:
            near = _nearest(name, [each.name for each in sources.all_sources(tx.connection)])
            raise ConfigError(f"There is no source {name!r}.{near}", hint="`voyage-jobs status` lists them.")
        if row.frozen_reason is None:
            return {"source": name, "state": "active"}
        if not row.configured:
            retired = documents.retire_source(tx, row.id, f"confirmed by {who}")
            return {"source": name, "state": "removed", "documents": retired}
        sources.note(tx, row.id, confirmed_at=tx.now, scan_due_at=0)
    return {"source": name, "state": "confirmed"}


def _recover(context: Context, _arguments: Mapping[str, object], _who: str) -> Answer:
    """Learn again from disk and vendor what the state does not know."""
    return recover_all(context)


_ACTS: dict[str, Callable[[Context, Mapping[str, object], str], Answer]] = {
    "retry": _retry,
    "cancel": _cancel,
    "confirm": _confirm,
    "recover": _recover,
}
