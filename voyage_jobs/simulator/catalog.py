"""The models the simulator knows: context length, dimensions, dtypes and tokens per request.

Figures from Voyage's embeddings, contextualized-embeddings and reranker guides, and from OpenAI's embeddings guide.
`space` names the vector space: the voyage-4 models share one, all others have their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voyage_jobs.simulator.messages import ApiError
from voyage_jobs.simulator.options import Options

Kind = Literal["embedding", "context", "rerank"]

FLEXIBLE = (1024, 256, 512, 2048)
SMALL = (8, 16, 32, 64, 128)
_K = 1000


@dataclass(frozen=True)
class Model:
    """One model; `dimensions` names the default first; `query_tokens` is for rerankers only.

    A flexible one of OpenAI makes any dimension up to the default, and the tiny ones are there with `small_dimensions`;
    `most_items` are the texts of one request.
    """

    name: str
    kind: Kind
    context: int
    dimensions: tuple[int, ...]
    flexible: bool
    request_tokens: int
    query_tokens: int = 0
    vendor: str = "voyage"
    most_items: int = 1000

    @property
    def space(self) -> str:
        """The vector space its embeddings live in."""
        return "voyage-4" if self.name.startswith("voyage-4") else self.name


def _flexible(name: str, request_tokens: int, kind: Kind = "embedding") -> Model:
    return Model(name, kind, 32_000, FLEXIBLE, flexible=True, request_tokens=request_tokens)


def _fixed(name: str, context: int, dimension: int, request_tokens: int) -> Model:
    return Model(name, "embedding", context, (dimension,), flexible=False, request_tokens=request_tokens)


def _reranker(name: str, context: int, request_tokens: int, query_tokens: int) -> Model:
    return Model(name, "rerank", context, (1024,), False, request_tokens, query_tokens)


def _openai(name: str, dimension: int, *, flexible: bool = True) -> Model:
    return Model(name, "embedding", 8192, (dimension,), flexible, 300 * _K, vendor="openai", most_items=2048)


MODELS = {
    model.name: model
    for model in (
        _flexible("voyage-4-large", 120 * _K),
        _flexible("voyage-4", 320 * _K),
        _flexible("voyage-4-lite", 1000 * _K),
        _flexible("voyage-code-4", 320 * _K),
        _flexible("voyage-3-large", 120 * _K),
        _flexible("voyage-3.5", 320 * _K),
        _flexible("voyage-3.5-lite", 1000 * _K),
        _flexible("voyage-code-3", 120 * _K),
        _fixed("voyage-code-2", 16_000, 1536, 120 * _K),
        _fixed("voyage-finance-2", 32_000, 1024, 120 * _K),
        _fixed("voyage-law-2", 16_000, 1024, 120 * _K),
        _fixed("voyage-3", 32_000, 1024, 320 * _K),
        _fixed("voyage-3-lite", 32_000, 512, 1000 * _K),
        _flexible("voyage-context-4", 120 * _K, "context"),
        _flexible("voyage-context-3", 120 * _K, "context"),
        _reranker("rerank-3", 32_000, 600 * _K, 8_000),
        _reranker("rerank-3-lite", 32_000, 600 * _K, 8_000),
        _reranker("rerank-2.5", 32_000, 600 * _K, 8_000),
        _reranker("rerank-2.5-lite", 32_000, 600 * _K, 8_000),
        _reranker("rerank-2", 16_000, 600 * _K, 4_000),
        _reranker("rerank-2-lite", 8_000, 600 * _K, 2_000),
        _openai("text-embedding-3-small", 1536),
        _openai("text-embedding-3-large", 3072),
        _openai("text-embedding-ada-002", 1536, flexible=False),
        _openai("tiny-8", 8, flexible=False),
        _openai("tiny-16", 16, flexible=False),
    )
}


def default_model(options: Options) -> str:
    """The name of a model of the provider, for a job that names none."""
    return next(model.name for model in MODELS.values() if model.vendor == options.vendor)


def find_model(name: str, kind: Kind, options: Options) -> Model:
    """The model of that name, if it serves that kind of request."""
    if name in options.retired_models:
        raise ApiError(410, f"Model {name} is retired. Please use {options.retired_models[name]} instead.")
    model = MODELS.get(name)
    hidden = name.startswith("tiny-") and not options.small_dimensions
    if model is None or hidden or (model.kind, model.vendor) != (kind, options.vendor):
        if options.vendor == "openai":
            told = f"The model `{name}` does not exist or you do not have access to it."
            raise ApiError(404, told, code="model_not_found")
        served = ", ".join(m.name for m in MODELS.values() if (m.kind, m.vendor) == (kind, options.vendor))
        raise ApiError(400, f"Model {name} is not supported here. Supported models are {served}.")
    return model
