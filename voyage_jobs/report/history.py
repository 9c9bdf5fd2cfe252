"""`history`: find what a word means (document, chunk, batch, embedding) and tell its story."""

from __future__ import annotations

from voyage_jobs.clock import iso
from voyage_jobs.config.settings import Settings
from voyage_jobs.errors import ConfigError
from voyage_jobs.report import batch_story, call_story, document_story, why_file
from voyage_jobs.report.find import ChunkRef, EmbeddingRef, Meaning, OnDisk, find
from voyage_jobs.report.story import Story
from voyage_jobs.state import notes
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.calls import CallRow
from voyage_jobs.state.door import open_state
from voyage_jobs.state.story import View


def history(settings: Settings, word: str, source: str | None = None) -> Story:
    """The story of what `word` means; `source` narrows paths down to one source.

    `word` is a command-line argument: a path (relative to a source, `SOURCE:PATH`, or absolute), a chunk_id, a
    batch's ref, the vendor's id of a job, an embedding key, the beginning of a ref or key, or a call's ref. Raises
    `ConfigError` if it means nothing, or more than one thing; `StateError` if there is no state.
    """
    with open_state(settings).read() as connection:
        return tell(connection, settings, find(connection, settings, word, source))


def acts(settings: Settings, most: int) -> list[dict[str, object]]:
    """What people asked for on the command line, newest first: who, when, what, and what came of it.

    Raises `StateError` if there is no state.
    """
    with open_state(settings).read() as connection:
        found = notes.acts(connection, most)
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


def tell(connection: View, settings: Settings, meaning: Meaning) -> Story:
    """The story of one thing. Raises `ConfigError` for what the state has never heard of, with the reason."""
    if isinstance(meaning, OnDisk):
        unseen = why_file.unseen(connection, settings, meaning)
        raise ConfigError(unseen.text, hint=unseen.next)
    if isinstance(meaning, CallRow):
        return call_story.tell_call(connection, meaning)
    if isinstance(meaning, EmbeddingRef):
        return batch_story.tell_embedding(connection, meaning.embedding, meaning.slot)
    if isinstance(meaning, ChunkRef):
        return batch_story.tell_chunk(connection, meaning.document, meaning.ordinal, meaning.word)
    if isinstance(meaning, BatchRow):
        return batch_story.tell_batch(connection, meaning)
    return document_story.tell(connection, meaning)
