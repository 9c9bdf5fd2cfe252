"""Endpoint parameters: `request_params` of a batch, or what a synchronous request says beside its input."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from voyage_jobs.simulator.catalog import SMALL, Kind, Model, find_model
from voyage_jobs.simulator.encoding import DTYPES, Dtype
from voyage_jobs.simulator.messages import ApiError, SchemaError
from voyage_jobs.simulator.options import Options
from voyage_jobs.simulator.tokens import Tokens, tokens_of

_VECTOR_KEYS = {"model", "input_type", "output_dimension", "output_dtype", "encoding_format"}
KEYS: Mapping[Kind, frozenset[str]] = {
    "embedding": frozenset(_VECTOR_KEYS | {"truncation"}),
    "context": frozenset(_VECTOR_KEYS | {"enable_auto_chunking", "chunk_size", "chunk_overlap"}),
    "rerank": frozenset({"model", "top_k", "return_documents", "truncation"}),
}
_OPENAI_KEYS = frozenset({"model", "dimensions", "encoding_format", "user"})
_MAX_CHUNK_TOKENS = 32_000

T = TypeVar("T")
S = TypeVar("S", bound=str)


@dataclass(frozen=True)
class Params:
    """Checked parameters with the endpoint's defaults filled in."""

    model: Model
    dimension: int
    dtype: Dtype = "float"
    input_type: str | None = None
    truncation: bool = True
    as_base64: bool = False
    auto_chunking: bool = False
    chunk_size: int = 512
    chunk_overlap: int = 0
    top_k: int | None = None
    return_documents: bool = False
    tokens: Tokens = Tokens()  # noqa: RUF009 - it never changes

    @property
    def fingerprint(self) -> str:
        """Short name of all that changes what is bought; the encoding does not."""
        bought = (self.model.name, self.dimension, self.dtype, self.input_type, self.auto_chunking)
        return hashlib.blake2b(repr(bought).encode(), digest_size=6).hexdigest()


def parse_params(raw: Mapping[str, Any], kind: Kind, options: Options) -> Params:
    """Check parameters. Raises SchemaError for keys and types, ApiError for values that are not served."""
    speaks_openai = options.vendor == "openai"
    unknown = sorted(set(raw) - (_OPENAI_KEYS if speaks_openai else KEYS[kind]))
    if unknown and options.unknown_params == "reject":
        raise SchemaError(f"Argument '{unknown[0]}' is not supported by our API.", unknown[0])
    reader = _Reader(raw)
    name = reader.get("model", str)
    if name is None:
        raise SchemaError("Argument 'model' is required.", "model")
    model = find_model(name, kind, options)
    if speaks_openai:
        return _openai_params(reader, model, options)
    if kind == "rerank":
        top_k = reader.whole("top_k", 1, None)
        documents = bool(reader.get("return_documents", bool))
        tokens = tokens_of(options.tokenizer)
        return Params(
            model, 0, truncation=reader.truncation(), top_k=top_k, return_documents=documents, tokens=tokens
        )
    return _vector_params(reader, model, kind, options)


def _vector_params(reader: _Reader, model: Model, kind: Kind, options: Options) -> Params:
    dtype = reader.choice("output_dtype", DTYPES) or "float"
    if dtype != "float" and not model.flexible:
        raise ApiError(400, f"Model {model.name} only supports output_dtype 'float'.")
    input_type = reader.choice("input_type", ("query", "document"))
    auto = kind == "context" and bool(reader.get("enable_auto_chunking", bool))
    if auto and input_type != "document":
        raise ApiError(400, "enable_auto_chunking needs input_type 'document'.")
    size = reader.whole("chunk_size", 1, _MAX_CHUNK_TOKENS) or 512
    return Params(
        model=model,
        dimension=_dimension(reader, model, options),
        dtype=dtype,
        input_type=input_type,
        truncation=kind == "embedding" and reader.truncation(),
        as_base64=reader.choice("encoding_format", ("base64",)) is not None,
        auto_chunking=auto,
        chunk_size=size,
        chunk_overlap=reader.whole("chunk_overlap", 0, size - 1) or 0,
        tokens=tokens_of(options.tokenizer),
    )


def _openai_params(reader: _Reader, model: Model, options: Options) -> Params:
    """Floats, cut to any dimension up to the model's own; a text that is too long is refused."""
    reader.get("user", str)
    asked, most = reader.whole("dimensions", 1, model.dimensions[0]), model.dimensions[0]
    if asked is not None and asked != most and not model.flexible:
        raise ApiError(400, "This model does not support specifying dimensions.")
    return Params(
        model=model,
        dimension=asked or most,
        truncation=False,
        as_base64=reader.choice("encoding_format", ("float", "base64")) == "base64",
        tokens=tokens_of(options.tokenizer),
    )


def _dimension(reader: _Reader, model: Model, options: Options) -> int:
    asked = reader.get("output_dimension", int)
    small = SMALL if options.small_dimensions and model.flexible else ()
    if asked is None:
        return model.dimensions[0]
    if asked not in (*model.dimensions, *small):
        served = ", ".join(map(str, sorted(model.dimensions)))
        raise ApiError(400, f"Value {asked} for 'output_dimension' is not one of {served} of {model.name}.")
    return asked


class _Reader:
    """Typed look-ups in a mapping that came from outside."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw

    def get(self, key: str, kind: type[T]) -> T | None:
        """The value if it is of that type, None if absent or null."""
        value = self._raw.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise SchemaError(f"Argument '{key}' must be of type {kind.__name__}.", key)
        return value

    def truncation(self) -> bool:
        """`truncation`, true unless switched off."""
        value = self.get("truncation", bool)
        return True if value is None else value

    def choice(self, key: str, choices: tuple[S, ...]) -> S | None:
        """The value if it is one of the choices."""
        value = self.get(key, str)
        for choice in choices:
            if value == choice:
                return choice
        if value is not None:
            raise ApiError(400, f"Value '{value}' for '{key}' is not one of {', '.join(choices)}.")
        return None

    def whole(self, key: str, low: int, high: int | None) -> int | None:
        """The number if it lies in [low, high]."""
        value = self.get(key, int)
        if value is not None and (value < low or (high is not None and value > high)):
            raise ApiError(400, f"Value {value} for '{key}' is out of range.")
        return value


def read_object(data: bytes) -> dict[str, Any]:
    """A JSON object from a request body. Raises ApiError 400 for anything else."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise ApiError(400, f"The request body is not valid JSON: {exc}") from None
    if not isinstance(value, dict):
        raise SchemaError("The request body must be a JSON object.")
    return value
