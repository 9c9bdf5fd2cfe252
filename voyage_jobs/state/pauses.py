"""Pauses: what people have told to rest, since when, until when, and who said so. They outlive restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import orjson
from sqlalchemy import Connection, select

from voyage_jobs.core.clock import iso
from voyage_jobs.state import meta
from voyage_jobs.state.schema import meta as table
from voyage_jobs.state.statements import Prepared
from voyage_jobs.state.store import Tx

EVERYTHING = "everything"
SENDING = "sending"
_SOURCE = "source:"
_PREFIX = "pause."

# Purpose: every pause. Keys are the table's order: a short look.
_ALL = Prepared(select(table.c.value).where(table.c.key.between(_PREFIX, _PREFIX + "\U0010ffff")))


@dataclass(frozen=True)
class Pause:
    """One pause. Times are microseconds UTC; `until_at` is None for one that only `resume` ends."""

    what: str
    """`everything`, `sending`, or `source:NAME`."""
    since_at: int
    until_at: int | None
    who: str

    @property
    def source(self) -> str | None:
        """The source that rests, or None if it is not about one."""
        return self.what.removeprefix(_SOURCE) if self.what.startswith(_SOURCE) else None

    def __str__(self) -> str:
        what = f"Source {self.source}" if self.source is not None else self.what.capitalize()
        until = "" if self.until_at is None else f", until {iso(self.until_at)}"
        return f"{what} is paused by {self.who} since {iso(self.since_at)}{until}."

    @property
    def ended_by(self) -> str:
        """The command that ends it."""
        which = f" --source {self.source}" if self.source is not None else ""
        return f"voyage-jobs resume{' --sending' if self.what == SENDING else which}"


@dataclass(frozen=True)
class Pauses:
    """Everything that rests at a moment."""

    by_what: Mapping[str, Pause]

    @property
    def all_sending(self) -> bool:
        """Whether nothing may be assembled, uploaded or created."""
        return EVERYTHING in self.by_what or SENDING in self.by_what

    @property
    def sources(self) -> frozenset[str]:
        """Names of the sources that rest by themselves."""
        return frozenset(pause.source for pause in self.by_what.values() if pause.source is not None)

    def rests(self, source: str) -> bool:
        """Whether a source is not to be scanned."""
        return EVERYTHING in self.by_what or _SOURCE + source in self.by_what


def about(source: str | None, *, sending: bool = False) -> str:
    """The name of what is to rest."""
    return _SOURCE + source if source is not None else SENDING if sending else EVERYTHING


def put(tx: Tx, pause: Pause) -> None:
    """Begin a pause, or set a new end to one."""
    meta.put(tx, _PREFIX + pause.what, orjson.dumps(asdict(pause)).decode())


def end(tx: Tx, what: str) -> None:
    """End a pause."""
    meta.forget(tx, _PREFIX + what)


def now(connection: Connection, now_us: int) -> Pauses:
    """What rests now; a pause whose time is over is none."""
    found = [Pause(**orjson.loads(row[0])) for row in _ALL.rows(connection)]
    return Pauses({each.what: each for each in found if each.until_at is None or each.until_at > now_us})
