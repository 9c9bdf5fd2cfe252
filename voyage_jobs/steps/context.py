"""What every step works with: the four stores, the vendor, the clock and the settings."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voyage_jobs.clock import Clock
from voyage_jobs.config.prices import batch_price, sync_price
from voyage_jobs.config.profile import profile_of, with_profile
from voyage_jobs.config.sections import SourceSettings
from voyage_jobs.config.settings import Settings
from voyage_jobs.generation import Stamp
from voyage_jobs.observe import NOBODY, Observer
from voyage_jobs.pace import Pace
from voyage_jobs.profile import KeyMaker, Profile
from voyage_jobs.segments import SegmentStore
from voyage_jobs.sources import names
from voyage_jobs.state import last_errors
from voyage_jobs.state.door import Writer
from voyage_jobs.state.rebuild import Build
from voyage_jobs.vendors.base import Client, Vendor
from voyage_jobs.vendors.registry import by_type
from voyage_jobs.vendors.tokenizer import TokenCounter

if TYPE_CHECKING:
    from voyage_jobs.table import PublishedTable, TableDoor

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
    free_bytes: Callable[[], int] | None = None
    attempts_here: dict[int, float] = field(default_factory=dict)
    """Monotonic time at which this process sent each create call whose outcome is open."""
    failing: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """(Circuit, kind of error) -> the items that failed so since the last success: see steps/circuits.py."""
    resting: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Item without a row of its own -> its failures in a row, and until when (monotonic) it waits."""
    probing: set[str] = field(default_factory=set)
    """The circuits that are probed in this turn."""
    without_text: set[int] = field(default_factory=set)
    """Ready versions whose text cannot be had until a scan has read their files again."""
    scanned_for_text: set[int] = field(default_factory=set)
    """Those for which such a scan was asked for out of turn: once, lest a missing file keeps it scanning for ever."""
    texts_to_keep: bool = True
    """Whether files may have gone since the texts of what is served without them were last looked for."""
    only: frozenset[bytes] | None = None
    """The keys that may be sent, where a run carries out a plan; None: any."""
    rehearsal: bool = False
    """Whether this is a plan, at work on a throw-away state: files in the data folder are looked at and left alone."""
    on_line: Callable[[bytes], None] | None = None
    """Hears every line of a batch that is packed, in their order: a plan counts and writes them."""
    step: str = last_errors.START
    """The step at work: whose error it is."""
    failing_steps: dict[str, str] = field(default_factory=dict)
    """Step -> code of the errors on record that are not over."""
    format_looked_at: bool = False
    """Whether the table was seen to be of the present format, or to be missing."""
    profile: Profile = field(init=False)
    keys: KeyMaker = field(init=False)
    vendor: Vendor = field(init=False)
    count: TokenCounter = field(init=False)
    profile_id: int = 0
    """Row of the profile in force; set by recovery."""
    state_id: str = ""
    """Who this state is, which its jobs and segments carry; set by recovery."""
    new_state: bool = False
    """Whether it got its id at this start: nothing can carry it yet."""
    jobs_known: bool = False
    """Whether this process knows that no job of this state is at the provider which is not on record."""
    jobs_awaited: bool = False
    """Whether something is to be sent as soon as that is known."""
    claim_waits_for: frozenset[int] = frozenset()
    """Batches that have to be over before jobs with the same texts can be claimed."""
    asked: Profile = field(init=False)
    """The profile that the configuration names. Another one may be in force: see `steps.reprofile`."""
    look_at_build_at: float = float("-inf")
    """Monotonic time before which a build that is not complete is not looked at closely again."""
    build: Build | None = None
    """The table in the making, if there is one: nothing of it is published one by one."""

    def __post_init__(self) -> None:
        self.asked = profile_of(self.settings)
        self.work_under(self.asked)

    def work_under(self, profile: Profile) -> None:
        """Embed under this profile from now on, whatever the configuration asks for: model, price and tokenizer too."""
        self.settings = with_profile(self.settings, profile)
        self.profile = profile
        self.keys = KeyMaker(profile)
        self.vendor = by_type(profile.vendor)
        self.count = self.vendor.tokenizer(self.settings.tokenizer_file)

    @property
    def stamp(self) -> Stamp:
        """What jobs and segments of this process carry."""
        return Stamp(self.state_id, self.store.epoch)

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
