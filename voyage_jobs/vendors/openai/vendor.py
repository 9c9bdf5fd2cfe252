"""OpenAI's batches as a provider: its limits and models, how it is asked and read. Libraries are imported when used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voyage_jobs.core.profile import Profile
from voyage_jobs.vendors.base import Access, Client, KeyDoubt, Limits, Traits, Vendor
from voyage_jobs.vendors.openai import failed, models
from voyage_jobs.vendors.remote import Phase
from voyage_jobs.vendors.rest.shape import JsonLines

_TOKENIZER = (
    "Xenova",
    "text-embedding-ada-002",
)  # cl100k_base, which all of the table use, as a tokenizer.json


class OpenAI(JsonLines):
    """The provider that `[openai]` names: OpenAI itself, or a service that speaks as it does."""

    name = "openai"
    title = "OpenAI"
    limits = Limits(
        inputs=models.MAX_BATCH_INPUTS,
        jobs_in_flight=models.MAX_IN_FLIGHT_BATCHES,
        tokens_in_flight=models.MAX_IN_FLIGHT_TOKENS,
        window_s=models.WINDOW_S,
    )
    traits = Traits(key_variable="OPENAI_API_KEY", reads_files_first=True)  # Azure does
    prices_as_of = models.PRICES_AS_OF

    find = staticmethod(models.find)
    flaws = staticmethod(models.flaws)
    doubts = staticmethod(models.doubts)
    judge = staticmethod(failed.judge)

    def key_doubt(self, key: str, where: str, host: str) -> KeyDoubt | None:
        """OpenAI's own begin with sk-; what other hosts give is theirs to know."""
        if not host.endswith("openai.com") or key.startswith("sk-"):
            return None
        return KeyDoubt(f"{where} holds a key that does not begin with sk-", None)

    def params(self, profile: Profile, encoding: str) -> dict[str, Any]:
        """What stands in the body of each line beside its text."""
        from voyage_jobs.vendors.openai.requests import request_params

        return request_params(profile, encoding)

    def line(
        self, custom_id: str, texts: Sequence[str], profile: Profile, params: Mapping[str, Any]
    ) -> bytes:
        """A line with method and address, and a body that says everything."""
        from voyage_jobs.vendors.openai import requests

        return requests.line(custom_id, texts, profile, params)

    def phase(self, status: str) -> Phase:
        """What a status word means."""
        from voyage_jobs.vendors.rest.wire import phase_of

        return phase_of(status)

    def fetch_tokenizer(self, model: str, path: Path, hub: str | None) -> int:
        """From the Hugging Face hub: one for all models."""
        from voyage_jobs.vendors.rest import hub as hubs

        del model
        return hubs.fetch_tokenizer(*_TOKENIZER, path, section="openai", hub=hub or hubs.HUB)

    def connect(self, access: Access) -> Client:
        """The HTTP client."""
        from voyage_jobs.vendors.openai.client import OpenAIClient

        return OpenAIClient.of(access)


OPENAI: Vendor = OpenAI()
