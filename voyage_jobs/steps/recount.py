"""recount: when another tokenizer comes (or goes), count again what waits to be sent, a bounded part at a time.

Texts are counted once, when they are found. What was sent before keeps its count: it is on the bill already. Nothing
is assembled in between, so that no reservation rests on two ways of counting.
"""

from __future__ import annotations

from voyage_jobs.state import backlog, counts
from voyage_jobs.state.counts import Counted
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.texts import Texts

SLICE = 1_000


def notice_tokenizer(context: Context) -> None:
    """Note by what tokens are counted from now on; if that changed, what waits is to be counted again."""
    count = context.count
    with context.store.read() as connection:
        before = counts.counted(connection)
        waiting = backlog.wanted_after(connection, context.profile_id, 0, 1)
    if before.signature == count.signature:
        return
    if count.flaw is None and count.exact:
        context.log.info("tokens.exact", file=str(count.path), counted_by=count.name)
    if count.flaw is not None:
        context.log.warning("tokens.estimated", error=count.flaw)
    after = before.recount_after if before.by == count.name else 0 if waiting else None
    with context.store.write() as tx:
        counts.note(tx, Counted(count.name, count.signature, after))


def recount(context: Context) -> bool:
    """Count the next part. True if there was any."""
    with context.store.read() as connection:
        after = counts.counted(connection).recount_after
        if after is None:
            return False
        part = backlog.wanted_after(connection, context.profile_id, after, SLICE)
        texts = Texts(connection)
        found = [(each.id, text) for each in part if (text := texts.of_embedding(each)) is not None]
    tokens = iter(context.count([text for _, several in found for text in several]))
    counted = [(key, [next(tokens) for _ in several]) for key, several in found]
    with context.store.write() as tx:
        counts.recount(tx, counted)
        counts.advance(tx, part[-1].id if part else None)
    context.progress("counting tokens", len(counted), None)
    return True
