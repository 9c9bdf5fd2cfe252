"""What OpenAI is asked, as JSON: each line says everything, the job nothing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from voyage_jobs.core.profile import Profile
from voyage_jobs.vendors.openai.models import COMPLETION_WINDOW, own_dimension
from voyage_jobs.vendors.remote import JobSpec
from voyage_jobs.vendors.rest import wire
from voyage_jobs.vendors.rest.lines import written


def request_params(profile: Profile, encoding: str) -> dict[str, Any]:
    """All of a request but its texts. A model's own dimension is not named: the oldest refuses the word."""
    params: dict[str, Any] = {"model": profile.model}
    if profile.dimension != own_dimension(profile.model):
        params["dimensions"] = profile.dimension
    if encoding:
        params["encoding_format"] = encoding
    return params


def line(custom_id: str, texts: Sequence[str], profile: Profile, params: Mapping[str, Any]) -> bytes:
    """The line that asks for one embedding, with its newline. Raises ValueError for a number of texts but one."""
    if len(texts) != 1:
        raise ValueError(f"{profile.endpoint} has no line for {len(texts)} texts")
    asked = {
        "custom_id": custom_id,
        "method": "POST",
        "url": profile.endpoint,
        "body": {"input": list(texts), **params},
    }
    return written(custom_id, asked, texts)


def create_body(job: JobSpec) -> dict[str, Any]:
    """The body of a create call. Raises ValueError on metadata beyond the provider's limits: a bug of ours."""
    return wire.create_body(job, COMPLETION_WINDOW)


def query_bodies(texts: Sequence[str], profile: Profile) -> list[tuple[dict[str, Any], int]]:
    """The body to post to embed a few texts at once, with their number."""
    return [({"input": list(texts), **request_params(profile, "base64")}, len(texts))]
