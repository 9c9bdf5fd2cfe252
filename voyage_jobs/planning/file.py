"""A plan on disk: written entry by entry while it is made, and read again by `sync --plan`.

    {"format": "voyage-jobs plan", "version": 1, "made_at": ..., "settings": {...},
     "entries": [{"change": "new", "source": ..., "path": ..., "content_hash": ..., "send": [[key, tokens], ...]}, ...],
     "report": {...}}

`change` is new or changed (a document, with the keys that it makes necessary), moved or vanished (a document that is
not there any more), skipped (a file that is not taken, with `reason`), waiting (a text from an earlier scan). `path` is
in the form in which the state and the table keep it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from voyage_jobs.config.prices import batch_price
from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, iso, now_us
from voyage_jobs.core.profile import KEY_BYTES
from voyage_jobs.errors import ConfigError

FORMAT = "voyage-jobs plan"
VERSION = 1
_MAKE_ANOTHER = "Make another: `voyage-jobs plan --out FILE`."

Send = Sequence[tuple[bytes, int]]
"""Keys that are to be sent, with the tokens of each."""


class Sink:
    """Hears of everything that a plan finds. This one forgets it."""

    def document(self, change: str, source: str, path: str, content_hash: bytes, send: Send) -> None:
        """A document is new or changed."""

    def gone(self, change: str, source: str, path: str) -> None:
        """A document has moved or vanished."""

    def skipped(self, source: str, path: str, reason: str) -> None:
        """A file is not taken."""

    def waiting(self, key: bytes, tokens: int) -> None:
        """A text waits from an earlier scan and is to be sent."""


class PlanWriter(Sink):
    """Writes the entries of a plan into an open file; `begin` first, `end` last."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._between = b"\n"

    def begin(self, settings: Settings, clock: Clock, counted_by: str) -> None:
        """The head: what the plan rests on."""
        head = {
            "format": FORMAT,
            "version": VERSION,
            "made_at": iso(now_us(clock)),
            "settings": planned_settings(settings, counted_by),
        }
        self._out.write(_dump(head)[:-1] + b', "entries": [')

    def end(self, report: dict[str, Any]) -> None:
        """The foot: the report that an operator sees."""
        self._out.write(b'\n], "report": ' + _dump(report) + b"}\n")

    def document(self, change: str, source: str, path: str, content_hash: bytes, send: Send) -> None:
        """A document is new or changed."""
        self._entry(change, source, path, content_hash=content_hash.hex(), send=_listed(send))

    def gone(self, change: str, source: str, path: str) -> None:
        """A document has moved or vanished."""
        self._entry(change, source, path)

    def skipped(self, source: str, path: str, reason: str) -> None:
        """A file is not taken."""
        self._entry("skipped", source, path, reason=reason)

    def waiting(self, key: bytes, tokens: int) -> None:
        """A text waits from an earlier scan and is to be sent."""
        self._entry("waiting", None, None, send=_listed([(key, tokens)]))

    def _entry(self, change: str, source: str | None, path: str | None, **more: object) -> None:
        place = {} if source is None else {"source": source, "path": path}
        self._out.write(self._between + _dump({"change": change, **place, **more}))
        self._between = b",\n"


def _dump(value: object) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _listed(send: Send) -> list[tuple[str, int]]:
    return [(key.hex(), tokens) for key, tokens in send]


def planned_settings(settings: Settings, counted_by: str) -> dict[str, Any]:
    """What a plan rests on, by the name that an operator knows it by."""
    return {
        "data_dir": str(settings.data_dir),
        "voyage": json.loads(profile_of(settings).to_json()),
        "splitting": settings.splitting.model_dump(mode="json"),
        "sources": [
            source.model_dump(mode="json", exclude={"scan_interval_s"}) for source in settings.sources
        ],
        "price": batch_price(settings),
        "tokenizer": counted_by,
    }


@dataclass(frozen=True)
class Plan:
    """A plan that was read: about as large in memory as what it is about to send and to change."""

    path: Path
    made_at: str
    settings: dict[str, Any]
    report: dict[str, Any]
    documents: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    """(source, path) -> (new or changed, content hash)"""
    gone: set[tuple[str, str]] = field(default_factory=set)
    skipped: set[tuple[str, str]] = field(default_factory=set)
    waiting: set[bytes] = field(default_factory=set)
    keys: set[bytes] = field(default_factory=set)
    """Everything that may be sent."""

    @property
    def limited(self) -> bool:
        """Whether a limit (--max-inputs, a budget) kept back texts: then it does not name everything that waits."""
        return bool(self.report["tokens"]["to_send"] > self.report["batches"]["tokens"])


def read_plan(path: Path) -> Plan:
    """Read what `plan --out` wrote. Raises ConfigError for anything else."""
    try:
        raw = orjson.loads(path.read_bytes())
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}.", hint=_MAKE_ANOTHER) from exc
    except orjson.JSONDecodeError as exc:
        raise ConfigError(f"{path} is not a plan: {exc}.", hint=_MAKE_ANOTHER) from exc
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ConfigError(f"{path} is not a plan.", hint=_MAKE_ANOTHER)
    if raw.get("version") != VERSION:
        raise ConfigError(
            f"{path} is a plan of version {raw.get('version')}, not {VERSION}.", hint=_MAKE_ANOTHER
        )
    try:
        plan = Plan(path, raw["made_at"], raw["settings"], raw["report"])
        _take_in(plan, raw["entries"])
        _ = plan.limited
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfigError(f"{path} is not a usable plan: {exc!r}.", hint=_MAKE_ANOTHER) from exc
    return plan


def _take_in(plan: Plan, entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        keys = list(_keys(entry))
        plan.keys.update(keys)
        if entry["change"] == "waiting":
            plan.waiting.update(keys)
            continue
        place = (entry["source"], entry["path"])
        if entry["change"] in ("new", "changed"):
            plan.documents[place] = (entry["change"], bytes.fromhex(entry["content_hash"]))
        elif entry["change"] == "skipped":
            plan.skipped.add(place)
        elif entry["change"] in ("moved", "vanished"):
            plan.gone.add(place)
        else:
            raise ValueError(entry["change"])


def _keys(entry: dict[str, Any]) -> Iterator[bytes]:
    for text, _tokens in entry.get("send", ()):
        key = bytes.fromhex(text)
        if len(key) != KEY_BYTES:
            raise ValueError(text)
        yield key
