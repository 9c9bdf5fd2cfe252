"""The profile that the settings ask for, and the settings as they would be if they asked for another."""

from __future__ import annotations

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.profile import Profile


def profile_of(settings: Settings) -> Profile:
    """What makes a vector under these settings."""
    voyage = settings.voyage
    return Profile(
        endpoint=voyage.endpoint,
        model=voyage.model,
        dimension=voyage.output_dimension,
        dtype=voyage.output_dtype,
        input_type=voyage.input_type or None,
        vendor=settings.provider.type,
        document_prefix=settings.document_prefix,
    )


def with_profile(settings: Settings, profile: Profile) -> Settings:
    """The same settings, asking for `profile`: model, price and tokenizer go with it."""
    if profile_of(settings) == profile:
        return settings
    voyage = settings.voyage.model_copy(
        update={
            "endpoint": profile.endpoint,
            "model": profile.model,
            "output_dimension": profile.dimension,
            "output_dtype": profile.dtype,
            "input_type": profile.input_type or "",
        }
    )
    own = settings.openai_sync.model_copy(update={"document_prefix": profile.document_prefix})
    provider = settings.provider.model_copy(update={"type": profile.vendor})
    return settings.model_copy(update={"voyage": voyage, "openai_sync": own, "provider": provider})
