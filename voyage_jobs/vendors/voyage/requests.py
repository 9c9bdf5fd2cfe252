"""What Voyage is asked, as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voyage_jobs.core.profile import EMBEDDINGS, RERANK, Profile
from voyage_jobs.vendors.remote import JobSpec
from voyage_jobs.vendors.rest import wire
from voyage_jobs.vendors.voyage.models import COMPLETION_WINDOW


def request_params(profile: Profile, encoding: str) -> dict[str, Any]:
    """All of a request but its texts. What is None is left out, so that the endpoint's own default holds.

    `truncation` is off: chunks are far below the model's context, and if one were not, a visible failure is better than
    a vector of half a text. A reranker may read the beginning of a text alone.
    """
    if profile.endpoint == RERANK:
        return {"model": profile.model, "truncation": True}
    params = {
        "model": profile.model,
        "input_type": profile.input_type,
        "output_dimension": profile.dimension,
        "output_dtype": profile.dtype,
        "encoding_format": encoding or None,
        "truncation": False if profile.endpoint == EMBEDDINGS else None,
    }
    return {name: value for name, value in params.items() if value is not None}


def create_body(job: JobSpec) -> dict[str, Any]:
    """The body of a create call. Raises ValueError on metadata beyond the provider's limits: a bug of ours."""
    return {**wire.create_body(job, COMPLETION_WINDOW), "request_params": dict(job.params)}


def query_bodies(texts: Sequence[str], profile: Profile) -> list[tuple[dict[str, Any], int]]:
    """The bodies to post to embed a few texts at once, each with its number of texts.

    Contextualized embeddings get a call per text, because texts of one list would be read as one document.
    """
    params: dict[str, Any] = {
        "model": profile.model,
        "output_dimension": profile.dimension,
        "output_dtype": profile.dtype,
        "encoding_format": "base64",
    }
    if profile.input_type is not None:
        params["input_type"] = profile.input_type
    if profile.contextualized:
        return [({"inputs": [[text]], **params}, 1) for text in texts]
    return [({"input": list(texts), **params}, len(texts))]
