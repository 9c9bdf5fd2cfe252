"""The profile that the settings ask for, and the settings as they would be if they asked for another."""

from __future__ import annotations

from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.profile import Profile


def profile_of(settings: Settings) -> Profile:
    """What makes a vector under these settings."""
    section = settings.section
    return Profile(
        endpoint=section.endpoint,
        model=section.model,
        dimension=section.output_dimension,
        dtype=section.output_dtype,
        input_type=section.input_type or None,
        vendor=settings.provider.type,
        prefix=section.document_prefix,
    )


def with_profile(settings: Settings, profile: Profile) -> Settings:
    """The same settings, asking for `profile`: price and tokenizer go with the model, address and key with the
    provider.

    What the section says of its own model is said of no other: its folder, and what stands before a question.
    """
    if profile_of(settings) == profile:
        return settings
    provider = settings.provider.model_copy(update={"type": profile.vendor})
    there = settings.model_copy(update={"provider": provider})
    asked = {
        "endpoint": profile.endpoint,
        "model": profile.model,
        "output_dimension": profile.dimension,
        "output_dtype": profile.dtype,
        "input_type": profile.input_type or "",
        "document_prefix": profile.prefix,
    }
    section: Any = there.section
    if section.model != profile.model:
        asked["model_dir"] = ""
    if section.document_prefix != profile.prefix:
        asked["query_prefix"] = ""
    known = {key: value for key, value in asked.items() if key in type(section).model_fields}
    return there.model_copy(update={there.section_name: section.model_copy(update=known)})
