"""What a segment looks like on disk: its schema, its metadata and its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voyage_jobs.core.generation import Stamp
from voyage_jobs.core.profile import KEY_BYTES, Profile
from voyage_jobs.core.states import Mode

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_BATCH = 1024
"""Rows of every record batch but the last. Part of the format: changing it needs a new FORMAT."""

FORMAT = "1"
SUFFIX = ".arrow"

MAGIC = b"ARROW1"
_FORMAT_KEY = b"voyage_jobs.format"
_FINGERPRINT_KEY = b"voyage_jobs.fingerprint"
_PROFILE_KEY = b"voyage_jobs.profile"
_REF_KEY = b"voyage_jobs.ref"
_STATE_KEY = b"voyage_jobs.state"
_GENERATION_KEY = b"voyage_jobs.generation"
_RULES_KEY = b"voyage_jobs.rules"
_MODE_KEY = b"voyage_jobs.mode"
_BILLED_KEY = b"voyage_jobs.billed_tokens"  # in the schema: of what was sent at once, by an older release
_BILLED_AT_KEY = b"voyage_jobs.billed_at"
_ASSUMED_KEY = b"voyage_jobs.assumed_tokens"

_FOLDER_HEX_DIGITS = 12
_MOST_DIGITS = 18  # what SQLite holds; a damaged file may say more
_FINGERPRINT = re.compile(r"[0-9a-f]{12,}")
_REF = re.compile(r"[A-Za-z0-9_-]{1,200}")
_NAME = re.compile(r"[0-9a-f]{12}/[A-Za-z0-9_-]{1,200}\.arrow")


@dataclass(frozen=True, slots=True)
class Billed:
    """What was billed for everything that was asked for along with a segment, and when (microseconds UTC).

    `assumed` are those of the tokens that no answer reported.
    """

    tokens: int
    at: int
    assumed: int = 0


@dataclass(frozen=True, slots=True)
class WrittenSegment:
    """What `state.db` remembers of a segment. `name` is relative to the segment store; `bytes` is its size."""

    name: str
    rows: int
    bytes: int
    sha256: str


def segment_name(fingerprint: str, ref: str) -> str:
    """The name of the segment of batch `ref`, relative to the store; ValueError if a part is unfit for one."""
    if not _FINGERPRINT.fullmatch(fingerprint) or not is_ref(ref):
        raise ValueError(f"no segment can be named after fingerprint {fingerprint!r} and ref {ref!r}")
    return f"{fingerprint[:_FOLDER_HEX_DIGITS]}/{ref}{SUFFIX}"


def is_ref(word: str) -> bool:
    """Whether a word may be the ref of a batch: one that can stand in the name of a file."""
    return _REF.fullmatch(word) is not None


def is_segment_name(name: str) -> bool:
    """Whether `name` is one that `pack_name` could have made; nothing else is ever opened or removed."""
    return _NAME.fullmatch(name) is not None


def name_of(path: Path) -> str:
    """The name, relative to its store, of the segment at `path`."""
    return f"{path.parent.name}/{path.name}"


def segment_schema(
    profile: Profile, ref: str, mode: Mode = Mode.BATCH, stamp: Stamp | None = None
) -> pa.Schema:
    """The Arrow schema of a segment of such vectors. `mode`: how they were asked for, hence at which price."""
    sent = {} if mode is Mode.BATCH else {_MODE_KEY: str(mode)}
    stamped = {} if stamp is None else _stamped(stamp)
    metadata = {
        **sent,
        **stamped,
        _FORMAT_KEY: FORMAT,
        _FINGERPRINT_KEY: profile.fingerprint,
        _PROFILE_KEY: profile.to_json(),
        _REF_KEY: ref,
    }
    return _columns(profile).with_metadata(metadata)


def _stamped(stamp: Stamp) -> dict[bytes, str]:
    return {
        _STATE_KEY: stamp.state,
        _GENERATION_KEY: str(stamp.generation),
        _RULES_KEY: str(stamp.rules),
    }


def read_head(schema: pa.Schema) -> tuple[Profile, str]:
    """Profile and ref of a segment; raises ValueError, TypeError or KeyError if no segment has such a schema."""
    metadata: Mapping[bytes, bytes] = schema.metadata or {}
    found = metadata.get(_FORMAT_KEY, b"none").decode("ascii", "replace")
    if found != FORMAT:
        raise ValueError(f"its format is {found}, not {FORMAT}")
    profile = Profile.from_json(metadata[_PROFILE_KEY].decode())
    if profile.fingerprint != metadata[_FINGERPRINT_KEY].decode():
        raise ValueError("its fingerprint is not that of its profile")
    if not schema.equals(_columns(profile)):
        raise ValueError("its columns are not those of its profile")
    return profile, metadata[_REF_KEY].decode()


def mode_of(schema: pa.Schema) -> Mode:
    """How the vectors of a segment were asked for."""
    metadata = schema.metadata or {}
    at_once = metadata.get(_MODE_KEY) == str(Mode.SYNC).encode() or _BILLED_KEY in metadata
    return Mode.SYNC if at_once else Mode.BATCH


def stamp_of(schema: pa.Schema) -> Stamp | None:
    """Which state wrote a segment, if it says so."""
    metadata = schema.metadata or {}
    state, generation = metadata.get(_STATE_KEY, b""), _number(metadata, _GENERATION_KEY)
    if generation is None or not is_ref(state.decode("ascii", "replace")):
        return None
    return Stamp(state.decode(), generation, _number(metadata, _RULES_KEY) or 1)


def bill(billed: Billed) -> dict[bytes, bytes]:
    """What the last record batch of a segment carries: all of it is known only when the last vector is written."""
    facts = {_BILLED_KEY: billed.tokens, _BILLED_AT_KEY: billed.at}
    if billed.assumed:
        facts[_ASSUMED_KEY] = billed.assumed
    return {key: str(number).encode() for key, number in facts.items()}


def billed_in(last: Mapping[bytes, bytes] | None) -> Billed | None:
    """The bill in the metadata of the last record batch, if there is one."""
    tokens, at = _number(last or {}, _BILLED_KEY), _number(last or {}, _BILLED_AT_KEY)
    if tokens is None or at is None:
        return None
    return Billed(tokens, at, min(tokens, _number(last or {}, _ASSUMED_KEY) or 0))


def _number(metadata: Mapping[bytes, bytes], key: bytes) -> int | None:
    said = metadata.get(key)
    return int(said) if said is not None and said.isdigit() and len(said) <= _MOST_DIGITS else None


def _columns(profile: Profile) -> pa.Schema:
    import pyarrow as pa

    item = pa.field("item", pa.type_for_alias(profile.storage_dtype), nullable=False)
    return pa.schema(
        [
            pa.field("key", pa.binary(KEY_BYTES), nullable=False),
            pa.field("slot", pa.int32(), nullable=False),
            pa.field("vector", pa.list_(item, profile.width), nullable=False),
        ]
    )
