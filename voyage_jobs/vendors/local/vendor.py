"""The local model as a provider: it answers at once, for nothing. Lines and answers have the shape of Voyage's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.errors import ConfigError
from voyage_jobs.vendors.base import Access, Client, Flaw, Limits, Model, Traits, Vendor
from voyage_jobs.vendors.local.models import MODEL
from voyage_jobs.vendors.no_jobs import AnswersAtOnce
from voyage_jobs.vendors.rest.shape import JsonLines


class Local(AnswersAtOnce, JsonLines):
    """What is known of it without loading it."""

    name = "local"
    title = "The local model"
    limits = Limits(inputs=128, jobs_in_flight=1, tokens_in_flight=1_000_000, window_s=None)
    traits = Traits(sync_only=True, unlisted_usd_per_million=0.0, needs_key=False, in_process=True)
    prices_as_of = "your own machine"

    def find(self, model: str) -> Model | None:
        """There is one."""
        return MODEL if model == MODEL.name else None

    def flaws(self, profile: Profile) -> Iterator[Flaw]:
        """It makes float vectors of one size, one for each text."""
        if profile.endpoint != EMBEDDINGS:
            yield Flaw("endpoint", f'the local model has no windows; choose "{EMBEDDINGS}".')
        if profile.model != MODEL.name:
            return
        if profile.dimension not in MODEL.dimensions:
            yield Flaw("dimension", f"{MODEL.name} makes vectors of {MODEL.dimensions[0]} numbers.", "model")
        if profile.dtype != "float":
            yield Flaw("dtype", f'{MODEL.name} makes only float vectors; choose "float".', "model")

    def fetch_tokenizer(self, model: str, path: Path, hub: str | None) -> int:
        """It is in the package already."""
        del model, path, hub
        raise ConfigError("The local model brings its tokenizer along: there is nothing to fetch.")

    def demand(self, place: str) -> None:
        """The libraries, and the model."""
        from voyage_jobs.vendors.local.files import demand

        demand(place)

    def connect(self, access: Access) -> Client:
        """The model is loaded when the first text comes."""
        from voyage_jobs.vendors.local.client import LocalClient

        return LocalClient(access)


LOCAL: Vendor = Local()
