"""What embeddings are made by at present: one profile, and all that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from voyage_jobs.config.profile import with_profile
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.profile import KeyMaker, Profile
from voyage_jobs.vendors.base import Client, Vendor
from voyage_jobs.vendors.registry import by_type
from voyage_jobs.vendors.tokenizer import TokenCounter


@dataclass(frozen=True)
class Active:
    """Replaced as a whole when the profile is, so that no part of it can be another profile's."""

    settings: Settings
    """Those that were loaded, asking for `profile`: provider, model, price and tokenizer go with it."""
    client: Client
    """Of the profile's provider."""
    profile: Profile
    profile_id: int
    """Its row in the state; 0 until recovery has looked."""
    keys: KeyMaker
    vendor: Vendor
    count: TokenCounter

    @classmethod
    def of(cls, loaded: Settings, client: Client, profile: Profile, profile_id: int = 0) -> Active:
        """All that follows from `profile`."""
        settings, vendor = with_profile(loaded, profile), by_type(profile.vendor)
        return cls(
            settings=settings,
            client=client,
            profile=profile,
            profile_id=profile_id,
            keys=KeyMaker(profile),
            vendor=vendor,
            count=vendor.tokenizer(settings.tokenizer_file),
        )
