"""What is known of Voyage's models and limits, as data with a date and a source for every column.

Nothing here refuses anything: a model that is not in the table is used all the same, with a warning and
without a price, because the provider's list grows faster than ours. Sources, all public:

    [emb]    docs.voyageai.com/docs/embeddings                      context, dimensions, dtypes
    [ctx]    docs.voyageai.com/docs/contextualized-chunk-embeddings context, dimensions, caps per request
    [rr]     docs.voyageai.com/docs/reranker                        context, caps per request
    [multi]  docs.voyageai.com/docs/multimodal-embeddings           context
    [text]   mongodb.com/docs/voyageai, parameters of text models   the newest caps per request
    [batch]  docs.voyageai.com/docs/batch-inference                 models in batch, limits, the 33 % discount
    [price]  docs.voyageai.com/docs/pricing                         synchronous list price
    [old]    github.com/voyage-ai/openapi and older SDK comments    caps that the current pages no longer name
    [other]  getmaxim.ai/bifrost model library                      a third party's price list, unconfirmed
    [faq]    docs.voyageai.com/docs/faq                             embeddings have length 1; models that share a space
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from voyage_jobs.core.profile import CONTEXTUALIZED, EMBEDDINGS, RERANK, Profile
from voyage_jobs.vendors.base import Flaw, Model

PRICES_AS_OF = "2026-09"

MULTIMODAL = "/v1/multimodalembeddings"

# Limits of the Batch API. [batch], the section on organization limits
MAX_IN_FLIGHT_BATCHES = 100
MAX_IN_FLIGHT_TOKENS = 1_000_000_000
MAX_BATCH_INPUTS = 100_000  # "inputs" may mean lines or texts: keep both below it

# API reference of the batches endpoints: create
COMPLETION_WINDOW = "12h"
WINDOW_S = 12 * 3600

_BATCH_SHARE = 0.67  # [batch]: 33 % off. Whether the bill uses 0.67 or two thirds is not stated anywhere
_FLEXIBLE = (1024, 256, 512, 2048)  # [emb], [ctx]: default first

_model = functools.partial(Model, batch_share=_BATCH_SHARE)
_series_4 = functools.partial(
    _model, space="voyage-4"
)  # [emb][faq]: these three alone are said to share a space
_TABLE = (
    # name, endpoint, context, dimensions, quantized, line tokens, sync price, in batch
    _series_4(
        "voyage-4-large", EMBEDDINGS, 32_000, _FLEXIBLE, True, 120_000, 0.12, True
    ),  # [emb][text][price]
    _series_4("voyage-4", EMBEDDINGS, 32_000, _FLEXIBLE, True, 320_000, 0.06, True),  # [emb][text][price]
    _series_4(
        "voyage-4-lite", EMBEDDINGS, 32_000, _FLEXIBLE, True, 1_000_000, 0.02, True
    ),  # [emb][text][price]
    _model(
        "voyage-code-4", EMBEDDINGS, 32_000, _FLEXIBLE, True, 320_000, 0.12, None
    ),  # [text], price [other]
    _model("voyage-3-large", EMBEDDINGS, 32_000, _FLEXIBLE, True, 120_000, 0.18, True),  # [emb][text][price]
    _model("voyage-3.5", EMBEDDINGS, 32_000, _FLEXIBLE, True, 320_000, 0.06, True),  # [emb][text][price]
    _model(
        "voyage-3.5-lite", EMBEDDINGS, 32_000, _FLEXIBLE, True, 1_000_000, 0.02, True
    ),  # [emb][text][price]
    _model("voyage-code-3", EMBEDDINGS, 32_000, _FLEXIBLE, True, 120_000, 0.18, True),  # [emb][text][price]
    _model(
        "voyage-code-2", EMBEDDINGS, 16_000, (1536,), False, 120_000, 0.12, True
    ),  # [emb][price], cap [old]
    _model(
        "voyage-finance-2", EMBEDDINGS, 32_000, (1024,), False, 120_000, 0.12, False
    ),  # [emb][text][price]
    _model("voyage-law-2", EMBEDDINGS, 16_000, (1024,), False, 120_000, 0.12, False),  # [emb][text][price]
    _model("voyage-3", EMBEDDINGS, 32_000, (1024,), False, 320_000, 0.06, False),  # [emb][price], cap [old]
    _model(
        "voyage-3-lite", EMBEDDINGS, 32_000, (512,), False, 1_000_000, 0.02, False
    ),  # [emb][price], cap [old]
    _model("voyage-context-4", CONTEXTUALIZED, 32_000, _FLEXIBLE, True, 120_000, 0.12, None),  # [ctx][price]
    _model("voyage-context-3", CONTEXTUALIZED, 32_000, _FLEXIBLE, True, 120_000, 0.18, True),  # [ctx][price]
    _model("rerank-3", RERANK, None, (), False, None, None, None),  # named by mongodb.com/docs/voyageai only
    _model("rerank-3-lite", RERANK, 32_000, (), False, None, 0.02, None),  # context and price [other]
    _model("rerank-2.5", RERANK, 32_000, (), False, 600_000, 0.05, True),  # [rr][price]
    _model("rerank-2.5-lite", RERANK, 32_000, (), False, 600_000, 0.02, True),  # [rr][price]
    _model("rerank-2", RERANK, 16_000, (), False, 600_000, 0.05, False),  # [rr][price]
    _model("rerank-2-lite", RERANK, 8_000, (), False, 600_000, 0.02, False),  # [rr][price]
    _model(
        "voyage-multimodal-3.5", MULTIMODAL, 32_000, (), False, None, 0.12, False
    ),  # [multi][price], pixels extra
    _model(
        "voyage-multimodal-3", MULTIMODAL, 32_000, (), False, None, 0.12, False
    ),  # [multi][price], pixels extra
)
MODELS: dict[str, Model] = {model.name: model for model in _TABLE}


def find(name: str) -> Model | None:
    """The model of that name, or None if the table does not know it (which forbids nothing)."""
    return MODELS.get(name)


def flaws(profile: Profile) -> Iterator[Flaw]:
    """What of a profile the table says is not made. Of a model that it does not know only the endpoint is told."""
    model = find(profile.model)
    if model is not None and not model.dimensions:
        text = "makes no text embeddings; use voyage-4 or another embedding model."
        yield Flaw("model", text)
    elif model is not None:
        yield from _vectors(profile, model)
    wanted = model.endpoint if model is not None else _likely_endpoint(profile.model)
    if profile.endpoint == wanted:
        return
    if profile.endpoint == CONTEXTUALIZED:
        text = f"{profile.model} makes none of these; choose {EMBEDDINGS} or a voyage-context model."
        yield Flaw("endpoint", text, "model")
    elif model is None or model.dimensions:
        text = f"{profile.model} needs {CONTEXTUALIZED}; set that, or choose another model."
        yield Flaw("endpoint", text, "model")


def _vectors(profile: Profile, model: Model) -> Iterator[Flaw]:
    if profile.dimension not in model.dimensions:
        choice = " or ".join(map(str, sorted(model.dimensions)))
        text = f"{profile.model} does not make vectors of this size; choose {choice}."
        yield Flaw("dimension", text, "model")
    if profile.dtype != "float" and not model.quantized:
        text = f'{profile.model} makes only float vectors; choose "float" or a newer model.'
        yield Flaw("dtype", text, "model")


def _likely_endpoint(model: str) -> str:
    return CONTEXTUALIZED if model.startswith("voyage-context-") else EMBEDDINGS


def doubts(profile: Profile) -> list[str]:
    """What the table does not vouch for in a profile, in sentences for people; empty if nothing."""
    name, model = profile.model, find(profile.model)
    if model is None:
        return [
            f"{name} is not in the table of {PRICES_AS_OF}: its price, caps and dimensions are not known."
        ]
    found = []
    if model.endpoint != profile.endpoint:
        found.append(f"{name} is documented for {model.endpoint}, not for {profile.endpoint}.")
    if model.in_batch is None:
        found.append(f"{name} is newer than the batch guide, which does not say whether it runs in batches.")
    elif not model.in_batch:
        found.append(f"{name} is not among the models that the batch guide names.")
    if model.dimensions and profile.dimension not in model.dimensions:
        known = ", ".join(map(str, sorted(model.dimensions)))
        found.append(f"{name} is documented with {known} dimensions, not {profile.dimension}.")
    if profile.dtype != "float" and not model.quantized:
        found.append(f"{name} is documented with float vectors only, not {profile.dtype}.")
    return found
