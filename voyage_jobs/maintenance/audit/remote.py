"""The provider against the state: jobs and files of ours that nobody remembers, and jobs that are not there.

What is ours is known by our mark: the `ref` in a job's metadata and in the name of an input file, and the id of the
state beside it. Another data folder on the same account uses the same mark with refs of its own, and jobs of older
releases carry no id, so nothing with a ref that is unknown here is ever stopped,
and a file of such a ref counts as left behind only if no job was made of it for a day.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import US, Clock, now_us
from voyage_jobs.core.states import BEFORE_THE_JOB, Batch
from voyage_jobs.maintenance.audit.findings import Findings
from voyage_jobs.state import batches, provider_files, setback
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.door import Reader
from voyage_jobs.steps.context import Progress
from voyage_jobs.steps.known_jobs import METADATA_STATE
from voyage_jobs.vendors.base import Client
from voyage_jobs.vendors.remote import LIVING, METADATA_REF, Phase, RemoteBatch, RemoteFile, ref_of

ORPHANED_FILE_S = 86_400


@dataclass
class _Seen:
    """What the list of jobs showed: ids of jobs, files that jobs refer to, unknown jobs by the files they left."""

    jobs: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    results_of_over: dict[str, str] = field(default_factory=dict)
    unknown: list[RemoteBatch] = field(default_factory=list)


def audit_remote(
    settings: Settings,
    clock: Clock,
    store: Reader,
    client: Client,
    found: Findings,
    progress: Progress,
) -> None:
    """Read both lists to their ends. Raises VendorError."""
    with store.read() as connection:  # before the list: a job that is made meanwhile is not in it
        running = batches.in_state(connection, Batch.RUNNING)
    seen = _Seen()
    for job in client.list_batches():
        found.looked_at("jobs")
        progress("reading the provider's jobs", found.checked["jobs"], None)
        _job(store, job, seen, found)
    files: set[str] = set()
    for file in client.list_files():
        found.looked_at("remote_files")
        progress("reading the provider's files", found.checked["remote_files"], None)
        files.add(file.id)
        if settings.section.delete_remote_files:
            _file(store, file, seen, now_us(clock), found)
    for job in seen.unknown:
        results = {job.output_file_id, job.error_file_id} & files
        if job.phase in (*LIVING, Phase.STOPPING) or results:
            ref = job.metadata[METADATA_REF]
            found.add("job_orphan", f"{job.id} ({job.status}), batch {ref}", job.id)
    for batch in running:
        if batch.remote_id not in seen.jobs:
            found.add("job_lost", f"batch {batch.ref}, job {batch.remote_id}", batch.id)


def _job(store: Reader, job: RemoteBatch, seen: _Seen, found: Findings) -> None:
    seen.jobs.add(job.id)
    seen.used.update(file for file in (job.input_file_id, job.output_file_id, job.error_file_id) if file)
    ref = job.metadata.get(METADATA_REF)
    if not ref:
        return
    with store.read() as connection:
        batch = batches.by_ref(connection, ref)
        ours = setback.own_ids(connection)
    if batch is None and job.metadata.get(METADATA_STATE) not in (None, *ours):
        return  # another data folder's
    alive = job.phase in LIVING
    if batch is None or (batch.state in (*BEFORE_THE_JOB, Batch.PARKED) and job.phase is not Phase.FAILED):
        seen.unknown.append(job)
    elif alive and job.id != batch.remote_id and batch.state is not Batch.CREATING:
        found.add(
            "job_twice", f"{job.id} ({job.status}), batch {ref} has {batch.remote_id or 'none'}", job.id
        )
    elif batch.state is Batch.CLOSED:
        for file_id in (job.output_file_id, job.error_file_id):
            if file_id is not None:
                seen.results_of_over[file_id] = ref


def _file(store: Reader, file: RemoteFile, seen: _Seen, now: int, found: Findings) -> None:
    ref = ref_of(file)
    if ref is None:
        if file.id in seen.results_of_over:
            found.add("file_orphan", f"{file.id}, results of batch {seen.results_of_over[file.id]}", file.id)
        return
    with store.read() as connection:
        batch = batches.by_ref(connection, ref)
        on_record = provider_files.knows_file(connection, file.id)
    if batch is None:
        old = file.created_at_us is not None and now - file.created_at_us > ORPHANED_FILE_S * US
        orphan = old and file.id not in seen.used
    else:
        orphan = _is_left(batch, file, on_record=on_record)
    if orphan:
        found.add("file_orphan", f"{file.id} ({file.filename})", file.id)


def _is_left(batch: BatchRow, file: RemoteFile, *, on_record: bool) -> bool:
    """Whether an input file of a batch of ours is needed by nobody, and nobody is about to delete it."""
    if batch.state is Batch.CLOSED:
        return True
    uploading = batch.state is Batch.UPLOADING
    return not on_record and not uploading and file.id != batch.input_file_id
