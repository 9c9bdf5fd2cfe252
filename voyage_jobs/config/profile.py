"""The profile that the settings ask for."""

from __future__ import annotations

from voyage_jobs.config.settings import Settings
from voyage_jobs.profile import Profile


def profile_of(settings: Settings) -> Profile:
    """What makes a vector under these settings."""
    voyage = settings.voyage
    return Profile(
        endpoint=voyage.endpoint,
        model=voyage.model,
        dimension=voyage.output_dimension,
        dtype=voyage.output_dtype,
        input_type=voyage.input_type or None,
    )
