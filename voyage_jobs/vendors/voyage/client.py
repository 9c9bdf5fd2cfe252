"""The calls to Voyage: those that all make, and its reranker."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from voyage_jobs.core.profile import RERANK, Profile
from voyage_jobs.vendors.base import Reranked
from voyage_jobs.vendors.remote import JobSpec
from voyage_jobs.vendors.rest.client import RestClient
from voyage_jobs.vendors.rest.verdict import Api
from voyage_jobs.vendors.voyage.requests import create_body, query_bodies
from voyage_jobs.vendors.voyage.reranking import read_reranked, rerank_body

VOYAGE_API = Api(
    title="Voyage",
    section="voyage",
    dashboard="the Voyage dashboard",
    usual_url="https://api.voyageai.com/v1",
    unpaid=re.compile(r"\b3\s*RPM\b|\b10\s*K\s*TPM\b|payment method", re.IGNORECASE),
    kept_to="keeps this account to the rates of one without a payment method",
    no_input_file=re.compile("input file not found", re.IGNORECASE),
    no_model=re.compile(r"\bmodel \S+ is not supported\b", re.IGNORECASE),
)


class VoyageClient(RestClient):
    """Speaks with Voyage, or with MongoDB Atlas."""

    api: ClassVar[Api] = VOYAGE_API

    def create_body(self, job: JobSpec) -> dict[str, Any]:
        """With the parameters of all lines."""
        return create_body(job)

    def query_bodies(self, texts: Sequence[str], profile: Profile) -> list[tuple[dict[str, Any], int]]:
        """Base64, in the profile's storage type."""
        return query_bodies(texts, profile)

    def rerank(self, query: str, texts: Sequence[str], model: str) -> Reranked:
        """Score texts by how well they answer a query. Billed when it is answered, so never repeated here.

        An OutcomeUnknownError or a BadAnswerError may have been billed; every other error was not.
        """
        operation, body = "rerank texts", rerank_body(query, texts, model)
        answer = self._ask(operation, "POST", RERANK.removeprefix("/v1"), json=body)
        return self._understand(operation, read_reranked, answer, len(texts))

    def key_hint(self, key: str) -> str:
        """Told from its prefix where that says more."""
        return key_hint(key, self.host, self._key.describe()) or super().key_hint(key)


def key_hint(key: str, host: str, where: str) -> str | None:
    """What a refused key's prefix says: `pa-` is Voyage's own, `al-` MongoDB Atlas's; None: nothing."""
    if key.startswith("al-") and host.endswith("voyageai.com"):
        return f"The key in {where} begins with al-, as those of MongoDB Atlas do; {host} takes pa- keys."
    if key.startswith("pa-") and host.endswith("mongodb.com"):
        return f"The key in {where} begins with pa-: set voyage.base_url to https://api.voyageai.com/v1."
    return None
