"""The provider that the settings name, and the way to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.provider_sections import AUTO_ENCODING
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.observe import NOBODY, Observer
from voyage_jobs.errors import ConfigError
from voyage_jobs.vendors.base import Access, Client, Vendor
from voyage_jobs.vendors.registry import by_type

if TYPE_CHECKING:
    import httpx


def vendor_of(settings: Settings) -> Vendor:
    """What is known of the provider without asking it."""
    return by_type(settings.provider.type)


def shares_space(vendor: Vendor, one: str, other: str) -> bool:
    """Whether vectors of two models can be compared, as far as the provider's documentation says."""
    first, second = vendor.find(one), vendor.find(other)
    return one == other or (first is not None and second is not None and first.shares_space(second))


def is_installed(provider: str) -> bool:
    """Whether all that a provider takes by default is on this machine. Asks nobody."""
    try:
        by_type(provider).demand("")
    except ConfigError:
        return False
    return True


def connect(
    settings: Settings,
    clock: Clock,
    transport: httpx.BaseTransport | None = None,
    observer: Observer = NOBODY,
) -> Client:
    """What makes the calls; close it. `transport` stands in for the network in tests. Raises ConfigError."""
    section = settings.section
    access = Access(
        section.base_url,
        settings.api_key,
        clock,
        section.timeout_s,
        section.max_retry_after_s,
        transport,
        observer,
    )
    return vendor_of(settings).connect(access)


def request_params(settings: Settings, encoding: str | None = None) -> dict[str, Any]:
    """Everything about a request but its texts, as it is recorded with a batch.

    `encoding` is of the vectors in its answer; None: as it is set, and numbers where that is left to the program.
    """
    if encoding is None:
        wished = settings.section.encoding_format
        encoding = "" if wished == AUTO_ENCODING else wished
    return vendor_of(settings).params(profile_of(settings), encoding)
