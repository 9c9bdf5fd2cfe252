"""The notifier: looks now and then which facts hold, notes those that are new, and has them delivered.

    look    facts that hold, against those that were told: new ones become a notice, over ones end   (one transaction)
    hand    what is due goes to the delivery, whose threads deliver
    settle  what came back is noted: taken, to be tried again, or given up

Notes are in the state before anything is sent, so a restart neither repeats what was taken nor loses what was not.
Dying between a delivery and its note repeats that one message, with the same id.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

import orjson

from voyage_jobs.config.settings import Settings
from voyage_jobs.core import retry
from voyage_jobs.core.clock import US, Clock, now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.notify import facts
from voyage_jobs.notify.delivery import Delivered, Delivery
from voyage_jobs.notify.events import Fact
from voyage_jobs.notify.heartbeat import Heartbeat
from voyage_jobs.notify.message import message
from voyage_jobs.notify.sinks import CommandSink, Sink, WebhookSink
from voyage_jobs.state import meta, notices
from voyage_jobs.state.open_work import Mark, OpenWork, mark, open_work, work_since
from voyage_jobs.state.store import Tx
from voyage_jobs.steps.context import Context

LOOK_S = 30.0
GIVE_UP_S = 86_400.0
MOST_WAITING = 100  # for one sink; beyond that the oldest are given up
KEEP_S = 30 * 86_400.0
GROWN = 10
_POLL_S = 0.1


def sinks_of(settings: Settings, clock: Clock) -> dict[str, Sink]:
    """Where messages go."""
    wanted = settings.notify
    found: list[Sink] = []
    if wanted.command:
        found.append(CommandSink(wanted.command, wanted.timeout_s))
    if wanted.webhook:
        found.append(WebhookSink(wanted.webhook, settings.notify_secret, wanted.timeout_s, clock))
    return {sink.name: sink for sink in found}


class Notifier:
    """One for the life of a process; it does nothing while the settings name no sink."""

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context = context
        self._delivery = delivery
        self._under_way: set[tuple[int, str]] = set()
        self._look_at = -math.inf
        self.heartbeat = Heartbeat(context, delivery)

    def turn(self) -> None:
        """What is to be done now; takes no longer than a few questions to the state."""
        self._settle(self._delivery.take())
        now = self._context.clock.mono()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self.look()
            self._hand()
        elif self.active:
            self._hand()

    @property
    def active(self) -> bool:
        """Whether the settings name anybody who is to be told."""
        return bool(self._sinks() or self._context.settings.notify.ping)

    def _sinks(self) -> dict[str, Sink]:
        return sinks_of(self._context.settings, self._context.clock)

    @property
    def _busy(self) -> set[str]:
        """The sinks that are being handed something. Each gets one at a time: what waits for it can be given up."""
        return {sink for _, sink in self._under_way}

    def due_s(self) -> float:
        """How long until the next look or delivery that is due."""
        if not self.active:
            return math.inf
        now = self._context.clock.mono()
        with self._context.store.read() as connection:
            waiting = notices.waiting(connection)
        due = [
            (each.due_at - now_us(self._context.clock)) / US
            for each in waiting
            if each.sink not in self._busy
        ]
        return max(0.0, min([self._look_at - now, self.heartbeat.due_s(), *due]))

    def finish(self, patience_s: float) -> None:
        """Look once more, and give what is in flight so much time to be delivered; what is not stays noted."""
        context = self._context
        self.look()
        self._hand()
        until = context.clock.mono() + patience_s
        while (self._under_way or self.heartbeat.under_way) and context.clock.mono() < until:
            context.clock.wait(_POLL_S)
            self._settle(self._delivery.take())
            self._hand()  # of each sink, and of the health check, the next waits for the one before it

    # --- look ---

    def look(self) -> None:
        """Compare what holds with what was told."""
        context = self._context
        wanted = context.settings.notify
        sinks = list(self._sinks())
        if not sinks and not wanted.ping:
            return
        with context.store.read() as connection:
            now = now_us(context.clock)
            found = list(facts.last_errors(context, connection))
            known = {(each.event, each.key): each for each in notices.open_notices(connection)}
            rest = open_work(connection, context.profile_id, now)
            up_to = meta.get(connection, meta.TOLD_UP_TO)
            here = mark(connection)
        self.heartbeat.see(found)
        if not sinks:
            return
        self._note_work(rest, up_to, here, sinks)
        self._note_facts([fact for fact in found if fact.event in wanted.events], known, sinks)

    def _note_facts(
        self, found: list[Fact], known: Mapping[tuple[str, str], notices.OpenNotice], sinks: list[str]
    ) -> None:
        held = {(fact.event, fact.key) for fact in found}
        over = [each for key, each in known.items() if key not in held]
        new = [fact for fact in found if _is_news(fact, known.get((fact.event, fact.key)))]
        if not over and not new:
            return
        with self._context.store.write() as tx:
            for each in over:
                notices.end(tx, each.id)
            for fact in new:
                before = known.get((fact.event, fact.key))
                if before is not None:
                    notices.end(tx, before.id)
                self._tell(tx, fact, sinks, over=False)
            notices.forget(tx, tx.now - int(KEEP_S * US))
        crash_point("notice.committed")
        self._say(new)

    def _note_work(self, rest: OpenWork, known: str | None, here: Mark, sinks: list[str]) -> None:
        """At rest, what was done since people were last told of an end of work is told, whichever process did it."""
        body = orjson.dumps(asdict(here)).decode()
        busy = rest.wanted or rest.ready or rest.retiring or rest.open_batches or rest.claiming
        if known is None:
            with self._context.store.write() as tx:
                meta.put(tx, meta.TOLD_UP_TO, body)
        elif known != body and not busy:
            self._note_end(Mark(**orjson.loads(known)), body, sinks)

    def _note_end(self, then: Mark, body: str, sinks: list[str]) -> None:
        fact = None
        with self._context.store.write() as tx:
            meta.put(tx, meta.TOLD_UP_TO, body)
            work = work_since(tx.connection, then)
            worth_it = work.documents_published or work.documents_removed or work.batches_collected
            if worth_it and "finished" in self._context.settings.notify.events:
                fact = facts.finished(work)
                self._tell(tx, fact, sinks, over=True)
        if fact is not None:
            crash_point("notice.committed")
            self._say([fact])

    def _tell(self, tx: Tx, fact: Fact, sinks: list[str], *, over: bool) -> None:
        token = self._context.clock.token()
        notices.tell(
            tx,
            sinks,
            token=token,
            event=fact.event,
            key=fact.key,
            size=fact.size,
            ref=fact.ref,
            body=message(fact, token, tx.now, self._context.settings),
            over=over,
        )

    def _say(self, known: list[Fact]) -> None:
        for fact in known:
            self._context.log.info(
                "notice.told", about=fact.event, key=fact.key, ref=fact.ref, source=fact.source
            )

    # --- hand and settle ---

    def _hand(self) -> None:
        context = self._context
        sinks = self._sinks()
        self.heartbeat.turn()
        with context.store.read() as connection:
            waiting = notices.waiting(connection)
        now = now_us(context.clock)
        left, kept = Counter(self._busy), []
        for each in reversed(waiting):
            if (each.notice_id, each.sink) in self._under_way:
                continue
            left[each.sink] += 1
            if each.sink not in sinks:
                self._give_up(each, "it is no longer in the settings")
            elif left[each.sink] > MOST_WAITING:
                self._give_up(each, each.error or f"more than {MOST_WAITING} messages wait")
            else:
                kept.append(each)
        for each in reversed(kept):
            if each.sink not in self._busy and each.due_at <= now:
                self._under_way.add((each.notice_id, each.sink))
                self._delivery.hand(sinks[each.sink], each, each.body)

    def _settle(self, delivered: list[Delivered]) -> None:
        for each in delivered:
            if not isinstance(each.job, notices.Waiting):
                self.heartbeat.delivered(each)
                continue
            self._under_way.discard((each.job.notice_id, each.job.sink))
            crash_point("notice.delivered")
            if each.error is None:
                with self._context.store.write() as tx:
                    notices.settle(tx, each.job.notice_id, each.sink, None)
            else:
                self._failed(each.job, each.error)
            crash_point("notice.settled")

    def _failed(self, job: notices.Waiting, error: str) -> None:
        context = self._context
        failures = job.failures + 1
        if now_us(context.clock) - job.at >= GIVE_UP_S * US:
            self._give_up(job, error)
            return
        wait_s = retry.wait_s("notice", failures, context.clock)
        with context.store.write() as tx:
            due_at = tx.now + int(wait_s * US)
            notices.put_off(tx, job.notice_id, job.sink, due_at, failures, error)
        context.log.warning(
            "notice.put_off",
            sink=job.sink,
            about=job.event,
            failures=failures,
            wait_s=round(wait_s),
            error=error,
        )

    def _give_up(self, job: notices.Waiting, error: str) -> None:
        with self._context.store.write() as tx:
            notices.settle(tx, job.notice_id, job.sink, error)
        self._context.log.error("notice.given_up", sink=job.sink, about=job.event, error=error)


def _is_news(fact: Fact, known: notices.OpenNotice | None) -> bool:
    if known is None:
        return True
    return fact.size is not None and known.size is not None and fact.size >= GROWN * known.size
