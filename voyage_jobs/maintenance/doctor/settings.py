"""Configuration and key."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from voyage_jobs.config.checks import is_local
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.errors import ConfigError
from voyage_jobs.maintenance.doctor.check import Check, bad, good, note, told


def check_settings(settings: Settings) -> Iterator[Check]:
    """The configuration that was loaded, the provider it names, and the key."""
    origin = settings.origin
    yield good("configuration", f"read from {origin}" if origin else "given by the environment")
    for warning in settings.warnings:
        yield note("configuration", warning)
    yield _vendor(settings)
    yield _key(settings)


def _host(settings: Settings) -> str:
    return urlsplit(settings.section.base_url).hostname or ""


def _vendor(settings: Settings) -> Check:
    url, traits = settings.section.base_url, vendor_of(settings).traits
    if traits.in_process:
        return good("vendor", f"the model {settings.section.model}, in this process")
    if is_local(url) and not traits.sync_only:
        return note(
            "vendor",
            f"{url} is on this machine or a private network: a simulator or a proxy, not"
            f" {vendor_of(settings).title} itself",
        )
    return good("vendor", f"{url}, model {settings.section.model}")


def _key(settings: Settings) -> Check:
    """Where the key comes from and whether it is one for this host; the key is not shown."""
    if vendor_of(settings).traits.in_process:
        return good("key", "none is needed")
    try:
        key = settings.api_key()
    except ConfigError as exc:
        return told("key", exc)
    where = settings.api_key.describe()
    if not key:
        return note("key", "none is set; a server of your own may want none")
    doubt = vendor_of(settings).key_doubt(key, where, _host(settings))
    if doubt is not None and doubt.hint is not None:
        return bad("key", doubt.text, doubt.hint, exit_code=5)
    if doubt is not None and not is_local(settings.section.base_url):
        return note("key", doubt.text)
    return good("key", f"from {where}")
