"""Jobs of ours at the provider that the state does not know: claim them, so that nothing is paid twice.

Every job carries the ref of its batch in its metadata, and every line the key of the embedding it asks for. So a state
that was lost, or an older copy that was put back, can learn from the provider what was sent: the input file says which
keys a job was asked for; where it is gone, the result files do. An account may serve other data folders, too. A job
that carries the id of this state is ours; one that carries that of another state is not, unless that one worked here
before, or an operator says that its folder is lost. One without an id is none of a folder that never sent anything.
Without an id, or with that of one of these, a job is taken on only if at least half of its keys are wanted or held
here, which is known once every source has been scanned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from voyage_jobs.config.prices import batch_price
from voyage_jobs.config.provider import request_params
from voyage_jobs.core.durable import remove
from voyage_jobs.core.profile import KEY_BYTES
from voyage_jobs.core.states import BEFORE_THE_JOB, Batch
from voyage_jobs.errors import RefusedError, VendorError
from voyage_jobs.segments.format import is_ref
from voyage_jobs.state import backlog, batches, circuits, claims, meta, provider_files, setback, sources
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.claims import JobLine
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.active import Active
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.ending import abandon
from voyage_jobs.steps.known_jobs import (
    CLAIM_PATIENCE_S,
    METADATA_STATE,
    all_known,
    is_here,
    note_unread,
)
from voyage_jobs.steps.reconcile import LIST, cancel_duplicates, end_of_window, jobs_looked_at
from voyage_jobs.steps.set_back import Jobs
from voyage_jobs.vendors.remote import METADATA_REF, Phase, RemoteBatch

# Folders of one account may share some texts (a licence, a footer), hardly this many.
OURS_SHARE = 0.5
OF_ANOTHER = "it was sent by another data folder"
# Batches that have, or may come to have, an answer for their texts. The same texts are not claimed a second time.
_HOLD_TEXTS = (Batch.CREATING, Batch.RUNNING, Batch.ENDED)


@dataclass
class FoundJobs:
    """What was found at the provider: refs taken on, and why others were not (ref -> reason).

    `ours_left`: those of the others that this state sent for sure. `waits_for`: ids of the batches that have to be over
    before the rest can be taken on.
    """

    adopted: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    ours_left: set[str] = field(default_factory=set)
    waits_for: set[int] = field(default_factory=set)


def marked_jobs(context: Context) -> dict[str, list[RemoteBatch]]:
    """Jobs that carry our mark, by ref; the one to keep comes first. Raises VendorError."""
    found: dict[str, list[RemoteBatch]] = {}
    for remote in jobs_looked_at(context):
        ref = remote.metadata.get(METADATA_REF)
        if ref:
            found.setdefault(ref, []).append(remote)
    dead = (Phase.CANCELLED, Phase.FAILED)
    for jobs in found.values():
        jobs.sort(key=lambda job: (job.phase in dead, job.created_at_us or 0, job.id))
    return found


def adopt_jobs(context: Context, *, strangers: bool = False) -> FoundJobs:
    """Take on every job of ours that this state should know and does not. Sends nothing. Raises VendorError.

    Every source must have been scanned, and every segment been taken in. `strangers`: another state that sent some was
    lost with its whole folder, so that this one may claim them.
    """
    claimed = FoundJobs()
    found = marked_jobs(context)
    for ref in [
        ref for ref in found if not is_ref(ref)
    ]:  # it names files: one with a slash would lead out of ours
        claimed.left[ref] = "its mark is not one that voyage-jobs makes"
        del found[ref]
    unknown: list[str] = []
    for ref, jobs in found.items():
        with context.store.read() as connection:
            batch = batches.by_ref(connection, ref)
        if batch is None and not is_here(context, ref):
            unknown.append(ref)
        elif batch is not None and is_without_job(batch) and jobs[0].phase is not Phase.FAILED:
            _take_on_known(context, batch, jobs[0])
            _taken(context, claimed, ref, batch, jobs[1:])
    _give_back_outdated(context)
    makers = _makers(context) if unknown else []
    for ref in sorted(
        unknown, key=lambda each: found[each][0].created_at_us or 0
    ):  # what is asked again came later
        taken = _take_on_unknown(context, ref, found[ref][0], makers, strangers=strangers)
        if isinstance(taken, BatchRow):
            _taken(context, claimed, ref, taken, found[ref][1:])
        elif isinstance(taken, str):
            claimed.left[ref] = taken
            if _maker(found[ref][0]) == context.state_id:
                claimed.ours_left.add(ref)
        else:
            names = ", ".join(batch.ref for batch in taken)
            claimed.left[ref] = f"some of its texts are in {names}: it is claimed when that is over"
            claimed.waits_for.update(batch.id for batch in taken)
    context.log.info("jobs.adopted", adopted=claimed.adopted, left=claimed.left)
    return claimed


def is_without_job(batch: BatchRow) -> bool:
    """Whether a batch has no job that is on record, nor one that is looked for."""
    return batch.state in BEFORE_THE_JOB or (batch.state is Batch.PARKED and batch.remote_id is None)


def _taken(
    context: Context, claimed: FoundJobs, ref: str, batch: BatchRow, others: list[RemoteBatch]
) -> None:
    claimed.adopted.append(ref)
    with context.store.read() as connection:
        batch = batches.get(connection, batch.id)  # as it is now: what is said of it is put on record
    cancel_duplicates(context, batch, [job for job in others if job.phase is not Phase.FAILED])


def _give_back_outdated(context: Context) -> None:
    """Batches that were not sent, and ask for what has come meanwhile: what they lack is assembled again."""
    with context.store.read() as connection:
        unsent = batches.in_state(connection, *BEFORE_THE_JOB)
        outdated = [batch for batch in unsent if claims.is_outdated(connection, batch)]
    for batch in outdated:
        abandon(context, batch, "some of its texts were sent already", by_operator=False)


def claim_if_lost(context: Context, *, scanned: bool) -> bool:
    """Before anything is assembled: whether every job of this state is on record. Claims those that are not.

    `scanned`: every source has been scanned, so that what is wanted here is known. Nothing is asked of the provider
    while nothing is to be sent; then nothing is to be assembled either.
    """
    with context.store.read() as connection:
        due = setback.is_claim_due(connection)
        waits = _is_to_be_sent(context, connection) if not due else True
    if not waits:
        context.memory(Jobs).awaited = False
        return False
    return _claim(context, scanned=scanned) if due else all_known(context)


def _is_to_be_sent(context: Context, connection: Any) -> bool:
    if context.may_send and backlog.measure(connection, context.profile_id).embeddings:
        return True
    return bool(batches.in_state(connection, *BEFORE_THE_JOB))


def _claim(context: Context, *, scanned: bool) -> bool:
    """Take on jobs, if that can be done now. Whether all that can be taken on was."""
    if (
        not scanned
        or circuit.rests(context, LIST)
        or not circuit.may_pass(context, circuits.VENDOR)
        or not _are_over(context)
    ):
        return False
    try:
        found = adopt_jobs(context)
    except VendorError as exc:
        circuit.failed(context, LIST, exc)
        circuit.let_rest(context, LIST, "list")
        note_unread(context, exc, CLAIM_PATIENCE_S)
        return context.memory(Jobs).known
    circuit.end_rest(context, LIST)
    return note_claim(context, found)


def _are_over(context: Context) -> bool:
    """Whether nothing is in doubt any more, and the batches are over for which jobs with the same texts wait."""
    with context.store.read() as connection:
        if batches.in_state(connection, Batch.CREATING):
            return False  # a job of theirs may show up; until then nobody knows whether their texts were sent
        waiting = {batch.id for batch in batches.in_state(connection, *_HOLD_TEXTS)}
    return not waiting & context.memory(Jobs).claim_waits_for


def note_claim(context: Context, found: FoundJobs) -> bool:
    """Put on record what was claimed. Whether that is all, so that texts may be sent."""
    context.memory(Jobs).claim_waits_for = frozenset(found.waits_for)
    with context.store.write() as tx:
        setback.add(tx, jobs=len(found.adopted))
        doubtful = batches.in_state(tx.connection, Batch.CREATING)
        if found.waits_for or doubtful:
            return False
        setback.leave_jobs(tx, found.ours_left)
        setback.has_read(tx)
    _end_claim(context)
    return True


def _end_claim(context: Context) -> None:
    with context.store.write() as tx:
        meta.put(tx, meta.CLAIM, meta.CLAIM_DONE)
    jobs = context.memory(Jobs)
    jobs.known, jobs.awaited = True, False


def _take_on_known(context: Context, batch: BatchRow, remote: RemoteBatch) -> None:
    """This state packed the batch and did not live to see that it was sent."""
    with context.store.write() as tx:
        claims.to_running(
            tx, batch, f"job {remote.id} was found at the provider", **_facts(context, remote, tx.now)
        )
        provider_files.remember_file(tx, remote.input_file_id or "", batch.id, "batch", None)


def _take_on_unknown(
    context: Context, ref: str, remote: RemoteBatch, makers: Sequence[Active], *, strangers: bool
) -> BatchRow | str | list[BatchRow]:
    """Learn what a job was asked for and make a batch of it.

    Returns the batch, or why there is none, or the batches with the same texts that have to be over first.
    """
    maker = _maker(remote)
    ours = maker == context.state_id
    if remote.phase is Phase.FAILED:
        return "it failed validation: nothing ran"
    if not ours and not strangers and not _was_here(context, maker):
        return OF_ANOTHER
    asked = _asked_of(context, ref, remote, makers)
    if asked is None:
        return "it was made under other settings"
    by, lines = asked
    if not lines:
        return "its files are no longer at the provider"
    keys = [line.key for line in lines]
    with context.store.read() as connection:
        known = claims.count_known(connection, keys)
    if not ours and known < len(lines) * OURS_SHARE:
        return f"{known} of its {len(lines)} texts are known here: it seems to be another data folder's"
    earlier = _asked_already(context, keys)
    if earlier:
        return earlier
    params = orjson.dumps(request_params(by.settings)).decode()
    with context.store.write() as tx:
        if maker is not None and not ours:
            setback.note_former(tx, maker)
        batch = claims.add_job(tx, ref, by.profile_id, lines, batch_price(by.settings), params)
        claims.to_running(
            tx, batch, f"job {remote.id} was found at the provider", **_facts(context, remote, tx.now)
        )
        if remote.input_file_id:
            provider_files.remember_file(tx, remote.input_file_id, batch.id, "batch", None)
    return batch


def _maker(remote: RemoteBatch) -> str | None:
    """The id of the state that sent a job; None for one of an older release."""
    return remote.metadata.get(METADATA_STATE)


def _was_here(context: Context, maker: str | None) -> bool:
    """Whether the state that sent a job worked in this folder; one of an older release may have if any did."""
    with context.store.read() as connection:
        former = setback.former_states(connection)
        if maker is not None:
            return maker in former
        return bool(former) or claims.has_batches(connection) or claims.count_held(connection)[0] > 0


def _asked_already(context: Context, keys: list[bytes]) -> list[BatchRow]:
    """Open batches that were sent, and ask for the same texts: they came first. Unsent ones let go of them."""
    with context.store.read() as connection:
        found = claims.asked_in(connection, keys)
    for batch in found:
        if is_without_job(batch):  # a parked one was given up, or its texts would not have been sent again
            abandon(context, batch, "some of its texts were sent already", by_operator=False)
    return [batch for batch in found if batch.state in _HOLD_TEXTS]


def _facts(context: Context, remote: RemoteBatch, now: int) -> dict[str, object]:
    created = remote.created_at_us or now
    return {
        "input_file_id": remote.input_file_id or "unknown",
        "remote_id": remote.id,
        "remote_status": remote.status,
        "submitted_at": created,
        "remote_created_at": created,
        "deadline_at": end_of_window(context, created),
    }


# --- learning what a job was asked for ---


def _asked_of(
    context: Context, ref: str, remote: RemoteBatch, makers: Sequence[Active]
) -> tuple[Active, list[JobLine]] | None:
    """What a job was made by, and its lines, each key once; no lines if no file tells; None if its keys are those of no
    profile that is known here."""
    if remote.input_file_id is not None:
        with _fetched(context, ref, "input", remote.input_file_id) as path:
            if path is not None:
                return _from_input(context, path, makers)
    lines: dict[bytes, JobLine] = {}
    for kind, file_id in (("output", remote.output_file_id), ("error", remote.error_file_id)):
        if file_id is not None:
            with _fetched(context, ref, kind, file_id) as path:
                for line in _from_results(context, path) if path is not None else ():
                    lines.setdefault(line.key, line)
    with context.store.read() as connection:
        known = claims.profiles_of(connection, list(lines))
    by = next((each for each in makers if each.profile_id in known), None)
    if by is None and lines and context.build is not None:
        return None  # nobody can tell for which of the two tables it was
    return by or context.active, list(lines.values())


def _makers(context: Context) -> list[Active]:
    """What jobs at this provider may have been made by: what is active, then what was, or is the table's meanwhile."""
    with context.store.read() as connection:
        known = sources.known_profiles(connection)
    others = [
        Active.of(context.loaded, context.client, profile, profile_id)
        for profile_id, profile in known.items()
        if profile_id != context.profile_id and profile.vendor == context.profile.vendor
    ]
    return [context.active, *others]


@contextlib.contextmanager
def _fetched(context: Context, ref: str, kind: str, file_id: str) -> Iterator[Path | None]:
    """A file of the provider's, on disk for a moment; None if it is gone.

    Each has a name of its own: the part of one that was cut must not be taken for the beginning of another.
    """
    path = context.spool / f"{ref}.found-{kind}.jsonl"
    try:
        context.client.download(file_id, path, expected_bytes=None)
    except RefusedError as exc:
        if not exc.is_gone:
            raise
        yield None
        return
    try:
        yield path
    finally:
        remove(path)


def _from_input(
    context: Context, path: Path, makers: Sequence[Active]
) -> tuple[Active, list[JobLine]] | None:
    """The input file has the texts themselves: that a key is theirs, under which profile, can be seen."""
    lines: dict[bytes, JobLine] = {}
    with open(path, "rb") as file:
        for raw in file:
            asked = context.vendor.asked_in(raw)
            key = None if asked is None else _key_of(asked.custom_id)
            makers = [] if asked is None else [each for each in makers if each.keys.key(asked.texts) == key]
            if asked is None or key is None or not makers:
                return None
            tokens = sum(makers[0].count(asked.texts))
            lines.setdefault(key, JobLine(key, len(asked.texts), tokens))
    return makers[0], list(lines.values())


def _from_results(context: Context, path: Path) -> Iterator[JobLine]:
    """The result files name the keys. A line without vectors counts as one vector; it is asked for again later."""
    with open(path, "rb") as file:
        for raw in file:
            answered = context.vendor.answered_in(raw, context.profile)
            key = None if answered is None else _key_of(answered[0])
            if answered is not None and key is not None:
                yield JobLine(key, answered[1], 1)


def _key_of(custom_id: str) -> bytes | None:
    try:
        key = bytes.fromhex(custom_id)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None
