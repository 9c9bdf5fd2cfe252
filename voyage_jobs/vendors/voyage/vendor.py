"""Voyage AI as a provider: its limits and models, how it is asked and read. Libraries are imported when used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voyage_jobs.core.profile import RERANK, Profile
from voyage_jobs.vendors.base import Access, Client, KeyDoubt, Limits, Traits, Vendor, Wanted
from voyage_jobs.vendors.remote import Phase
from voyage_jobs.vendors.rest import lines
from voyage_jobs.vendors.rest.shape import JsonLines
from voyage_jobs.vendors.voyage import models, reranking

if TYPE_CHECKING:
    from voyage_jobs.vendors.result_block import Expectation, ResultBlock

VOYAGE_PREFIX, ATLAS_PREFIX = "pa-", "al-"


class Voyage(JsonLines):
    """The provider that `[voyage]` names: Voyage AI itself, or MongoDB Atlas, which speaks the same."""

    name = "voyage"
    title = "Voyage"
    limits = Limits(
        inputs=models.MAX_BATCH_INPUTS,
        jobs_in_flight=models.MAX_IN_FLIGHT_BATCHES,
        tokens_in_flight=models.MAX_IN_FLIGHT_TOKENS,
        window_s=models.WINDOW_S,
    )
    traits = Traits()
    prices_as_of = models.PRICES_AS_OF

    find = staticmethod(models.find)
    flaws = staticmethod(models.flaws)
    doubts = staticmethod(models.doubts)

    def key_doubt(self, key: str, where: str, host: str) -> KeyDoubt | None:
        """Keys of Voyage and of Atlas are told by how they begin, and each host takes its own."""
        if key.startswith(ATLAS_PREFIX) and host.endswith("voyageai.com"):
            return KeyDoubt(
                f"{where} holds a key of MongoDB Atlas ({ATLAS_PREFIX}...), which {host} does not take",
                f"Set a key of Voyage's own ({VOYAGE_PREFIX}...), or point voyage.base_url to Atlas.",
            )
        if key.startswith(VOYAGE_PREFIX) and host.endswith("mongodb.com"):
            return KeyDoubt(
                f"{where} holds a key of Voyage's own ({VOYAGE_PREFIX}...), which {host} does not take",
                "Set voyage.base_url to https://api.voyageai.com/v1.",
            )
        if key.startswith((VOYAGE_PREFIX, ATLAS_PREFIX)):
            return None
        return KeyDoubt(
            f"{where} holds a key that begins neither with {VOYAGE_PREFIX} nor with {ATLAS_PREFIX}", None
        )

    def params(self, profile: Profile, encoding: str) -> dict[str, Any]:
        """The `request_params` of a job."""
        from voyage_jobs.vendors.voyage.requests import request_params

        return request_params(profile, encoding)

    def line(
        self, custom_id: str, texts: Sequence[str], profile: Profile, params: Mapping[str, Any]
    ) -> bytes:
        """A line with `custom_id` and `body`; of a reranker's profile the first text is the query."""
        if profile.endpoint == RERANK:
            return reranking.rerank_line(custom_id, texts)
        return super().line(custom_id, texts, profile, params)

    def asked_in(self, line: bytes) -> Wanted | None:
        """What a line asks for."""
        return lines.asked_in(line) or reranking.rerank_asked_in(line)

    def answered_in(self, line: bytes, profile: Profile) -> tuple[str, int] | None:
        """The id of a line of results, and its number of rows."""
        if profile.endpoint == RERANK:
            return reranking.scores_answered_in(line)
        return lines.answered_in(line, profile)

    def read(self, path: Path, expectation: Expectation) -> Iterator[ResultBlock]:
        """A result file, block by block."""
        if expectation.profile.endpoint != RERANK:
            return super().read(path, expectation)
        from voyage_jobs.vendors.rest.results import read_results
        from voyage_jobs.vendors.voyage.scores import ScoreReader

        return read_results(path, expectation, reader=ScoreReader(expectation))

    def phase(self, status: str) -> Phase:
        """What a status word means."""
        from voyage_jobs.vendors.rest.wire import phase_of

        return phase_of(status)

    def fetch_tokenizer(self, model: str, path: Path, hub: str | None) -> int:
        """From the Hugging Face hub."""
        from voyage_jobs.vendors.rest import hub as hubs

        return hubs.fetch_tokenizer("voyageai", model, path, section="voyage", hub=hub or hubs.HUB)

    def connect(self, access: Access) -> Client:
        """The HTTP client."""
        from voyage_jobs.vendors.voyage.client import VoyageClient

        return VoyageClient.of(access)


VOYAGE: Vendor = Voyage()
