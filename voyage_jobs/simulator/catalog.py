"""The models the simulator knows: context length, dimensions, dtypes and tokens per request.

Figures from the provider's embeddings, contextualized-embeddings and reranker guides. `space` names the vector
space: the voyage-4 models share one, all others have their own.
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
    """One model; `dimensions` names the default first; `query_tokens` is for rerankers only."""

    name: str
    kind: Kind
    context: int
    dimensions: tuple[int, ...]
    flexible: bool
    request_tokens: int
    query_tokens: int = 0

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
    )
}


def find_model(name: str, kind: Kind, options: Options) -> Model:
    """The model of that name, if it serves that kind of request."""
    if name in options.retired_models:
        raise ApiError(410, f"Model {name} is retired. Please use {options.retired_models[name]} instead.")
    model = MODELS.get(name)
    if model is None or model.kind != kind:
        served = ", ".join(m.name for m in MODELS.values() if m.kind == kind)
        raise ApiError(400, f"Model {name} is not supported here. Supported models are {served}.")
    return model
