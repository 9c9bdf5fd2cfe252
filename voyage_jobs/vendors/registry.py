"""The providers that there are. One line each; what it names is imported when it is asked for."""

from __future__ import annotations

import pkgutil

from voyage_jobs.errors import ConfigError
from voyage_jobs.vendors.base import Vendor

VENDORS = {
    "voyage": "voyage_jobs.vendors.voyage.vendor:VOYAGE",
    "openai": "voyage_jobs.vendors.openai.vendor:OPENAI",
    "openai-sync": "voyage_jobs.vendors.openai_sync.vendor:OPENAI_SYNC",
    "local": "voyage_jobs.vendors.local.vendor:LOCAL",
}
"""By name, as in `[provider] type` and in profiles: where the `Vendor` is."""


def by_type(name: str) -> Vendor:
    """The provider of that name. Raises ConfigError for one that is not in the list."""
    if name not in VENDORS:
        raise ConfigError(f"There is no provider {name!r}; there is {', '.join(VENDORS)}.")
    vendor: Vendor = pkgutil.resolve_name(VENDORS[name])
    return vendor
