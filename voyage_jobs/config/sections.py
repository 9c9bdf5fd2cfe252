"""The sections of the configuration file: every key, its default, its bounds. Units stand last in a name.

What two keys must be to each other stands in `checks.py`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from voyage_jobs.core.bounds import LONGEST_S, MOST, MOST_USD
from voyage_jobs.core.object_uri import ObjectUri
from voyage_jobs.core.profile import EMBEDDINGS
from voyage_jobs.readers.code import CODE
from voyage_jobs.readers.data import BLANKED
from voyage_jobs.readers.encodings import AUTO, encoding_called
from voyage_jobs.readers.reader import Json, ReaderOptions
from voyage_jobs.records.recipe import Recipe, recipe_of_logs
from voyage_jobs.records.template import Template
from voyage_jobs.vendors.registry import VENDORS, by_type

DEFAULT_MODEL = "voyage-4"
DEFAULT_DIMENSION = 1024
OPENAI_MODEL, OPENAI_DIMENSION = "text-embedding-3-small", 1536
LOCAL_MODEL, LOCAL_DIMENSION = "all-MiniLM-L6-v2-int8", 384
_NAME_BYTES = 255
_PATH_BYTES = 3_800  # 4,095 less what we put below it
_SOURCE_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TABLE_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic turns ValueError into a finding
    return value


def _none_word(value: Any) -> Any:
    """The environment has no null, so the word stands for it."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def _empty_for_none(value: Any) -> Any:
    return "" if _none_word(value) is None else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _switch(value: Any) -> Any:
    """True, False or "poll"; the environment has only words."""
    known = {"true": True, "false": False, "poll": "poll"}.get(str(value).lower())
    if known is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        raise ValueError('must be true, false or "poll"')
    return known


def _digits(value: Any) -> Any:
    """A number as the environment has it."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _nameable(path: Any) -> Any:
    """A path that a disk can have; whether it does is seen later."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("must not hold a zero byte")
    if b"://" not in name and (len(name) > _PATH_BYTES or max(map(len, name.split(b"/"))) > _NAME_BYTES):
        raise ValueError(f"is too long: a name has at most {_NAME_BYTES} bytes, a path {_PATH_BYTES:,}")
    return path


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _source_name(name: str) -> str:
    if not _SOURCE_NAME.fullmatch(name):
        raise ValueError("must be 1 to 64 letters, digits, dots, dashes or underscores")
    return name


def _address(given: str) -> str:
    if not given:
        return given
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError('must be an address such as "https://docs.example.com/", without ? and #')
    return given if given.endswith("/") else f"{given}/"


def _table_name(name: str) -> str:
    if not _TABLE_NAME.fullmatch(name):
        raise ValueError("must be letters, digits, dots, dashes or underscores")
    return name


def _provider(name: str) -> str:
    if name not in VENDORS:
        raise ValueError(f"must be {' or '.join(sorted(VENDORS))}")
    return name


def _endpoint(value: Any) -> Any:
    return "/v1/" + value.strip("/").removeprefix("v1/") if isinstance(value, str) else value


Count = Annotated[int, BeforeValidator(_number), Field(ge=1, le=MOST)]
Size = Annotated[int, BeforeValidator(_number), Field(ge=0, le=MOST)]
Finite = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Duration = Annotated[Finite, Field(ge=0, le=LONGEST_S)]
Interval = Annotated[Finite, Field(ge=0.1, le=LONGEST_S)]
Usd = Annotated[Finite, Field(ge=0, le=MOST_USD)]
Limit = Annotated[Usd | None, BeforeValidator(_none_word)]
TokenLimit = Annotated[Size | None, BeforeValidator(_none_word)]
Event = Annotated[
    Literal["finished", "failed", "parked", "frozen", "budget", "stale", "refused"], BeforeValidator(_lower)
]
Place = Annotated[str, AfterValidator(_nameable)]
Folder = Annotated[Path, AfterValidator(_nameable), AfterValidator(_absolute)]


class Section(BaseModel):
    """A table of the file: unknown keys are errors, values do not change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AUTO_ENCODING = "auto"
"""Of `encoding_format`: base64 where the provider takes that, else JSON numbers."""


class ProviderSettings(Section):
    """`[provider]`: whose API makes the embeddings."""

    type: Annotated[str, AfterValidator(_provider)] = "voyage"


class _WithJobs(Section):
    """What is settled for a provider that has jobs. Its settings stand in each section, in the order that users see."""

    provider: ClassVar[str]
    """Its name in the registry."""
    document_prefix: ClassVar[str] = ""
    query_prefix: ClassVar[str] = ""
    texts_per_request: ClassVar[int | None] = None

    @model_validator(mode="before")
    @classmethod
    def _model_decides_dimension(cls, values: Any) -> Any:
        """An absent or null dimension is the model's own default, as a number everybody can rely on."""
        if not isinstance(values, dict) or _none_word(values.get("output_dimension")) is not None:
            return values
        usual, otherwise = (cls.model_fields[name].default for name in ("model", "output_dimension"))
        model = by_type(cls.provider).find(str(values.get("model", usual)))
        return {
            **values,
            "output_dimension": model.dimensions[0] if model and model.dimensions else otherwise,
        }


class VoyageSettings(_WithJobs):
    """`[voyage]`: where the provider is and what is asked of it."""

    provider: ClassVar[str] = "voyage"

    base_url: str = "https://api.voyageai.com/v1"
    model: Annotated[str, Field(min_length=1)] = DEFAULT_MODEL
    output_dimension: Annotated[int, BeforeValidator(_number), Field(ge=1, le=65536)] = DEFAULT_DIMENSION
    output_dtype: Literal["float", "int8", "uint8", "binary", "ubinary"] = "float"
    input_type: Annotated[Literal["document", "query", ""], BeforeValidator(_empty_for_none)] = "document"
    endpoint: Annotated[
        Literal["/v1/embeddings", "/v1/contextualizedembeddings"], BeforeValidator(_endpoint)
    ] = "/v1/embeddings"
    encoding_format: Annotated[Literal["auto", "", "base64"], BeforeValidator(_empty_for_none)] = "auto"
    timeout_s: Annotated[Interval, Field(le=3600)] = 60
    quarantine_s: Duration = 900
    create_retry_s: Duration = 1800
    max_retry_after_s: Annotated[Duration, Field(le=86_400)] = 3600
    delete_remote_files: bool = True
    tokenizer: Place = ""


class OpenAISettings(_WithJobs):
    """`[openai]`: OpenAI's batches, or a service that speaks as it does, for `[provider] type = "openai"`."""

    provider: ClassVar[str] = "openai"
    output_dtype: ClassVar[str] = "float"
    input_type: ClassVar[str] = ""
    endpoint: ClassVar[str] = EMBEDDINGS

    base_url: str = "https://api.openai.com/v1"
    model: Annotated[str, Field(min_length=1)] = OPENAI_MODEL
    output_dimension: Annotated[int, BeforeValidator(_number), Field(ge=1, le=65536)] = OPENAI_DIMENSION
    encoding_format: Annotated[Literal["", "base64"], BeforeValidator(_empty_for_none)] = "base64"
    timeout_s: Annotated[Interval, Field(le=3600)] = 60
    quarantine_s: Duration = 900
    create_retry_s: Duration = 1800
    max_retry_after_s: Annotated[Duration, Field(le=86_400)] = 3600
    delete_remote_files: bool = True
    tokenizer: Place = ""


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
    output_dimension: Annotated[int, BeforeValidator(_number), Field(ge=1, le=65536)] = DEFAULT_DIMENSION
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
    output_dimension: Annotated[int, BeforeValidator(_number), Field(ge=1, le=65536)] = LOCAL_DIMENSION
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


Selectors = tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...]


class HtmlSettings(Section):
    """`html` of a source: CSS selectors of what a page says, in place of the usual ones, and of what is left out."""

    select: Selectors = ()
    drop: Selectors = ()


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) and value else value


def _template(text: str) -> str:
    Template(text)
    return text


def _encoding(name: str) -> str:
    found = name if name in ("", AUTO) else encoding_called(name)
    if found is None:
        raise ValueError('is no encoding that is known here: for example "cp1252", "shift_jis", or "auto"')
    return found


def _name_pattern(given: str) -> str:
    if "/" in given or not given.strip():
        raise ValueError('is for names, without folders: "*.log*", say')
    return given


class RecordsSettings(Section):
    """`[sources.records]`: a row of a file is a document; without `text` every file is one itself."""

    text: Annotated[str, AfterValidator(_template)] = ""
    id: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    title: Annotated[str, AfterValidator(_template)] = ""
    url: Annotated[str, AfterValidator(_template)] = ""
    updated_at: str = ""
    columns: dict[str, Literal["string", "int", "float", "bool", "list<string>"]] = Field(
        default_factory=dict
    )
    delimiter: Annotated[str, Field(max_length=1)] = ""
    query: str = ""

    @model_validator(mode="after")
    def _without_text_there_is_nothing(self) -> Self:
        if not self.text and any(value for _, value in self):
            raise ValueError('needs text, a template such as "{name}\\n{description}"')
        return self


_DECODED = ("markdown", "rst", "asciidoc", "org", "text", *(each.name for each in CODE))
_READERS_OF_TEXT = (
    *("notebook", "pdf", "office", "sheets"),
    *("opendocument", "rtf", "epub", "mail", "outlook"),
)


class SourceSettings(Section):
    """`[[sources]]`: one folder that should be searchable. Empty `include` means the usual text formats."""

    name: Annotated[str, AfterValidator(_source_name)]
    path: Folder
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    follow_symlinks: bool = False
    gitignore: bool | None = None
    """None: on, but for a source that a release without it began with."""
    default_exclude: bool | None = None
    skip_data: bool | None = None
    encoding: Annotated[str, AfterValidator(_encoding)] = ""
    base_url: Annotated[str, AfterValidator(_address)] = ""
    dates: Literal["file", "git"] = "file"
    scan_interval_s: Interval = 300
    delete_grace_s: Duration = 3600
    max_delete_share: Annotated[float, BeforeValidator(_number), Field(gt=0, le=1)] = 0.3
    max_delete_count: Count = 10_000
    same_device: bool = True
    keep: bool = False
    max_file_bytes: Count = 20_000_000
    html: HtmlSettings = HtmlSettings()
    records: RecordsSettings = RecordsSettings()
    logs: tuple[Annotated[str, AfterValidator(_name_pattern)], ...] = ()
    watch: Annotated[Literal[True, False, "poll"], BeforeValidator(_switch)] = True
    fresh_within_s: Annotated[Interval | None, BeforeValidator(_none_word)] = None
    daily_usd: Limit = None
    daily_tokens: TokenLimit = None
    monthly_usd: Limit = None
    monthly_tokens: TokenLimit = None

    @property
    def reader_options(self) -> ReaderOptions:
        """What readers are told for this source, by the reader's name."""
        every: dict[str, Json] = {} if self.skip_data is False else {"data": BLANKED}
        if self.base_url:
            every["base_url"] = self.base_url
        if self.dates != "file":
            every["dates"] = self.dates
        text: dict[str, Json] = {"encoding": self.encoding} if self.encoding else {}
        html: dict[str, Json] = {name: list(given) for name, given in self.html if given}
        own = {"html": html, **dict.fromkeys(_DECODED, text)}
        told = {name: {**every, **own.get(name, {})} for name in (*own, *_READERS_OF_TEXT)}
        return {name: options for name, options in told.items() if options}

    @property
    def recipe(self) -> Recipe | None:
        """How rows become records; None: a file is one document."""
        if self.logs:
            return recipe_of_logs(self.logs, self.encoding)
        return Recipe(**dict(self.records), encoding=self.encoding) if self.records.text else None

    @model_validator(mode="after")
    def _logs_are_no_records(self) -> Self:
        if self.logs and self.records.text:
            raise ValueError("has logs and records: make it two sources of the same path")
        return self

    @property
    def limited(self) -> bool:
        """Whether it has a budget of its own."""
        limits = (self.daily_usd, self.daily_tokens, self.monthly_usd, self.monthly_tokens)
        return any(limit is not None for limit in limits)


class SplittingSettings(Section):
    """`[splitting]`: how documents become chunks; sizes in characters."""

    max_chars: Annotated[int, BeforeValidator(_number), Field(ge=200, le=8000)] = 2000
    overlap_chars: Size = 0
    rules: Annotated[Literal["auto", 1, 2], BeforeValidator(_digits)] = "auto"
    context: Literal["auto", "title > section", "none"] = "auto"
    min_chars: Annotated[Literal["auto"] | Size, BeforeValidator(_digits)] = "auto"
    window_tokens: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=1_000, le=30_000)], BeforeValidator(_digits)
    ] = "auto"


class EngineSettings(Section):
    """Who reads and cuts files."""

    kind: Literal["auto", "local", "processes", "ray"] = "auto"
    processes: Annotated[Size, Field(le=64)] = 0
    address: Annotated[str, Field(min_length=1)] = "auto"


class BatchingSettings(Section):
    """`[batching]`: how much goes into one batch, and how much may be in flight."""

    max_inputs: Count = 100_000
    max_bytes: Annotated[int, BeforeValidator(_number), Field(ge=65_536, le=MOST)] = 50_000_000
    max_in_flight_batches: Count = 90
    max_in_flight_tokens: Count = 900_000_000
    min_inputs: Count = 1000
    linger_s: Duration = 300
    max_attempts: Annotated[Count, Field(le=100)] = 5


PROVIDERS_LIMITS = {
    "max_inputs": "inputs",
    "max_in_flight_batches": "jobs_in_flight",
    "max_in_flight_tokens": "tokens_in_flight",
}
"""The keys of `[batching]` that may not be more than a provider takes, with the names of its `Limits`."""


class PollingSettings(Section):
    """`[polling]`: how often the provider is asked about open batches."""

    interval_s: Interval = 60
    max_interval_s: Interval = 600


class WatchSettings(Section):
    """`[watch]`: how changes of watched sources are noticed between two periodic scans."""

    settle_s: Annotated[Duration, Field(le=60)] = 2
    poll_interval_s: Interval = 30


def _as_text(value: Any) -> Any:
    """Truth values and numbers as the words that storage options are."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


class LanceSettings(Section):
    """`[lancedb]`: where the table is. An empty uri becomes `<data_dir>/lancedb`.

    An address of object storage takes its `storage_options` along, to wherever the table is opened.
    """

    uri: Place = ""
    table: Annotated[str, AfterValidator(_table_name)] = "chunks"
    keep_previous_s: Duration = 604_800
    storage_options: dict[str, Annotated[str, BeforeValidator(_as_text)]] = {}

    @model_validator(mode="after")
    def _with_options(self) -> LanceSettings:
        if "://" in self.uri and not isinstance(self.uri, ObjectUri):
            self.__dict__["uri"] = ObjectUri(self.uri, self.storage_options)
        return self


class BudgetSettings(Section):
    """`[budget]`: what may be spent per run, UTC day and month; None is no limit."""

    run_usd: Limit = None
    run_tokens: TokenLimit = None
    daily_usd: Limit = None
    daily_tokens: TokenLimit = None
    monthly_usd: Limit = None
    monthly_tokens: TokenLimit = None


class FreshSettings(Section):
    """`[fresh]`: what may be sent at once, at the full price, for sources with `fresh_within_s`; None is no limit."""

    daily_tokens: TokenLimit = 1_000_000
    daily_usd: Limit = 1.0
    daily_documents: TokenLimit = 500
    max_documents: Annotated[Count, Field(le=1000)] = 50


class PriceSettings(Section):
    """`[prices."<model>"]`: what a model costs you, in place of the list price; None is the list price."""

    batch_usd_per_million: Limit = None
    sync_usd_per_million: Limit = None


class DiskSettings(Section):
    """`[disk]`: the room that is always left free on the data folder's disk."""

    min_free_bytes: Size = 1_073_741_824


class ServerSettings(Section):
    """`[server]`: the page and the metrics; an empty `listen` is no server at all."""

    listen: str = ""
    hosts: tuple[Annotated[str, BeforeValidator(_lower), Field(min_length=1)], ...] = ()


Language = Literal[
    "none", "Arabic", "Danish", "Dutch", "English", "Finnish", "French", "German", "Greek", "Hungarian", "Italian",
    "Norwegian", "Portuguese", "Romanian", "Russian", "Spanish", "Swedish", "Tamil", "Turkish"
]  # fmt: skip


class SearchSettings(Section):
    """`[search]`: the language whose word forms count as one word, the model that embeds queries (empty: that of the
    documents), and the one that reranks (empty: none does)."""

    language: Language = "English"
    query_model: str = ""
    rerank_model: str = ""


class TracingSettings(Section):
    """`[tracing]`: spans for OpenTelemetry; where they go is said by the usual OTEL_* variables."""

    enabled: bool = False


class NotifySettings(Section):
    """`[notify]`: who is told, and of what. Without a command, webhook or ping nobody is."""

    events: tuple[Event, ...] = ("finished", "failed", "parked", "frozen", "budget", "stale", "refused")
    stale_s: Annotated[Duration | None, BeforeValidator(_none_word)] = 86_400
    command: tuple[str, ...] = ()
    webhook: str = ""
    ping: str = ""
    ping_interval_s: Interval = 300
    timeout_s: Annotated[Interval, Field(le=300)] = 10


class LoggingSettings(Section):
    """`[logging]`: how much is logged, and in which form."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)] = "auto"
    repeat_s: Duration = 300
