"""What every step works with: the four stores, the provider, the clock and the settings."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from voyage_jobs.config.prices import batch_price, sync_price
from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.durable import free_bytes
from voyage_jobs.core.generation import Stamp
from voyage_jobs.core.observe import NOBODY, Observer
from voyage_jobs.core.pace import Pace
from voyage_jobs.core.profile import KeyMaker, Profile
from voyage_jobs.engine.engine import Engine, engine_of
from voyage_jobs.segments import SegmentStore
from voyage_jobs.sources import names
from voyage_jobs.state.door import Writer
from voyage_jobs.state.rebuild import Build
from voyage_jobs.steps.active import Active
from voyage_jobs.vendors.base import Client, Vendor
from voyage_jobs.vendors.intent import sent_while_young
from voyage_jobs.vendors.tokenizer import TokenCounter

if TYPE_CHECKING:
    from voyage_jobs.table import PublishedTable, TableDoor

Memory = TypeVar("Memory")

Progress = Callable[[str, int, int | None], None]
"""Told (what, done, total or None) as long work goes on."""


def no_progress(what: str, done: int, total: int | None) -> None:
    """Tell nobody."""


@dataclass
class Context:
    """Handed to every step: what is fixed while the process lives, what is `active`, and each step's own memory.

    `stopping` is set when the process was asked to end: steps finish what they are at.
    """

    loaded: Settings
    """The settings as they were read, whatever is worked under."""
    active: Active
    clock: Clock
    store: Writer
    segments: SegmentStore
    log: Any
    table_door: TableDoor
    stopping: threading.Event = field(default_factory=threading.Event)
    progress: Progress = no_progress
    pace: Pace | None = None
    """Told which step is at work and that it gets on; None: nobody asks."""
    observer: Observer = NOBODY
    reach: Callable[[Settings], Client] | None = None
    """Gives the client of the provider that settings name; None: there is no other than the one given."""
    free_bytes: Callable[[], int] | None = None
    only: frozenset[bytes] | None = None
    """The keys that may be sent, where a run carries out a plan; None: any."""
    rehearsal: bool = False
    """Whether this is a plan, at work on a throw-away state: files in the data folder are looked at and left alone."""
    on_line: Callable[[bytes], None] | None = None
    """Hears every line of a batch that is assembled, in their order: a plan counts and writes them."""
    state_id: str = ""
    """Who this state is, which its jobs and segments carry; set by recovery."""
    rules: int = 1
    """By which documents are split where the configuration does not say; set by recovery (`steps.splitting`)."""
    asked: Profile = field(init=False)
    """The profile that the configuration names. Another one may be active: see `steps.reprofile`."""
    build: Build | None = None
    """The table in the making, if there is one: nothing of it is published one by one."""
    _memories: dict[type, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.asked = profile_of(self.loaded)
        _ = self.engine  # one that is not installed ends the start with a sentence

    def work_under(self, profile: Profile, profile_id: int) -> None:
        """Embed under this profile from now on, whatever the configuration asks for."""
        active = Active.of(self.loaded, self.client, profile, profile_id)
        if self.reach is not None:
            client = self.reach(active.settings)
            client.give_up_at = self.client.give_up_at
            client.max_retry_after_s = active.settings.section.max_retry_after_s
            active = replace(active, client=client)
        self.active = active

    @property
    def settings(self) -> Settings:
        """Those worked under: see `Active`."""
        return self.active.settings

    @property
    def client(self) -> Client:
        """Of the active profile's provider."""
        return self.active.client

    @property
    def profile(self) -> Profile:
        """The active one."""
        return self.active.profile

    @property
    def profile_id(self) -> int:
        """Row of the active profile."""
        return self.active.profile_id

    @property
    def keys(self) -> KeyMaker:
        """Names embeddings of the active profile."""
        return self.active.keys

    @property
    def vendor(self) -> Vendor:
        """What is known of the active profile's provider without asking it."""
        return self.active.vendor

    @property
    def count(self) -> TokenCounter:
        """Counts tokens as the active profile's model does."""
        return self.active.count

    @property
    def engine(self) -> Engine:
        """What takes heavy work off this process."""
        asked = self.loaded.engine
        return engine_of(asked.kind, asked.processes, asked.address)

    def while_young(self, since: float) -> AbstractContextManager[None]:
        """Send the paid call in this block while its intent, noted since then (`Clock.uptime`), is young, or never."""
        return sent_while_young(self.client, since, self.settings.section.quarantine_s)

    def memory(self, kind: type[Memory]) -> Memory:
        """What one step remembers while this process lives, by its own class; made at first use."""
        found = self._memories.get(kind)
        if found is None:
            found = self._memories[kind] = kind()
        return cast(Memory, found)

    @property
    def stamp(self) -> Stamp:
        """What jobs and segments of this process carry."""
        return Stamp(self.state_id, self.store.epoch, self.rules)

    @property
    def may_send(self) -> bool:
        """Whether texts may be sent: not while the configuration asks for other vectors than those being made."""
        return self.profile == self.asked

    def open_table(self) -> PublishedTable:
        """The table, made at first use. Raises CorruptionError or ConfigError if it is damaged or foreign."""
        return self.table_door.open()

    @property
    def spool(self) -> Path:
        """Input files on their way out, results on their way in."""
        return self.settings.paths.spool

    @property
    def price(self) -> float | None:
        """USD per million tokens by batch, or None if it is not known."""
        return batch_price(self.settings)

    @property
    def sync_price(self) -> float | None:
        """USD per million tokens by the synchronous endpoint, or None if it is not known."""
        return sync_price(self.settings)

    def source_settings(self, name: str) -> SourceSettings | None:
        """The configuration of a source, or None if it left the configuration."""
        return next((source for source in self.settings.sources if source.name == name), None)

    def free_disk_bytes(self) -> int:
        """Room left on the data folder's disk for an ordinary user."""
        if self.free_bytes is not None:
            return self.free_bytes()
        return free_bytes(self.settings.data_dir)

    def input_path(self, ref: str) -> Path:
        """The spooled input file of a batch."""
        return self.spool / f"{ref}.jsonl"

    def result_path(self, ref: str, kind: str) -> Path:
        """The downloaded result file of a batch; `kind` is output or error."""
        return self.spool / f"{ref}.{kind}.jsonl"


def encoded(path: Path) -> str:
    """A configured path in the form in which paths are stored."""
    return names.encode(os.fsencode(path))
