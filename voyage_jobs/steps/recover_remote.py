"""Jobs of ours at the vendor that the state does not know: claim them, so that nothing is paid twice.

Every job carries the ref of its batch in its metadata, and every line the key of the embedding it asks for. So a state
that was lost, or an older copy that was put back, can learn from the vendor what was sent: the input file says which
keys a job was asked for; where it is gone, the result files do. An account may serve other data folders, too: a job is
taken on only if at least half of its keys are wanted or held here, which is known once every source has been scanned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from voyage_jobs.clock import US
from voyage_jobs.durable import remove
from voyage_jobs.errors import RefusedError, VendorError
from voyage_jobs.profile import KEY_BYTES
from voyage_jobs.states import BEFORE_THE_JOB, Batch
from voyage_jobs.steps import lanes as lane
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.filling import request_params
from voyage_jobs.steps.reconcile import LIST, METADATA_REF, cancel_duplicates
from voyage_jobs.store import adoption, batches, lanes, notes
from voyage_jobs.store.adoption import JobLine
from voyage_jobs.store.batches import BatchRow
from voyage_jobs.vectors.format import is_ref, pack_name
from voyage_jobs.voyage.download import download
from voyage_jobs.voyage.models import WINDOW_S
from voyage_jobs.voyage.wire import Phase, RemoteBatch

# Folders of one account may share some texts (a licence, a footer), hardly this many.
OURS_SHARE = 0.5
_GONE = (404, 410)


@dataclass
class FoundJobs:
    """What was found at the vendor: refs taken on, and why others were not (ref -> reason)."""

    adopted: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def marked_jobs(context: Context) -> dict[str, list[RemoteBatch]]:
    """Jobs that carry our mark, by ref; the one to keep comes first. Raises VendorError."""
    found: dict[str, list[RemoteBatch]] = {}
    for remote in context.client.list_batches():
        ref = remote.metadata.get(METADATA_REF)
        if ref:
            found.setdefault(ref, []).append(remote)
    dead = (Phase.CANCELLED, Phase.FAILED)
    for jobs in found.values():
        jobs.sort(key=lambda job: (job.phase in dead, job.created_at_us or 0, job.id))
    return found


def adopt_jobs(context: Context) -> FoundJobs:
    """Take on every job of ours that this state should know and does not. Sends nothing. Raises VendorError.

    Every source must have been scanned, and every pack been taken in.
    """
    tally = FoundJobs()
    for ref, jobs in marked_jobs(context).items():
        if not is_ref(ref):  # it names files: one with a slash would lead out of our folders
            tally.left[ref] = "its mark is not one that voyage-jobs makes"
            continue
        if _is_here(context, ref):
            continue
        with context.store.read() as connection:
            batch = batches.by_ref(connection, ref)
        if batch is None:
            taken = _take_on_unknown(context, ref, jobs[0])
            if isinstance(taken, str):
                tally.left[ref] = taken
                continue
            batch = taken
        elif batch.state in (*BEFORE_THE_JOB, Batch.PARKED) and jobs[0].phase is not Phase.FAILED:
            _take_on_known(context, batch, jobs[0])
        else:
            continue
        tally.adopted.append(ref)
        cancel_duplicates(context, batch, jobs[1:])
    context.log.info("jobs.adopted", adopted=tally.adopted, left=tally.left)
    return tally


def _is_here(context: Context, ref: str) -> bool:
    """Whether the results of a batch are in a pack already."""
    return context.packs.path(pack_name(context.profile.fingerprint, ref)).exists()


def claim_if_lost(context: Context, *, scanned: bool) -> bool:
    """After a loss of state: take on jobs before anything is packed. Whether packing may begin.

    `scanned`: every source has been scanned, so that what is wanted here is known.
    """
    with context.store.read() as connection:
        if notes.get(connection, notes.CLAIM) != notes.CLAIM_DUE:
            return True
    if not scanned or lane.rests(context, LIST) or not lane.is_open(context, lanes.VENDOR):
        return False
    try:
        adopt_jobs(context)
    except VendorError as exc:
        lane.failed(context, LIST, exc)
        lane.let_rest(context, LIST, "list")
        return False
    with context.store.write() as tx:
        notes.put(tx, notes.CLAIM, notes.CLAIM_DONE)
    return True


def _take_on_known(context: Context, batch: BatchRow, remote: RemoteBatch) -> None:
    """This state packed the batch and did not live to see that it was sent."""
    with context.store.write() as tx:
        adoption.to_running(tx, batch, f"job {remote.id} was found at the vendor", **_facts(remote, tx.now))
        batches.remember_file(tx, remote.input_file_id or "", batch.id, "batch", None)


def _take_on_unknown(context: Context, ref: str, remote: RemoteBatch) -> BatchRow | str:
    """Learn what a job was asked for and make a batch of it. Returns the batch, or why there is none."""
    if remote.phase is Phase.FAILED:
        return "it failed validation: nothing ran"
    lines = _lines_of(context, ref, remote)
    if lines is None:
        return "it was made under other settings"
    if not lines:
        return "its files are no longer at the vendor"
    with context.store.read() as connection:
        known = adoption.count_known(connection, [line.key for line in lines])
    if known < len(lines) * OURS_SHARE:
        return f"{known} of its {len(lines)} texts are known here: it seems to be another data folder's"
    params = orjson.dumps(request_params(context.settings, context.profile)).decode()
    with context.store.write() as tx:
        batch = adoption.add_job(tx, ref, context.profile_id, lines, context.price, params)
        adoption.to_running(tx, batch, f"job {remote.id} was found at the vendor", **_facts(remote, tx.now))
        if remote.input_file_id:
            batches.remember_file(tx, remote.input_file_id, batch.id, "batch", None)
    return batch


def _facts(remote: RemoteBatch, now: int) -> dict[str, object]:
    created = remote.created_at_us or now
    return {
        "input_file_id": remote.input_file_id or "unknown",
        "remote_id": remote.id,
        "remote_status": remote.status,
        "submitted_at": created,
        "remote_created_at": created,
        "deadline_at": created + WINDOW_S * US,
    }


# --- learning what a job was asked for ---


def _lines_of(context: Context, ref: str, remote: RemoteBatch) -> list[JobLine] | None:
    """The lines of a job, each key once; empty if no file tells; None if its keys are not those of our profile."""
    if remote.input_file_id is not None:
        with _fetched(context, ref, "input", remote.input_file_id) as path:
            if path is not None:
                return _from_input(context, path)
    lines: dict[bytes, JobLine] = {}
    for kind, file_id in (("output", remote.output_file_id), ("error", remote.error_file_id)):
        if file_id is not None:
            with _fetched(context, ref, kind, file_id) as path:
                for line in _from_results(context, path) if path is not None else ():
                    lines.setdefault(line.key, line)
    return list(lines.values())


@contextlib.contextmanager
def _fetched(context: Context, ref: str, kind: str, file_id: str) -> Iterator[Path | None]:
    """A file of the vendor's, on disk for a moment; None if it is gone.

    Each has a name of its own: the part of one that was cut must not be taken for the beginning of another.
    """
    path = context.spool / f"{ref}.found-{kind}.jsonl"
    try:
        download(context.client, file_id, path, expected_bytes=None)
    except RefusedError as exc:
        if exc.status not in _GONE:
            raise
        yield None
        return
    try:
        yield path
    finally:
        remove(path)


def _from_input(context: Context, path: Path) -> list[JobLine] | None:
    """The input file has the texts themselves: that a key is theirs, under our profile, can be seen."""
    lines: dict[bytes, JobLine] = {}
    with open(path, "rb") as file:
        for raw in file:
            read = _read(raw)
            key, texts = _key_of(read), _texts_of(read)
            if key is None or texts is None or context.keys.key(texts) != key:
                return None
            tokens = sum(context.count(texts))
            lines.setdefault(key, JobLine(key, len(texts), tokens))
    return list(lines.values())


def _from_results(context: Context, path: Path) -> Iterator[JobLine]:
    """The result files name the keys. A line without vectors counts as one vector; it is asked for anew later."""
    with open(path, "rb") as file:
        for raw in file:
            read = _read(raw)
            key = _key_of(read)
            if key is not None:
                yield JobLine(key, _vectors_in(read, context.profile.contextualized), 1)


def _read(raw: bytes) -> dict[str, Any]:
    try:
        read = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}


def _key_of(line: dict[str, Any]) -> bytes | None:
    try:
        key = bytes.fromhex(line.get("custom_id", ""))
    except (TypeError, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def _texts_of(line: dict[str, Any]) -> list[str] | None:
    body = line.get("body")
    if not isinstance(body, dict):
        return None
    texts = body.get("input")
    if texts is None and isinstance(body.get("inputs"), list) and len(body["inputs"]) == 1:
        texts = body["inputs"][0]
    good = isinstance(texts, list) and bool(texts) and all(isinstance(text, str) for text in texts)
    return texts if good else None


def _vectors_in(line: dict[str, Any], contextualized: bool) -> int:
    if not contextualized:
        return 1
    try:
        return max(1, len(line["response"]["body"]["data"][0]["data"]))
    except (KeyError, IndexError, TypeError):
        return 1
