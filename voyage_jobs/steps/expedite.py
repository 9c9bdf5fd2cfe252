"""expedite: embed what a document lacks at once, by synchronous calls at the full price.

A call is billed when it is answered, and leaves no trace that could be looked up. So each is on record, with its texts
and its reservation, before it is sent; they go out one at a time, bounded in size; the answer becomes a pack before its
outcome is recorded. A call whose outcome nobody knows (timeout, cut connection, 5xx, our own death) is booked as maybe
paid, and is not repeated: its texts wait for the next batch, or for the person who asks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from voyage_jobs import usage
from voyage_jobs.clock import now_us
from voyage_jobs.config.provider import request_params
from voyage_jobs.crash import crash_point
from voyage_jobs.errors import (
    BadAnswerError,
    DiskFullError,
    OutcomeUnknownError,
    RateLimitedError,
    VendorError,
)
from voyage_jobs.profile import Profile
from voyage_jobs.segments import Billed, WrittenPack
from voyage_jobs.state import batches, calls, sources
from voyage_jobs.state.calls import Answered, Asked, CallRow, NeededEmbedding, Order
from voyage_jobs.state.embeddings import WantedEmbedding
from voyage_jobs.steps import budget
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import room_for
from voyage_jobs.steps.expedite_recovery import settle_open_calls
from voyage_jobs.steps.filling import Filling, Limits
from voyage_jobs.steps.texts import Texts
from voyage_jobs.vendors.base import Answer, Wanted

# A lost answer costs what was in its call: far below the vendor's cap of 1,000 texts.
MOST_INPUTS = 128
MOST_TOKENS = 120_000
MOST_BYTES = 8 * 1024 * 1024
PATIENCE_S = 60.0
"""How long one command waits, all told, where the vendor says after what time to come again."""
_LOOK_S = 5.0


@dataclass
class Done:
    """What a command came to, in texts. `stopped` is why it did not go on."""

    held: int = 0
    malformed: int = 0
    unknown: int = 0
    no_text: int = 0
    stopped: VendorError | str | None = None
    waited_s: float = 0.0


@dataclass(frozen=True)
class _Request:
    """One embedding to be asked for, with its texts."""

    asked: Asked
    texts: Sequence[str]

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.asked.key.hex(), self.texts)


@dataclass
class Expedition:
    """The calls of one command."""

    context: Context
    order: Order
    done: Done = field(default_factory=Done)

    def run(self, chosen: Sequence[NeededEmbedding]) -> Done:
        """Have these embedded, call by call, until all are or something stands in the way."""
        total = sum(each.vectors for each in chosen)
        for group in self._groups(chosen):
            self.context.progress("expediting", self.done.held, total)
            while self._call(group):
                pass
            if self.done.stopped is not None:
                break
        self.context.progress("expediting", self.done.held, total)
        return self.done

    def _groups(self, chosen: Sequence[NeededEmbedding]) -> Iterator[list[_Request]]:
        """Requests in the order of the document, cut by what one call may hold."""
        known = self.context.vendor.find(self.context.profile.model)
        cap = min(MOST_TOKENS, (known and known.line_tokens) or MOST_TOKENS)
        limits = Limits(MOST_INPUTS, MOST_BYTES, cap)
        texts, group, filling = Texts(self.context.store), list[_Request](), Filling(limits)
        for each in chosen:
            found = texts.of_embedding(
                WantedEmbedding(
                    each.id, each.key, each.vectors, each.tokens, each.version_id, each.start, each.end
                )
            )
            if found is None:
                self.done.no_text += each.vectors
                continue
            size = sum(len(text.encode()) for text in found)
            if group and not filling.take(each.vectors, size, each.tokens):
                yield group
                group, filling = [], Filling(limits)
            if not group:  # the first always goes, else it could never be sent
                filling.take(each.vectors, size, min(each.tokens, cap))
            asked = Asked(each.id, each.key, each.vectors, each.tokens, each.batch_id)
            group.append(_Request(asked, found))
        if group:
            yield group

    # --- one call ---

    def _call(self, group: Sequence[_Request]) -> bool:
        """Make one call and take in its answer. True if it is to be made once more."""
        context = self.context
        if context.stopping.is_set():
            self.done.stopped = "It was asked to stop."
            return False
        call = self._begin(group)
        if call is None:
            return False
        profile = context.profile
        wanted = [request.wanted for request in group]
        try:
            answer = context.client.embed_now(wanted, request_params(context.settings), profile)
            crash_point("expedite.answered")
            self._take_in(call, group, context.vendor.read_answer(answer, wanted, profile))
        except (OutcomeUnknownError, BadAnswerError) as exc:
            self._lose(call, exc)
        except VendorError as exc:
            return self._refused(call, exc)
        except DiskFullError:
            settle_open_calls(
                context
            )  # the answer is paid; if not even this can be noted, the next start does it
            raise
        return False

    def _begin(self, group: Sequence[_Request]) -> CallRow | None:
        """Put the call on record, if budgets and disk allow it."""
        context, asked = self.context, [request.asked for request in group]
        rows = sum(each.vectors for each in asked)
        if not room_for(context, 2 * rows * (context.profile.width * 8 + 100)):
            self.done.stopped = "The disk is short of room: `voyage-jobs status` tells."
            return None
        tokens, ref = sum(each.tokens for each in asked), context.clock.token()
        with context.store.write() as tx:
            allowance = budget.at_price(context, tx.connection, context.sync_price)
            over = allowance.tokens is not None and tokens > allowance.tokens
            if over or not allowance.take(self.order.source_id, tokens):
                self.done.stopped = "A budget does not allow more."
                return None
            call = calls.begin(tx, ref, self.order, context.profile_id, asked, context.sync_price)
        crash_point("expedite.reserved")
        return call

    def _take_in(self, call: CallRow, group: Sequence[_Request], answer: Answer) -> None:
        """The pack first, then everything about the call in one transaction."""
        context = self.context
        billed = usage.billed(answer.tokens, call.tokens_estimated)
        rows, written = _write_pack(context, call, answer, billed.tokens)
        crash_point("expedite.packed")
        lines = [
            Answered(
                line, request.asked.embedding_id, rows.get(request.wanted.custom_id), _flaw(request, answer)
            )
            for line, request in enumerate(group)
        ]
        held = sum(r.asked.vectors for r in group if r.wanted.custom_id in rows)
        bad = call.inputs - held
        cause = f"{held} held" + (f", {bad} answered with something that is not a vector" if bad else "")
        with context.store.write() as tx:
            pack_id = None
            if written is not None:
                name, count = written.name, written.rows
                pack_id = batches.add_pack(
                    tx, name, context.profile_id, None, count, written.bytes, written.sha256
                )
            calls.answered(tx, call, pack_id, lines, billed, cause)
        crash_point("expedite.committed")
        self.done.held += held
        self.done.malformed += bad
        context.log.info("call.answered", ref=call.ref, held=held, malformed=bad, tokens=billed.tokens)
        if billed.assumed:
            context.log.warning("usage.assumed", ref=call.ref, lines=len(group), tokens=billed.tokens)

    def _lose(self, call: CallRow, error: VendorError) -> None:
        with self.context.store.write() as tx:
            calls.unknown(tx, call, error.message)
        self.done.unknown += call.inputs
        self.done.stopped = error
        self.context.log.error("call.unknown", ref=call.ref, inputs=call.inputs, error=error.message)

    def _refused(self, call: CallRow, error: VendorError) -> bool:
        """Nothing was billed. True if the vendor says when to come again, and that is soon."""
        with self.context.store.write() as tx:
            calls.not_happened(tx, call, error.message)
        self.context.log.warning("call.refused", ref=call.ref, error=error.message)
        wait_s = error.retry_after_s
        if isinstance(error, RateLimitedError) and wait_s is not None:
            wait_s = max(1.0, wait_s)
            if self.done.waited_s + wait_s <= PATIENCE_S and self._wait(wait_s):
                return True
        self.done.stopped = error
        return False

    def _wait(self, seconds: float) -> bool:
        """Wait, and be seen to be alive; False if asked to stop meanwhile."""
        self.done.waited_s += seconds
        clock = self.context.clock
        until = clock.mono() + seconds
        while (left := until - clock.mono()) > 0:
            self.context.progress("waiting, as the vendor asked", int(seconds - left), int(seconds))
            if clock.wait(min(left, _LOOK_S), self.context.stopping):
                return False
        return True


def _flaw(request: _Request, answer: Answer) -> str | None:
    problem = answer.problems.get(request.wanted.custom_id)
    return None if problem is None else problem.code


def _write_pack(
    context: Context, call: CallRow, answer: Answer, tokens: int
) -> tuple[dict[str, int], WrittenPack | None]:
    """Where each embedding begins in the pack, and the pack; None if the answer holds no sound vector."""
    rows: dict[str, int] = {}
    at = 0
    with context.store.read() as connection:
        profile: Profile = sources.load_profile(connection, call.profile_id)
    with context.packs.writer(profile, call.ref, answer.tokens) as writer:
        for block in answer.blocks:
            for custom_id, count in zip(block.custom_ids, block.counts, strict=True):
                rows[custom_id] = at
                at += count
            if block.custom_ids:
                writer.append(block.keys(), block.slots(), block.vectors)
        return rows, writer.close(Billed(tokens, now_us(context.clock))) if rows else None
