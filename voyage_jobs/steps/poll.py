"""poll: ask about all running jobs, with one list call where that serves, and note what has ended.

Times of the next look are kept in SQLite, so a restart does not poll sooner. They grow with the age of a job, never
beyond the configured longest interval, with jitter. Looks at many jobs that fall due within the shortest interval are
taken together, by one list, and whatever else this shows to be over is noted as well: what waits for room is sent soon,
and fewer calls are made. Unknown status words are recorded and mean "keep polling", but not forever: an hour past the
window a job that names its results is collected whatever it is called, and half a day past the window one that is still
not over is parked. It is still asked about now and then, and resumes by itself if it ends.
"""

from __future__ import annotations

from voyage_jobs.core import retry
from voyage_jobs.core.clock import US, jittered, now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.observe import about
from voyage_jobs.core.states import Attempt, Batch
from voyage_jobs.errors import RefusedError, VendorError
from voyage_jobs.state import batches, circuits, create_calls, provider_files
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.ending import park
from voyage_jobs.steps.reconcile import LIST, cancel_duplicates, is_ours, list_jobs
from voyage_jobs.steps.validation import refuse
from voyage_jobs.vendors.remote import ENDS, STOPPED, Phase, RemoteBatch

# A job's first look; each further one comes when the job is twice as old, until `polling.interval_s` is reached.
FIRST_LOOK_S = 5.0
# Up to this many jobs are asked about one by one: a list may be pages long.
FEW = 2
# Past the window nothing runs at the provider. A job with a word that nobody knows and with results is over by then.
UNKNOWN_RESULTS_S = 3_600.0
# So long is the window of a job where the provider promises none.
NO_WINDOW_S = 604_800.0
# A job that is not over so long after its window is for the operator.
OVERDUE_S = 43_200.0
_OVERDUE_HINT = (
    "Look at the job on the provider's page. If it ends there, its results are stored without your help."
    " `voyage-jobs retry {ref}` sends its lines in a new batch (what this job did is then paid twice);"
    " `voyage-jobs cancel {ref}` gives them up."
)
_GONE_HINT = (
    "The provider no longer knows this job, so its results are lost. `voyage-jobs retry` sends its lines again (they"
    " are paid again); `voyage-jobs cancel` gives them up."
)


def poll(context: Context) -> bool:
    """Look at every running job that is due. True if any call was made."""
    now = now_us(context.clock)
    with context.store.read() as connection:
        running = [b for b in batches.in_state(connection, Batch.RUNNING, Batch.PARKED) if is_looked_at(b)]
    due = circuit.healthiest_first([batch for batch in running if batch.due_at <= now])
    calls = circuit.Calls(context)
    if not due or not circuit.may_pass(context, circuits.VENDOR):
        return False
    _cancel_where_asked(context, due, calls)
    soon = now + int(context.settings.polling.interval_s * US)
    others = [batch for batch in running if batch.due_at > now and _may_be_seen_sooner(batch)]
    seen = _listed(context, running, due, calls, along=sum(batch.due_at <= soon for batch in others))
    crash_point("poll.listed")
    for batch in others:
        if batch.id in seen and (batch.due_at <= soon or seen[batch.id].phase in ENDS):
            _take_note(context, batch, seen[batch.id])
    for batch in due:
        if batch.id in seen:
            _take_note(context, batch, seen[batch.id])
        elif not context.stopping.is_set() and calls.more():
            with about(batch.ref):
                _ask(context, batch)
    return True


def _may_be_seen_sooner(batch: BatchRow) -> bool:
    """Whether a look may come before it is due: not after a failure, which waits its time, nor before a wish is passed
    on."""
    return batch.state is Batch.RUNNING and batch.code is None and batch.cancel_asked_at is None


def _ask(context: Context, batch: BatchRow) -> None:
    """Ask about one job by its id. If that fails, this batch alone waits."""
    try:
        remote = context.client.get_batch(batch.remote_id or "")
    except RefusedError as exc:
        circuit.fine(context)  # the API itself has answered
        if not exc.is_gone:
            _put_off(context, batch, exc)
            return
        _take_note(context, batch, None)
    except VendorError as exc:
        _put_off(context, batch, exc)
    else:
        circuit.fine(context)
        _take_note(context, batch, remote)


def _put_off(context: Context, batch: BatchRow, error: VendorError) -> None:
    with context.store.write() as tx:
        if batch.state is Batch.PARKED:  # its reason stays
            wait_s = retry.wait_s("parked_job", 1, context.clock)
            batches.note(tx, batch.id, due_at=tx.now + int(wait_s * US))
        else:
            circuit.put_off(context, tx, batch, "poll", error)
        circuit.failed_in(context, tx, f"job {batch.remote_id}", error)
    late_s = _overdue_s(context, batch, None)
    if batch.state is Batch.RUNNING and late_s > OVERDUE_S and circuit.api_answers(context):
        hours = int(late_s // 3600)
        reason = f"{hours} h past its window, job {batch.remote_id} still cannot be read: {error.message}"
        park(context, batch, reason, VendorError(reason, hint=_OVERDUE_HINT.format(ref=batch.ref)))


def _listed(
    context: Context, running: list[BatchRow], due: list[BatchRow], calls: circuit.Calls, along: int
) -> dict[int, RemoteBatch]:
    """What the list of jobs says, by batch row, where one list serves better than single questions.

    `along`: how many more it may serve. It is read until all that are due were seen, and says of others what it passed.
    A list that cannot be read does not keep the jobs from being asked about one by one.
    """
    doubtful = _may_have_a_second_job(context, due)
    wanted = doubtful or len(due) + along > FEW
    if not wanted or circuit.rests(context, LIST) or not calls.more():
        return {}
    try:
        found = _from_list(context, running, due, to_the_end=doubtful)
    except VendorError as exc:
        context.log.warning("list.failed", error=exc.message)
        circuit.failed(context, LIST, exc)
        circuit.let_rest(context, LIST, "list")
        return {}
    circuit.fine(context)
    circuit.end_rest(context, LIST)
    return found


def _may_have_a_second_job(context: Context, due: list[BatchRow]) -> bool:
    """Whether a create call of any of these was ever lost: what it asked for may still show up."""
    with context.store.read() as connection:
        attempts = [each for batch in due for each in create_calls.attempts_of(connection, batch.id)]
    return any(attempt.state is Attempt.LOST for attempt in attempts)


def _from_list(
    context: Context, running: list[BatchRow], due: list[BatchRow], *, to_the_end: bool
) -> dict[int, RemoteBatch]:
    """Read the list until every job that is due was seen; second jobs of our batches are stopped on the way.

    An entry that shows nothing but its id is left to be asked for by that.
    """
    known, wanted = {batch.remote_id: batch for batch in running}, {batch.id for batch in due}
    found: dict[int, RemoteBatch] = {}
    doubles: list[tuple[BatchRow, RemoteBatch]] = []
    for remote in list_jobs(context):
        if remote.is_bare:
            continue
        if remote.id in known:
            found[known[remote.id].id] = remote
            if wanted <= found.keys() and not to_the_end:
                break
        else:
            doubles.extend(
                (batch, remote)
                for batch in running
                if remote.id != batch.remote_id and is_ours(batch, remote)
            )
    for batch, remote in doubles:
        cancel_duplicates(context, batch, [remote])
    return found


def _cancel_where_asked(context: Context, due: list[BatchRow], calls: circuit.Calls) -> None:
    """Pass an operator's wish on to the provider; it takes up to ten minutes to come true."""
    for batch in due:
        if batch.cancel_asked_at is None or context.vendor.phase(batch.remote_status or "") in STOPPED:
            continue
        if not calls.more():
            return
        try:
            with about(batch.ref):
                remote = context.client.cancel_batch(batch.remote_id or "")
        except RefusedError as exc:  # over already: the poll will tell
            context.log.info("cancel.refused", ref=batch.ref, error=exc.message)
            circuit.fine(context)
            continue
        except VendorError as exc:  # asked for again with the next look
            context.log.warning("cancel.failed", ref=batch.ref, error=exc.message)
            circuit.failed(context, f"cancel {batch.remote_id}", exc)
            continue
        circuit.fine(context)
        crash_point("cancel.sent")
        with context.store.write() as tx:
            batches.note(tx, batch.id, remote_status=remote.status)
        context.log.info("cancel.sent", ref=batch.ref, batch_id=batch.remote_id)


def is_looked_at(batch: BatchRow) -> bool:
    """Whether the provider is asked about a batch: one that runs, or was parked because its job did not end."""
    if batch.state is Batch.PARKED:
        return batch.remote_id is not None and batch.ended_at is None
    return batch.state is Batch.RUNNING


def _take_note(context: Context, batch: BatchRow, remote: RemoteBatch | None) -> None:
    if remote is not None and remote.completed and batch.profile_id == context.profile_id:
        circuit.model_is_known(context)
    if batch.state is Batch.PARKED:
        _look_at_parked(context, batch, remote)
    elif remote is None:
        _gone(context, batch)
    elif remote.phase is Phase.FAILED:
        refuse(context, batch, remote)
    elif remote.phase in (Phase.ENDED_OK, Phase.CANCELLED) or _is_over_by_now(context, batch, remote):
        late = batches.failures_of(batch, "results_late") + 1
        if _lacks_its_results(remote) and not retry.is_over("results_late", late):
            _wait_for_results(context, batch, remote)
        else:
            _ended(context, batch, remote)
    elif _waits_too_long(context, batch, remote):
        _park_overdue(context, batch, remote)
    else:
        _goes_on(context, batch, remote)


def _overdue_s(context: Context, batch: BatchRow, remote: RemoteBatch | None) -> float:
    """How long ago the window of a job ended, by the provider's clock; by ours, which may be set, only without that."""
    end = batch.deadline_at
    if end is None:
        end = (batch.remote_created_at or now_us(context.clock)) + int(NO_WINDOW_S * US)
    there = (remote and remote.server_date_us) or context.client.vendor_now_us()
    return ((now_us(context.clock) if there is None else there) - end) / US


def _is_over_by_now(context: Context, batch: BatchRow, remote: RemoteBatch) -> bool:
    """Whether a job whose word nobody knows has results and is past its window: then it can only be over."""
    named = remote.output_file_id is not None or remote.error_file_id is not None
    return remote.phase is Phase.UNKNOWN and named and _overdue_s(context, batch, remote) > UNKNOWN_RESULTS_S


def _waits_too_long(context: Context, batch: BatchRow, remote: RemoteBatch) -> bool:
    """Whether a job should have ended long ago, and says nothing of an end."""
    if remote.phase in ENDS or _is_over_by_now(context, batch, remote):
        return False
    return _overdue_s(context, batch, remote) > OVERDUE_S


def _park_overdue(context: Context, batch: BatchRow, remote: RemoteBatch) -> None:
    """It should have ended long ago: only an operator can tell whether it ever will."""
    hours = int(_overdue_s(context, batch, remote) // 3600)
    known = "" if remote.phase is not Phase.UNKNOWN else ", a status that voyage-jobs does not know"
    reason = (
        f"{hours} h past its window, the provider still reports {remote.status!r} of job {remote.id}{known}"
    )
    with context.store.write() as tx:
        batches.note(tx, batch.id, **_facts(remote))
    park(context, batch, reason, VendorError(reason, hint=_OVERDUE_HINT.format(ref=batch.ref)))


def _look_at_parked(context: Context, batch: BatchRow, remote: RemoteBatch | None) -> None:
    """A job that was lost from sight, or did not end: if it is there again, or over, it goes on by itself."""
    if remote is None or _waits_too_long(context, batch, remote):
        with context.store.write() as tx:
            wait_s = retry.wait_s("parked_job", 1, context.clock)
            batches.note(tx, batch.id, due_at=tx.now + int(wait_s * US))
        return
    with context.store.write() as tx:
        batches.move(
            tx, batch, Batch.RUNNING, f"the provider now reports {remote.status}", reason=None, hint=None
        )
    crash_point("poll.committed")
    context.log.info("batch.unparked", ref=batch.ref, batch_id=remote.id, remote_status=remote.status)


def _gone(context: Context, batch: BatchRow) -> None:
    """The provider says it does not know the job. It may be a lag; it may be another project's key."""
    error = VendorError("The provider no longer knows this job.", hint=_GONE_HINT)
    if retry.is_over("job_gone", batches.failures_of(batch, "job_gone") + 1):
        park(context, batch, f"the provider no longer knows job {batch.remote_id}", error)
        return
    with context.store.write() as tx:
        circuit.put_off(context, tx, batch, "job_gone", error)


def _lacks_its_results(remote: RemoteBatch) -> bool:
    """Whether a job that is over names no file for successes that it counts, which are paid for; one that has run to
    its end and neither counts nor names anything may have some."""
    if remote.completed is None and remote.phase is Phase.ENDED_OK:
        return remote.output_file_id is None and remote.error_file_id is None
    return remote.output_file_id is None and (remote.completed or 0) > 0


def _wait_for_results(context: Context, batch: BatchRow, remote: RemoteBatch) -> None:
    """The file may be named a moment later: to take it for missing at once would mean to pay for it again."""
    error = VendorError(f"Job {remote.id} has ended but does not name its results yet.")
    with context.store.write() as tx:
        batches.note(tx, batch.id, **_facts(remote))
        circuit.put_off(context, tx, batch, "results_late", error)


def _facts(remote: RemoteBatch) -> dict[str, object]:
    return {
        "remote_status": remote.status,
        "remote_total": remote.total,
        "remote_completed": remote.completed,
        "remote_failed": remote.failed,
        "output_file_id": remote.output_file_id,
        "error_file_id": remote.error_file_id,
    }


def _ended(context: Context, batch: BatchRow, remote: RemoteBatch) -> None:
    with context.store.write() as tx:
        batches.move(tx, batch, Batch.ENDED, remote.status, ended_at=tx.now, **_facts(remote))
        for purpose, file_id in (("output", remote.output_file_id), ("error", remote.error_file_id)):
            if file_id is not None:
                provider_files.remember_file(tx, file_id, batch.id, purpose, None)
        circuit.job_has_ended(context, tx)
    crash_point("poll.committed")
    context.log.info(
        "batch.ended",
        ref=batch.ref,
        batch_id=remote.id,
        remote_status=remote.status,
        completed=remote.completed,
        failed=remote.failed,
    )


def _goes_on(context: Context, batch: BatchRow, remote: RemoteBatch) -> None:
    with context.store.write() as tx:
        due = tx.now + int(next_look_s(context, batch, tx.now) * US)
        batches.well(tx, batch.id, due_at=due, **_facts(remote))
    crash_point("poll.committed")
    if remote.status != batch.remote_status:
        context.log.info(
            "batch.progress", ref=batch.ref, remote_status=remote.status, completed=remote.completed
        )


def next_look_s(context: Context, batch: BatchRow, now: int) -> float:
    """Seconds until the next look: 5, 10, 20, 40, then a tenth of the job's age between the bounds.

    A job that seems to be younger than nothing (the clock was set back) is looked at every `polling.interval_s`.
    """
    polling = context.settings.polling
    age_s = (now - (batch.submitted_at or now)) / US
    early_s = FIRST_LOOK_S + age_s
    if age_s >= 0 and early_s < polling.interval_s:
        return early_s
    wished_s = jittered(context.clock, max(polling.interval_s, age_s / 10), 0.1)
    return max(polling.interval_s, min(polling.max_interval_s, wished_s))
