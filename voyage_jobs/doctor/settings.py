"""Configuration and key."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from voyage_jobs.config.checks import is_local
from voyage_jobs.config.settings import Settings
from voyage_jobs.doctor.check import Check, bad, good, note, told
from voyage_jobs.errors import ConfigError

VOYAGE_PREFIX, ATLAS_PREFIX = "pa-", "al-"


def check_settings(settings: Settings) -> Iterator[Check]:
    """The configuration that was loaded, the vendor it names, and the key."""
    origin = settings.origin
    yield good("configuration", f"read from {origin}" if origin else "given by the environment")
    for warning in settings.warnings:
        yield note("configuration", warning)
    yield _vendor(settings)
    yield _key(settings)


def _host(settings: Settings) -> str:
    return urlsplit(settings.voyage.base_url).hostname or ""


def _vendor(settings: Settings) -> Check:
    url = settings.voyage.base_url
    if is_local(url):
        return note(
            "vendor",
            f"{url} is on this machine or a private network: a simulator or a proxy, not Voyage itself",
        )
    return good("vendor", f"{url}, model {settings.voyage.model}")


def _key(settings: Settings) -> Check:
    """Where the key comes from and whether it is one for this host; the key is not shown."""
    try:
        key = settings.api_key()
    except ConfigError as exc:
        return told("key", exc)
    where, host = settings.api_key.describe(), _host(settings)
    if key.startswith(ATLAS_PREFIX) and host.endswith("voyageai.com"):
        return bad(
            "key",
            f"{where} holds a key of MongoDB Atlas ({ATLAS_PREFIX}...), which {host} does not take",
            f"Set a key of Voyage's own ({VOYAGE_PREFIX}...), or point voyage.base_url to Atlas.",
            exit_code=5,
        )
    if key.startswith(VOYAGE_PREFIX) and host.endswith("mongodb.com"):
        return bad(
            "key",
            f"{where} holds a key of Voyage's own ({VOYAGE_PREFIX}...), which {host} does not take",
            "Set voyage.base_url to https://api.voyageai.com/v1.",
            exit_code=5,
        )
    known = key.startswith((VOYAGE_PREFIX, ATLAS_PREFIX))
    if not known and not is_local(settings.voyage.base_url):
        return note(
            "key", f"{where} holds a key that begins neither with {VOYAGE_PREFIX} nor with {ATLAS_PREFIX}"
        )
    return good("key", f"from {where}")
