"""expedite: one command from its words to its answer. What a document lacks is sent at once, at the full price.

Find the document, look at its file, make batches of mode `sync`, send them one after the other, collect, publish, tell.
The batches are ordinary ones (see synchronous.py) that carry the id of the order. If the process that carries it out
dies, the next one finds them and tells what came of them; it makes none again, because only an operator may decide to
risk paying twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from voyage_jobs.core.clock import US, now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.states import Batch, Version
from voyage_jobs.diagnosis import rebuild_words
from voyage_jobs.diagnosis.snapshot import gate
from voyage_jobs.errors import (
    ConfigError,
    NeedsOperatorError,
    RateLimitedError,
    VendorError,
    VoyageJobsError,
)
from voyage_jobs.sources import names
from voyage_jobs.state import batches, circuits, documents, ledger, orders, pauses, setback, sources
from voyage_jobs.state.backlog import WantedEmbedding
from voyage_jobs.state.batches import BatchRow, Order
from voyage_jobs.state.documents import DocumentRow
from voyage_jobs.state.orders import NeededEmbedding
from voyage_jobs.state.schema import DROPPED, FAILED, HELD, PACKED, WANTED
from voyage_jobs.steps import budget, known_jobs, synchronous
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.collect import collect_one
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import room_for
from voyage_jobs.steps.ending import abandon
from voyage_jobs.steps.filling import Filling
from voyage_jobs.steps.publish import publish
from voyage_jobs.steps.scan import Scan
from voyage_jobs.steps.set_back import Jobs
from voyage_jobs.steps.submit import spool
from voyage_jobs.steps.texts import Texts

LASTS_S = 3600.0
"""How long an order holds that no process has come to."""
PATIENCE_S = 60.0
"""How long one command waits, all told, where the provider says after what time to come again."""
_SLACK_S = 60.0  # a clock that was set back a little
_LOOK_S = 5.0
_MOST_PUBLICATIONS = 10


def expedite(context: Context, arguments: Mapping[str, object], who: str) -> dict[str, object]:
    """Have what a document lacks embedded at once. Raises ConfigError for what makes no sense.

    `arguments`: `order` (an id that nobody else has), `asked_at` (microseconds), `source`, `path`, `also_in_flight`,
    and `most_tokens`: what was said beforehand, beyond which nothing is sent.
    """
    _take_in_what_came(context)
    order_ref = str(arguments["order"])
    with context.store.read() as connection:
        before = orders.batches_of(connection, order_ref)
    if before:
        document = _document(context, arguments)
        return {**_told(context, document, order_ref, Done(), interrupted=True), "file_read": True}
    _demand_fresh(context, arguments)
    _demand_awake(context, str(arguments["source"]))
    _demand_settled(context)
    document, read = _look_at(context, arguments)
    with context.store.read() as connection:
        found = orders.needed(connection, document.id)
        source = sources.by_name(connection, document.source)
    chosen = _chosen(found, also_in_flight=bool(arguments.get("also_in_flight")))
    if chosen:
        _demand_usable(context)
        _demand_claimed(context)
    _demand_agreed(chosen, arguments)
    if source is None:
        raise ConfigError(f"There is no source {document.source!r}.")
    _demand_room(context, chosen, source.id)
    chosen = _out_of_unsent_calls(context, document, chosen)
    done = Expedition(context, Order(order_ref, who, document.id, source.id)).run(chosen)
    _show(context, document)
    return {**_told(context, document, order_ref, done, interrupted=False), "file_read": read}


def _take_in_what_came(context: Context) -> None:
    """Whatever was sent at once before has its end, and what came of it is here, before anything else is sent."""
    synchronous.settle_interrupted(context)
    with context.store.read() as connection:
        ended = [batch for batch in batches.in_state(connection, Batch.ENDED) if batch.is_sync]
    for batch in ended:
        collect_one(context, batch, circuit.Calls(context))


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
            "This was asked for too long ago: nothing was sent.", hint="`voyage-jobs expedite` asks again."
        )


def _demand_usable(context: Context) -> None:
    """Where sending has stopped for results that cannot be used, the next would be no better, and dearer."""
    with context.store.read() as connection:
        known = gate(context, connection)
    batch = next((each for each in known.open if known.keeps_all_back(each)), None)
    if batch is not None:
        raise NeedsOperatorError(
            f"The results of batch {batch.ref} cannot be used ({batch.reason}), and the next would be no better."
            " Nothing was sent.",
            hint=batch.hint or f"`voyage-jobs history {batch.ref}`",
        )


def _demand_claimed(context: Context) -> None:
    """After a loss of state, or where an older one was put back, a job may have been asked for these texts."""
    known, provider = known_jobs.all_known(context), context.vendor.title
    context.memory(Jobs).awaited = False
    if known:
        return
    with context.store.read() as connection:
        due = setback.is_claim_due(connection)
    if due:
        raise NeedsOperatorError(
            f"The state was lost, or is an older one: jobs at {provider} that may hold these texts are not claimed"
            " yet.",
            hint="`voyage-jobs recover`, or a running `voyage-jobs run`, claims them; then ask again.",
        )
    raise VendorError(
        f"The list of jobs at {provider} could not be read: one of them may hold these texts. Nothing was sent.",
        hint=f"Ask again in a minute; `voyage-jobs doctor --probe` tells whether {provider} answers.",
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


def _out_of_unsent_calls(
    context: Context, document: DocumentRow, chosen: list[NeededEmbedding]
) -> list[NeededEmbedding]:
    """The same texts, none of which is still in a call that was not made yet: they are paid once.

    What else such a call would have asked for is sent later, as any text.
    """
    asked_for = {each.batch_ref for each in chosen if each.state == PACKED}
    with context.store.read() as connection:
        unsent = [batch for batch in orders.unsent_calls(connection) if batch.ref in asked_for]
    if not unsent:
        return chosen
    for batch in unsent:
        abandon(context, batch, "`expedite` sends first what this call would have asked for")
    with context.store.read() as connection:
        return _chosen(orders.needed(connection, document.id), also_in_flight=True)


def _demand_agreed(chosen: Sequence[NeededEmbedding], arguments: Mapping[str, object]) -> None:
    tokens, agreed = sum(each.tokens for each in chosen), arguments.get("most_tokens")
    if isinstance(agreed, int) and tokens > agreed:
        raise ConfigError(
            f"{tokens:,} tokens would be sent, and {agreed:,} were agreed to: the document, or what has become of its"
            " texts, has changed since. Nothing was sent.",
            hint="Ask again; the price is shown again.",
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


# --- doing it ---


@dataclass
class Done:
    """What a command came to beyond what is on record. `stopped` is why it did not go on; `no_text` is in texts."""

    no_text: int = 0
    stopped: VendorError | str | None = None
    waited_s: float = 0.0


@dataclass
class Expedition:
    """The batches of one order."""

    context: Context
    order: Order
    done: Done = field(default_factory=Done)

    def run(self, chosen: Sequence[NeededEmbedding]) -> Done:
        """Have these embedded, batch by batch, until all are or something stands in the way."""
        total, sent = sum(each.vectors for each in chosen), 0
        with self.context.store.read() as connection:
            groups = list(self._groups(Texts(connection), chosen))
        for group in groups:
            self.context.progress("expediting", sent, total)
            batch = self._make(group)
            if batch is None or not self._carry_out(batch):
                break
            sent += batch.inputs
        self.context.progress("expediting", sent, total)
        return self.done

    def _groups(self, texts: Texts, chosen: Sequence[NeededEmbedding]) -> Iterator[list[NeededEmbedding]]:
        """In the order of the document, cut by what one request may hold."""
        limits = synchronous.limits(self.context)
        group, filling = list[NeededEmbedding](), Filling(limits)
        for each in chosen:
            found = texts.of_embedding(_wanted(each))
            if found is None:
                self.done.no_text += each.vectors
                continue
            size = sum(len(text.encode()) for text in found)
            if group and not filling.take(each.vectors, size, each.tokens):
                yield group
                group, filling = [], Filling(limits)
            if not group:  # the first always goes, else it could never be sent
                filling.take(each.vectors, size, min(each.tokens, limits.tokens))
            group.append(each)
        if group:
            yield group

    def _make(self, group: Sequence[NeededEmbedding]) -> BatchRow | None:
        """Put a batch on record, if budgets and disk allow it."""
        context = self.context
        if context.stopping.is_set():
            self.done.stopped = "It was asked to stop."
            return None
        rows, tokens = sum(each.vectors for each in group), sum(each.tokens for each in group)
        if not room_for(context, 4 * rows * (context.profile.width * 8 + 100)):
            self.done.stopped = "The disk is short of room: `voyage-jobs status` tells."
            return None
        in_flight = sum(each.state == PACKED for each in group)
        with context.store.write() as tx:
            allowance = budget.at_price(context, tx.connection, context.sync_price)
            over = allowance.tokens is not None and tokens > allowance.tokens
            if over or not allowance.take(self.order.source_id, tokens):
                self.done.stopped = "A budget does not allow more."
                return None
            members = [_wanted(each) for each in group]
            batch = synchronous.make(context, tx, members, self.order, in_flight=in_flight)
        crash_point("assemble.committed")
        context.log.info("batch.assembled", ref=batch.ref, inputs=rows, tokens_estimated=tokens)
        return batch

    def _carry_out(self, batch: BatchRow) -> bool:
        """Send one batch and take in its answer. True if the next may go."""
        context = self.context
        spool(context, batch)
        batch = self._now(batch)
        while batch.state is Batch.SPOOLED:
            error = synchronous.send(context, batch)
            batch = self._now(batch)
            if error is not None and not (batch.state is Batch.SPOOLED and self._waits(error)):
                self.done.stopped = error
                break
        if batch.state is Batch.SPOOLED:
            abandon(context, batch, "nothing was sent, and the order has ended")
        elif batch.state is Batch.ENDED:
            collect_one(context, batch, circuit.Calls(context))
            batch = self._now(batch)
            if batch.state is Batch.PARKED:  # the next results would be no better
                self.done.stopped = f"Its results are kept: {batch.reason}."
        return self.done.stopped is None

    def _now(self, batch: BatchRow) -> BatchRow:
        with self.context.store.read() as connection:
            return batches.get(connection, batch.id)

    def _waits(self, error: VendorError) -> bool:
        """Nothing was billed. True if the provider says when to come again, that is soon, and was waited for."""
        wait_s = error.retry_after_s
        if not isinstance(error, RateLimitedError) or wait_s is None:
            return False
        wait_s = max(1.0, wait_s)
        return self.done.waited_s + wait_s <= PATIENCE_S and self._wait(wait_s)

    def _wait(self, seconds: float) -> bool:
        """Wait, and be seen to be alive; False if asked to stop meanwhile."""
        self.done.waited_s += seconds
        clock = self.context.clock
        until = clock.mono() + seconds
        while (left := until - clock.mono()) > 0:
            self.context.progress("waiting, as the provider asked", int(seconds - left), int(seconds))
            if clock.wait(min(left, _LOOK_S), self.context.stopping):
                return False
        return True


def _wanted(each: NeededEmbedding) -> WantedEmbedding:
    return WantedEmbedding(
        each.id, each.key, each.vectors, each.tokens, each.version_id, each.start, each.end, each.section
    )


# --- after ---


def _show(context: Context, document: DocumentRow) -> None:
    """Let the table show it, and whatever else is ready."""
    for _ in range(_MOST_PUBLICATIONS):
        if context.stopping.is_set() or not circuit.may_pass(context, circuits.DISK):
            return
        with context.store.read() as connection:
            newest = orders.newest_content(connection, document.id)
        if newest is None or newest[0] is not Version.READY or not publish(context):
            return


def _told(
    context: Context, document: DocumentRow, order_ref: str, done: Done, *, interrupted: bool
) -> dict[str, object]:
    """The answer, from what is on record."""
    with context.store.read() as connection:
        made = orders.batches_of(connection, order_ref)
        lost = [batch for batch in made if orders.is_lost(connection, batch.id)]
        outcome = orders.outcome_of(connection, order_ref)
        needed = orders.needed(connection, document.id)
        newest = orders.newest_content(connection, document.id)
    answered = [batch for batch in made if batch.tokens_settled is not None]
    return {
        "source": document.source,
        "path": document.path,
        "order": order_ref,
        "interrupted": interrupted,
        "calls": outcome.requests,
        "expedited": {"texts": outcome.held, **_sum(answered)},
        "maybe_paid": {"texts": sum(batch.inputs for batch in lost), **_sum(lost)},
        "left": {**_left(needed), "without_text": done.no_text, "malformed": outcome.malformed},
        "stopped": _stopped(done, lost),
        "state": None if newest is None else str(newest[0]),
    }


def _sum(made: Sequence[BatchRow]) -> dict[str, Any]:
    """What these were billed, or may have been."""
    tokens = [each.tokens_estimated if each.tokens_settled is None else each.tokens_settled for each in made]
    dollars = [ledger.usd(n, batch.usd_per_million) for n, batch in zip(tokens, made, strict=True)]
    return {
        "tokens": sum(tokens),
        "usd": None if None in dollars else sum(each for each in dollars if each is not None),
    }


def _left(needed: Sequence[NeededEmbedding]) -> dict[str, Any]:
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
        "total": sum(each.vectors for each in needed if each.state != HELD),
    }


def _stopped(done: Done, lost: Sequence[BatchRow]) -> dict[str, Any] | None:
    """Why it did not go on, and what to do about it."""
    if isinstance(done.stopped, VoyageJobsError):
        code = "unknown" if lost else circuit.code_of(done.stopped)
        return {"code": code, "message": done.stopped.message, "hint": done.stopped.hint}
    if done.stopped is not None:
        return {"code": "stopped", "message": done.stopped, "hint": None}
    if lost:
        return {"code": "unknown", "message": lost[-1].reason, "hint": None}
    return None
