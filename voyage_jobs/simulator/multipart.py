"""Reads a multipart/form-data upload piece by piece: the file part goes straight into a blob."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from voyage_jobs.simulator.messages import ApiError, Readable, SchemaError

_CHUNK_BYTES = 1 << 20
_MAX_HEAD_BYTES = 1 << 14
_MAX_FIELD_BYTES = 1 << 16
_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)
_PARAMETER = re.compile(rb';\s*(name|filename)="((?:\\.|[^"\\])*)"', re.IGNORECASE)


@dataclass
class Form:
    """What the form held besides the bytes of the file."""

    filename: str | None = None
    fields: dict[str, str] = field(default_factory=dict)


class _Buffer:
    """A window over the body that can look for a delimiter."""

    def __init__(self, body: Readable) -> None:
        self._body = body
        self._data = bytearray()

    def until(self, delimiter: bytes, sink: Callable[[bytes], None]) -> None:
        """Hand everything before `delimiter` to `sink` and step over it."""
        while True:
            at = self._data.find(delimiter)
            if at >= 0:
                sink(bytes(self._data[:at]))
                del self._data[: at + len(delimiter)]
                return
            safe = len(self._data) - len(delimiter) + 1
            if safe > 0:
                sink(bytes(self._data[:safe]))
                del self._data[:safe]
            more = self._body.read(_CHUNK_BYTES)
            if not more:
                raise ApiError(400, "The multipart body ends before its closing boundary.")
            self._data += more

    def take(self, delimiter: bytes, limit: int) -> bytes:
        """Everything before `delimiter`, which must come within `limit` bytes."""
        got = bytearray()

        def keep(piece: bytes) -> None:
            got.extend(piece)
            if len(got) > limit:
                raise ApiError(400, "A part of the multipart body is too large.")

        self.until(delimiter, keep)
        return bytes(got)

    def starts_with(self, mark: bytes) -> bool:
        """Whether `mark` comes next; it is stepped over if so."""
        while len(self._data) < len(mark):
            more = self._body.read(_CHUNK_BYTES)
            if not more:
                return False
            self._data += more
        if not self._data.startswith(mark):
            return False
        del self._data[: len(mark)]
        return True


def read_form(content_type: str, body: Readable, write: Callable[[bytes], None]) -> Form:
    """Read the form; the part named `file` is handed to `write` as it comes in."""
    match = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or match is None:
        raise SchemaError("Files are uploaded as multipart/form-data with a boundary.", "file")
    boundary = b"--" + (match[1] or match[2]).encode()
    buffer = _Buffer(body)
    buffer.take(boundary, _MAX_HEAD_BYTES)
    form = Form()
    while not buffer.starts_with(b"--"):
        name, filename = _part_names(buffer.take(b"\r\n\r\n", _MAX_HEAD_BYTES))
        if name == "file":
            form.filename = filename or ""
            buffer.until(b"\r\n" + boundary, write)
        else:
            value = buffer.take(b"\r\n" + boundary, _MAX_FIELD_BYTES)
            form.fields[name] = value.decode(errors="replace")
    return form


def _part_names(head: bytes) -> tuple[str, str | None]:
    """The `name` and `filename` of a part's Content-Disposition."""
    found = {m[1].lower(): m[2].decode(errors="replace") for m in _PARAMETER.finditer(head)}
    return found.get(b"name", ""), found.get(b"filename")
