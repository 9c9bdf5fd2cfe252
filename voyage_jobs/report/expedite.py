"""What `expedite` would send, and its price, before anything is sent. Nothing is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voyage_jobs.config.prices import batch_price, sync_price
from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, iso, now_us
from voyage_jobs.core.profile import KeyMaker
from voyage_jobs.core.states import Document
from voyage_jobs.diagnosis.rooms import rooms as all_rooms
from voyage_jobs.errors import ConfigError
from voyage_jobs.records.formats import takes
from voyage_jobs.report import why_file
from voyage_jobs.report.find import OnDisk, find
from voyage_jobs.sources import names
from voyage_jobs.splitting.forms import RULES
from voyage_jobs.state import counts, documents, ledger, orders, sources
from voyage_jobs.state.documents import DocumentRow
from voyage_jobs.state.door import open_state
from voyage_jobs.state.history import View
from voyage_jobs.state.schema import DROPPED, FAILED, HELD, PACKED, WANTED
from voyage_jobs.steps.reading import read_now, reader_for, source_of, with_defaults
from voyage_jobs.steps.splitting import identity_of, rules_of, split_options, to_version


class Keys:
    """Makes keys and counts tokens where there is no worker."""

    def __init__(self, settings: Settings) -> None:
        self.profile = profile_of(settings)
        self.keys = KeyMaker(self.profile)
        self.count = vendor_of(settings).tokenizer(settings.tokenizer_file)


@dataclass(frozen=True)
class _Piece:
    """One embedding of the document. `batch_ref` is the open batch that it is in."""

    vectors: int
    tokens: int
    state: int
    batch_ref: str | None


def preview(
    settings: Settings, clock: Clock, word: str, source: str | None = None, *, also_in_flight: bool = False
) -> dict[str, Any]:
    """What would be sent for the document that `word` means, in the shape that docs/money.md promises.

    The file is looked at as it is on disk now. Raises ConfigError if `word` means no document, StateError.
    """
    with open_state(settings).read() as connection:
        name, path, document = _document(connection, settings, word, source)
        keys = Keys(settings)
        changed, pieces = _pieces(connection, settings, keys, name, path, document)
        newest = None if document is None else orders.newest_content(connection, document.id)
        rooms = list(all_rooms(connection, settings, sync_price(settings), now_us(clock)))
        row = sources.by_name(connection, name)
        exact = counts.counted(connection).exact if not changed else keys.count.exact
        unsent = {batch.ref for batch in orders.unsent_calls(connection)}
    sent = [each for each in pieces if each.state == WANTED]
    elsewhere = [each for each in pieces if each.state == PACKED]
    twice = [each for each in elsewhere if each.batch_ref not in unsent]
    if also_in_flight:
        sent += elsewhere
    tokens = sum(each.tokens for each in sent)
    tight = [r for r in rooms if r.source_id in (None, row and row.id) and r.tokens < tokens]
    return {
        "as_of": iso(now_us(clock)),
        "source": name,
        "path": path,
        "model": settings.section.model,
        "changed_since_scan": changed,
        "state": None if newest is None else str(newest[0]),
        "send": {
            "texts": _texts(sent),
            "tokens": tokens,
            "exact": exact,
            "usd": ledger.usd(tokens, sync_price(settings)),
            "usd_by_batch": ledger.usd(tokens, batch_price(settings)),
        },
        "paid_twice": _twice(twice) if also_in_flight else None,
        "held": _texts([each for each in pieces if each.state == HELD]),
        "in_batches": {} if also_in_flight else _by_batch(elsewhere),
        "failed": _texts([each for each in pieces if each.state == FAILED]),
        "cancelled": _texts([each for each in pieces if each.state == DROPPED]),
        "over_budget": [{"limit": r.setting, "tokens_left": max(0, r.tokens)} for r in tight],
    }


def _texts(pieces: Sequence[_Piece]) -> int:
    return sum(each.vectors for each in pieces)


def _twice(pieces: Sequence[_Piece]) -> dict[str, int]:
    return {"texts": _texts(pieces), "tokens": sum(each.tokens for each in pieces)}


def _by_batch(pieces: Sequence[_Piece]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in pieces:
        found[each.batch_ref or "?"] = found.get(each.batch_ref or "?", 0) + each.vectors
    return found


# --- which document ---


def _document(
    connection: View, settings: Settings, word: str, source: str | None
) -> tuple[str, str, DocumentRow | None]:
    """(source, path, what is known of it). A file that no scan has seen will do, if its folder is known."""
    meaning = find(connection, settings, word, source)
    if isinstance(meaning, DocumentRow):
        _demand_taken(connection, settings, meaning)
        return meaning.source, meaning.path, meaning
    if not isinstance(meaning, OnDisk):
        raise ConfigError(
            f"{word} is no document.",
            hint="Name one: its path in its source, SOURCE:PATH, or its absolute path.",
        )
    if not _may_be_taken(connection, meaning):
        unseen = why_file.unseen(connection, settings, meaning)
        raise ConfigError(unseen.text, hint=unseen.next)
    return meaning.source.name if meaning.source else "", meaning.inside, None


def _demand_taken(connection: View, settings: Settings, document: DocumentRow) -> None:
    """What was given up because the patterns do not want it is not read again."""
    refused = None
    if document.state == Document.GONE:
        refused = why_file.left_out(connection, settings, document)
    if refused is not None:
        named = f"{document.source}:{names.display(document.path)}"
        raise ConfigError(f"{named} is on disk, and is not taken: {refused.text}.", hint=refused.next)


def _may_be_taken(connection: View, file: OnDisk) -> bool:
    """Whether a file that no scan has seen may be read out of turn."""
    if file.source is None:
        return False
    row = sources.by_name(connection, file.source.name)
    in_force = with_defaults(file.source, row)
    there = source_of(in_force)
    if row is None or row.rules_fingerprint != there.fingerprint:
        return False  # what its source takes was changed: a whole scan comes first
    if not there.keeps(file.inside) or takes(file.inside, file.source.recipe):
        return False  # rows are for a whole scan, too
    if file.inside.rpartition("/")[0] not in documents.folder_ids(connection, row.id):
        return False
    return read_now(there, file.inside, reader_for(in_force, file.inside)) is not None


# --- what it needs ---


def _pieces(
    connection: View,
    settings: Settings,
    keys: Keys,
    name: str,
    path: str,
    document: DocumentRow | None,
) -> tuple[bool, list[_Piece]]:
    """Whether the file is another than the state knows, and what it needs: as it is now, else as it was seen last."""
    source = next((each for each in settings.sources if each.name == name), None)
    if source is None:
        raise ConfigError(
            f"Source {name} has left the configuration.", hint="Put it back, or name another document."
        )
    options = split_options(settings, rules_of(connection) or RULES)
    known = None if document is None else orders.newest_content(connection, document.id)
    source = with_defaults(source, sources.by_name(connection, name))
    there = source_of(source)
    read = read_now(there, path, reader_for(source, path)) if there.keeps(path) else None
    if read is not None and (known is None or not identity_of(read, options).is_that_of(known[1])):
        version = to_version(keys, 0, path, read, options)
        first = {chunk.key: chunk for chunk in reversed(version.chunks)}
        states = {key: orders.known(connection, key) or (WANTED, None) for key in first}
        return True, [
            _Piece(chunk.request_vectors, chunk.request_tokens, _as_new(states[key][0]), states[key][1])
            for key, chunk in first.items()
        ]
    if document is None:
        return False, []
    found = orders.needed(connection, document.id)
    return False, [_Piece(each.vectors, each.tokens, each.state, each.batch_ref) for each in found]


def _as_new(state: int) -> int:
    """What is needed again is wanted again, also where it was dropped."""
    return WANTED if state == DROPPED else state
