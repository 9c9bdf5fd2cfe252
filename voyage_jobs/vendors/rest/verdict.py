"""What an HTTP answer says about the call: which error of the tree it is, if any. Pure.

The line that matters runs between *known not to have had an effect* (4xx, 429) and *unknown* (5xx and
other signs of a gateway that gave up): after the first a call may be repeated, after the second it must
be reconciled.

Only the API's own JSON can refuse. A 4xx in other words (an HTML page, plain text, nothing) and any redirect are those
of a proxy or of a network's login page: they say nothing about the request, and less about the key, a job or a file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from voyage_jobs.core.clock import US
from voyage_jobs.core.redact import MASK, redact
from voyage_jobs.errors import (
    AuthError,
    InputFileMissingError,
    InterceptedError,
    ModelRefusedError,
    NoRoomError,
    OutcomeUnknownError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    TooLargeError,
    VendorError,
)
from voyage_jobs.vendors.rest.wire import as_text, http_date_us, kind_of_body, shorten

CREATE = "create a batch"
"""The `operation` of the call that makes a job."""
MAX_RETRY_AFTER_S = 3600.0  # a header must not put the daemon to sleep for longer; `max_retry_after_s`
# A gateway's word about time, and that of Text Embeddings Inference for a model that broke: not about the request.
_GAVE_UP = {408, 424, 425}
_PROXY_LOGIN = 407
_NOT_THE_API = {
    _PROXY_LOGIN,
    511,
}  # by their definition the word of a proxy, or of a network that wants a login
_TOO_LARGE = 413  # of nginx, in HTML, before the API has seen the request: the one refusal that needs no JSON
_KEY = (401, 403)
_MISSING = (400, 404)
_NO_MODEL = (*_MISSING, 403)
_UNPAID = (400, 429)
_NO_ROOM = (400, 429)  # Azure documents 400, where it refuses the call at once
NO_MODEL = re.compile(
    r"\bmodel\b.{0,200}?\b(?:does not exist|not found)\b|\binvalid model\b|\bdeployment\b.{0,80}?\bdoes not exist\b"
    r"|\bdoes not have access to model\b",
    re.IGNORECASE,
)
"""What servers with OpenAI's API say of a model, or Azure of a deployment, that there is not: OpenAI, vLLM, Ollama,
LiteLLM."""
_REASONS = ("detail", "error", "message")  # where the API, or the framework it is made with, says why

_INTERCEPTED_HINT = (
    "A proxy, a firewall or a network's login page (captive portal) is in between. Log in to the network, or check the"
    " proxy settings (HTTPS_PROXY, NO_PROXY) and {section}.base_url."
)
_REDIRECTED_HINT = (
    "The API answers without redirects: check {section}.base_url, the proxy settings (HTTPS_PROXY, NO_PROXY), and"
    " whether the network wants you to log in (captive portal)."
)
_PROXY_LOGIN_HINT = "The proxy wants a name and a password: check the proxy settings (HTTPS_PROXY, NO_PROXY)."


@dataclass(frozen=True, slots=True)
class Api:
    """Whose API it is.

    Messages call it `title`, its settings are in `section`, its keys come from `dashboard` and its address is as a rule
    `usual_url`. `unpaid` finds what an account without means is told with 400 or 429, which no waiting helps; it is
    `kept_to`. `no_input_file` finds what a create call is told whose file is not visible yet, `no_model` what a call is
    told for a model that there is not, or not for this account. Where it `has_token_queue`, a create call may be told
    that this is full.
    """

    title: str
    section: str
    dashboard: str
    usual_url: str
    unpaid: re.Pattern[str]
    kept_to: str
    no_input_file: re.Pattern[str]
    no_model: re.Pattern[str]
    has_token_queue: bool = False


def judge(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    api: Api,
    host: str = "the API",
    name: str | None = None,
    operation: str = "answer",
    secret: str = "",
    max_retry_after_s: float = MAX_RETRY_AFTER_S,
) -> VendorError | None:
    """The error that this answer means, or None for success.

    `operation` completes "Voyage refuses to ..."; `secret` and anything that looks like a key is masked. A longer
    `retry-after` than `max_retry_after_s` counts as that.
    """
    if 200 <= status < 300:
        return None
    head = {name.lower(): value for name, value in headers.items()}
    answer = _parsed(body)
    detail = _detail(answer, secret)
    error, message = _kind(api, status, detail, is_empty=not body.strip())
    if operation == CREATE and _has_no_room(api, status, answer, detail):
        error, message = NoRoomError, "{api} refuses to {operation} ({status})"
    if error is InterceptedError:
        tail = f" and {_met(status, head, answer, body)}."
    else:
        tail = f": {detail}" if detail else "."
    return error(
        message.format(
            api=name or f"{api.title} ({host})", kept_to=api.kept_to, operation=operation, status=status
        )
        + tail,
        hint=_hint(api, error, status),
        status=status,
        retry_after_s=retry_after_s(head, max_retry_after_s),
        request_id=request_id(head),
    )


def _kind(api: Api, status: int, detail: str, *, is_empty: bool) -> tuple[type[VendorError], str]:
    """The error and its message; `detail` is what the API itself says, `is_empty` whether the body says nothing."""
    if status == 402 or (status in _UNPAID and api.unpaid.search(detail)):
        return (
            QuotaError,
            "{api} {kept_to} ({status})",
        )
    if status == 429:
        return RateLimitedError, "{api} asks to wait before it will {operation} ({status})"
    if status == _TOO_LARGE:
        return TooLargeError, "{api} refuses to {operation} because it is too large ({status})"
    if _is_intercepted(status, detail, is_empty=is_empty):
        return (
            InterceptedError,
            "Something between here and {api} answered the call to {operation}, with {status}",
        )
    if status in _MISSING and api.no_input_file.search(detail):  # the one just uploaded is not visible yet
        return InputFileMissingError, "{api} refuses to {operation} ({status})"
    if status in _NO_MODEL and api.no_model.search(detail):
        return ModelRefusedError, "{api} refuses to {operation} ({status})"
    if status in _KEY:
        return AuthError, "{api} refuses the API key when asked to {operation} ({status})"
    if 400 <= status < 500 and status not in _GAVE_UP:
        return RefusedError, "{api} refuses to {operation} ({status})"
    return OutcomeUnknownError, "{api} failed when asked to {operation} ({status})"


def _is_intercepted(status: int, detail: str, *, is_empty: bool) -> bool:
    """Whether an answer is not the API's own. A gateway before the API may refuse a key without a word."""
    if status in _NOT_THE_API or 300 <= status < 400:
        return True
    if not 400 <= status < 500 or status in _GAVE_UP:
        return False
    return not detail and not (status in _KEY and is_empty)


def _met(status: int, head: Mapping[str, str], answer: Any, body: bytes) -> str:
    """What stood there in place of the API's own answer."""
    if status < 400 and head.get("location"):
        return f"a redirect to {_host_of(head['location'])}"
    if answer is not None:
        return "JSON that is not the API's"
    return "an empty body" if not body.strip() else kind_of_body(body)


def _host_of(location: str) -> str:
    """The host of a redirect, without the rest: that may be a secret."""
    try:
        return shorten(urlsplit(location).hostname or "the same host")[:100]
    except ValueError:
        return "nowhere"


def _hint(api: Api, error: type[VendorError], status: int) -> str | None:
    if error is QuotaError:
        return f"Add a payment method in {api.dashboard}; sending then resumes by itself."
    if error is TooLargeError:
        return "Lower batching.max_bytes, then `voyage-jobs retry`: it is sent again in smaller files."
    if error is InterceptedError:
        if status == _PROXY_LOGIN:
            return _PROXY_LOGIN_HINT
        return _REDIRECTED_HINT.format(section=api.section) if status < 400 else intercepted_hint(api)
    if status == 410:
        return "The model or the file is gone; a retired model's answer names its successor."
    return None


def retry_after_s(head: Mapping[str, str], most_s: float = MAX_RETRY_AFTER_S) -> float | None:
    """Seconds that a `retry-after` header (name in lower case) asks for, at most `most_s`, or None.

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
    return min(max(seconds, 0.0), most_s) if math.isfinite(seconds) else None


def request_id(head: Mapping[str, str]) -> str | None:
    """The provider's id for the call (header names in lower case), or None."""
    value = head.get("request-id") or head.get("x-request-id")
    return shorten(value)[:100] if value else None


def intercepted_hint(api: Api) -> str:
    """What to do where something else answered in place of the API."""
    return _INTERCEPTED_HINT.format(section=api.section)


def _parsed(body: bytes) -> Any:
    """The JSON value in a body; None if it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _detail(answer: Any, secret: str) -> str:
    """The API's reason in one bounded line: `detail` as text or as a list of complaints; nothing if it gives none.

    Masked before it is cut, so that no half of a key is left at the end.
    """
    if isinstance(answer, dict):
        for key in _REASONS:
            if answer.get(key):
                return shorten(_masked(_said(answer[key]), secret))
    return ""


def _has_no_room(api: Api, status: int, answer: Any, detail: str) -> bool:
    """Whether the queue of tokens is full, by the word for that or by its place among the words of the reason.

    Asked of create calls alone: no other one is part of that queue.
    """
    told = answer.get("error") if isinstance(answer, dict) else None
    code = told.get("code") if isinstance(told, dict) else None
    return (
        api.has_token_queue
        and status in _NO_ROOM
        and (code == NoRoomError.code or NoRoomError.code in detail)
    )


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
