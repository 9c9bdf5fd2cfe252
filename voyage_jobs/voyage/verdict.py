"""What an HTTP answer says about the call: which error of the tree it is, if any. Pure.

The line that matters runs between *known not to have had an effect* (4xx, 429) and *unknown* (5xx and
other signs of a gateway that gave up): after the first a call may be repeated, after the second it must
be reconciled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import orjson

from voyage_jobs.clock import US
from voyage_jobs.errors import (
    AuthError,
    OutcomeUnknownError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    VendorError,
)
from voyage_jobs.redact import MASK, redact
from voyage_jobs.voyage.wire import as_text, http_date_us, kind_of_body, shorten

MAX_RETRY_AFTER_S = 86_400.0  # a header must not put the daemon to sleep for longer than a day
_MOVED = {301, 302, 307, 308}
_GAVE_UP = {408, 425}  # a gateway's word about time, not the API's about the request

# What an account without a payment method is told; no waiting helps it.
_UNPAID = re.compile(r"\b3\s*RPM\b|\b10\s*K\s*TPM\b|payment method", re.IGNORECASE)


def judge(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    host: str = "the API",
    operation: str = "answer",
    secret: str = "",
) -> VendorError | None:
    """The error that this answer means, or None for success.

    `operation` completes "Voyage refuses to ..."; `secret` and anything that looks like a key is masked.
    """
    if 200 <= status < 300:
        return None
    head = {name.lower(): value for name, value in headers.items()}
    detail = _detail(body, secret)
    error, message = _kind(status, detail)
    voyage = f"Voyage ({host})"
    tail = f": {detail}" if detail else "."
    return error(
        message.format(voyage=voyage, operation=operation, status=status) + tail,
        hint=_hint(error, status),
        status=status,
        retry_after_s=retry_after_s(head),
        request_id=request_id(head),
    )


def _kind(status: int, detail: str) -> tuple[type[VendorError], str]:
    if status in (401, 403):
        return AuthError, "{voyage} refuses the API key when asked to {operation} ({status})"
    if status == 402 or (status == 429 and _UNPAID.search(detail)):
        return (
            QuotaError,
            "{voyage} keeps this account to the rates of one without a payment method ({status})",
        )
    if status == 429:
        return RateLimitedError, "{voyage} asks to wait before it will {operation} ({status})"
    if status in _MOVED:
        return RefusedError, "{voyage} sends the request to {operation} elsewhere ({status})"
    if 400 <= status < 500 and status not in _GAVE_UP:
        return RefusedError, "{voyage} refuses to {operation} ({status})"
    return OutcomeUnknownError, "{voyage} failed when asked to {operation} ({status})"


def _hint(error: type[VendorError], status: int) -> str | None:
    if error is QuotaError:
        return "Add a payment method in the Voyage dashboard; sending goes on by itself then."
    if status in _MOVED:
        return "Check voyage.base_url: the API answers there without redirects."
    if status == 410:
        return "The model or the file is gone; a retired model's answer names its successor."
    return None


def is_missing_input_file(error: VendorError) -> bool:
    """Whether create was refused because the file just uploaded is not visible yet: worth a later try."""
    return error.status == 404 and "input file" in error.message.lower()


def retry_after_s(head: Mapping[str, str]) -> float | None:
    """Seconds that a `retry-after` header (name in lower case) asks for, or None.

    A date is measured against the `date` of the same answer, never against our own clock.
    """
    value = head.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        until, now = http_date_us(value), http_date_us(head.get("date"))
        if until is None or now is None:
            return None
        seconds = (until - now) / US
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if math.isfinite(seconds) else None


def request_id(head: Mapping[str, str]) -> str | None:
    """The vendor's id for the call (header names in lower case), or None."""
    value = head.get("request-id") or head.get("x-request-id")
    return shorten(value)[:100] if value else None


def key_hint(key: str, host: str, where: str) -> str:
    """What to do about a refused key, told from its prefix: `pa-` is Voyage's own, `al-` MongoDB Atlas's."""
    if key.startswith("al-") and host.endswith("voyageai.com"):
        return f"The key in {where} begins with al-, as those of MongoDB Atlas do; {host} takes pa- keys."
    if key.startswith("pa-") and host.endswith("mongodb.com"):
        return f"The key in {where} begins with pa-: set voyage.base_url to https://api.voyageai.com/v1."
    return f"Check the key in {where} and voyage.base_url; work goes on by itself once the key is accepted."


def _detail(body: bytes, secret: str) -> str:
    """The API's reason in one bounded line: `detail` as text or as a list of complaints, else what is there.

    Masked before it is cut, so that no half of a key is left at the end.
    """
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "" if not body.strip() else f"({kind_of_body(body)})"
    if isinstance(answer, dict):
        for key in ("detail", "error", "message"):
            if answer.get(key):
                return shorten(_masked(_said(answer[key]), secret))
    return ""


def _said(value: object) -> str:
    """A complaint, or a list of complaints, in one text."""
    return "; ".join(map(_complaint, value[:20])) if isinstance(value, list) else _complaint(value)


def _complaint(value: object) -> str:
    if not isinstance(value, dict):
        return as_text(value)
    place = value.get("loc")
    where = ".".join(map(as_text, place)) + ": " if isinstance(place, list) else ""
    return where + as_text(value.get("msg") or value.get("message") or value.get("detail") or "no message")


def _masked(text: str, secret: str) -> str:
    return redact(text.replace(secret, MASK) if secret else text)
