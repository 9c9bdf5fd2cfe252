"""A window that the provider refuses is cut in two: each half is asked for by itself."""

from __future__ import annotations

from voyage_jobs.splitting.header import embedded
from voyage_jobs.state import texts as version_texts
from voyage_jobs.state import versions
from voyage_jobs.state.store import Tx
from voyage_jobs.steps.context import Context


def split_window(context: Context, tx: Tx, embedding_id: int) -> int:
    """Let every live version under the active profile ask for two halves in place of this window; how many did.

    A version whose text the state let go of keeps the failed window: its next scan makes it again.
    """
    if not context.profile.contextualized:
        return 0  # a query and what is scored for it belong together
    done = 0
    for version_id in versions.using(tx.connection, embedding_id, context.profile_id):
        text = version_texts.text_of(tx.connection, version_id)
        chunks = versions.window_of(tx.connection, version_id, embedding_id)
        if text is None or len(chunks) < 2:
            continue
        headers = version_texts.headers_of(tx.connection, version_id)
        middle = len(chunks) // 2
        for half in (chunks[:middle], chunks[middle:]):
            key = context.keys.key([embedded(text, c.start, c.end, headers, c.section) for c in half])
            tokens = sum(chunk.tokens for chunk in half)
            versions.ask_anew(tx, context.profile_id, version_id, half, key, tokens)
        versions.recount(tx, version_id, version_id)
        done += 1
    return done
