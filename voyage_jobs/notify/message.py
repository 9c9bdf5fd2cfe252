"""The message of a fact: one JSON object, the same for every sink and every try."""

from __future__ import annotations

import socket
from typing import Any

import orjson

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import iso
from voyage_jobs.core.redact import redact
from voyage_jobs.notify.events import MEANINGS, PROBLEMS, Fact
from voyage_jobs.version import __version__


def message(fact: Fact, notice_id: str, now: int, settings: Settings, *, test: bool = False) -> bytes:
    """UTF-8 JSON. `id` is that of the notice: a receiver that sees it twice got it twice."""
    body: dict[str, Any] = {
        "id": notice_id,
        "event": fact.event,
        "key": fact.key,
        "severity": "problem" if fact.event in PROBLEMS else "info",
        "message": fact.message,
        "hint": fact.hint,
        "at": iso(now),
        "ref": fact.ref,
        "source": fact.source,
        "numbers": dict(fact.numbers),
        "host": socket.gethostname(),
        "data_dir": str(settings.data_dir),
        "version": __version__,
        "test": test,
    }
    text = orjson.dumps(_plain(body)).decode()
    return redact(text).encode()


def _plain(value: Any) -> Any:
    """Paths may hold bytes that are no text; JSON cannot."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def sample(event: str) -> Fact:
    """What `notify --test` sends."""
    return Fact(event, "test", f"This is a test of the event {event}: {MEANINGS[event]}.", "Nothing to do.")
