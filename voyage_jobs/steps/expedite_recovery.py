"""Synchronous calls whose outcome is not on record: the process that made them died, or could not write it down.

Where the answer became a pack, nothing is lost: its vectors are held, and it says itself what was billed. Where there
is no pack, nobody can tell whether the vendor answered: the call counts as maybe paid, its texts are wanted as before.
"""

from __future__ import annotations

from voyage_jobs import usage
from voyage_jobs.errors import CorruptionError
from voyage_jobs.segments import AdoptedPack
from voyage_jobs.segments.format import pack_name
from voyage_jobs.state import batches, calls, sources
from voyage_jobs.state.calls import Answered, CallRow
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.recover_packs import embeddings_in
from voyage_jobs.vendors.base import most_tokens


def settle_open_calls(context: Context) -> None:
    """Give every open call its end. For the process that holds the lock, before anything is sent."""
    with context.store.read() as connection:
        left = calls.open_calls(connection)
    for call in left:
        found = _pack_of(context, call)
        if found is None:
            with context.store.write() as tx:
                calls.unknown(tx, call, "its answer was lost when the process ended")
            context.log.error("call.unknown", ref=call.ref, inputs=call.inputs)
        else:
            _take_in(context, call, found)


def _pack_of(context: Context, call: CallRow) -> AdoptedPack | None:
    with context.store.read() as connection:
        profile = sources.load_profile(connection, call.profile_id)
    name = pack_name(profile.fingerprint, call.ref)
    if not context.packs.path(name).exists():
        return None
    try:
        return context.packs.adopt_one(name)
    except CorruptionError as exc:
        context.packs.set_aside(name)
        context.log.error("pack.damaged", pack=name, error=exc.message)  # noqa: TRY400 - told, not a bug
        return None


def _take_in(context: Context, call: CallRow, found: AdoptedPack) -> None:
    rows = {each.key: each.row for each in embeddings_in(found.reader)}
    most = most_tokens(context.vendor.find(found.reader.profile.model))
    reported = usage.plausible(found.reader.billed_tokens, most)
    billed = usage.billed(reported, call.tokens_estimated)
    written = found.written
    with context.store.write() as tx:
        asked = calls.asked_by(tx.connection, call.id)
        lines = [
            Answered(
                line,
                each.embedding_id,
                rows.get(each.key),
                None if each.key in rows else "not in the pack of its call",
            )
            for line, each in enumerate(asked)
        ]
        pack_id = batches.add_pack(
            tx, written.name, call.profile_id, None, written.rows, written.bytes, written.sha256
        )
        calls.answered(tx, call, pack_id, lines, billed, f"{len(rows)} held, found in its pack")
    context.log.info("call.recovered", ref=call.ref, held=len(rows), tokens=billed.tokens)
    if billed.assumed:
        context.log.warning("usage.assumed", ref=call.ref, lines=len(lines), tokens=billed.tokens)
