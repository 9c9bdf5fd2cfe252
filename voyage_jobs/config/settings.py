"""`Settings`: the whole configuration, frozen, with the few things that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from voyage_jobs.config.key import KeySource, key_of
from voyage_jobs.config.page_token import PageToken
from voyage_jobs.config.provider_sections import (
    LocalSettings,
    OpenAISettings,
    OpenAISyncSettings,
    ProviderSection,
    ProviderSettings,
    VoyageSettings,
)
from voyage_jobs.config.secret import SecretSource
from voyage_jobs.config.sections import (
    PROVIDERS_LIMITS,
    BatchingSettings,
    BudgetSettings,
    DiskSettings,
    EngineSettings,
    FreshSettings,
    LanceSettings,
    LoggingSettings,
    NotifySettings,
    PollingSettings,
    PriceSettings,
    SearchSettings,
    ServerSettings,
    SplittingSettings,
    TracingSettings,
    WatchSettings,
)
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.config.values import Folder
from voyage_jobs.core import generation
from voyage_jobs.state.door import FILES
from voyage_jobs.vendors.registry import VENDORS, by_type


@dataclass(frozen=True)
class Paths:
    """Where things stand. `lancedb` is None when the table is not on a local disk."""

    data_dir: Path
    lancedb: Path | None

    @property
    def lock(self) -> Path:
        """The file whose lock makes one process the writer."""
        return self.data_dir / "lock"

    @property
    def generation(self) -> Path:
        """Which state works here, and how often it was started."""
        return self.data_dir / generation.FILE

    @property
    def spool(self) -> Path:
        """Input files on their way to the provider, results on their way back."""
        return self.data_dir / "spool"

    @property
    def vectors(self) -> Path:
        """The segments: every vector that was paid for."""
        return self.data_dir / "vectors"

    @property
    def tokenizers(self) -> Path:
        """Tokenizers that were fetched, by model."""
        return self.data_dir / "tokenizers"

    @property
    def items(self) -> Path:
        """Texts that programs hand over, a folder for each set."""
        return self.data_dir / "items"

    @property
    def queries(self) -> Path:
        """The vectors of queries that `eval` asks: kept so that none is paid for twice."""
        return self.data_dir / "queries"

    @property
    def own_table(self) -> Path | None:
        """The table's folder if it lies in the data folder itself; elsewhere, or behind a link, the operator says who
        reads it."""
        table = self.lancedb
        if table is None or table.parent != self.data_dir or table.is_symlink():
            return None
        return table

    @property
    def ours(self) -> tuple[str, ...]:
        """What is called so in the data folder is ours; an operator may keep other things beside it."""
        mine = [
            self.lock,
            self.generation,
            self.spool,
            self.vectors,
            self.tokenizers,
            self.items,
            self.queries,
            self.own_table,
        ]
        return (*FILES, *(path.name for path in mine if path is not None))


class Settings(BaseModel):
    """The configuration. Made by `load_settings`; made directly (tests) it knows no file, key or warnings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Folder
    sources: tuple[SourceSettings, ...] = ()
    provider: ProviderSettings = Field(default_factory=ProviderSettings)
    voyage: VoyageSettings = Field(default_factory=VoyageSettings)
    openai: OpenAISettings = Field(default_factory=OpenAISettings)
    openai_sync: OpenAISyncSettings = Field(default_factory=OpenAISyncSettings)
    local: LocalSettings = Field(default_factory=LocalSettings)
    splitting: SplittingSettings = Field(default_factory=SplittingSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    batching: BatchingSettings = Field(default_factory=BatchingSettings)
    polling: PollingSettings = Field(default_factory=PollingSettings)
    watch: WatchSettings = Field(default_factory=WatchSettings)
    lancedb: LanceSettings = Field(default_factory=LanceSettings)
    budget: BudgetSettings = Field(default_factory=BudgetSettings)
    fresh: FreshSettings = Field(default_factory=FreshSettings)
    prices: dict[str, PriceSettings] = Field(default_factory=dict)
    disk: DiskSettings = Field(default_factory=DiskSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    tracing: TracingSettings = Field(default_factory=TracingSettings)

    _origin: Path | None = PrivateAttr(default=None)
    _warnings: tuple[str, ...] = PrivateAttr(default=())
    _keys: Mapping[str, KeySource] = PrivateAttr(default_factory=dict)
    _page_token: PageToken = PrivateAttr(default_factory=lambda: PageToken({}))
    _notify_secret: SecretSource = PrivateAttr(default_factory=lambda: SecretSource({}, "notify_secret"))

    @model_validator(mode="before")
    @classmethod
    def _table_lives_in_data_dir(cls, values: Any) -> Any:
        section = values.get("lancedb", {}) if isinstance(values, dict) else None
        if not isinstance(section, dict) or section.get("uri"):
            return values
        data_dir = values.get("data_dir")
        if not data_dir or not isinstance(data_dir, str | Path):
            # the field's own check says what is wrong with it
            return values
        table = Path(data_dir).expanduser().absolute() / "lancedb"
        return {**values, "lancedb": {**section, "uri": str(table)}}

    @model_validator(mode="before")
    @classmethod
    def _provider_decides_limits(cls, values: Any) -> Any:
        """What is not said of batches is our default, or what the provider takes if that is less.

        Where each request is answered at once, nothing is gained by waiting for more.
        """
        if not isinstance(values, dict):
            return values
        provider, batching = values.get("provider", {}), values.get("batching", {})
        if not isinstance(provider, dict) or not isinstance(batching, dict):
            return values
        name = provider.get("type", ProviderSettings().type)
        if name not in VENDORS:
            return values
        vendor, known = by_type(name), BatchingSettings()
        limits = vendor.limits
        most = {key: getattr(limits, limit) for key, limit in PROVIDERS_LIMITS.items() if key not in batching}
        less = {key: value for key, value in most.items() if value < getattr(known, key)}
        if vendor.traits.sync_only:
            less |= {
                key: value for key, value in {"linger_s": 0, "min_inputs": 1}.items() if key not in batching
            }
        return {**values, "batching": {**batching, **less}} if less else values

    def attach(
        self,
        *,
        origin: Path | None,
        warnings: tuple[str, ...],
        api_key: KeySource,
        other_keys: Mapping[str, KeySource] | None = None,
        page_token: PageToken | None = None,
        notify_secret: SecretSource | None = None,
    ) -> Self:
        """Remember what is not configuration itself; for `load_settings`.

        `api_key` is that of the provider in use, `other_keys` has those of the others by type.
        """
        self._origin, self._warnings = origin, warnings
        self._keys = {**(other_keys or {}), self.provider.type: api_key}
        self._page_token = page_token or self._page_token
        self._notify_secret = notify_secret or self._notify_secret
        return self

    @property
    def section_name(self) -> str:
        """The section with the settings of the provider in use: called after it, or `voyage`."""
        name = self.provider.type.replace("-", "_")
        return name if name in type(self).model_fields else "voyage"

    @property
    def section(self) -> ProviderSection:
        """The settings of the provider in use."""
        found: ProviderSection = getattr(self, self.section_name)
        return found

    @property
    def tokenizer_file(self) -> Path:
        """Where the model's tokenizer is, or would be if it were fetched."""
        if self.section.tokenizer:
            return Path(self.section.tokenizer)
        return self.paths.tokenizers / f"{quote(self.section.model, safe='')}.json"

    @property
    def origin(self) -> Path | None:
        """The file this was read from, or None if the environment gave everything."""
        return self._origin

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but probably not meant, one sentence each."""
        return self._warnings

    @property
    def api_key(self) -> KeySource:
        """Call it to get the API key of the provider in use; reading it is the first moment a missing key is an
        error."""
        return self._keys.get(self.provider.type) or key_of(self.provider.type, {})

    @property
    def page_token(self) -> PageToken:
        """Call it to get the token that the page asks for, or None."""
        return self._page_token

    @property
    def notify_secret(self) -> SecretSource:
        """Call it to get the secret that webhooks are signed with."""
        return self._notify_secret

    @property
    def paths(self) -> Paths:
        """Where state, spool, vectors and table stand."""
        uri = self.lancedb.uri
        return Paths(data_dir=self.data_dir, lancedb=None if "://" in uri else Path(uri))

    def demand_secrets(self) -> None:
        """Say so before anything is done if there is no key, no model, or nothing to sign webhooks with. Raises
        ConfigError."""
        by_type(self.provider.type).demand(self.section.base_url)
        self.api_key()
        self.demand_notify_secret()

    def demand_notify_secret(self) -> None:
        """The same for what signs webhooks alone."""
        if self.notify.webhook:
            self.notify_secret()
