"""`history`: find what a word means (document, chunk, batch, embedding) and say what happened to it."""

from __future__ import annotations

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, iso, now_us
from voyage_jobs.errors import ConfigError
from voyage_jobs.explain.batch import of_batch, of_embedding
from voyage_jobs.explain.document import of_chunk, of_document
from voyage_jobs.explain.record import History
from voyage_jobs.report import why_file
from voyage_jobs.report.find import ChunkRef, EmbeddingRef, Meaning, OnDisk, find
from voyage_jobs.state import meta
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.door import open_state
from voyage_jobs.state.history import View


def history(
    settings: Settings, clock: Clock, word: str, source: str | None = None, *, disk: bool = True
) -> History:
    """The history of what `word` means; `source` narrows paths down to one source. Unless `disk`, a file that the state
    does not know is unknown, whether it is there or not.

    `word` is a command-line argument: a path (relative to a source, `SOURCE:PATH`, or absolute), a chunk_id, a
    batch's ref, the provider's id of a job, an embedding key, or the beginning of a ref or key. Raises `ConfigError`
    if it means nothing, or more than one thing; `StateError` if there is no state.
    """
    with open_state(settings).read() as connection:
        found = _describe(connection, settings, find(connection, settings, word, source, disk=disk))
    found.as_of = now_us(clock)
    return found


def _describe(connection: View, settings: Settings, meaning: Meaning) -> History:
    """The history of one thing. Raises `ConfigError` for what the state has never heard of, with the reason."""
    if isinstance(meaning, OnDisk):
        unseen = why_file.unseen(connection, settings, meaning)
        raise ConfigError(unseen.text, hint=unseen.next)
    if isinstance(meaning, BatchRow):
        return of_batch(connection, meaning)
    if isinstance(meaning, ChunkRef):
        return of_chunk(connection, settings, meaning)
    if isinstance(meaning, EmbeddingRef):
        return of_embedding(connection, meaning)
    return of_document(connection, settings, meaning)


def acts(settings: Settings, most: int) -> list[dict[str, object]]:
    """What operators asked for on the command line, newest first: who, when, what, and what came of it.

    Raises `StateError` if there is no state.
    """
    with open_state(settings).read() as connection:
        found = meta.acts(connection, most)
    return [
        {
            "asked_at": iso(act.asked_at),
            "done_at": iso(act.done_at),
            "who": act.who,
            "command": act.command,
            "arguments": act.arguments,
            "result": act.result,
        }
        for act in found
    ]
