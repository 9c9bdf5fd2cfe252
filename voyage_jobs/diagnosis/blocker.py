"""One reason why something does not move: about what, who can end it, since when, until when, what to do. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from voyage_jobs.core.clock import iso

Severity = Literal["problem", "info", "wait"]

ASSEMBLE, SUBMIT, CREATE = "assemble", "submit", "create"
FRESH = "fresh"
"""Send small changes at once; what it is kept from goes by batch."""
SENDING = frozenset({ASSEMBLE, SUBMIT, CREATE})
"""What lies between a text and its job: choose a batch; write and upload it; create its job."""
RECONCILE = "reconcile"
CALLS = frozenset({SUBMIT, CREATE, RECONCILE, "poll", "collect", "tidy"})
"""What calls the provider."""
WRITES = frozenset({ASSEMBLE, "collect", "publish"})
"""What writes much."""
OF_A_BATCH = CALLS - {"tidy"}
EVERY_STEP = SENDING | CALLS | WRITES | {"scan", "requests", FRESH}

NOTHING_TO_DO = "Nothing to do; `voyage-jobs status --watch` shows it come."
_SHOWN_WORDS_CHARS = 200


class Mover(enum.StrEnum):
    """Who moves it on."""

    ACCOUNT = "account"
    """You, at the provider: it refuses the key or the account (exit code 5)."""
    DECISION = "decision"
    """You alone: nothing goes on here before you have decided (exit code 6)."""
    OPERATOR = "operator"
    """You can mend or end it by what `next` says; all else goes on meanwhile."""
    PROCESS = "process"
    """A running process: none is at it, or it does it by itself."""
    PROVIDER = "provider"
    """The provider, by an answer or the end of a job."""
    TIME = "time"
    """Nobody: it is over at a time, or tried again then."""


@dataclass(frozen=True)
class Blocker:
    """A reason. Times are microseconds UTC, None where they are not known.

    `text` is ours alone; `words` are those of the error or the provider and may quote a text, so they stay on this
    machine. `severity`: a problem makes `status` unhealthy, an info passes by itself, a wait is the ordinary course
    of things, told to who asks `why`. It is about one `source` or `batch`, if that is set, else about everything.
    """

    text: str
    next: str
    code: str
    moved_by: Mover = Mover.TIME
    severity: Severity = "problem"
    words: str | None = None
    stops: frozenset[str] = frozenset()
    """What it keeps back: steps, or `delete` and `embed` for what only a command moves on. Empty: nothing."""
    source: str | None = None
    batch: str | None = None
    circuit: str | None = None
    name: str | None = None
    """Of what it is about, if that is neither a source, a batch nor a circuit: a setting, a sink."""
    since: int | None = None
    until: int | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)

    @property
    def subject(self) -> str | None:
        """What it is about; None: everything."""
        return self.name or self.batch or self.source or self.circuit

    @property
    def message(self) -> str:
        """The facts, with the words of the error as far as they fit."""
        words = shortened(self.words)
        return sentence(f"{self.text}: {words}" if words else self.text)

    def is_tried(self, now: int) -> bool:
        """Whether its wait is over, so that the next call finds out: it keeps nothing back at this moment.

        Where you alone move it on, only what was chosen for the try finds out.
        """
        waits = self.circuit is not None and self.moved_by not in (Mover.ACCOUNT, Mover.DECISION)
        return waits and self.until is not None and self.until <= now

    def as_dict(self) -> dict[str, Any]:
        """For `--json`, in the shape that docs/status.md promises."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.next,
            "severity": self.severity,
            "subject": self.subject,
            "since": iso(self.since),
            "until": iso(self.until),
            "moved_by": str(self.moved_by),
        }


def worst_first(found: Iterable[Blocker]) -> list[Blocker]:
    """What is refused, what waits for your decision, what is wrong, then what passes by itself."""
    return sorted(found, key=_rank)


def shown(found: Iterable[Blocker]) -> list[Blocker]:
    """Those that are told without being asked for: all but the ordinary course of things, worst first."""
    return worst_first(each for each in found if each.severity != "wait")


def _rank(blocker: Blocker) -> int:
    if blocker.severity != "problem":
        return 3
    return {Mover.ACCOUNT: 0, Mover.DECISION: 1}.get(blocker.moved_by, 2)


def keeping(
    found: Iterable[Blocker],
    *steps: str,
    source: str | None = None,
    batch: str | None = None,
    now: int | None = None,
) -> Iterator[Blocker]:
    """Those that keep back one of the steps for something of that source or batch.

    With `now` only what holds at that moment, without the circuits that are about to be tried.
    """
    for each in found:
        if not each.stops.intersection(steps) or (now is not None and each.is_tried(now)):
            continue
        if each.source in (None, source) and each.batch in (None, batch):
            yield each


def sentence(text: str | None) -> str:
    """It with a full stop, unless it has an end."""
    told = (text or "no reason given").rstrip()
    return told if told.endswith((".", "!", "?")) else f"{told}."


def shortened(text: str | None) -> str | None:
    """As much of the words of somebody else as a line bears."""
    return text if text is None or len(text) <= _SHOWN_WORDS_CHARS else text[: _SHOWN_WORDS_CHARS - 3] + "..."
