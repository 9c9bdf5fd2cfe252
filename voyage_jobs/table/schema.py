"""The schema of the table: a contract with every program that reads it.

Changing a name, a type or the order needs a changelog entry and a new `FORMAT_VERSION`. No column is ever
null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voyage_jobs.errors import ConfigError
from voyage_jobs.table.columns import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

    from voyage_jobs.profile import Profile

FORMAT_VERSION = 1
KEY_COLUMNS = ("source", "path", "chunk_id", "embedding_key")

_FORMAT = b"voyage_jobs.format_version"
_FINGERPRINT = b"voyage_jobs.profile"
_PROFILE = b"voyage_jobs.profile_json"
# Lance's own mark for "these values are unique, nobody enforces it"; the single writer does.
_PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}


def schema(profile: Profile) -> pa.Schema:
    """The table's Arrow schema for vectors of this profile; its metadata names format version and profile."""
    import pyarrow as pa

    fields = [
        pa.field(
            column.name,
            column.kind.arrow(profile),
            nullable=False,
            metadata=_PRIMARY_KEY if column.name == "chunk_id" else None,
        )
        for column in COLUMNS
    ]
    return pa.schema(
        fields,
        metadata={
            _FORMAT: str(FORMAT_VERSION).encode(),
            _FINGERPRINT: profile.fingerprint.encode(),
            _PROFILE: profile.to_json().encode(),
        },
    )


def demand_ours(found: pa.Schema, profile: Profile | None, where: str) -> None:
    """Raise `ConfigError` unless `found` is a table of ours that holds vectors of `profile` (None: any)."""
    metadata = found.metadata or {}
    if _FORMAT not in metadata:
        raise ConfigError(
            f"The table {where} was not made by voyage-jobs.",
            hint="Name another table in [lancedb] table; this one is left alone.",
        )
    version = metadata[_FORMAT].decode()
    if version != str(FORMAT_VERSION):
        raise ConfigError(
            f"The table {where} has format version {version}; this voyage-jobs writes {FORMAT_VERSION}.",
            hint="Use the voyage-jobs that made it, or name another table in [lancedb] table.",
        )
    if profile is None:
        return
    if metadata.get(_FINGERPRINT, b"").decode() != profile.fingerprint:
        theirs = metadata.get(_PROFILE, b"?").decode()
        raise ConfigError(
            f"The table {where} holds vectors of {theirs}; the settings say {profile.to_json()}.",
            hint="Name another table in [lancedb] table, or set [voyage] back to what the table was made for.",
        )
    wanted = schema(profile)
    if found.names != wanted.names or found.types != wanted.types:
        raise ConfigError(
            f"The columns of the table {where} have been changed by another program.",
            hint="Name another table in [lancedb] table; it is filled from the stored vectors at no cost.",
        )


def profile_in(found: pa.Schema) -> Profile | None:
    """The profile that a table's metadata name, if they do."""
    from voyage_jobs.profile import Profile

    try:
        return Profile.from_json((found.metadata or {})[_PROFILE].decode())
    except (KeyError, TypeError, ValueError):
        return None
