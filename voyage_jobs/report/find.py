"""What a word on the command line means: a document, a chunk, a batch, an embedding, or something on the disk only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.profile import KEY_BYTES
from voyage_jobs.errors import ConfigError
from voyage_jobs.records.recipe import name_in
from voyage_jobs.sources import names
from voyage_jobs.state import batches, documents, history
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.documents import DocumentRow
from voyage_jobs.state.history import EmbeddingHistory, View

_KEY = re.compile(rf"([0-9a-f]{{4,{2 * KEY_BYTES}}})(?:/(\d+))?")
_CHUNK = re.compile(r"([0-9a-f]{16})-(\d+)-[0-9a-f]{16}")
_SHORTEST_REF = 4
_SHOWN = 5
_LONGEST = 10_000  # a path has 4,096 bytes at most, and a record its id on top


@dataclass(frozen=True)
class EmbeddingRef:
    """An embedding; `slot` names one vector of a window."""

    embedding: EmbeddingHistory
    slot: int | None


@dataclass(frozen=True)
class ChunkRef:
    """A chunk by its id; the text that the id was made of may be another now."""

    document: DocumentRow
    ordinal: int
    word: str


@dataclass(frozen=True)
class OnDisk:
    """Something on the disk that the state does not know. `path` is absolute and encoded; `source` may be none."""

    path: str
    source: SourceSettings | None
    inside: str


Meaning = DocumentRow | BatchRow | EmbeddingRef | ChunkRef | OnDisk


def demand_word(word: str) -> None:
    """Raise `ConfigError` for what can be the name of nothing: too long, or no text."""
    if len(word) > _LONGEST:
        raise ConfigError(f"A name of {len(word):,} characters is longer than any can be ({_LONGEST:,}).")
    try:
        os.fsencode(word)
    except UnicodeEncodeError:
        raise ConfigError(f"{word!a} is no text, so it is the name of nothing.") from None


def find(
    connection: View, settings: Settings, word: str, source: str | None = None, *, disk: bool = True
) -> Meaning:
    """The one thing that `word` means; `source` narrows paths down to one source, `disk`: files that the state does not
    know are looked for, too.

    Raises `ConfigError` if it means nothing, or more than one thing.
    """
    if match := _CHUNK.fullmatch(word):
        document = documents.by_key(connection, bytes.fromhex(match[1]))
        if document is not None:
            return ChunkRef(document, int(match[2]), word)
    found: list[Meaning] = list(_named(connection, settings, word, source))
    if not found:
        found = [doc for each in _escaped(word) for doc in _named(connection, settings, each, source)]
    if source is None:
        found += _batches(connection, word)
    if source is None and not found:  # among a million keys, every short word is the beginning of some
        found += _embeddings(connection, word)
    if not found and disk:
        found += on_disk(settings, word, source)[:1]
    if len(found) > 1:
        raise _ambiguous(word, found)
    if not found:
        raise _unknown(connection, settings, word, source)
    return found[0]


def _named(connection: View, settings: Settings, word: str, source: str | None) -> list[DocumentRow]:
    found = list(_documents(connection, settings, word, source))
    if not found and word and not word.startswith("/"):  # a path from the folder that one stands in
        found = list(_documents(connection, settings, _from_here(word), source))
    return found


def _escaped(word: str) -> list[str]:
    """What the word is called as a path, if what follows one of its `#` is the id of a record as its file has it."""
    marks = re.finditer("#", word)
    found = dict.fromkeys(name_in(word[: mark.start()], word[mark.end() :]) for mark in marks)
    return [name for name in found if name != word]


def _documents(connection: View, settings: Settings, word: str, source: str | None) -> Iterator[DocumentRow]:
    seen = set()
    for name, path in readings(settings, word, source):
        for found in documents.find(connection, name, path):
            if found.id not in seen:
                seen.add(found.id)
                yield found


def readings(settings: Settings, word: str, source: str | None) -> list[tuple[str | None, str]]:
    """The (source, path) pairs that a word may mean; None is any source. An absolute path is only that."""
    path = names.from_argument(word)
    if path.startswith("/"):
        return [
            (each.name, inside)
            for each in settings.sources
            if source in (None, each.name) and (inside := _inside(each, path)) is not None
        ]
    found: list[tuple[str | None, str]] = [(source, path)]
    head, colon, rest = path.partition(":")
    if colon and source is None and rest:
        found.append((head, rest))
    plain = [(name, os.path.normpath(each)) for name, each in found if each]
    return [(name, each) for name, each in plain if each != ".." and not each.startswith("../")]


def _inside(source: SourceSettings, path: str) -> str | None:
    """The path relative to a source; "" is its own folder; None is elsewhere."""
    root = names.encode(os.fsencode(source.path)).rstrip("/")
    plain = os.path.normpath(path)
    return "" if plain == root else plain.removeprefix(root + "/") if plain.startswith(root + "/") else None


def _batches(connection: View, word: str) -> list[BatchRow]:
    return batches.find(connection, word) if len(word) >= _SHORTEST_REF and word.isascii() else []


def _embeddings(connection: View, word: str) -> Iterator[EmbeddingRef]:
    match = _KEY.fullmatch(word)
    for key in history.keys_beginning(connection, match[1], _SHOWN) if match else ():
        found = history.embedding(connection, key)
        if found is not None and match is not None:
            yield EmbeddingRef(found, int(match[2]) if match[2] is not None else None)


def _from_here(word: str) -> str:
    """The absolute path of a word, from the folder that one stands in."""
    return os.path.abspath(word)


def on_disk(settings: Settings, word: str, source: str | None = None) -> list[OnDisk]:
    """What is on the disk under that name: below a source, else from the folder one stands in."""
    found = []
    for name, path in readings(settings, word, source):
        for each in settings.sources:
            inside = _inside(each, path) if path.startswith("/") else path
            if name in (None, each.name) and inside is not None:
                root = names.encode(os.fsencode(each.path)).rstrip("/")
                found.append(OnDisk(f"{root}/{inside}".rstrip("/"), each, inside))
    if source is None and word:
        path = names.from_argument(_from_here(word))
        owners = [each for each in settings.sources if _inside(each, path) is not None]
        owner = max(owners, key=lambda each: len(str(each.path)), default=None)
        inside = "" if owner is None else _inside(owner, path)
        found.append(OnDisk(path, owner, inside or ""))
    return [each for each in found if os.path.lexists(names.decode(each.path))]


# --- what means nothing, or too much ---


def _told(meaning: Meaning) -> str:
    if isinstance(meaning, DocumentRow):
        return f"{meaning.source}:{names.display(meaning.path)}"
    if isinstance(meaning, BatchRow):
        return f"batch {meaning.ref}"
    return f"embedding {meaning.embedding.key.hex()}" if isinstance(meaning, EmbeddingRef) else "a file"


def _ambiguous(word: str, found: list[Meaning]) -> ConfigError:
    meant = [_told(each) for each in found]
    shown = ", ".join(meant[:_SHOWN]) + (f", and {len(meant) - _SHOWN} more" if len(meant) > _SHOWN else "")
    return ConfigError(
        f"{names.display(names.from_argument(word))} may mean {len(meant)} things: {shown}.",
        hint="Write SOURCE:PATH or --source for a document, more of the ref or key for a batch or an embedding.",
    )


def _unknown(connection: View, settings: Settings, word: str, source: str | None) -> ConfigError:
    shown = names.display(names.from_argument(word)) or "''"
    if source is not None and source not in {each.name for each in settings.sources}:
        return ConfigError(f"There is no source {source!r} in the configuration.")
    named = history.named(connection, names.from_argument(word).rpartition("/")[2], _SHOWN)
    if named:
        near = ", ".join(f"{s}:{names.display(p)}" for s, p in named)
        return ConfigError(f"No document, chunk, batch or key named {shown}.", hint=f"Did you mean {near}?")
    return ConfigError(
        f"No document, chunk, batch or key named {shown}.",
        hint="It may be a document's path, a chunk_id, a batch's ref,"
        f" {vendor_of(settings).title}'s id of a job, or an embedding key.",
    )
