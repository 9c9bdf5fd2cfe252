"""Where messages go: a command, a webhook, the address of a health check. Each either takes it or says why not.

The webhook's signature is HMAC-SHA256 over the time of sending, a dot and the body, as GitHub's and Stripe's are in
kind: https://docs.stripe.com/webhooks#verify-manually. Health checks are addressed as https://healthchecks.io/docs/http_api/
describes: the address itself is success, `/fail` and `/start` are appended.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from voyage_jobs.config.environment import without_secrets
from voyage_jobs.core.clock import Clock, SystemClock
from voyage_jobs.core.redact import redact
from voyage_jobs.errors import VoyageJobsError
from voyage_jobs.version import __version__

TIMESTAMP_HEADER = "X-Voyage-Jobs-Timestamp"
SIGNATURE_HEADER = "X-Voyage-Jobs-Signature"
_SAID_BYTES = 300


class NotDeliveredError(VoyageJobsError):
    """The message was not taken."""


class Sink(Protocol):
    """One place where messages go. `send` may take as long as its timeout says, and is called from other threads."""

    @property
    def name(self) -> str:
        """Which it is: command, webhook or ping."""

    def send(self, body: bytes) -> None:
        """Deliver. Raises NotDeliveredError."""


@dataclass(frozen=True)
class CommandSink:
    """A program that is started for each message, with the message on its standard input; no shell."""

    argv: Sequence[str]
    timeout_s: float
    name: str = "command"

    def send(self, body: bytes) -> None:
        """Start it and wait. It, and what it started, is ended when its time is over."""
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(  # noqa: S603 - the owner's own configuration, and no shell
                    list(self.argv),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    env=without_secrets(os.environ),
                    start_new_session=True,
                )
            except (OSError, ValueError) as exc:
                raise NotDeliveredError(f"{self.argv[0]} cannot be started: {exc}") from exc
            try:
                process.communicate(body, timeout=self.timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                raise NotDeliveredError(f"{self.argv[0]} took more than {self.timeout_s:g} s.") from None
            if process.returncode != 0:
                ended = f"{self.argv[0]} ended with {process.returncode}"
                raise NotDeliveredError(redact(f"{ended}: {_tail(said) or 'it said nothing'}"))


def _tail(said: object) -> str:
    size = said.seek(0, os.SEEK_END)  # type: ignore[attr-defined]
    said.seek(max(0, size - _SAID_BYTES))  # type: ignore[attr-defined]
    text = said.read().decode("utf-8", "replace")  # type: ignore[attr-defined]
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """`v1=` and the HMAC-SHA256, in hex, of the timestamp, a dot and the body."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"v1={digest}"


@dataclass(frozen=True)
class WebhookSink:
    """POSTs the message, signed. Redirects are not followed: the message is for the configured address alone."""

    url: str
    secret: Callable[[], str]
    timeout_s: float
    clock: Clock
    name: str = "webhook"

    def send(self, body: bytes) -> None:
        """Deliver; a 2xx is success."""
        timestamp = str(int(self.clock.wall()))
        try:
            signed = signature(self.secret(), timestamp, body)
        except VoyageJobsError as exc:
            raise NotDeliveredError(exc.message, hint=exc.hint) from exc
        headers = {
            "content-type": "application/json",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: signed,
        }
        _post(self.url, body, headers, self.timeout_s)


@dataclass(frozen=True)
class PingSink:
    """The address of a health check; `body` is `start`, `success` or `fail`, a line end, and a few words."""

    url: str
    timeout_s: float
    name: str = "ping"

    def send(self, body: bytes) -> None:
        """Tell it."""
        kind, _, words = body.partition(b"\n")
        url = self.url if kind == b"success" else with_path(self.url, kind.decode())
        _post(url, words, {"content-type": "text/plain; charset=utf-8"}, self.timeout_s)


def with_path(url: str, name: str) -> str:
    """The address with one more part in its path; a query stays behind it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def _post(url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> None:
    """The address itself may be a secret, so errors name only its host. The whole call takes no longer than that."""
    import httpx

    from voyage_jobs.vendors.bounded import Bounds, bound

    host, clock = urlsplit(url).hostname, SystemClock()
    bounds = Bounds(clock, timeout_s)
    bounds.give_up_at = clock.mono() + timeout_s
    headers = {**headers, "user-agent": f"voyage-jobs/{__version__}"}
    try:
        with httpx.Client(timeout=timeout_s, follow_redirects=False) as http:
            bound(http, bounds)
            with http.stream("POST", url, content=body, headers=headers) as answer:
                status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise NotDeliveredError(f"{host}: {type(exc).__name__}") from exc
    if status in (301, 302, 303, 307, 308):
        raise NotDeliveredError(
            f"{host} answered {status}; redirects are not followed: set the final address."
        )
    if not 200 <= status < 300:
        raise NotDeliveredError(f"{host} answered {status}.")
