"""The sections of the providers: `[provider]`, and one for each of them with every key, its default, its bounds."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from voyage_jobs.config.values import (
    Count,
    Duration,
    Interval,
    Place,
    Section,
    as_number,
    none_word,
)
from voyage_jobs.core.profile import EMBEDDINGS
from voyage_jobs.vendors.registry import VENDORS, by_type

DEFAULT_MODEL = "voyage-4"
DEFAULT_DIMENSION = 1024
OPENAI_MODEL, OPENAI_DIMENSION = "text-embedding-3-small", 1536
LOCAL_MODEL, LOCAL_DIMENSION = "all-MiniLM-L6-v2-int8", 384


def _empty_for_none(value: Any) -> Any:
    return "" if none_word(value) is None else value


def _provider(name: str) -> str:
    if name not in VENDORS:
        raise ValueError(f"must be {' or '.join(sorted(VENDORS))}")
    return name


def _endpoint(value: Any) -> Any:
    return "/v1/" + value.strip("/").removeprefix("v1/") if isinstance(value, str) else value


AUTO_ENCODING = "auto"
"""Of `encoding_format`: base64 where the provider takes that, else JSON numbers."""


class ProviderSettings(Section):
    """`[provider]`: whose API makes the embeddings."""

    type: Annotated[str, AfterValidator(_provider)] = "voyage"


class _WithJobs(Section):
    """How any provider that has jobs is called, and what is settled for it.

    Its keys are listed last, as users see them: a section names the class with its own keys after this one.
    """

    provider: ClassVar[str]
    """Its name in the registry."""
    document_prefix: ClassVar[str] = ""
    query_prefix: ClassVar[str] = ""
    texts_per_request: ClassVar[int | None] = None

    timeout_s: Annotated[Interval, Field(le=3600)] = 60
    quarantine_s: Duration = 900
    create_retry_s: Duration = 1800
    max_retry_after_s: Annotated[Duration, Field(le=86_400)] = 3600
    delete_remote_files: bool = True
    tokenizer: Place = ""

    @model_validator(mode="before")
    @classmethod
    def _model_decides_dimension(cls, values: Any) -> Any:
        """An absent or null dimension is the model's own default, as a number everybody can rely on."""
        if not isinstance(values, dict) or none_word(values.get("output_dimension")) is not None:
            return values
        usual, otherwise = (cls.model_fields[name].default for name in ("model", "output_dimension"))
        model = by_type(cls.provider).find(str(values.get("model", usual)))
        return {
            **values,
            "output_dimension": model.dimensions[0] if model and model.dimensions else otherwise,
        }


class _AskedOfVoyage(Section):
    """Where Voyage is and what is asked of it."""

    base_url: str = "https://api.voyageai.com/v1"
    model: Annotated[str, Field(min_length=1)] = DEFAULT_MODEL
    output_dimension: Annotated[int, BeforeValidator(as_number), Field(ge=1, le=65536)] = DEFAULT_DIMENSION
    output_dtype: Literal["float", "int8", "uint8", "binary", "ubinary"] = "float"
    input_type: Annotated[Literal["document", "query", ""], BeforeValidator(_empty_for_none)] = "document"
    endpoint: Annotated[
        Literal["/v1/embeddings", "/v1/contextualizedembeddings"], BeforeValidator(_endpoint)
    ] = "/v1/embeddings"
    encoding_format: Annotated[Literal["auto", "", "base64"], BeforeValidator(_empty_for_none)] = "auto"


class VoyageSettings(_WithJobs, _AskedOfVoyage):
    """`[voyage]`: where the provider is and what is asked of it."""

    provider: ClassVar[str] = "voyage"


class _AskedOfOpenAI(Section):
    """Where OpenAI is and what is asked of it."""

    output_dtype: ClassVar[str] = "float"
    input_type: ClassVar[str] = ""
    endpoint: ClassVar[str] = EMBEDDINGS

    base_url: str = "https://api.openai.com/v1"
    model: Annotated[str, Field(min_length=1)] = OPENAI_MODEL
    output_dimension: Annotated[int, BeforeValidator(as_number), Field(ge=1, le=65536)] = OPENAI_DIMENSION
    encoding_format: Annotated[Literal["", "base64"], BeforeValidator(_empty_for_none)] = "base64"


class OpenAISettings(_WithJobs, _AskedOfOpenAI):
    """`[openai]`: OpenAI's batches, or a service that speaks as it does, for `[provider] type = "openai"`."""

    provider: ClassVar[str] = "openai"


class _WithoutJobs(Section):
    """What is settled for a provider that has no jobs: plain floats, and nothing that would outlive its call."""

    output_dtype: ClassVar[str] = "float"
    input_type: ClassVar[str] = ""
    endpoint: ClassVar[str] = EMBEDDINGS
    encoding_format: ClassVar[str] = ""
    quarantine_s: ClassVar[float] = 900.0
    create_retry_s: ClassVar[float] = 1_800.0
    delete_remote_files: ClassVar[bool] = True


class OpenAISyncSettings(_WithoutJobs):
    """`[openai_sync]`: an OpenAI-compatible server that embeds at once, for `[provider] type = "openai-sync"`."""

    base_url: str = "http://127.0.0.1:8000/v1"
    model: str = ""
    output_dimension: Annotated[int, BeforeValidator(as_number), Field(ge=1, le=65536)] = DEFAULT_DIMENSION
    document_prefix: str = ""
    query_prefix: str = ""
    texts_per_request: Annotated[Count, Field(le=2048)] = 32
    timeout_s: Annotated[Interval, Field(le=3600)] = 60
    max_retry_after_s: Annotated[Duration, Field(le=86_400)] = 3600
    tokenizer: Place = ""


class LocalSettings(_WithoutJobs):
    """`[local]`: a model that runs in this process. Without `model_dir` it is the one that the extra brings."""

    texts_per_request: ClassVar[int | None] = 32
    timeout_s: ClassVar[float] = 60.0
    max_retry_after_s: ClassVar[float] = 3600.0
    tokenizer: ClassVar[str] = ""

    model_dir: Place = ""
    model: Annotated[str, Field(min_length=1)] = LOCAL_MODEL
    output_dimension: Annotated[int, BeforeValidator(as_number), Field(ge=1, le=65536)] = LOCAL_DIMENSION
    document_prefix: str = ""
    query_prefix: str = ""

    @property
    def base_url(self) -> str:
        """Where it is: a folder."""
        return self.model_dir


ProviderSection = VoyageSettings | OpenAISettings | OpenAISyncSettings | LocalSettings
"""The section of any provider. Each tells the same, be it a setting there or settled.

`document_prefix` and `query_prefix` stand before each text of a document and before a question, where a provider knows
no input type; `texts_per_request` is the most texts of one synchronous call, None: any number.
"""
