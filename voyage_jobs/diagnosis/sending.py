"""Why a text is not at the provider, or not in the table: what may keep back each step on its way. Pure."""

from __future__ import annotations

from voyage_jobs.clock import US, iso
from voyage_jobs.diagnosis import circuits
from voyage_jobs.diagnosis import rebuild_words as words
from voyage_jobs.diagnosis.blocker import (
    CREATE,
    EVERY_STEP,
    NOTHING_TO_DO,
    OF_A_BATCH,
    PACK,
    SUBMIT,
    Blocker,
    Mover,
)
from voyage_jobs.diagnosis.entry import Blockers, Cause, entered_in
from voyage_jobs.diagnosis.rebuild import Vectors
from voyage_jobs.diagnosis.snapshot import Facts, Gate, Moment
from voyage_jobs.plural import counted
from voyage_jobs.state import lanes
from voyage_jobs.state.batches import SEND_REFUSED, UNUSABLE
from voyage_jobs.state.pauses import EVERYTHING, SENDING
from voyage_jobs.state.troubles import FATAL
from voyage_jobs.states import BEFORE_THE_JOB, Batch

MOST_HELD_UP = 4
ONE_MORE_S = 3_600.0
"""While that many batches cannot be sent, or are in doubt, one more is chosen an hour: it may fare better."""
START = "`voyage-jobs sync` resumes it and ends; `voyage-jobs run` resumes it and stays."

CAUSES: list[Cause] = []
cause = entered_in(CAUSES)


@cause("profile_changed")
def _other_profile(gate: Gate) -> Blockers:
    if gate.active is None or gate.active == gate.asked:
        return
    cost = _cost(gate.vectors) if isinstance(gate, Facts) else ""
    text, hint = words.changed(gate.asked, gate.active, gate.build, cost)
    yield Blocker(
        code="profile_changed",
        text=text,
        next=hint,
        moved_by=Mover.DECISION,
        stops=frozenset({PACK, SUBMIT}),
    )


def _cost(found: Vectors) -> str:
    if found.change_tokens is None:
        return ""
    price = "" if found.change_usd is None else f", ${found.change_usd:.4f} by batch"
    return f"about {found.change_tokens:,} tokens{price}"


@cause("reprofile_blocked", "reprofiling", needs=Moment)
def _build(moment: Moment) -> Blockers:
    build, progress = moment.build, moment.progress
    if build is None:
        return
    stops = frozenset({"publish"})
    if progress is not None and progress.blocked and not build.leave_out:
        yield Blocker(
            code="reprofile_blocked",
            text=words.blocked(progress),
            next=words.BLOCKED_HINT,
            moved_by=Mover.DECISION,
            stops=stops,
        )
        return
    until = moment.vectors.likely_at if isinstance(moment, Facts) else None
    likely = "" if until is None else f" It is likely to be complete at {iso(until)}."
    yield Blocker(
        code="reprofiling",
        text=f"{words.building(build, progress)}{likely} The table shows what it did until then.",
        next=words.BUILDING_HINT,
        moved_by=Mover.PROCESS,
        severity="info",
        stops=stops,
        until=until,
    )


@cause("unusable_results")
def _unusable(gate: Gate) -> Blockers:
    for batch in gate.open:
        if batch.state is Batch.PARKED and batch.code == UNUSABLE:
            all_ = gate.keeps_all_back(batch)
            rest = "; nothing is sent, since the next would be no better" if all_ else ""
            yield Blocker(
                code="unusable_results",
                text=f"The results of batch {batch.ref} cannot be used{rest}",
                words=batch.reason,
                next=batch.hint or f"`voyage-jobs history {batch.ref}`",
                moved_by=Mover.DECISION,
                stops=frozenset({PACK, SUBMIT}) if all_ else OF_A_BATCH,
                batch=None if all_ else batch.ref,
                name=batch.ref,
                since=batch.failing_since,
                numbers={"inputs": batch.inputs},
            )


@cause(*sorted(circuits.ACCOUNT_CODES))
def _account(gate: Gate) -> Blockers:
    found = circuits.account_refused(gate.lanes.values())
    if found is not None:
        yield circuits.blocker_of(gate, found)


@cause(SEND_REFUSED)
def _refused_alike(gate: Gate) -> Blockers:
    found = circuits.sending_refused(gate.lanes)
    if found is None:
        return
    # The batch that is tried every hour may have been cancelled: then another is chosen when it is time for a try.
    has_probe = any(batch.state in BEFORE_THE_JOB or batch.state is Batch.CREATING for batch in gate.open)
    stops = frozenset({PACK, SUBMIT, CREATE} if has_probe or found.until_at > gate.now else ())
    yield circuits.blocker_of(gate, found, stops)


@cause("paused")
def _pauses(gate: Gate) -> Blockers:
    """An operator wants it so: an info, which the headline repeats."""
    of = {EVERYTHING: frozenset({"scan", PACK, SUBMIT}), SENDING: frozenset({PACK, SUBMIT})}
    for pause in gate.pauses.by_what.values():
        yield Blocker(
            code="paused",
            text=str(pause),
            next=f"`{pause.ended_by}` lets it resume.",
            moved_by=Mover.OPERATOR,
            severity="info",
            stops=of.get(pause.what, frozenset({"scan", PACK})),
            source=pause.source,
            name=None if pause.source else pause.what,
            since=pause.since_at,
            until=pause.until_at,
        )


@cause("max_inputs", needs=Moment)
def _most_inputs(moment: Moment) -> Blockers:
    if moment.run is not None and moment.run.most_inputs_reached and moment.waiting.embeddings:
        yield Blocker(
            code="max_inputs",
            text="--max-inputs is reached",
            next="`voyage-jobs sync` sends the rest.",
            moved_by=Mover.PROCESS,
            stops=frozenset({PACK}),
        )


@cause("budget_reached", needs=Moment)
def _budgets(moment: Moment) -> Blockers:
    for room in moment.rooms:
        if not moment.is_tight(room):
            continue
        tokens = moment.tokens_kept_by(room)
        what = ", the limit of one run" if room.anew_at is None else ""
        waiting = "" if moment.asking is not None else f"; about {tokens:,} tokens wait"
        resumes = "with the next run" if room.anew_at is None else f"at {iso(room.anew_at)}"
        yield Blocker(
            code="budget_reached",
            text=f"{room.setting} is used up{what}{waiting}",
            next=f"It resumes {resumes}, or when {room.setting} is raised.",
            stops=frozenset({PACK}),
            source=moment.source_name(room.source_id),
            name=room.setting,
            until=room.anew_at,
            numbers={"tokens_waiting": tokens},
        )


# --- nobody at work ---


@cause("process_failed", "daemon_died", "daemon_not_running", needs=Moment)
def _nobody(moment: Moment) -> Blockers:
    """No process is running: told as worse, if one should be, or if the last one failed."""
    if moment.holder is not None:
        return
    here = moment.here
    last = "" if here is None else f"; the last sign of life was at {iso(here.heartbeat_at)}"
    failed = None
    if isinstance(moment, Facts):
        failed = next((t for t in moment.troubles if t.code == FATAL and t.over_at is None), None)
    if failed is not None:
        yield Blocker(
            code="process_failed",
            text=f"The last process ended by an error in step {failed.step} at {iso(failed.last_at)}",
            words=failed.message,
            next=failed.hint
            or "`voyage-jobs doctor` looks for the cause; then start it again: `voyage-jobs run`.",
            moved_by=Mover.OPERATOR,
            since=failed.last_at,
        )
    elif isinstance(moment, Facts) and moment.daemon_died:
        yield Blocker(
            code="daemon_died",
            text=f"The daemon was killed, crashed or lost power; nothing keeps the table in step now{last}",
            next="Start it again: `voyage-jobs run`. Nothing is lost.",
            moved_by=Mover.OPERATOR,
            since=here.heartbeat_at if here else None,
        )
    told = failed is not None or (
        isinstance(moment, Facts) and (moment.daemon_died or not moment.work_remains)
    )
    yield Blocker(
        code="daemon_not_running",
        text=f"No voyage-jobs process is running{last}",
        next=START,
        moved_by=Mover.PROCESS,
        severity="wait" if told else "info",
        stops=EVERY_STEP,
    )


@cause("unreachable", "unavailable", "intercepted", "rate_limited", "bad_answer", "paused_disk")
def _circuits(gate: Gate) -> Blockers:
    for name in (lanes.VENDOR, lanes.DISK):
        found = gate.lanes.get(name)
        if found is not None and circuits.MOVERS.get(found.code) is not Mover.ACCOUNT:
            yield circuits.blocker_of(gate, found)


# --- what a text that is to be sent waits for ---


@cause("claiming")
def _claiming(gate: Gate) -> Blockers:
    if gate.claiming:
        yield Blocker(
            code="claiming",
            text="The jobs at Voyage are looked through first: the state was lost, is older than they are, or could not"
            " be compared with them yet",
            next=NOTHING_TO_DO,
            moved_by=Mover.PROCESS,
            severity="wait",
            stops=frozenset({CREATE}),
        )


@cause("recounting")
def _recounting(gate: Gate) -> Blockers:
    if gate.recounting:
        yield Blocker(
            code="recounting",
            text="A new tokenizer is in use: what waits is counted again before anything is sent",
            next=NOTHING_TO_DO,
            moved_by=Mover.PROCESS,
            severity="wait",
            stops=frozenset({PACK}),
        )


@cause("in_flight_full")
def _in_flight_full(gate: Gate) -> Blockers:
    (jobs, tokens), batching = gate.in_flight, gate.settings.batching
    first = 0
    if isinstance(gate, Moment):
        first = (gate.waiting.first_tokens or 0) if gate.asking is None else gate.asking.tokens
    if jobs >= batching.max_in_flight_batches:
        many, key = f"{jobs:,} jobs", "max_in_flight_batches"
    elif tokens + max(1, first) > batching.max_in_flight_tokens:
        many, key = f"{tokens:,} tokens", "max_in_flight_tokens"
    else:
        return
    yield Blocker(
        code="in_flight_full",
        text=f"{many} in flight are as many as batching.{key} allows",
        next=NOTHING_TO_DO,
        moved_by=Mover.PROVIDER,
        severity="wait",
        stops=frozenset({PACK}),
    )


@cause("in_flight_limit")
def _create(gate: Gate) -> Blockers:
    """New jobs wait, all else goes on."""
    found = gate.lanes.get(lanes.CREATE)
    if found is not None and found.code != SEND_REFUSED:
        yield circuits.blocker_of(gate, found)


@cause("one_at_a_time", "held_up")
def _one_at_a_time(gate: Gate) -> Blockers:
    """One batch is sent before the next is chosen; those that cannot be sent now wait aside, but not too many."""
    aside = []
    for batch in gate.open:
        if batch.state not in BEFORE_THE_JOB and batch.state is not Batch.CREATING:
            continue
        if batch.state is Batch.CREATING or batch.due_at > gate.now:
            aside.append(batch)
        else:
            yield Blocker(
                code="one_at_a_time",
                text=f"Batch {batch.ref} is on its way to Voyage; the next one is chosen when it is there",
                next=NOTHING_TO_DO,
                moved_by=Mover.PROCESS,
                severity="wait",
                stops=frozenset({PACK}),
                name=batch.ref,
            )
            return
    newest = max((batch.created_at for batch in aside), default=0)
    if len(aside) >= MOST_HELD_UP and 0 <= gate.now - newest < ONE_MORE_S * US:
        yield Blocker(
            code="held_up",
            text=f"{len(aside)} batches cannot be sent, or are in doubt; one more is tried an hour",
            next=f"`voyage-jobs why {aside[0].ref}` tells what the first of them waits for.",
            severity="wait",
            stops=frozenset({PACK}),
            until=newest + int(ONE_MORE_S * US),
        )


@cause("gathering", needs=Moment)
def _gathering(moment: Moment) -> Blockers:
    batching, waiting = moment.settings.batching, moment.waiting
    if waiting.oldest_at is None or waiting.embeddings >= batching.min_inputs:
        return
    until = waiting.oldest_at + int(batching.linger_s * US)
    if until > moment.now and (moment.here is None or moment.here.mode != "sync"):
        few = f"{counted(waiting.embeddings, 'text')} of at least {batching.min_inputs:,}"
        yield Blocker(
            code="gathering",
            text=f"The next batch is gathering ({few}); it is sent at {iso(until)} at the latest",
            next="Nothing to do; `voyage-jobs sync` sends it at once.",
            severity="wait",
            stops=frozenset({PACK}),
            until=until,
        )


@cause("not_planned", needs=Moment)
def _not_planned(moment: Moment) -> Blockers:
    if moment.run is not None and moment.run.planned and moment.waiting.embeddings:
        yield Blocker(
            code="not_planned",
            text="the plan does not name them",
            next="`voyage-jobs sync` sends the rest.",
            moved_by=Mover.PROCESS,
            severity="wait",
            stops=frozenset({PACK}),
        )
