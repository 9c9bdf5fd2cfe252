"""Takes a multipart/form-data upload apart where it lies: the file part becomes the body's only content.

Starlette's own form parser needs a library more, in every installation and for this one endpoint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

from voyage_jobs.simulator.blobs import Blob
from voyage_jobs.simulator.messages import ApiError, SchemaError

_MAX_HEAD_BYTES = 1 << 14
_MAX_FIELD_BYTES = 1 << 16
_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)
_PARAMETER = re.compile(rb';\s*(name|filename)="((?:\\.|[^"\\])*)"', re.IGNORECASE)


@dataclass
class Form:
    """What the form held besides the bytes of the file."""

    filename: str | None = None
    fields: dict[str, str] = field(default_factory=dict)


def read_form(content_type: str, body: Blob) -> Form:
    """Read the form; `body` is narrowed to the part named `file`."""
    match = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or match is None:
        raise SchemaError("Files are uploaded as multipart/form-data with a boundary.", "file")
    boundary = b"--" + (match[1] or match[2]).encode()
    first = body.read(0, len(boundary)) == boundary
    marks = [-2] * first + list(body.find_all(b"\r\n" + boundary))  # the first needs no line before it
    if not marks or body.read(marks[-1] + len(boundary) + 2, 2) != b"--":
        raise ApiError(400, "The multipart body ends before its closing boundary.")
    form, file = Form(), None
    for before, stop in pairwise(marks):
        start = before + len(boundary) + 4  # with the ends of two lines
        head, end, _ = body.read(start, min(_MAX_HEAD_BYTES, stop - start)).partition(b"\r\n\r\n")
        found = {m[1].lower(): m[2].decode(errors="replace") for m in _PARAMETER.finditer(head)}
        start += len(head) + len(end)
        name = found.get(b"name", "")
        if not end or (name != "file" and stop - start > _MAX_FIELD_BYTES):
            raise ApiError(400, "A part of the multipart body is too large.")
        if name == "file":
            form.filename, file = found.get(b"filename", ""), (start, stop)
        else:
            form.fields[name] = body.read(start, stop - start).decode(errors="replace")
    body.narrow(*(file or (0, 0)))
    return form
