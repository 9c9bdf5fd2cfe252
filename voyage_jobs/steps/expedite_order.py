"""One `expedite` command from its words to its answer: find the document, look at its file, call, publish, tell.

An order carries an id of its own. If the process that carries it out dies, the next one finds the calls that were made
for it and tells what came of them; it makes none anew, because only a person may decide to risk paying twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from voyage_jobs.clock import US, now_us
from voyage_jobs.diagnosis import rebuild_words
from voyage_jobs.errors import ConfigError, NeedsPersonError, VendorError, VoyageJobsError
from voyage_jobs.sources import names
from voyage_jobs.state import calls, documents, lanes, ledger, pauses, setback, sources
from voyage_jobs.state.calls import CallRow, NeededEmbedding, Order
from voyage_jobs.state.documents import DocumentRow
from voyage_jobs.state.schema import DROPPED, FAILED, HELD, PACKED, WANTED
from voyage_jobs.states import Call, Version
from voyage_jobs.steps import budget, known_jobs
from voyage_jobs.steps import lanes as lane
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.expedite import Done, Expedition
from voyage_jobs.steps.expedite_recovery import settle_open_calls
from voyage_jobs.steps.publish import publish
from voyage_jobs.steps.scan import Scan

LASTS_S = 3600.0
"""How long an order holds that no process has come to."""
_SLACK_S = 60.0  # a clock that was set back a little
_MOST_PUBLICATIONS = 10


def expedite(context: Context, arguments: Mapping[str, object], who: str) -> dict[str, object]:
    """Have what a document lacks embedded at once. Raises ConfigError for what makes no sense.

    `arguments`: `order` (an id that nobody else has), `asked_at` (microseconds), `source`, `path`, `also_in_flight`,
    and `most_tokens`: what was said beforehand, beyond which nothing is sent.
    """
    settle_open_calls(context)
    order_ref = str(arguments["order"])
    with context.store.read() as connection:
        before = calls.of_order(connection, order_ref)
    if before:
        document = _document(context, arguments)
        return {**_told(context, document, order_ref, Done(), interrupted=True), "file_read": True}
    _demand_fresh(context, arguments)
    _demand_awake(context, str(arguments["source"]))
    _demand_settled(context)
    document, read = _look_at(context, arguments)
    with context.store.read() as connection:
        found = calls.needed(connection, document.id)
        source = sources.by_name(connection, document.source)
    chosen = _chosen(found, also_in_flight=bool(arguments.get("also_in_flight")))
    if chosen:
        _demand_claimed(context)
    _demand_agreed(chosen, arguments)
    if source is None:
        raise ConfigError(f"There is no source {document.source!r}.")
    _demand_room(context, chosen, source.id)
    done = Expedition(context, Order(order_ref, who, document.id, source.id)).run(chosen)
    _show(context, document)
    return {**_told(context, document, order_ref, done, interrupted=False), "file_read": read}


# --- before ---


def _document(context: Context, arguments: Mapping[str, object]) -> DocumentRow:
    source, path = str(arguments["source"]), str(arguments["path"])
    with context.store.read() as connection:
        found = documents.find(connection, source, path)
    if not found:
        raise ConfigError(
            f"No scan has seen {names.display(path)} in source {source} yet.",
            hint="Let a scan find it first: `voyage-jobs sync --no-wait`, or a running `voyage-jobs run`.",
        )
    return found[0]


def _look_at(context: Context, arguments: Mapping[str, object]) -> tuple[DocumentRow, bool]:
    """The document, and whether its file could be read now, out of turn."""
    name = str(arguments["source"])
    settings = context.source_settings(name)
    with context.store.read() as connection:
        row = sources.by_name(connection, name)
    if settings is None or row is None:
        raise ConfigError(f"There is no source {name!r} in the configuration.")
    read = Scan(context, row, settings).take_one(str(arguments["path"]))
    return _document(context, arguments), read


def _demand_fresh(context: Context, arguments: Mapping[str, object]) -> None:
    """Nobody expects to pay the full price tomorrow because no process came to it today."""
    asked_at = arguments.get("asked_at")
    if isinstance(asked_at, int) and not 0 <= (now_us(context.clock) - asked_at) / US + _SLACK_S <= LASTS_S:
        raise ConfigError(
            "This was asked for too long ago: nothing was sent.", hint="`voyage-jobs expedite` asks anew."
        )


def _demand_claimed(context: Context) -> None:
    """After a loss of state, or where an older one was put back, a job may have been asked for these texts."""
    known = known_jobs.all_known(context)
    context.jobs_awaited = False
    if known:
        return
    with context.store.read() as connection:
        due = setback.is_claim_due(connection)
    if due:
        raise NeedsPersonError(
            "The state was lost, or is an older one: jobs at Voyage that may hold these texts are not claimed yet.",
            hint="`voyage-jobs recover`, or a running `voyage-jobs run`, claims them; then ask again.",
        )
    raise VendorError(
        "The list of jobs at Voyage could not be read: one of them may hold these texts. Nothing was sent.",
        hint="Ask again in a minute; `voyage-jobs doctor --probe` tells whether Voyage answers.",
    )


def _demand_awake(context: Context, source: str) -> None:
    """Who let sending rest did not mean: but for the dearest of all."""
    with context.store.read() as connection:
        resting = pauses.now(connection, now_us(context.clock))
    for pause in resting.by_what.values():
        if resting.all_sending or pause.source == source:
            raise ConfigError(f"{pause} Nothing was sent.", hint=f"`{pause.ended_by}`, then ask again.")


def _demand_settled(context: Context) -> None:
    """Not for vectors that nobody asks for any more, nor for a table that is not shown yet."""
    if not context.may_send:
        message, hint = rebuild_words.changed(context.asked, context.profile, context.build)
        raise ConfigError(message, hint=hint)
    if context.build is not None:
        raise ConfigError(
            "A table for other vectors is being built: nothing is shown before that is complete. Nothing was sent.",
            hint="`voyage-jobs reprofile --status` shows how far that is.",
        )


def _chosen(found: Sequence[NeededEmbedding], *, also_in_flight: bool) -> list[NeededEmbedding]:
    states = (WANTED, PACKED) if also_in_flight else (WANTED,)
    return [each for each in found if each.state in states]


def _demand_agreed(chosen: Sequence[NeededEmbedding], arguments: Mapping[str, object]) -> None:
    tokens, agreed = sum(each.tokens for each in chosen), arguments.get("most_tokens")
    if isinstance(agreed, int) and tokens > agreed:
        raise ConfigError(
            f"{tokens:,} tokens would be sent, and {agreed:,} were agreed to: the document, or what has become of its"
            " texts, has changed since. Nothing was sent.",
            hint="Ask again; the price is said anew.",
        )


def _demand_room(context: Context, chosen: Sequence[NeededEmbedding], source_id: int) -> None:
    """All of it must be within the budgets: a part would cost and show nothing."""
    tokens = sum(each.tokens for each in chosen)
    with context.store.read() as connection:
        allowance = budget.at_price(context, connection, context.sync_price)
    if (allowance.tokens is None or tokens <= allowance.tokens) and allowance.take(source_id, tokens):
        return
    raise ConfigError(
        f"A budget does not allow {tokens:,} tokens at the full price. Nothing was sent.",
        hint="`voyage-jobs expedite --dry-run` names the limit. Raise it, or leave it to the batches.",
    )


# --- after ---


def _show(context: Context, document: DocumentRow) -> None:
    """Let the table show it, and whatever else is ready."""
    for _ in range(_MOST_PUBLICATIONS):
        if context.stopping.is_set() or not lane.is_open(context, lanes.DISK):
            return
        with context.store.read() as connection:
            newest = calls.newest_content(connection, document.id)
        if newest is None or newest[0] is not Version.READY or not publish(context):
            return


def _told(
    context: Context, document: DocumentRow, order_ref: str, done: Done, *, interrupted: bool
) -> dict[str, object]:
    """The answer, from what is on record."""
    with context.store.read() as connection:
        made = calls.of_order(connection, order_ref)
        brought = calls.brought(connection, order_ref)
        needed = calls.needed(connection, document.id)
        newest = calls.newest_content(connection, document.id)
    answered = [call for call in made if call.state is Call.ANSWERED]
    unknown = [call for call in made if call.state is Call.UNKNOWN]
    return {
        "source": document.source,
        "path": document.path,
        "order": order_ref,
        "interrupted": interrupted,
        "calls": len(made),
        "expedited": {**_sum(answered, billed=True), "texts": brought},
        "maybe_paid": _sum(unknown, billed=False),
        "left": _left(needed, done),
        "stopped": _stopped(done, unknown),
        "state": None if newest is None else str(newest[0]),
    }


def _sum(made: Sequence[CallRow], *, billed: bool) -> dict[str, Any]:
    tokens = [(call.tokens_billed or 0) if billed else call.tokens_estimated for call in made]
    dollars = [ledger.usd(n, call.usd_per_million) for n, call in zip(tokens, made, strict=True)]
    return {
        "texts": sum(call.inputs for call in made),
        "tokens": sum(tokens),
        "usd": None if None in dollars else sum(each for each in dollars if each is not None),
    }


def _left(needed: Sequence[NeededEmbedding], done: Done) -> dict[str, Any]:
    """What of the document has no vector yet, in texts, and why."""
    in_batches: dict[str, int] = {}
    for each in needed:
        if each.state == PACKED and each.batch_ref is not None:
            in_batches[each.batch_ref] = in_batches.get(each.batch_ref, 0) + each.vectors

    def count(state: int) -> int:
        return sum(each.vectors for each in needed if each.state == state)

    return {
        "in_batches": in_batches,
        "wanted": count(WANTED),
        "failed": count(FAILED),
        "cancelled": count(DROPPED),
        "without_text": done.no_text,
        "malformed": done.malformed,
        "total": sum(each.vectors for each in needed if each.state != HELD),
    }


def _stopped(done: Done, unknown: Sequence[CallRow]) -> dict[str, Any] | None:
    """Why it did not go on, and what to do about it."""
    if isinstance(done.stopped, VoyageJobsError):
        code = "unknown" if done.unknown else lane.code_of(done.stopped)
        return {"code": code, "message": done.stopped.message, "hint": done.stopped.hint}
    if done.stopped is not None:
        return {"code": "stopped", "message": done.stopped, "hint": None}
    if unknown:
        return {"code": "unknown", "message": unknown[-1].detail, "hint": None}
    return None
