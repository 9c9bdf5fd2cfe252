"""Why a text is not at the provider, or not in the table: what may keep back each step on its way. Pure."""

from __future__ import annotations

from voyage_jobs.config.prices import batch_price
from voyage_jobs.core.clock import US, iso
from voyage_jobs.core.plural import counted, money
from voyage_jobs.core.states import BEFORE_THE_JOB, Batch
from voyage_jobs.diagnosis import circuits, gathering
from voyage_jobs.diagnosis import rebuild_words as words
from voyage_jobs.diagnosis.blocker import (
    ASSEMBLE,
    CREATE,
    EVERY_STEP,
    FRESH,
    NOTHING_TO_DO,
    OF_A_BATCH,
    SUBMIT,
    Mover,
)
from voyage_jobs.diagnosis.entry import Blockers, Cause, Say, entered_in
from voyage_jobs.diagnosis.rebuild import Vectors
from voyage_jobs.diagnosis.rooms import Room
from voyage_jobs.diagnosis.snapshot import Facts, Gate, Moment
from voyage_jobs.state import circuits as circuit_store
from voyage_jobs.state.batches import UNUSABLE
from voyage_jobs.state.last_errors import FATAL
from voyage_jobs.state.pauses import EVERYTHING, SENDING

MOST_HELD_UP = 4
ONE_MORE_S = 3_600.0
"""While that many batches cannot be sent, or are in doubt, one more is chosen an hour: it may succeed."""

CAUSES: list[Cause] = []
cause = entered_in(CAUSES)


# --- what only you move on ---


@cause("profile_changed", moved_by=Mover.DECISION, stops=(ASSEMBLE, SUBMIT))
def _other_profile(gate: Gate, say: Say) -> Blockers:
    if gate.active is not None and gate.active != gate.asked:
        cost = _cost(gate.vectors) if isinstance(gate, Facts) else ""
        yield say(*words.changed(gate.asked, gate.active, gate.build, cost))


def _cost(found: Vectors) -> str:
    if found.change_tokens is None:
        return ""
    price = "" if found.change_usd is None else f", {money(found.change_usd)} by batch"
    return f"about {found.change_tokens:,} tokens{price}"


@cause("reprofile_blocked", needs=Moment, moved_by=Mover.DECISION, stops=("publish",))
def _build_blocked(moment: Moment, say: Say) -> Blockers:
    if moment.build is not None and moment.progress is not None and moment.build_is_blocked:
        yield say(words.blocked(moment.progress), words.BLOCKED_HINT)


@cause("reprofile_held", needs=Moment, moved_by=Mover.DECISION, stops=("publish",))
def _build_held(moment: Moment, say: Say) -> Blockers:
    if moment.build is not None and moment.build_is_held:
        yield say(words.held(moment.build), words.HELD_HINT)


@cause("reprofiling", needs=Moment, moved_by=Mover.PROCESS, severity="info", stops=("publish",))
def _build(moment: Moment, say: Say) -> Blockers:
    if moment.build is not None and not (moment.build_is_blocked or moment.build_is_held):
        until = moment.vectors.likely_at if isinstance(moment, Facts) else None
        likely = "" if until is None else f" It is likely to be complete at {iso(until)}."
        text = words.building(moment.build, moment.progress)
        yield say(f"{text}{likely} The table shows what it did until then.", words.BUILDING_HINT, until=until)


@cause("unusable_results", moved_by=Mover.DECISION)
def _unusable(gate: Gate, say: Say) -> Blockers:
    for batch in gate.open:
        if batch.state is Batch.PARKED and batch.code == UNUSABLE:
            all_ = gate.keeps_all_back(batch)
            rest = "; nothing is sent, since the next would be no better" if all_ else ""
            yield say(
                f"The results of batch {batch.ref} cannot be used{rest}",
                batch.hint or f"`voyage-jobs history {batch.ref}`",
                words=batch.reason,
                stops=frozenset({ASSEMBLE, SUBMIT}) if all_ else OF_A_BATCH,
                batch=None if all_ else batch.ref,
                name=batch.ref,
                since=batch.failing_since,
                numbers={"inputs": batch.inputs},
            )


@cause(*sorted(circuits.ACCOUNT_CODES))
def _account(gate: Gate, _say: Say) -> Blockers:
    found = circuits.account_refused(gate.circuits.values())
    if found is not None:
        yield circuits.blocker_of(gate, found)


@cause(*sorted(circuits.REFUSED_CODES))
def _refused_alike(gate: Gate, _say: Say) -> Blockers:
    found = circuits.sending_refused(gate.circuits)
    if found is None:
        return
    # The batch that is tried every hour may have been cancelled: then another is chosen when it is time for a try.
    has_probe = any(batch.state in BEFORE_THE_JOB or batch.state is Batch.CREATING for batch in gate.open)
    stops = frozenset({ASSEMBLE, SUBMIT, CREATE} if has_probe or found.until_at > gate.now else ())
    yield circuits.blocker_of(gate, found, stops)


@cause("paused", moved_by=Mover.OPERATOR, severity="info")
def _pauses(gate: Gate, say: Say) -> Blockers:
    """An operator wants it so: an info, which the headline repeats."""
    of = {EVERYTHING: frozenset({"scan", ASSEMBLE, SUBMIT}), SENDING: frozenset({ASSEMBLE, SUBMIT})}
    for pause in gate.pauses.by_what.values():
        yield say(
            str(pause),
            f"`{pause.ended_by}` lets it resume.",
            stops=of.get(pause.what, frozenset({"scan", ASSEMBLE})),
            source=pause.source,
            name=None if pause.source else pause.what,
            since=pause.since_at,
            until=pause.until_at,
        )


@cause("max_inputs", needs=Moment, moved_by=Mover.PROCESS, stops=(ASSEMBLE,))
def _most_inputs(moment: Moment, say: Say) -> Blockers:
    if moment.run is not None and moment.run.most_inputs_reached and moment.waiting.embeddings:
        yield say("--max-inputs is reached", "`voyage-jobs sync` sends the rest.")


@cause("budget_reached", needs=Moment, moved_by=Mover.TIME, stops=(ASSEMBLE,))
def _budgets(moment: Moment, say: Say) -> Blockers:
    for room in filter(moment.is_tight, moment.rooms):
        tokens = moment.tokens_kept_by(room)
        if room.key.endswith("_usd") and batch_price(moment.settings) is None:
            price = "sync" if moment.vendor.traits.sync_only else "batch"
            yield say(
                _without_price(moment, room),
                f"{_set_price(moment, price)}, or limit tokens in place of {room.setting}.",
                source=moment.source_name(room.source_id),
                name=room.setting,
                numbers={"tokens_waiting": tokens},
                moved_by=Mover.OPERATOR,
            )
            continue
        what = ", the limit of one run" if room.anew_at is None else f" until {iso(room.anew_at)}"
        waiting = "" if moment.asking is not None else f"; about {tokens:,} tokens wait"
        resumes = "with the next run" if room.anew_at is None else f"at {iso(room.anew_at)}"
        yield say(
            f"{room.setting} is used up{what}{waiting}",
            f"It resumes {resumes}, or when {room.setting} is raised.",
            source=moment.source_name(room.source_id),
            name=room.setting,
            until=room.anew_at,
            numbers={"tokens_waiting": tokens},
        )


def _without_price(moment: Moment, room: Room) -> str:
    return f"No price is known for {moment.settings.section.model}, so {room.setting} allows nothing"


def _set_price(moment: Moment, mode: str) -> str:
    return f'Set {mode}_usd_per_million in [prices."{moment.settings.section.model}"]'


@cause("fresh_spent", needs=Moment, moved_by=Mover.TIME, severity="info", stops=(FRESH,))
def _fresh_spent(moment: Moment, say: Say) -> Blockers:
    """Changes go by batch then. That is a note of `status`, not a problem."""
    for room in moment.fresh_rooms:
        if room.tokens > 0:
            continue
        known = room.used >= room.limit
        yield say(
            f"{room.setting} is used up until {iso(room.anew_at)}: changes go by batch, not at once"
            if known
            else f"{_without_price(moment, room)}: changes go by batch, not at once",
            f"Nothing to do; raise {room.setting} to send more at once."
            if known
            else f'{_set_price(moment, "sync")}, or {room.setting} to "none".',
            name=room.setting,
            until=room.anew_at if known else None,
        )


@cause("fresh_deferred", moved_by=Mover.TIME, severity="info", stops=(FRESH,))
def _fresh_deferred(gate: Gate, say: Say) -> Blockers:
    found = gate.circuits.get(circuit_store.FRESH)
    if found is not None:
        yield say(
            "A call that sends changes at once failed: they go by batch for now",
            f"Nothing to do; the next change after {iso(found.until_at)} goes at once again.",
            words=found.message,
            circuit=circuit_store.FRESH,
            since=found.since_at,
            until=found.until_at,
        )


# --- nobody at work ---


@cause("process_failed", needs=Facts, moved_by=Mover.OPERATOR)
def _process_failed(facts: Facts, say: Say) -> Blockers:
    failed = next((each for each in facts.last_errors if each.code == FATAL and each.over_at is None), None)
    if facts.holder is None and failed is not None:
        yield say(
            f"The last process ended by an error in step {failed.step} at {iso(failed.last_at)}",
            failed.hint
            or "`voyage-jobs doctor` looks for the cause; then start it again: `voyage-jobs run`.",
            words=failed.message,
            since=failed.last_at,
        )


@cause("daemon_died", needs=Facts, moved_by=Mover.OPERATOR)
def _daemon_died(facts: Facts, say: Say) -> Blockers:
    if facts.holder is None and facts.daemon_died and not any(_process_failed(facts, say)):
        text = "The daemon was killed, crashed or lost power; nothing keeps the table up to date now"
        yield say(f"{text}{_last_sign(facts)}", "Start it again: `voyage-jobs run`. Nothing is lost.")


@cause("daemon_not_running", needs=Moment, moved_by=Mover.PROCESS, stops=tuple(EVERY_STEP))
def _nobody(moment: Moment, say: Say) -> Blockers:
    """What is told as something worse already, or matters to nothing, is no info besides."""
    if moment.holder is None:
        told = isinstance(moment, Facts) and (
            moment.daemon_died or not moment.work_remains or any(_process_failed(moment, say))
        )
        yield say(
            f"No voyage-jobs process is running{_last_sign(moment)}",
            "`voyage-jobs sync` resumes it and ends; `voyage-jobs run` resumes it and stays.",
            severity="wait" if told else "info",
        )


def _last_sign(moment: Moment) -> str:
    return "" if moment.here is None else f"; the last heartbeat was at {iso(moment.here.heartbeat_at)}"


@cause("unreachable", "unavailable", "intercepted", "rate_limited", "bad_answer", "paused_disk", "table_away")
def _circuits(gate: Gate, _say: Say) -> Blockers:
    names = (circuit_store.VENDOR, circuit_store.DISK, circuit_store.TABLE)
    found = (gate.circuits.get(name) for name in names)
    for each in found:
        if each is not None and each.code not in circuits.ACCOUNT_CODES:
            yield circuits.blocker_of(gate, each)


# --- what a text that is to be sent waits for ---


@cause("claiming", moved_by=Mover.PROCESS, severity="wait", stops=(CREATE,))
def _claiming(gate: Gate, say: Say) -> Blockers:
    if gate.claiming:
        why = "the state was lost, is older than they are, or could not be compared with them yet"
        yield say(f"The jobs at {gate.provider} are checked first: {why}", NOTHING_TO_DO)


@cause("recounting", moved_by=Mover.PROCESS, severity="wait", stops=(ASSEMBLE, FRESH))
def _recounting(gate: Gate, say: Say) -> Blockers:
    if gate.recounting:
        text = "A new tokenizer is in use: what waits is counted again before anything is sent"
        yield say(text, NOTHING_TO_DO)


@cause("in_flight_full", moved_by=Mover.PROVIDER, severity="wait", stops=(ASSEMBLE,))
def _in_flight_full(gate: Gate, say: Say) -> Blockers:
    (jobs, tokens), batching, most = gate.in_flight, gate.settings.batching, gate.most_estimated
    first = gate.next_tokens if isinstance(gate, Moment) else 1
    crowded = (
        isinstance(gate, Moment)
        and gate.waiting.tokens >= most - tokens
        and gathering.is_crowded(batching, jobs, most, tokens)
    )
    if jobs >= batching.max_in_flight_batches:
        yield say(
            f"{jobs:,} jobs in flight are as many as batching.max_in_flight_batches allows", NOTHING_TO_DO
        )
    elif crowded or tokens + first > most:
        learnt = gate.most_tokens < batching.max_in_flight_tokens
        by = f"{gate.provider} takes from this account" if learnt else "batching.max_in_flight_tokens allows"
        theirs = round(tokens * gate.billed_share)
        yield say(f"{theirs:,} tokens in flight are as many as {by}", NOTHING_TO_DO)


@cause("in_flight_limit")
def _create(gate: Gate, _say: Say) -> Blockers:
    """New jobs wait, all else goes on."""
    found = gate.circuits.get(circuit_store.CREATE)
    if found is not None and found.code not in circuits.REFUSED_CODES:
        yield circuits.blocker_of(gate, found)


@cause("one_at_a_time", moved_by=Mover.PROCESS, severity="wait", stops=(ASSEMBLE,))
def _one_at_a_time(gate: Gate, say: Say) -> Blockers:
    for batch in gate.open:
        if batch.state in BEFORE_THE_JOB and batch.due_at <= gate.now:
            text = (
                f"Batch {batch.ref} is on its way to {gate.provider}; the next one is chosen when it is there"
            )
            yield say(text, NOTHING_TO_DO, name=batch.ref)
            return


@cause("held_up", moved_by=Mover.TIME, severity="wait", stops=(ASSEMBLE,))
def _held_up(gate: Gate, say: Say) -> Blockers:
    """Batches that cannot be sent now wait aside, but not too many of them."""
    aside = [
        batch
        for batch in gate.open
        if batch.state is Batch.CREATING or (batch.state in BEFORE_THE_JOB and batch.due_at > gate.now)
    ]
    newest = max((batch.created_at for batch in aside), default=0)
    if len(aside) >= MOST_HELD_UP and 0 <= gate.now - newest < ONE_MORE_S * US:
        yield say(
            f"{len(aside)} batches cannot be sent, or are in doubt; one more is tried every hour",
            f"`voyage-jobs why {aside[0].ref}` tells what the first of them waits for.",
            until=newest + int(ONE_MORE_S * US),
        )


@cause("more_coming", needs=Moment, moved_by=Mover.PROCESS, severity="wait", stops=(ASSEMBLE,))
def _more_coming(moment: Moment, say: Say) -> Blockers:
    until = moment.batch_waits_until
    if until is not None and moment.more_coming and (moment.eager or moment.in_flight[0]):
        few = f"{counted(moment.waiting.embeddings, 'text')} so far"
        text = "Sources are scanned: the next batch is sent when it is full, or when they are through"
        yield say(f"{text}, at {iso(until)} at the latest ({few})", NOTHING_TO_DO, until=until)


@cause("gathering", needs=Moment, moved_by=Mover.TIME, severity="wait", stops=(ASSEMBLE,))
def _gathering(moment: Moment, say: Say) -> Blockers:
    until = moment.batch_waits_until
    if until is not None and not any(_more_coming(moment, say)):
        few = f"{counted(moment.waiting.embeddings, 'text')} of at least {moment.settings.batching.min_inputs:,}"
        text = f"The next batch is gathering ({few}); it is sent at {iso(until)} at the latest"
        yield say(text, "Nothing to do; `voyage-jobs sync` sends it at once.", until=until)


@cause("not_planned", needs=Moment, moved_by=Mover.PROCESS, severity="wait", stops=(ASSEMBLE,))
def _not_planned(moment: Moment, say: Say) -> Blockers:
    if moment.run is not None and moment.run.planned and moment.waiting.embeddings:
        yield say("the plan does not name them", "`voyage-jobs sync` sends the rest.")
