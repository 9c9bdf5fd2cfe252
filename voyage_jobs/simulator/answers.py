"""Answers that a fault gives in place of the API's own."""

from __future__ import annotations

from typing import Any

from voyage_jobs.simulator.dialects import Voyage
from voyage_jobs.simulator.faults import Hit
from voyage_jobs.simulator.messages import ApiError, InsteadError, Loss, Response

_HTML = b"<html><head><title>%d</title></head><body><h1>The server had a problem.</h1></body></html>"
_PORTAL = (
    b"<html><head><title>Sign in</title></head><body><h1>Sign in to use this network.</h1></body></html>"
)
_PORTAL_HEADERS = {
    302: {"location": "http://portal.example/sign-in"},
    407: {"proxy-authenticate": 'Basic realm="proxy"'},
}
_FOREIGN_ID = "batch-of-somebody-else"
_FOREIGN: dict[str, Any] = {
    "id": _FOREIGN_ID,
    "object": "batch",
    "endpoint": "/v1/embeddings",
    "model": "voyage-4",
    "errors": None,
    "input_file_id": "file-of-somebody-else",
    "completion_window": "12h",
    "status": "completed",
    "output_file_id": None,
    "error_file_id": None,
    "request_counts": {"total": 1, "completed": 1, "failed": 0},
    "metadata": None,
    "created_at": "2026-01-01T00:00:00.000000+00:00",
}


def server_error(status: int) -> Response:
    """A page of HTML with the status."""
    return Response.of(_HTML % status, "text/html", status)


def intercepted(status: int) -> Response:
    """What a proxy or a captive portal says; the request never reached the API."""
    page = Response.of(_PORTAL, "text/html", status)
    page.headers.update(_PORTAL_HEADERS.get(status, {}))
    page.by_another = True
    return page


def refused(status: int, detail: str, *, html: bool) -> ApiError:
    """A refusal in JSON, or as a page."""
    return InsteadError(server_error(status)) if html else ApiError(status, detail)


def too_many_requests(hit: Hit, speaks: Voyage) -> ApiError:
    """A 429 of either kind."""
    if hit.fault == "unpaid_account":
        return speaks.unpaid()
    wait_s = hit["retry_after_s"]
    headers = {} if wait_s is None else {"retry-after": f"{wait_s:.15g}"}
    return ApiError(429, "You have reached your rate limit. Please try again later.", headers)


def about_sick(hit: Hit) -> ApiError:
    """What a call about a sick item meets: `how` is a status, a reset, or somebody else's answer."""
    match hit["how"]:
        case "reset":
            return InsteadError(Response(0, lost=Loss.READ_ERROR))
        case "intercepted":
            return InsteadError(intercepted(hit["status"] or 302))
    return refused(hit["status"] or 500, "Internal server error.", html=hit["html"])


def odd_list(listed: dict[str, Any], what: str, turn: int) -> bool:
    """Put an odd entry into a page of jobs; False if there is none that could become odd.

    `bare_id` leaves one of the page's jobs, another at every turn, with nothing but its id. The others come
    before all that is there, so that the page's cursor stays right.
    """
    data = listed["data"]
    match what:
        case "bare_id":
            if not data:
                return False
            data[turn % len(data)] = {"id": data[turn % len(data)]["id"]}
            return True
        case "not_object":
            entry: Any = _FOREIGN_ID
        case "foreign_null":
            entry = dict.fromkeys(_FOREIGN) | {"id": _FOREIGN_ID}
        case _:
            entry = {key: value for key, value in _FOREIGN.items() if key != what.removeprefix("no_")}
    data.insert(0, entry)
    return True
