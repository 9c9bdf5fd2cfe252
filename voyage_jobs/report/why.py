"""`why`: whether something is in the table, and if not, exactly why not and what to do. One paragraph."""

from __future__ import annotations

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, now_us
from voyage_jobs.diagnosis.snapshot import moment
from voyage_jobs.errors import StateError
from voyage_jobs.report import why_batch, why_chunk, why_document, why_file
from voyage_jobs.report.answer import Answer
from voyage_jobs.report.find import ChunkRef, EmbeddingRef, Meaning, OnDisk, find, on_disk
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.door import open_state
from voyage_jobs.state.history import View


def why(settings: Settings, clock: Clock, word: str, source: str | None = None) -> Answer:
    """The answer for what `word` means (see `find`).

    Raises `ConfigError` if it means nothing, or more than one thing; `StateError` if the state cannot be read.
    """
    try:
        with open_state(settings).read() as connection:
            meaning = find(connection, settings, word, source)
            return _answer(connection, settings, now_us(clock), meaning)
    except StateError:
        found = [] if open_state(settings).exists() else on_disk(settings, word, source)
        if not found:
            raise
        return _file(None, settings, found[0])


def _answer(connection: View, settings: Settings, now: int, meaning: Meaning) -> Answer:
    if isinstance(meaning, OnDisk):
        return _file(connection, settings, meaning)
    here = moment(connection, settings, now)
    if isinstance(meaning, BatchRow):
        return why_batch.batch(connection, here, meaning)
    if isinstance(meaning, EmbeddingRef):
        return why_batch.embedding(connection, here, meaning)
    if isinstance(meaning, ChunkRef):
        return why_chunk.chunk(connection, here, meaning)
    return why_document.document(connection, here, meaning)


def _file(connection: View | None, settings: Settings, file: OnDisk) -> Answer:
    unseen = why_file.unseen(connection, settings, file)
    folder = unseen.code == "folder"
    kind = "folder" if folder else "file"
    next_ = unseen.next or "Nothing to do."
    return Answer(
        kind, file.path, unseen.code, None if folder else False, unseen.text, next_, facts={"path": file.path}
    )
