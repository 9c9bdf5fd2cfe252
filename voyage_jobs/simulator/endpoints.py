"""The three endpoints that turn texts into answers, the same for batch lines and synchronous requests.

`read` checks the shape of a body (a wrong shape fails a batch's validation), `prepare` applies the limits
of a request (which fail one line) and yields a `Workload`: the texts to embed, what they cost, and how to
write the answer.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import orjson

from voyage_jobs.simulator.catalog import Kind
from voyage_jobs.simulator.encoding import encoded, quantised
from voyage_jobs.simulator.messages import ApiError, SchemaError
from voyage_jobs.simulator.params import Params
from voyage_jobs.simulator.vectors import Floats, in_context

MAX_ITEMS = 1000
MAX_CHUNKS = 16_000
CHUNKER_VERSION = "simulator-1"


@dataclass(frozen=True)
class Unit:
    """One thing that is paid for: a text, a document's list of chunks, or a query with its documents."""

    digest: bytes
    tokens: int


@dataclass(frozen=True)
class Workload:
    """A request that passed its checks."""

    texts: Sequence[str]
    units: Sequence[Unit]
    answer: Callable[[Floats], dict[str, Any]]

    @property
    def tokens(self) -> int:
        """What `usage.total_tokens` will say."""
        return sum(unit.tokens for unit in self.units)


Groups = list[list[str]]


class Endpoint(ABC):
    """One endpoint. `data_keys` are the keys of a batch line's body."""

    path: ClassVar[str]
    kind: ClassVar[Kind]
    data_keys: ClassVar[frozenset[str]]

    def read(self, body: dict[str, Any], params: Params, *, bare_string: bool) -> Groups:
        """The texts of a body, grouped as they belong together. Raises SchemaError."""
        missing = sorted(self.data_keys - set(body))
        if missing:
            raise SchemaError(f"Argument '{missing[0]}' is required.", missing[0])
        extra = sorted(set(body) - self.data_keys)
        if extra:
            raise SchemaError(f"Argument '{extra[0]}' is not supported by our API.", extra[0])
        return self._groups(body, params, bare_string=bare_string)

    @abstractmethod
    def _groups(self, body: dict[str, Any], params: Params, *, bare_string: bool) -> Groups:
        """The texts, once the keys are known to be right."""

    @abstractmethod
    def prepare(self, groups: Groups, params: Params) -> Workload:
        """Apply the limits of a request. Raises ApiError 400."""


class Embeddings(Endpoint):
    """`/v1/embeddings`: a list of texts, one vector each."""

    path = "/v1/embeddings"
    kind: ClassVar[Kind] = "embedding"
    data_keys = frozenset({"input"})

    def _groups(self, body: dict[str, Any], params: Params, *, bare_string: bool) -> Groups:
        del params
        if bare_string and isinstance(body["input"], str):
            return [[body["input"]]]
        return [_strings(body["input"], "input")]

    def prepare(self, groups: Groups, params: Params) -> Workload:
        """Truncate or refuse long texts, then sum up."""
        texts = _fitting(groups[0], params)
        units = [Unit(text_digest(text), params.tokens.count(text)) for text in texts]
        _check_total(sum(unit.tokens for unit in units), params)

        def answer(vectors: Floats) -> dict[str, Any]:
            return {"object": "list", "data": _rows(vectors, params), "model": params.model.name}

        return Workload(texts, units, answer)


class ContextualizedEmbeddings(Endpoint):
    """`/v1/contextualizedembeddings`: lists of chunks, one vector per chunk that knows of its neighbours."""

    path = "/v1/contextualizedembeddings"
    kind: ClassVar[Kind] = "context"
    data_keys = frozenset({"inputs"})

    def _groups(self, body: dict[str, Any], params: Params, *, bare_string: bool) -> Groups:
        del bare_string
        inputs = body["inputs"]
        flat = isinstance(inputs, list) and bool(inputs) and all(isinstance(i, str) for i in inputs)
        if flat and (params.auto_chunking or params.input_type == "query"):
            return [[text] for text in inputs]
        if not isinstance(inputs, list) or not inputs:
            raise SchemaError("Argument 'inputs' must be a non-empty list of lists of strings.", "inputs")
        groups = [_strings(group, "inputs") for group in inputs]
        if params.auto_chunking and any(len(group) != 1 for group in groups):
            raise SchemaError("With enable_auto_chunking each document is one string.", "inputs")
        return groups

    def prepare(self, groups: Groups, params: Params) -> Workload:
        """Check the caps of documents, chunks and tokens; nothing is truncated here."""
        if len(groups) > MAX_ITEMS:
            raise ApiError(400, f"At most {MAX_ITEMS} inner lists are allowed, got {len(groups)}.")
        if params.auto_chunking:
            groups = [list(chunked(group[0], params)) for group in groups]
        units = []
        for group in groups:
            _fitting(group, params)
            tokens = sum(map(params.tokens.count, group))
            if tokens > params.model.context:
                raise ApiError(400, f"An inner list has {tokens} tokens, over {params.model.context}.")
            units.append(Unit(list_digest(group), tokens))
        chunks = [text for group in groups for text in group]
        if len(chunks) > MAX_CHUNKS:
            raise ApiError(400, f"At most {MAX_CHUNKS} chunks are allowed, got {len(chunks)}.")
        _check_total(sum(unit.tokens for unit in units), params)
        return Workload(chunks, units, lambda vectors: _nested(vectors, groups, params))


class Rerank(Endpoint):
    """`/v1/rerank`: one query, many documents, a score each."""

    path = "/v1/rerank"
    kind: ClassVar[Kind] = "rerank"
    data_keys = frozenset({"query", "documents"})

    def _groups(self, body: dict[str, Any], params: Params, *, bare_string: bool) -> Groups:
        del params, bare_string
        if not isinstance(body["query"], str):
            raise SchemaError("Argument 'query' must be of type str.", "query")
        return [[body["query"]], _strings(body["documents"], "documents")]

    def prepare(self, groups: Groups, params: Params) -> Workload:
        """Query tokens count once per document, as the provider's formula has it."""
        query, documents = groups[0][0], groups[1]
        if not query or not all(documents):
            raise ApiError(400, "The query and the documents must not be empty strings.")
        query = _fitting([query], params, params.model.query_tokens)[0]
        count = params.tokens.count
        room = params.model.context - count(query)
        documents = _fitting(documents, params, room)
        tokens = count(query) * len(documents) + sum(map(count, documents))
        _check_total(tokens, params)

        def answer(vectors: Floats) -> dict[str, Any]:
            return _ranking(vectors, groups[1], params)

        return Workload([query, *documents], [Unit(list_digest([query, *documents]), tokens)], answer)


ENDPOINTS: dict[str, Endpoint] = {e.path: e for e in (Embeddings(), ContextualizedEmbeddings(), Rerank())}


def text_digest(text: str) -> bytes:
    """What the ledger knows a text by."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def list_digest(texts: Sequence[str]) -> bytes:
    """What the ledger knows a list of texts by."""
    return hashlib.blake2b(orjson.dumps(texts), digest_size=16).digest()


def chunked(text: str, params: Params) -> Sequence[str]:
    """The simulator's stand-in for server-side chunking: pieces of four characters per token."""
    size = 4 * params.chunk_size
    step = size - 4 * params.chunk_overlap
    return [text[at : at + size] for at in range(0, max(1, len(text) - 4 * params.chunk_overlap), step)]


def _strings(value: Any, field_name: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise SchemaError(f"Argument '{field_name}' must be a non-empty list of strings.", field_name)
    return value


def _fitting(texts: list[str], params: Params, limit: int | None = None) -> list[str]:
    """The texts cut to the model's context, or a refusal when they may not be cut."""
    most_items = params.model.most_items
    if len(texts) > most_items and params.model.kind != "context":
        raise ApiError(400, f"The list has {len(texts)} items; at most {most_items} are allowed.")
    if not all(texts):
        raise ApiError(400, "Input cannot contain empty strings or empty lists.")
    most = params.model.context if limit is None else limit
    if params.truncation:
        return [params.tokens.truncated(text, most) for text in texts]
    for number, text in enumerate(texts):
        tokens = params.tokens.count(text)
        if tokens > most:
            raise ApiError(400, f"The text at index {number} has {tokens} tokens, over the limit of {most}.")
    return texts


def _check_total(tokens: int, params: Params) -> None:
    most = params.model.request_tokens
    if tokens > most:
        raise ApiError(
            400,
            f"The max allowed tokens per submitted batch is {most}. "
            f"Your batch has {tokens} tokens after truncation. Please lower the number of tokens.",
        )


def _rows(vectors: Floats, params: Params, texts: Sequence[str] | None = None) -> list[dict[str, Any]]:
    rows = []
    for index, vector in enumerate(quantised(vectors, params.dtype)):
        row: dict[str, Any] = {"object": "embedding", "embedding": None, "index": index}
        row["embedding"] = encoded(vector, as_base64=params.as_base64)
        if texts is not None:
            row["text"] = texts[index]
        rows.append(row)
    return rows


def _nested(vectors: Floats, groups: Groups, params: Params) -> dict[str, Any]:
    data = []
    at = 0
    for index, group in enumerate(groups):
        chunks = in_context(vectors[at : at + len(group)])
        at += len(group)
        rows = _rows(chunks, params, group if params.auto_chunking else None)
        data.append({"object": "list", "data": rows, "index": index})
    extra = {"chunker_version": CHUNKER_VERSION} if params.auto_chunking else {}
    return {"object": "list", "data": data, "model": params.model.name, **extra}


def _ranking(vectors: Floats, documents: Sequence[str], params: Params) -> dict[str, Any]:
    scores = np.clip(vectors[1:] @ vectors[0], 0.0, 1.0)
    order = np.argsort(-scores, kind="stable")[: params.top_k]
    data = [
        {
            "index": int(i),
            "relevance_score": float(scores[i]),
            **({"document": documents[i]} if params.return_documents else {}),
        }
        for i in order
    ]
    return {"object": "list", "data": data, "model": params.model.name}
