"""What is known of OpenAI's embedding models and limits, as data with a date and a source for every column.

Nothing here refuses a model that is not in the table: at Azure a model is called as its deployment is. All public:

    [emb]    platform.openai.com/docs/guides/embeddings          dimensions, 8,192 tokens, unit length, shortening
    [ref]    platform.openai.com/docs/api-reference/embeddings   300,000 tokens a request
    [batch]  platform.openai.com/docs/guides/batch               50,000 requests and inputs, 200 MB, 24 h, 50 % off
    [price]  platform.openai.com/docs/pricing                    synchronous list price
    [tiers]  the models' own pages                               enqueued tokens by usage tier: 3M, 20M, 100M, 500M, 4B
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.vendors.base import Flaw, Model

PRICES_AS_OF = "2026-11"

# Limits of the Batch API. [batch]
COMPLETION_WINDOW = "24h"
WINDOW_S = 24 * 3600
MAX_BATCH_INPUTS = 50_000
MAX_IN_FLIGHT_BATCHES = 1_000  # no page names a limit of jobs: it is one of tokens
MAX_IN_FLIGHT_TOKENS = 4_000_000_000  # [tiers] the highest

_model = functools.partial(
    Model,
    endpoint=EMBEDDINGS,
    context_tokens=8192,
    quantized=False,
    line_tokens=300_000,
    in_batch=True,
    batch_share=0.5,
)
_TABLE = (
    _model("text-embedding-3-small", dimensions=(1536, 256, 512, 1024), sync_usd_per_million=0.02),
    _model("text-embedding-3-large", dimensions=(3072, 256, 512, 1024, 1536), sync_usd_per_million=0.13),
    _model("text-embedding-ada-002", dimensions=(1536,), sync_usd_per_million=0.10),
)
MODELS: dict[str, Model] = {model.name: model for model in _TABLE}


def find(name: str) -> Model | None:
    """The model of that name, or None if the table does not know it (which forbids nothing)."""
    return MODELS.get(name)


def own_dimension(name: str) -> int | None:
    """What a model makes if no dimension is asked for; None if it is not known."""
    model = find(name)
    return None if model is None else model.dimensions[0]


def flaws(profile: Profile) -> Iterator[Flaw]:
    """What of a profile is not made: windows, other types than float, a dimension beyond the model's own."""
    if profile.endpoint != EMBEDDINGS:
        yield Flaw("endpoint", f"OpenAI has no windows; choose {EMBEDDINGS}.")
    if profile.dtype != "float":
        yield Flaw("dtype", 'OpenAI makes only float vectors; choose "float".')
    model = find(profile.model)
    if model is None:
        return
    most = model.dimensions[0]
    if len(model.dimensions) == 1 and profile.dimension != most:
        yield Flaw("dimension", f"{model.name} makes vectors of {most} numbers and no others.", "model")
    elif profile.dimension > most:
        yield Flaw("dimension", f"{model.name} makes vectors of at most {most} numbers.", "model")


def doubts(profile: Profile) -> list[str]:
    """What the table does not vouch for, in sentences for people; empty if nothing."""
    if find(profile.model) is not None:
        return []
    name = profile.model
    return [f"{name} is not in the table of {PRICES_AS_OF}: its price, caps and dimensions are not known."]
