"""The other sections of the configuration: every key, its default, its bounds. Units stand last in a name.

What two keys must be to each other stands in `checks.py`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from voyage_jobs.config.values import (
    Count,
    Duration,
    Interval,
    Limit,
    Place,
    Section,
    Size,
    TokenLimit,
    as_number,
    none_word,
)
from voyage_jobs.core.bounds import MOST
from voyage_jobs.core.object_uri import ObjectUri

_HOST = re.compile(r"[^\s/:*@?#]+")
_TABLE_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _digits(value: Any) -> Any:
    """A number as the environment has it."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _auto_or(least: int, most: int = MOST) -> BeforeValidator:
    """`auto`, or a whole number between these. One finding: a union would make two, in words that are not ours."""
    bound = f"of at least {least}" if most == MOST else f"from {least} to {most}"

    def checked(value: Any) -> Any:
        number = _digits(value)
        whole = isinstance(number, int | float) and not isinstance(number, bool) and number % 1 == 0
        if number != "auto" and not (whole and least <= number <= most):
            raise ValueError(f'must be "auto" or a whole number {bound}')
        return number

    return BeforeValidator(checked)


def _table_name(name: str) -> str:
    if not _TABLE_NAME.fullmatch(name):
        raise ValueError("must be letters, digits, dots, dashes or underscores")
    return name


def _host(name: str) -> str:
    if not _HOST.fullmatch(name):
        raise ValueError('must be a name alone, such as "docs.example.com", without scheme, port and path')
    return name


Event = Annotated[
    Literal["finished", "failed", "parked", "frozen", "budget", "stale", "refused"], BeforeValidator(_lower)
]


class SplittingSettings(Section):
    """`[splitting]`: how documents become chunks; sizes in characters."""

    max_chars: Annotated[int, BeforeValidator(as_number), Field(ge=200, le=8000)] = 2000
    overlap_chars: Size = 0
    rules: Annotated[Literal["auto", 1, 2, 3], BeforeValidator(_digits)] = "auto"
    context: Literal["auto", "title > section", "none"] = "auto"
    min_chars: Annotated[Literal["auto"] | int, _auto_or(0)] = "auto"
    window_tokens: Annotated[Literal["auto"] | int, _auto_or(1_000, 30_000)] = "auto"


class EngineSettings(Section):
    """Who reads and cuts files."""

    kind: Literal["auto", "local", "processes", "ray"] = "auto"
    processes: Annotated[Size, Field(le=64)] = 0
    address: Annotated[str, Field(min_length=1)] = "auto"


class BatchingSettings(Section):
    """`[batching]`: how much goes into one batch, and how much may be in flight."""

    max_inputs: Count = 100_000
    max_bytes: Annotated[int, BeforeValidator(as_number), Field(ge=65_536, le=MOST)] = 50_000_000
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
    upkeep: bool = True
    storage_options: dict[str, Annotated[str, BeforeValidator(_as_text)]] = Field(default={})

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
    hosts: tuple[Annotated[str, BeforeValidator(_lower), AfterValidator(_host)], ...] = ()


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
    stale_s: Annotated[Duration | None, BeforeValidator(none_word)] = 86_400
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
