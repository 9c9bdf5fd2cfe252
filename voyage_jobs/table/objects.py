"""A table in object storage: its files are objects that appear whole or not at all, and are never changed.

Lance commits by one conditional write (`If-None-Match`), so no lock service is needed, and nothing has to be synced.
What this project looks at beside Lance (which manifest is the newest, how large files are) is asked through obstore:
the same library that Lance uses, with the same options.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from voyage_jobs.core.object_uri import SCHEMES, ObjectUri
from voyage_jobs.errors import ConfigError, TableAwayError

_Told = tuple[tuple[str, str], ...]
_OF_A_STORE = ("aws_", "google_", "azure_")
_OF_RETRIES = ("client_max_retries", "client_retry_timeout", "download_retry_count")
_BUCKET_AND_PREFIX = re.compile(r"(\w+)://([^/]+)/*(.*)")
# What a store, the way to it, or its credentials say. A missing object is none of these: then the table is torn.
AWAY = re.compile(
    r"Generic \w+ error|error sending request|Unauthenticated|PermissionDenied|[Pp]ermission denied|Forbidden"
    r"|necessary privileges"
    r"|\b(?:401|403|429|5\d\d)\b \w|credential|timed out|connection (?:closed|reset)",
)
GONE = re.compile(r"\bNot found: |NotFound|\bnot found\b|does not exist|NoSuchKey")


class Remote(str):
    """The address of one table, as Lance takes it."""

    place: ObjectUri

    def __new__(cls, uri: str, name: str) -> Remote:
        """The table `name` under `uri`. Raises ConfigError for an address that is none of object storage."""
        scheme = uri.partition("://")[0]
        if scheme not in SCHEMES:
            raise ConfigError(
                f"[lancedb] uri is {uri!r}; voyage-jobs publishes to a local folder or to object storage.",
                hint="Give a path, for example ./lancedb, or an address that begins with s3://, gs:// or az://.",
            )
        made = super().__new__(cls, f"{uri.rstrip('/')}/{name}.lance")
        made.place = uri if isinstance(uri, ObjectUri) else ObjectUri(uri)
        return made

    def options(self) -> dict[str, str]:
        """What Lance is told beside the address."""
        return self.place.options()

    def newest_manifest(self) -> str | None:
        """The name of the newest version's manifest, with its tag; None where there is no table."""
        found = [(name, tag) for name, _, tag in self._listed("_versions") if name.endswith(".manifest")]
        # Manifests are named by 2^64 - 1 - version, so that the newest sorts first.
        return f"{self}/_versions/{' '.join(min(found))}" if found else None

    def sizes(self, folder: str = "") -> dict[str, int]:
        """The size of each object below a folder of the table, in bytes, by its path in that folder."""
        return {name: size for name, size, _ in self._listed(folder)}

    def versions(self) -> int:
        """How many versions there are."""
        return sum(name.endswith(".manifest") for name, _, _ in self._listed("_versions"))

    def move(self, name: str) -> str:
        """Copy every object of the table to another name beside it, the newest manifests last, and remove it here."""
        import obstore

        store = self._store(whole=False)
        with away(self):
            here = sorted(self.sizes(), key=lambda path: path.startswith("_versions/"))
            table = self._parts()[2]
            beside = f"{table.rpartition('/')[0]}/{name}".lstrip("/")
            for path in here:
                obstore.copy(store, f"{table}/{path}", f"{beside}/{path}")
            for path in reversed(here):  # manifests first: what is left is no table
                obstore.delete(store, f"{table}/{path}")
        return f"{self.rpartition('/')[0]}/{name}"

    def refuses_a_second_write(self, probe: str) -> bool:
        """Whether the store takes an object `probe` that must not be there only once. It is removed afterwards."""
        import obstore

        store = self._store()
        with away(self):
            obstore.put(store, probe, b"voyage-jobs", mode="create")
            try:
                obstore.put(store, probe, b"voyage-jobs", mode="create")
            except obstore.exceptions.AlreadyExistsError:
                return True
            finally:
                obstore.delete(store, probe)
        return False

    def download(self, path: str) -> bytes:
        """The bytes of one object of the table. Raises FileNotFoundError if it is gone."""
        import obstore

        with away(self):
            return bytes(obstore.get(self._store(), path).bytes())

    def _listed(self, folder: str) -> Iterator[tuple[str, int, str]]:
        import obstore

        with away(self):
            for batch in obstore.list(self._store(), folder or None):
                for each in batch:
                    name = str(each["path"]).removeprefix(f"{folder}/") if folder else str(each["path"])
                    yield name, int(each["size"]), str(each.get("e_tag") or "")

    def _parts(self) -> tuple[str, str, str]:
        """Scheme, bucket, and the prefix of the table's objects."""
        matched = _BUCKET_AND_PREFIX.fullmatch(self)
        if matched is None:
            raise ConfigError(f"[lancedb] uri is {str(self.place)!r}, which names no bucket.")
        return matched[1], matched[2], matched[3]

    def _store(self, *, whole: bool = True) -> Any:
        """What makes calls below the table's own prefix, or (not `whole`) to all of the bucket."""
        scheme, bucket, prefix = self._parts()
        told = tuple(sorted(self.options().items()))
        ambient = tuple(
            (name, os.environ[name]) for name in os.environ if name.lower().startswith(_OF_A_STORE)
        )
        return _connected(scheme, bucket, prefix if whole else None, told, ambient)


@functools.lru_cache(maxsize=4)
def _connected(scheme: str, bucket: str, prefix: str | None, told: _Told, ambient: _Told) -> Any:
    """Kept, with its connections, while the options and the environment, which obstore reads itself, say the
    same: a publication looks several times."""
    del ambient
    from obstore.store import AzureStore, GCSStore, S3Store

    options = dict(told)
    kind: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[scheme]
    config = {key: value for key, value in options.items() if key.startswith(_OF_A_STORE)}
    client = {key: value for key, value in options.items() if key not in config and key not in _OF_RETRIES}
    # Lance reads this variable itself, whichever provider it is.
    client.setdefault("allow_http", os.environ.get("AWS_ALLOW_HTTP") or "false")
    retries = {
        "max_retries": int(options["client_max_retries"]),
        "retry_timeout": timedelta(seconds=float(options["client_retry_timeout"])),
    }
    return kind(bucket, prefix=prefix, config=config, client_options=client, retry_config=retries)


@contextlib.contextmanager
def away(place: str) -> Iterator[None]:
    """Turn what obstore says of a store that cannot be used into `TableAwayError`."""
    import obstore

    try:
        yield
    except obstore.exceptions.BaseError as exc:
        raise table_away(place, exc) from exc


def table_away(place: str, exc: BaseException) -> TableAwayError:
    """The error for a store that cannot be used, in one line."""
    first = (str(exc).splitlines() or [type(exc).__name__])[0]
    return TableAwayError(
        f"The object storage of the table at {place} cannot be used: {first[:300]}",
        hint="Nothing is lost. Check the address, the credentials and the network, and try again when it answers.",
    )
