"""The calls to OpenAI: those that all make, in its words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from voyage_jobs.core.profile import Profile
from voyage_jobs.vendors.openai import requests
from voyage_jobs.vendors.remote import JobSpec
from voyage_jobs.vendors.rest.client import RestClient
from voyage_jobs.vendors.rest.verdict import NO_MODEL, Api


class OpenAIClient(RestClient):
    """Speaks with OpenAI, or a service that speaks as it does."""

    api: ClassVar[Api] = Api(
        title="OpenAI",
        section="openai",
        dashboard="the OpenAI dashboard",
        usual_url="https://api.openai.com/v1",
        unpaid=re.compile(
            "exceeded your current quota|billing hard limit|account is not active", re.IGNORECASE
        ),
        kept_to="takes nothing from this account, whose credit or budget is used up",
        no_input_file=re.compile(
            r"(?:no such|cannot find) file|file\b.*\bnot found|invalid input_file_id", re.IGNORECASE
        ),
        no_model=NO_MODEL,
        has_token_queue=True,
    )

    def create_body(self, job: JobSpec) -> dict[str, Any]:
        """Its lines have the parameters."""
        return requests.create_body(job)

    def query_bodies(self, texts: Sequence[str], profile: Profile) -> list[tuple[dict[str, Any], int]]:
        """Base64."""
        return requests.query_bodies(texts, profile)
