"""Requests as they are sent and answers as they are understood. Pure: no I/O, no clock.

Answers are read defensively, because the provider's reference contradicts its own samples: times come with
and without a zone, lists with and without `has_more`, status words in two spellings. A field that decides
something (`id`, `status`, `data`) must be there, else `BadAnswerError`; any other nonsense becomes None. An odd
entry of a list stands for itself alone: a list may hold what others made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Generic, Protocol, TypeVar

import orjson

from voyage_jobs.core.bounds import MOST
from voyage_jobs.core.clock import US
from voyage_jobs.errors import BadAnswerError
from voyage_jobs.vendors.remote import METADATA_REF, JobError, JobSpec, Phase, RemoteBatch, RemoteFile

# API references of both, create a batch
MAX_METADATA_PAIRS = 16
MAX_METADATA_KEY_CHARS = 64
MAX_METADATA_VALUE_CHARS = 512
MAX_MESSAGE_CHARS = 500
_MOST_DIGITS = 20  # of an integer that fits into 64 bits, with its sign
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A time outside of these is a mistake or a joke: it is read as none. What is left can be shown, stored and added to.
PLAUSIBLE_FROM_US = 946_684_800 * US  # 2000-01-01
PLAUSIBLE_UNTIL_US = 7_258_118_400 * US  # 2200-01-01


# The batch guide names seven words. The others were seen in older samples or in other people's clients;
# how a job ends after its window is not documented, so every plausible word for it counts as ended.
_PHASES = {
    "validating": Phase.OPEN,
    "queued": Phase.OPEN,
    "pending": Phase.OPEN,
    "in_progress": Phase.OPEN,
    "running": Phase.OPEN,
    "finalizing": Phase.OPEN,
    "partial_finalizing": Phase.OPEN,
    "cancelling": Phase.STOPPING,
    "canceling": Phase.STOPPING,
    "completed": Phase.ENDED_OK,
    "partially_completed": Phase.ENDED_OK,
    "expired": Phase.ENDED_OK,
    "failed": Phase.FAILED,
    "cancelled": Phase.CANCELLED,
    "canceled": Phase.CANCELLED,
}


_PENDING = frozenset({"pending", "queued", "uploaded", "uploading", "processing", "running", "notrunning"})
"""Words for a file that is not `processed`. OpenAI's calls them obsolete, and takes a file in any state."""


class HasId(Protocol):
    """Anything that a list can be paged by."""

    @property
    def id(self) -> str:
        """The provider's identifier."""


T = TypeVar("T", bound=HasId)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. `last_id` is the cursor for the next; `has_more` is None if not said.

    `entries` counts what stands on the page, also what is not among `items` because it has no id.
    """

    items: list[T]
    entries: int
    last_id: str | None
    has_more: bool | None

    @property
    def skipped(self) -> int:
        """How many entries could not be read."""
        return self.entries - len(self.items)


# --- requests ---


def create_body(job: JobSpec, window: str) -> dict[str, Any]:
    """What Voyage and OpenAI are both told of a job that is to be created. Raises ValueError on metadata beyond their
    limits: a bug of ours."""
    _check_metadata(job.metadata)
    return {
        "endpoint": job.endpoint,
        "input_file_id": job.input_file_id,
        "completion_window": window,
        "metadata": dict(job.metadata),
    }


def _check_metadata(metadata: Mapping[str, str]) -> None:
    if len(metadata) > MAX_METADATA_PAIRS:
        raise ValueError(f"metadata has {len(metadata)} pairs, at most {MAX_METADATA_PAIRS} are allowed")
    for key, value in metadata.items():
        if len(key) > MAX_METADATA_KEY_CHARS or len(value) > MAX_METADATA_VALUE_CHARS:
            raise ValueError(f"metadata {key[:MAX_METADATA_KEY_CHARS]!r} is too long")


# --- answers ---


def parse_json(body: bytes) -> Any:
    """The JSON value in `body`, with None for a number that nothing here could hold (NaN, 1e400, 10**30).

    So one number that makes no sense does not hide the answer that it stands in. Raises BadAnswerError that says what
    stands there instead of JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        value = json.loads(
            body.decode(),
            parse_constant=lambda _name: None,
            parse_float=_finite,
            parse_int=lambda digits: int(digits) if len(digits) <= _MOST_DIGITS else None,
        )
        # no half of a surrogate pair and no depth that could not be written down again, as with the parser above
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        raise BadAnswerError(f"the body is {kind_of_body(body)}, not JSON") from exc
    return value


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def kind_of_body(body: bytes) -> str:
    """A name for a body that is not JSON, without quoting it."""
    head = body[:512].lstrip().lower()
    if not head:
        return "empty"
    return (
        "an HTML page"
        if head.startswith((b"<!doctype", b"<html"))
        else f"{len(body)} bytes of something else"
    )


def read_file(answer: object) -> RemoteFile:
    """A file object. Raises BadAnswerError if it has no id."""
    raw = _object(answer, "file")
    return RemoteFile(
        id=_required(raw, "id", "file"),
        bytes=_count(raw.get("bytes")),
        filename=_text(raw.get("filename")),
        created_at_us=read_time_us(raw.get("created_at")),
        pending=(_text(raw.get("status")) or "").lower() in _PENDING,
    )


def read_listed_file(answer: object) -> RemoteFile | None:
    """An entry of the list of files; None if it names none."""
    return read_file(answer) if _names_one(answer) else None


def read_batch(answer: object, server_date_us: int | None = None) -> RemoteBatch:
    """A job object. Raises BadAnswerError if it has no id or no status."""
    raw = _object(answer, "batch")
    return _read_batch(raw, _required(raw, "status", "batch"), server_date_us)


def read_listed_batch(answer: object, server_date_us: int | None = None) -> RemoteBatch | None:
    """An entry of the list of jobs, bare if it does not say how the job stands; None if it names none.

    Raises BadAnswerError if it carries our mark and names none: the job would be looked for in vain, and paid twice.
    """
    if isinstance(answer, dict) and _names_one(answer):
        return _read_batch(answer, _text(answer.get("status")) or "", server_date_us)
    metadata = answer.get("metadata") if isinstance(answer, dict) else None
    if isinstance(metadata, dict) and METADATA_REF in metadata:
        raise BadAnswerError("a batch with the mark of voyage-jobs has no id")
    return None


def _names_one(answer: object) -> bool:
    return isinstance(answer, dict) and _text(answer.get("id")) is not None


def _read_batch(raw: dict[str, Any], status: str, server_date_us: int | None) -> RemoteBatch:
    counts = raw.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    return RemoteBatch(
        id=_required(raw, "id", "batch"),
        status=status,
        phase=phase_of(status),
        input_file_id=_text(raw.get("input_file_id")),
        output_file_id=_text(raw.get("output_file_id")),
        error_file_id=_text(raw.get("error_file_id")),
        total=_count(counts.get("total")),
        completed=_count(counts.get("completed")),
        failed=_count(counts.get("failed")),
        created_at_us=read_time_us(raw.get("created_at")),
        metadata=_metadata(raw.get("metadata")),
        errors=_job_errors(raw.get("errors")),
        server_date_us=server_date_us,
    )


def read_page(answer: object, read_item: Callable[[object], T | None]) -> Page[T]:
    """A list answer, without the entries that `read_item` makes nothing of (None). What it raises spoils the page."""
    raw = _object(answer, "list")
    data = raw.get("data", raw.get("value"))  # a page of Azure's shows a list under its other name
    if not isinstance(data, list):
        raise BadAnswerError("the list has no data")
    items = [item for item in map(read_item, data) if item is not None]
    has_more = raw.get("has_more")
    return Page(
        items=items,
        entries=len(data),
        last_id=items[-1].id if items else None,
        has_more=has_more if isinstance(has_more, bool) else None,
    )


def phase_of(status: str) -> Phase:
    """What a status word means; UNKNOWN for a new one."""
    return _PHASES.get(status.strip().lower().replace("-", "_"), Phase.UNKNOWN)


def read_time_us(value: object) -> int | None:
    """Microseconds since 1970 of a time in any form seen so far, or None.

    RFC 3339, `YYYY-MM-DD HH:MM:SS` without a zone (taken as UTC) and Unix seconds; None also for a time that is not
    plausible (`PLAUSIBLE_FROM_US`).
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        # compared before it is converted: neither NaN nor infinity nor 10**400 becomes an integer
        return int(value * US) if PLAUSIBLE_FROM_US <= value * US < PLAUSIBLE_UNTIL_US else None
    if not isinstance(value, str):
        return None
    try:
        return _plausible_us(datetime.fromisoformat(value.strip()))
    except (ValueError, OverflowError):
        return None


def http_date_us(value: str | None) -> int | None:
    """Microseconds since 1970 of an HTTP date header, or None, also for a time that is not plausible."""
    if not value:
        return None
    try:
        return _plausible_us(parsedate_to_datetime(value))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def as_text(value: object) -> str:
    """A JSON value as text. What is nested more deeply than Python can write down is named instead."""
    try:
        return str(value)
    except RecursionError:
        return "(a deeply nested value)"


def shorten(text: str) -> str:
    """One bounded line without control characters, fit for an error or a log."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * MAX_MESSAGE_CHARS]).split())
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"


def _plausible_us(moment: datetime) -> int | None:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    us = (moment - _EPOCH) // timedelta(microseconds=1)
    return us if PLAUSIBLE_FROM_US <= us < PLAUSIBLE_UNTIL_US else None


def _object(answer: object, what: str) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise BadAnswerError(f"the {what} is not a JSON object")
    return answer


def _required(raw: dict[str, Any], key: str, what: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value:
        raise BadAnswerError(f"the {what} has no {key}")
    return value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}


def _job_errors(value: object) -> list[JobError]:
    """Documented as an object with `data`; a bare list and a bare string are understood too."""
    entries = value.get("data") if isinstance(value, dict) else value
    if isinstance(entries, str):
        entries = [entries]
    return [_job_error(entry) for entry in entries] if isinstance(entries, list) else []


def _job_error(entry: object) -> JobError:
    if not isinstance(entry, dict):
        return JobError(None, None, shorten(as_text(entry)))
    code, message = _text(entry.get("code")), _text(entry.get("message")) or "no message"
    return JobError(shorten(code) if code else None, _count(entry.get("line")), shorten(message))
