"""reprofile: which profile is active, and the acts by which an operator changes it.

The configuration *asks* for a profile; the table *has* one; a build *makes* one. What is active is that of the build,
else that of the table. Where the configuration asks for something else, work continues under the active one, and
nothing is sent: it would be paid for, and might not be meant.

A build needs no second folder. Versions of another profile wait beside the published ones as those of an edited file
do; their vectors go into segments of their own; only publishing is held back until everything is there. See `switch.py`
for the one commit that then replaces the table.

A process works with one provider, that of the active profile, by its own section and key. What is paid there can be
fetched there alone: so the acts that change the provider are refused while a batch is open at the one that is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.plural import counted
from voyage_jobs.core.profile import Profile
from voyage_jobs.core.states import AT_THE_VENDOR, Attempt, Batch
from voyage_jobs.diagnosis import rebuild_words
from voyage_jobs.errors import ConfigError
from voyage_jobs.state import batches, create_calls, meta, previous_table, rebuild, sources
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.history import View
from voyage_jobs.state.rebuild import Build
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.recount import notice_tokenizer
from voyage_jobs.steps.set_back import Jobs
from voyage_jobs.steps.switch import Looks, go_back, release, settle_switch

Answer = dict[str, object]
BEGIN, ABANDON, ACCEPT, BACK, SWITCH = "begin", "abandon", "accept_failures", "switch_back", "switch"


def take_up_profile(context: Context) -> None:
    """Work under the active profile of the state, towards the table that there is."""
    with context.store.read() as connection:
        served, build = rebuild.served(connection), rebuild.build(connection)
    if served is None:
        served = _of_a_lost_state(context) or context.asked
        with context.store.write() as tx:
            meta.put(tx, meta.PROFILE, served.to_json())
    context.build, context.memory(Looks).again_at = build, float("-inf")
    profile = served if build is None else build.target
    with context.store.write() as tx:
        profile_id = sources.profile_id(tx, profile)
    context.work_under(profile, profile_id)
    context.table_door = context.table_door.under(served)
    notice_tokenizer(context)
    if not context.may_send:
        message, hint = rebuild_words.changed(context.asked, context.profile, build)
        context.log.warning("profile.changed", message=message, hint=hint)


def follow_corrected_model(context: Context) -> None:
    """Where the provider has no such model as was asked for, and the configuration names another: go over to that.

    Nothing was ever embedded, so there is nothing to keep, and no price to agree to beyond that of any first run.
    """
    if context.may_send or context.build is not None or context.asked.vendor != context.profile.vendor:
        return
    with context.store.read() as connection:
        is_first = not rebuild.has_vectors(connection)
    if is_first and circuit.model_is_unknown(context):
        reprofile(context, {"do": BEGIN, "target": context.asked.to_json()}, "the configuration")


def _of_a_lost_state(context: Context) -> Profile | None:
    """What a new state goes by where the one before it was lost: what the table has, if segments of that are here."""
    if not context.segments.names():
        return None
    found = context.table_door.profile()
    if found is None or found == context.asked:
        return None
    mine = f"{found.fingerprint[:12]}/"
    return found if any(name.startswith(mine) for name in context.segments.names()) else None


def _go_over(context: Context) -> None:
    """Take up the active profile since an act. What another provider refused says nothing of this one."""
    before = context.vendor.name
    take_up_profile(context)
    if context.vendor.name != before:
        context.memory(Jobs).known = context.memory(Jobs).of_new_state = False
        circuit.forget_all(context)


def _demand_none_open(context: Context, connection: View, target: Profile) -> None:
    """Raise ConfigError if the provider is to change, and something that may be paid is open at the present one."""
    if target.vendor == context.profile.vendor:
        return
    found = batches.in_state(connection, *AT_THE_VENDOR, Batch.ENDED, Batch.PARKED)
    still = [batch for batch in found if _may_be_paid(connection, batch)]
    if still:
        raise ConfigError(
            f"{counted(len(still), 'batch')} at {context.vendor.title} must end before the provider changes:"
            " paid results can be fetched only there.",
            hint="`voyage-jobs sync` fetches the results with that provider's own settings and key, and sends nothing"
            " new while [provider] names another; `voyage-jobs cancel` gives a batch up.",
        )


def _may_be_paid(connection: View, batch: BatchRow) -> bool:
    """Whether a batch has, or may have, a job or an answer."""
    if batch.state is not Batch.PARKED or batch.remote_id is not None:
        return True
    sent = (Attempt.OPEN, Attempt.CREATED, Attempt.LOST)
    return any(attempt.state in sent for attempt in create_calls.attempts_of(connection, batch.id))


# --- the acts ---


def reprofile(context: Context, arguments: Mapping[str, object], who: str) -> Answer:
    """What `voyage-jobs reprofile` asks for. Raises ConfigError if it makes no sense now."""
    what = arguments.get("do")
    if what == BEGIN:
        target = Profile.from_json(str(arguments["target"]))
        return _begin(context, target, who, hold=arguments.get("hold") is True)
    acts = {ABANDON: _abandon, ACCEPT: _accept, BACK: _back, SWITCH: _let_switch}
    if what not in acts:
        raise ConfigError(
            f"The running process does not know how to {what}.", hint="Restart it, then ask again."
        )
    return acts[str(what)](context, who)


def _begin(context: Context, target: Profile, who: str, *, hold: bool) -> Answer:
    with context.store.read() as connection:
        served = rebuild.served(connection)
    if context.build is not None and context.build.target != target:
        raise ConfigError(
            f"A table for {context.build.target.told} is being built already.",
            hint="Give that up first: `voyage-jobs reprofile --abandon`. What it has paid for is kept.",
        )
    if target.vendor != context.loaded.provider.type:
        raise ConfigError(
            "The running process was started with another [provider] and does not know this one.",
            hint="Restart it, then ask again.",
        )
    context.asked = target  # a process at work may have read its configuration before it was changed
    if context.build is not None and hold:
        _note(context, replace(context.build, hold=True))
        return {"state": "held", "target": target.told}
    if context.build is not None or target == served:
        context.log.info("reprofile.already", target=target.told)
        return {"state": "building" if context.build is not None else "nothing to do", "target": target.told}
    with context.store.write() as tx:
        _demand_none_open(context, tx.connection, target)
        rebuild.note_build(tx, Build(target, tx.now, who, hold=hold))
        rebuild.read_again(tx, everything=True)
        if (
            meta.get(tx.connection, meta.CLAIM) is not None
        ):  # jobs of this profile, too, may be there to be claimed
            meta.put(tx, meta.CLAIM, meta.CLAIM_DUE)
    crash_point("reprofile.committed")
    _go_over(context)
    context.log.info("reprofile.begun", who=who, target=target.told)
    return {"state": "begun", "target": target.told}


def _abandon(context: Context, who: str) -> Answer:
    """Give the build up. The table is what it was; running jobs are cancelled; paid vectors stay in their segments."""
    if context.build is None:
        raise ConfigError(
            "No table is being built: there is nothing to abandon.", hint="`voyage-jobs status`"
        )
    target = context.build.target
    if context.build.publication is not None and settle_switch(context) and context.build is None:
        raise ConfigError(
            f"The new table for {target.told} is complete and in use: it is too late to abandon it.",
            hint="`voyage-jobs reprofile --switch-back` brings the previous table back at no cost.",
        )
    with context.store.write() as tx:
        served = rebuild.served(tx.connection)
        if served is not None:
            _demand_none_open(context, tx.connection, served)
        jobs = [
            batch
            for batch in batches.in_state(tx.connection, *AT_THE_VENDOR)
            if batch.profile_id == context.profile_id
        ]
        for batch in jobs:
            batches.note(tx, batch.id, cancel_asked_at=batch.cancel_asked_at or tx.now, due_at=0)
        rebuild.forget_build(tx)
        kept = None if served is None else sources.profile_id(tx, served)
        rebuild.give_up_waiting(tx, f"the new table was abandoned by {who}", but=kept)
        rebuild.read_again(tx, everything=False)
    crash_point("abandon.committed")
    _go_over(context)
    context.log.info("reprofile.abandoned", who=who, target=target.told, cancelled=len(jobs))
    return {
        "state": "abandoned",
        "target": target.told,
        "table": context.profile.told,
        "cancelled": len(jobs),
    }


def _accept(context: Context, who: str) -> Answer:
    """An operator accepts that what cannot be embedded again is not in the new table."""
    build = context.build
    if build is None:
        raise ConfigError("No table is being built: there is nothing to accept.", hint="`voyage-jobs status`")
    _note(context, replace(build, leave_out=True))
    with context.store.read() as connection:
        found = rebuild.progress(connection, context.profile_id)
    context.log.info("reprofile.accepted", who=who, chunks=found.failed_chunks, documents=found.unread)
    return {"state": "accepted", "failed_chunks": found.failed_chunks, "unread_documents": found.unread}


def _let_switch(context: Context, who: str) -> Answer:
    """The operator has looked: the switch is made once everything is there."""
    del who  # the order has it on record
    if context.build is None:
        raise ConfigError(
            "No table is being built: there is nothing to switch to.", hint="`voyage-jobs reprofile --status`"
        )
    _note(context, replace(context.build, hold=False))
    return {"state": "to be switched", "target": context.build.target.told}


def _note(context: Context, build: Build) -> None:
    """Put another decision about the build on record, and look at it soon."""
    with context.store.write() as tx:
        rebuild.note_build(tx, build)
    context.build, context.memory(Looks).again_at = build, float("-inf")


def _back(context: Context, who: str) -> Answer:
    """Bring back the previous table."""
    if context.build is not None:
        raise ConfigError(
            "A new table is being built; nothing has been switched yet.",
            hint="`voyage-jobs reprofile --abandon` gives the new one up.",
        )
    with context.store.read() as connection:
        previous = previous_table.previous(connection)
    if previous is None:
        raise ConfigError(
            "No previous table is kept: there is nothing to switch back to.",
            hint="To embed under other settings, change the configuration and run `voyage-jobs reprofile`; what was"
            " paid for under them before is reused at no cost.",
        )
    if not context.open_table().is_kept(previous.table_version):
        release(context, previous)
        raise ConfigError(
            f"Version {previous.table_version} of the table, the previous one, is gone with the table.",
            hint="Set the configuration back and run `voyage-jobs reprofile`: only what has changed since is paid.",
        )
    with context.store.write() as tx:
        _demand_none_open(context, tx.connection, previous.profile)
        previous_table.begin_to_go_back(tx, previous)
    crash_point("switch_back.intent.committed")
    go_back(context, previous, f"switched back by {who}")
    _go_over(context)
    return {"state": "switched back", "table": context.profile.told}
