"""What every step works with: the four stores, the provider, the clock and the settings."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from voyage_jobs.config.prices import batch_price, sync_price
from voyage_jobs.config.profile import profile_of, with_profile
from voyage_jobs.config.sections import SourceSettings
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.generation import Stamp
from voyage_jobs.core.observe import NOBODY, Observer
from voyage_jobs.core.pace import Pace
from voyage_jobs.core.profile import KeyMaker, Profile
from voyage_jobs.segments import SegmentStore
from voyage_jobs.sources import names
from voyage_jobs.state.door import Writer
from voyage_jobs.state.rebuild import Build
from voyage_jobs.vendors.base import Client, Vendor
from voyage_jobs.vendors.intent import sent_while_young
from voyage_jobs.vendors.registry import by_type
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
    """Handed to every step. `stopping` is set when the process was asked to end: steps finish what they are at."""

    settings: Settings
    clock: Clock
    store: Writer
    client: Client
    segments: SegmentStore
    log: Any
    table_door: TableDoor
    stopping: threading.Event = field(default_factory=threading.Event)
    progress: Progress = no_progress
    pace: Pace | None = None
    """Told which step is at work and that it gets on; None: nobody asks."""
    observer: Observer = NOBODY
    reach: Callable[[Settings], Client] | None = None
    """Gives the client of the provider that settings name; None: there is no other than `client`."""
    free_bytes: Callable[[], int] | None = None
    only: frozenset[bytes] | None = None
    """The keys that may be sent, where a run carries out a plan; None: any."""
    rehearsal: bool = False
    """Whether this is a plan, at work on a throw-away state: files in the data folder are looked at and left alone."""
    on_line: Callable[[bytes], None] | None = None
    """Hears every line of a batch that is assembled, in their order: a plan counts and writes them."""
    profile: Profile = field(init=False)
    keys: KeyMaker = field(init=False)
    vendor: Vendor = field(init=False)
    count: TokenCounter = field(init=False)
    profile_id: int = 0
    """Row of the active profile; set by recovery."""
    state_id: str = ""
    """Who this state is, which its jobs and segments carry; set by recovery."""
    rules: int = 1
    """By which documents are split where the configuration does not say; set by recovery (`steps.splitting`)."""
    loaded: Settings = field(init=False)
    """The settings as they were read, whatever is worked under."""
    asked: Profile = field(init=False)
    """The profile that the configuration names. Another one may be active: see `steps.reprofile`."""
    build: Build | None = None
    """The table in the making, if there is one: nothing of it is published one by one."""
    _memories: dict[type, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loaded, self.asked = self.settings, profile_of(self.settings)
        self.work_under(self.asked)

    def work_under(self, profile: Profile) -> None:
        """Embed under this profile from now on, whatever the configuration asks for: provider, model, price and
        tokenizer too."""
        self.settings = with_profile(self.settings, profile)
        self.profile = profile
        self.keys = KeyMaker(profile)
        self.vendor = by_type(profile.vendor)
        self.count = self.vendor.tokenizer(self.settings.tokenizer_file)
        if self.reach is not None:
            client = self.reach(self.settings)
            client.give_up_at = self.client.give_up_at
            client.max_retry_after_s = self.settings.section.max_retry_after_s
            self.client = client

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
        found = os.statvfs(self.settings.data_dir)
        return found.f_bavail * found.f_frsize

    def input_path(self, ref: str) -> Path:
        """The spooled input file of a batch."""
        return self.spool / f"{ref}.jsonl"

    def result_path(self, ref: str, kind: str) -> Path:
        """The downloaded result file of a batch; `kind` is output or error."""
        return self.spool / f"{ref}.{kind}.jsonl"


def encoded(path: Path) -> str:
    """A configured path in the form in which paths are stored."""
    return names.encode(os.fsencode(path))
