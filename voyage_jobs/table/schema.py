"""The schema of the table: a contract with every program that reads it.

Changing a name, a type or the order needs a changelog entry and a new `FORMAT_VERSION`. No column of ours is ever null.
Users may add columns of their own that may be null: they are in the table's schema and none of this one's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voyage_jobs.errors import ConfigError
from voyage_jobs.table.columns import COLUMNS
from voyage_jobs.table.formats import FORMAT_VERSION, fields_of

if TYPE_CHECKING:
    import pyarrow as pa

    from voyage_jobs.core.profile import Profile

KEY_COLUMNS = ("source", "path", "chunk_id", "embedding_key")

_FORMAT = b"voyage_jobs.format_version"
_FINGERPRINT = b"voyage_jobs.profile"
_PROFILE = b"voyage_jobs.profile_json"
_OWNER = b"voyage_jobs.state"
OWNER = _OWNER.decode()
"""The key, in the metadata of the table's schema, of the id of the state that the table belongs to."""
# Lance's own mark for "these values are unique, nobody enforces it"; the single writer does.
_PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}


def schema(profile: Profile, owner: str | None = None) -> pa.Schema:
    """The table's Arrow schema for vectors of this profile; its metadata names format version, profile and owner."""
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
            **({_OWNER: owner.encode()} if owner else {}),
        },
    )


def demand_ours(found: pa.Schema, profile: Profile | None, where: str) -> None:
    """Raise `ConfigError` unless `found` is a table of ours, of this format or an older one, that can be added to and
    holds vectors of `profile` (None: any).
    """
    metadata = found.metadata or {}
    if _FORMAT not in metadata:
        raise ConfigError(
            f"The table {where} was not made by voyage-jobs.",
            hint="Name another table in [lancedb] table; this one is left alone.",
        )
    version = metadata[_FORMAT].decode(errors="replace")
    if version not in map(str, range(1, FORMAT_VERSION + 1)):
        raise ConfigError(
            f"The table {where} has format {version}, of a newer voyage-jobs; this one knows formats up to"
            f" {FORMAT_VERSION}. Update voyage-jobs.",
            hint="Update voyage-jobs, or name another table in [lancedb] table.",
        )
    if profile is None:
        return
    if metadata.get(_FINGERPRINT, b"").decode() != profile.fingerprint:
        theirs = profile_in(found)
        what = "another profile" if theirs is None else theirs.told
        raise ConfigError(
            f"The table {where} holds vectors of {what}; those here are of {profile.told}.",
            hint="Name another table in [lancedb] table; it is filled from the stored vectors at no cost.",
        )
    _demand_columns(found, profile, where)


def _demand_columns(found: pa.Schema, profile: Profile, where: str) -> None:
    wanted = fields_of(int(found.metadata[_FORMAT]), profile)
    ours = {field.name: field.type for field in found if field.name in wanted}
    if list(ours.items()) != list(wanted.items()):
        raise ConfigError(
            f"The columns of the table {where} have been changed by another program.",
            hint="Name another table in [lancedb] table; it is filled from the stored vectors at no cost.",
        )
    strict = [field.name for field in found if field.name not in wanted and not field.nullable]
    if strict:
        raise ConfigError(
            f"The column {strict[0]!r} that another program has added to the table {where} must not be null, so that"
            " no row can be added without it.",
            hint="Let it be null; its values stay:"
            f" table.alter_columns({{'path': {strict[0]!r}, 'nullable': True}}).",
        )


def owner_in(found: pa.Schema) -> str:
    """The id of the state that a table belongs to; empty: an older release made it, and it carries none."""
    carried: bytes = (found.metadata or {}).get(_OWNER, b"")
    return carried.decode(errors="replace")


def demand_owner(found: pa.Schema, owner: str | None, where: str) -> None:
    """Raise `ConfigError` for a table that carries the id of another state than `owner` (None: any will do)."""
    if owner and owner_in(found) not in ("", owner):
        raise of_another(where)


def of_another(where: str) -> ConfigError:
    """What is said of a table that another data folder keeps up to date, with the two ways out."""
    return ConfigError(
        f"The table {where} belongs to another data folder of voyage-jobs: two would overwrite each other's rows.",
        hint="Name another table in [lancedb] table; or, if this data folder is to have it from now on, run"
        " `voyage-jobs take-over`. What is published goes into either at no cost.",
    )


def format_of(found: pa.Schema) -> int:
    """The format of a table of ours."""
    return int(found.metadata[_FORMAT])


def users_own(found: pa.Schema, profile: Profile) -> list[pa.Field]:
    """The columns that somebody else has added to a table of ours."""
    ours = fields_of(format_of(found), profile)
    return [field for field in found if field.name not in ours]


def profile_in(found: pa.Schema) -> Profile | None:
    """The profile that a table's metadata name, if they do."""
    from voyage_jobs.core.profile import Profile

    try:
        return Profile.from_json((found.metadata or {})[_PROFILE].decode())
    except (KeyError, TypeError, ValueError):
        return None
