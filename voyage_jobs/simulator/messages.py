"""What goes into the simulator and what comes out, free of any HTTP library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import orjson

from voyage_jobs.simulator.blobs import Blob, BlobStore


class Loss(Enum):
    """How an exchange is lost, as the client sees it."""

    CONNECT_ERROR = "connect_error"
    READ_TIMEOUT = "read_timeout"
    READ_ERROR = "read_error"


@dataclass(frozen=True)
class Trickle:
    """An answer whose head takes its time: byte by byte, or behind interim answers without end."""

    seconds: float
    endless: bool


@dataclass(frozen=True)
class Request:
    """One HTTP request whose body has come in. Header names are in lower case; `peer` is the caller's address."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Blob = field(default_factory=lambda: BlobStore().new(), repr=False)
    peer: str = "127.0.0.1"


@dataclass
class Response:
    """One HTTP answer.

    `length` is what Content-Length promises. With `lost` the caller gets no answer at all; with `cut` the
    body ends before `length` bytes and the connection is closed, or reset with `reset`. One `by_another`
    comes from something on the way to the API.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Iterator[bytes] = b""
    length: int = 0
    lost: Loss | None = None
    cut: bool = False
    reset: bool = False
    by_another: bool = False
    trickle: Trickle | None = None

    @property
    def is_odd(self) -> bool:
        """Whether it is nothing that a server would send: no answer, or one that breaks off or trickles in."""
        return self.lost is not None or self.cut or self.trickle is not None

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Response:
        """An answer that carries `value` as JSON."""
        return cls.of(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), "application/json", status)

    @classmethod
    def of(cls, body: bytes, content_type: str, status: int = 200) -> Response:
        """An answer whose whole body is at hand."""
        return cls(status, {"content-type": content_type}, body, len(body))

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces, whichever form it has."""
        if isinstance(self.body, bytes):
            return iter((self.body,) if self.body else ())
        return self.body

    def read(self) -> bytes:
        """The whole body (for small answers)."""
        return b"".join(self.chunks())


class ApiError(Exception):
    """The API refuses: an HTTP status, the text of `detail`, and a word for it where it has one."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, code: str | None = None
    ) -> None:
        self.status = status
        self.detail = detail
        self.code = code
        self.headers = dict(headers or {})
        super().__init__(f"{status} {detail}")


class InsteadError(ApiError):
    """A fault answers in place of the API."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status, "")
        self.response = response


class SchemaError(ApiError):
    """A key is missing, unknown or of the wrong type; `field` names it.

    The live API's status for these is not settled (400 with a text, or 422 with a list), so it is an option.
    """

    def __init__(self, detail: str, field_name: str | None = None) -> None:
        super().__init__(400, detail)
        self.field_name = field_name
