"""`history`: find what a word means (document, chunk, batch, embedding) and tell its story."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from voyage_jobs.config.sections import SourceSettings
from voyage_jobs.config.settings import Settings
from voyage_jobs.errors import ConfigError
from voyage_jobs.profile import KEY_BYTES
from voyage_jobs.report import batch_story, document_story
from voyage_jobs.report.story import Story
from voyage_jobs.sources import names
from voyage_jobs.sources.rules import PathRules
from voyage_jobs.store import batches, documents, story
from voyage_jobs.store.batches import BatchRow
from voyage_jobs.store.documents import DocumentRow
from voyage_jobs.store.store import ReadOnlyStore
from voyage_jobs.store.story import View

_KEY = re.compile(rf"([0-9a-f]{{{2 * KEY_BYTES}}})(?:/(\d+))?")
_CHUNK = re.compile(r"([0-9a-f]{16})-(\d+)-[0-9a-f]{16}")
_SHORTEST_REF = 4
_SHOWN = 5


def history(settings: Settings, word: str, source: str | None = None) -> Story:
    """The story of what `word` means; `source` narrows paths down to one source.

    `word` is a command-line argument: a path (relative to a source, `SOURCE:PATH`, or absolute), a chunk_id, a
    batch's ref, the beginning of one, the vendor's id of a job, or an embedding key. Raises `ConfigError` if it means
    nothing, or more than one thing; `StateError` if there is no state.
    """
    with ReadOnlyStore(settings.paths.state_db).read() as connection:
        told = _by_id(connection, word)
        if told is not None:
            return told
        found_documents = list(_documents(connection, settings, word, source))
        found_batches = _batches(connection, word) if source is None else []
        if len(found_documents) + len(found_batches) > 1:
            raise _ambiguous(word, found_documents, found_batches)
        if found_documents:
            return document_story.tell(connection, found_documents[0])
        if found_batches:
            return batch_story.tell_batch(connection, found_batches[0])
        raise _unknown(connection, settings, word, source)


def _by_id(connection: View, word: str) -> Story | None:
    """Embedding keys and chunk ids have forms of their own."""
    if match := _KEY.fullmatch(word):
        found = story.embedding(connection, bytes.fromhex(match[1]))
        if found is not None:
            slot = int(match[2]) if match[2] is not None else None
            return batch_story.tell_embedding(connection, found, slot)
    if match := _CHUNK.fullmatch(word):
        document = documents.by_key(connection, bytes.fromhex(match[1]))
        if document is not None:
            return batch_story.tell_chunk(connection, document, int(match[2]), word)
    return None


def _documents(connection: View, settings: Settings, word: str, source: str | None) -> Iterator[DocumentRow]:
    for name, path in readings(settings, word, source):
        yield from documents.find(connection, name, path)


def readings(settings: Settings, word: str, source: str | None) -> list[tuple[str | None, str]]:
    """The (source, path) pairs that a word may mean; None is any source. An absolute path is only that."""
    path = names.from_argument(word)
    if path.startswith("/"):
        return [
            (each.name, inside)
            for each in settings.sources
            if source in (None, each.name) and (inside := _inside(each, path)) is not None
        ]
    relative = path.removeprefix("./").rstrip("/")
    found: list[tuple[str | None, str]] = [(source, relative)]
    head, colon, rest = path.partition(":")
    if colon and source is None and rest:
        found.append((head, rest))
    return found


def _inside(source: SourceSettings, path: str) -> str | None:
    root = names.encode(os.fsencode(source.path)).rstrip("/") + "/"
    plain = os.path.normpath(path)
    return plain.removeprefix(root) if plain.startswith(root) else None


def _batches(connection: View, word: str) -> list[BatchRow]:
    return batches.find(connection, word) if len(word) >= _SHORTEST_REF and word.isascii() else []


def _ambiguous(word: str, found: list[DocumentRow], of_batches: list[BatchRow]) -> ConfigError:
    meant = [f"{each.source}:{names.display(each.path)}" for each in found]
    meant += [f"batch {each.ref}" for each in of_batches]
    shown = ", ".join(meant[:_SHOWN]) + (f", and {len(meant) - _SHOWN} more" if len(meant) > _SHOWN else "")
    return ConfigError(
        f"{names.display(names.from_argument(word))} may mean {len(meant)} things: {shown}.",
        hint="Write SOURCE:PATH or --source for a document, more of the ref for a batch.",
    )


def _unknown(connection: View, settings: Settings, word: str, source: str | None) -> ConfigError:
    shown = names.display(names.from_argument(word))
    if source is not None and source not in {each.name for each in settings.sources}:
        return ConfigError(f"There is no source {source!r} in the configuration.")
    for name, path in readings(settings, word, source):
        for each in settings.sources:
            if name in (None, each.name) and os.path.lexists(
                os.path.join(each.path, os.fsdecode(names.decode(path)))
            ):
                return _on_disk_only(each, path)
    named = story.named(connection, names.from_argument(word).rpartition("/")[2], _SHOWN)
    if named:
        near = ", ".join(f"{s}:{names.display(p)}" for s, p in named)
        return ConfigError(f"Nothing here is called {shown}.", hint=f"Did you mean {near}?")
    return ConfigError(
        f"Nothing here is called {shown}.",
        hint="It may be a document's path, a chunk_id, a batch's ref, Voyage's id of a job, or an embedding key.",
    )


def _on_disk_only(source: SourceSettings, path: str) -> ConfigError:
    """A file that is there, and that the state has never heard of."""
    where = f"{names.display(path)} is on disk in source {source.name}"
    if (source.path / os.fsdecode(names.decode(path))).is_dir():
        return ConfigError(f"{where}, and is a folder.", hint="Name a file in it.")
    if not PathRules(source.include, source.exclude, source.hidden).keeps(path):
        return ConfigError(
            f"{where}, but its include and exclude rules do not take it.",
            hint="Change include, exclude or hidden of that source, then `voyage-jobs sync`.",
        )
    return ConfigError(f"{where}, but no scan has seen it yet.", hint="`voyage-jobs sync` scans it.")
