"""Any server that answers OpenAI's `/v1/embeddings` as a provider: vLLM, TEI, Infinity, Ollama, llama.cpp, LiteLLM.

Its answers have the shape of Voyage's, so they are taken apart and judged by the same code. Nothing is known
of its models.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.errors import VendorError
from voyage_jobs.vendors.base import Access, Client, Flaw, Limits, Model, Traits, Vendor
from voyage_jobs.vendors.no_jobs import AnswersAtOnce
from voyage_jobs.vendors.rest.shape import JsonLines


class OpenAISync(AnswersAtOnce, JsonLines):
    """A server that answers at once, and that is all it does."""

    name = "openai-sync"
    title = "OpenAI-compatible server"
    limits = Limits(inputs=100_000, jobs_in_flight=1_000, tokens_in_flight=1_000_000_000, window_s=None)
    traits = Traits(
        lists_metadata=False,
        sync_only=True,
        unlisted_usd_per_million=0.0,
        key_variable="OPENAI_SYNC_API_KEY",
        needs_key=False,
    )
    prices_as_of = "your own server"

    def find(self, model: str) -> Model | None:
        """Nothing is known of any model."""
        del model
        return None

    def flaws(self, profile: Profile) -> Iterator[Flaw]:
        """Only plain floats are asked for."""
        if profile.endpoint != EMBEDDINGS:
            yield Flaw("endpoint", "has to be /v1/embeddings for an OpenAI-compatible server.")
        if profile.dtype != "float":
            yield Flaw("dtype", "has to be float for an OpenAI-compatible server.")

    def fetch_tokenizer(self, model: str, path: Path, hub: str | None) -> int:
        """There is no place where all of them are."""
        del path, hub
        raise VendorError(
            f"No tokenizer is known for {model}.",
            hint="Name its tokenizer.json in [openai_sync] tokenizer; without one, tokens are estimated.",
        )

    def connect(self, access: Access) -> Client:
        """The HTTP client."""
        from voyage_jobs.vendors.openai_sync.client import OpenAISyncClient

        return OpenAISyncClient.of(access)


OPENAI_SYNC: Vendor = OpenAISync()
