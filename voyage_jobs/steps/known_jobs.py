"""Before a process sends anything: does the provider know jobs of this state that the state does not know?

Every job carries the id of its state and the generation of the start that made it. An older copy of a whole data
folder looks consistent in itself; only the list of jobs tells that it sent more than it remembers. So each process that
is about to send reads the list once. Where it names the newest jobs first, that is one page as a rule: what this state
does not know was created after the newest job that it does know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from voyage_jobs.core import retry
from voyage_jobs.core.clock import US
from voyage_jobs.core.states import BEFORE_THE_JOB
from voyage_jobs.errors import AuthError, NotSentError, QuotaError, VendorError
from voyage_jobs.segments.format import is_ref, segment_name
from voyage_jobs.state import batches, circuits, setback
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps import step_errors
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.reconcile import LIST, jobs_looked_at
from voyage_jobs.steps.set_back import Jobs, tell
from voyage_jobs.vendors.remote import METADATA_REF, Phase, RemoteBatch

METADATA_STATE = "voyage_jobs_state"
METADATA_GENERATION = "voyage_jobs_generation"

JOBS = "the list of jobs at the start"
"""What waits after the first reading of a process has failed."""
# So long it must have failed, too, before texts are sent without it.
PATIENCE_S = 1_500.0
# A state that is known to be set back waits longer: money hangs on it for sure.
CLAIM_PATIENCE_S = 86_400.0
# What is older than the newest known job by this much is known, or too old to matter. Clocks play no part: both times
# are the provider's.
MARGIN_S = 3_600.0
# So many jobs must have come newest first before the order of the list is relied on: no page of the provider states it.
SURE_OF_ORDER = 20


def marks(context: Context) -> dict[str, str]:
    """What a job carries beside the ref of its batch."""
    stamp = context.stamp
    return {METADATA_STATE: stamp.state, METADATA_GENERATION: str(stamp.generation)}


def are_known(context: Context) -> bool:
    """The same without asking: whether this process has read the list, or never sent anything under this state."""
    jobs = context.memory(Jobs)
    return jobs.known or jobs.of_new_state


def all_known(context: Context) -> bool:
    """Whether it is known that no job of this state is missing on record, so that texts may be sent.

    Asks the provider, once a process, as soon as that can be done.
    """
    with context.store.read() as connection:
        if setback.is_claim_due(
            connection
        ):  # or again: `recover` may have found more while this process runs
            return False
    jobs = context.memory(Jobs)
    jobs.known |= jobs.of_new_state
    if jobs.known:
        return True
    jobs.awaited = True
    if not circuit.may_pass(context, circuits.VENDOR) or circuit.rests(context, JOBS):
        return False
    try:
        unknown = _unknown_refs(context)
    except VendorError as exc:
        return _not_read(context, exc)
    circuit.fine(context)
    if unknown:
        tell(context, setback.JOBS)
        return False
    has_read(context)
    return True


def has_read(context: Context) -> None:
    """Nothing is missing: go on."""
    with context.store.read() as connection:
        noted = setback.unread(connection) or setback.unchecked_since(connection)
    if noted is not None:
        with context.store.write() as tx:
            setback.has_read(tx)
    jobs = context.memory(Jobs)
    jobs.known, jobs.awaited = True, False


def _unknown_refs(context: Context) -> set[str]:
    """Refs of jobs of this state that it has no job for. Raises VendorError."""
    with context.store.read() as connection:
        newest = setback.newest_job_at(connection)
        unchecked = setback.unchecked_since(connection)
        left = setback.jobs_left(connection)
    horizon = None if newest is None or unchecked is not None else newest - int(MARGIN_S * US)
    listed = as_far_as_needed(jobs_looked_at(context), horizon)
    return {job.metadata[METADATA_REF] for job in listed if is_missing(context, job, left)}


def as_far_as_needed(jobs: Iterable[RemoteBatch], horizon: int | None) -> Iterator[RemoteBatch]:
    """The jobs of a list, up to the first from before a time if they come newest first."""
    before: int | None = None
    for count, job in enumerate(jobs, start=1):
        yield job
        created = job.created_at_us
        if created is None or (before is not None and created > before):
            horizon = None  # no order that could be relied on
        elif before is None and horizon is not None and horizon > created:
            horizon = None  # the newest job on record would stand before this one: its time is wrong
        before = created
        if horizon is not None and created is not None and created < horizon and count >= SURE_OF_ORDER:
            return


def is_missing(context: Context, job: RemoteBatch, left: frozenset[str] = frozenset()) -> bool:
    """Whether a job is one of this state's that it should know and does not, other than those that were `left`."""
    ref = job.metadata.get(METADATA_REF)
    if ref is None or not is_ref(ref) or ref in left or job.phase is Phase.FAILED:
        return False
    with context.store.read() as connection:
        batch = batches.by_ref(connection, ref)
    if batch is not None:
        return batch.state in BEFORE_THE_JOB
    return job.metadata.get(METADATA_STATE) == context.state_id and not is_here(context, ref)


def is_here(context: Context, ref: str) -> bool:
    """Whether the results of a batch are in a segment already."""
    return context.segments.path(segment_name(context.profile.fingerprint, ref)).exists()


# --- a list that cannot be read ---


def _not_read(context: Context, error: VendorError) -> bool:
    """The list fails. An account that is refused, or no network, keeps every call from working; else it has an end."""
    circuit.failed(context, LIST, error)
    circuit.let_rest(context, JOBS, "jobs_at_start")
    if isinstance(error, AuthError | QuotaError):
        return False  # the circuit says so
    if isinstance(error, NotSentError):
        tries = circuit.tries(context, JOBS)
    else:
        tries = note_unread(context, error, PATIENCE_S)
        if context.memory(Jobs).known:
            return True
    with context.store.write() as tx:
        step_errors.note(
            context, tx, step_errors.step_now(context), circuit.code_of(error), error.message, error.hint
        )
    context.log.warning("jobs.unread", tries=tries, error=error.message)
    return False


def has_failed(context: Context) -> bool:
    """Whether the list could not be read when it was last tried, and is not yet tried again."""
    return context.memory(Jobs).awaited and circuit.rests(context, JOBS)


def note_unread(context: Context, error: VendorError, patience_s: float) -> int:
    """Count a try without success; how many there were in a row. After the last one texts are sent without the list."""
    with context.store.write() as tx:
        found = setback.note_unread(tx)
        waited_s = abs(tx.now - found.since) / US  # the clock may have been set back
        over = retry.is_over("jobs_at_start", found.tries) and waited_s >= patience_s
        if over:
            setback.go_on_unchecked(tx)
    if over:
        jobs = context.memory(Jobs)
        jobs.known, jobs.awaited = True, False
        context.log.error("jobs.unchecked", tries=found.tries, error=error.message)
    return found.tries
