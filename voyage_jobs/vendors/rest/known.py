"""What is known of the model whose vectors a file or an answer brings, by the provider that makes them."""

from __future__ import annotations

from voyage_jobs.core.profile import Profile
from voyage_jobs.vendors.base import Model, most_tokens
from voyage_jobs.vendors.registry import by_type

UNIT_LENGTHS = (0.9, 1.1)
"""Between these lies the length of every vector that was scaled to length 1, however coarsely it was rounded."""


def lengths(profile: Profile) -> tuple[float, float] | None:
    """The least and the greatest length of a sound vector; None where no length is promised.

    Whole numbers and bits have no such length, and of a model that no table knows nothing is known.
    """
    model = _model(profile)
    return UNIT_LENGTHS if profile.dtype == "float" and model is not None and model.unit_length else None


def most_billed(profile: Profile) -> int:
    """The most tokens that one request can be billed with."""
    return most_tokens(_model(profile))


def _model(profile: Profile) -> Model | None:
    return by_type(profile.vendor).find(profile.model)
