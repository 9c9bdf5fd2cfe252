"""Every fault the simulator knows, where it strikes, and its parameters with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Scope = Literal["call", "job", "line", "item"]

OPERATIONS = frozenset(
    {
        "upload_file",
        "list_files",
        "retrieve_file",
        "file_content",
        "delete_file",
        "bulk_delete_files",
        "create_batch",
        "list_batches",
        "retrieve_batch",
        "cancel_batch",
        "embeddings",
        "contextualized_embeddings",
        "rerank",
        "storage",
    }
)
CONTENT = frozenset({"file_content", "storage"})
SYNCHRONOUS = frozenset({"embeddings", "contextualized_embeddings", "rerank"})
DELAYABLE = frozenset({"create_batch", "cancel_batch", "delete_file", "bulk_delete_files"})


SPOILS = ("nan", "all_zero", "wrong_dimension", "without_data", "not_json")
"""How `answer_spoilt` spoils: as the line fault of that name does."""
INTERCEPTIONS = (302, 403, 404, 405, 407, 511)
"""With what a proxy or a captive portal answers in place of the API."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault; `operations` are those it can strike (calls only).

    `choices` lists the values of those parameters that are words of a list. An item stays sick for the
    parameter `seconds` after it came to be; with `starts_late` it is sick from then on instead.
    """

    scope: Scope
    params: Mapping[str, Any] = field(default_factory=dict)
    operations: frozenset[str] = OPERATIONS
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    starts_late: bool = False


CATALOG: Mapping[str, Fault] = {
    # Calls
    "request_lost": Fault("call", {"as": "connect_error"}),
    "answer_lost": Fault("call", {"as": "read_timeout"}),
    "effect_delayed": Fault("call", {"seconds": 30.0}, DELAYABLE),
    "server_error": Fault("call", {"status": 500, "after_effect": False, "page": False}),
    "rate_limited": Fault("call", {"retry_after_s": None}),
    "unpaid_account": Fault("call"),
    "auth_outage": Fault("call", {"status": 401}, OPERATIONS - {"storage"}),
    "body_cut": Fault("call", {"keep_share": 0.5}, CONTENT | SYNCHRONOUS),
    "answer_spoilt": Fault("call", {"how": "nan"}, SYNCHRONOUS, {"how": SPOILS}),
    "input_file_not_found": Fault("call", {}, frozenset({"create_batch"})),
    "not_deleted": Fault("call", {}, frozenset({"delete_file", "bulk_delete_files"})),
    "intercepted": Fault("call", {"status": 302}, OPERATIONS - {"storage"}, {"status": INTERCEPTIONS}),
    "too_large": Fault("call", {"bytes": 1_000_000, "html": False}, frozenset({"upload_file"})),
    "list_entry_odd": Fault(
        "call",
        {"what": "no_status"},
        frozenset({"list_batches"}),
        {"what": ("no_status", "no_id", "bare_id", "not_object", "foreign_null")},
    ),
    "head_trickle": Fault(
        "call", {"how": "bytes", "seconds": 1.0}, choices={"how": ("bytes", "early_hints")}
    ),
    # Jobs
    "job_slow": Fault("job", {"done_share": 0.5}),
    "job_invalid": Fault("job", {"line": 1, "code": "invalid_line", "message": "The line is not valid."}),
    "job_all_failed": Fault("job", {"status": 500, "message": "Internal server error."}),
    "job_hidden": Fault("job", {"seconds": 30.0, "retrieve": True}),
    "job_status": Fault("job", {"instead_of": "completed", "word": "partially_completed"}),
    "job_encoding": Fault("job"),
    # Lines
    "line_missing": Fault("line"),
    "line_duplicate": Fault("line"),
    "line_expired": Fault("line"),
    "line_refused": Fault("line", {"status": 400, "message": "The request was refused."}),
    "line_server_error": Fault("line", {"status": 500, "message": "Internal server error."}),
    "line_error_in_output": Fault("line", {"status": 500, "message": "Internal server error."}),
    "line_foreign_id": Fault("line", {"custom_id": "nobody-asked-for-this"}),
    "line_without_data": Fault("line"),
    "line_not_json": Fault("line"),
    "line_wrong_dimension": Fault("line"),
    "line_nan": Fault("line", {"literal": "NaN"}),
    "line_all_zero": Fault("line"),
    "line_norm": Fault("line", {"factor": 1e30}),
    "line_usage": Fault(
        "line",
        {"value": "missing"},
        choices={"value": ("missing", "null", "string", "negative", "huge", "zero")},
    ),
    # Items: sick at every call about them
    "results_sick": Fault(
        "item",
        {
            "how": "status",
            "which": "both",
            "status": 500,
            "html": False,
            "keep_share": None,
            "seconds": None,
        },
        choices={
            "how": ("status", "short", "bad_gzip", "reset"),
            "which": ("both", "output", "error"),
        },
    ),
    "job_sick": Fault(
        "item",
        {"how": "status", "status": 500, "html": False, "listed": False, "seconds": None},
        choices={"how": ("status", "reset")},
    ),
    "job_deleted": Fault("item", {"seconds": 0.0}, starts_late=True),
    "job_created_at": Fault(
        "item",
        {"value": "1970", "seconds": None},
        choices={"value": ("1970", "year1", "year9999", "future", "before_call")},
    ),
    "job_unusable": Fault(
        "item",
        {"how": "wrong_dimension", "share": 1.0},
        choices={"how": ("wrong_dimension", "ids_changed", "without_data", "format")},
    ),
    "file_size_lies": Fault("item", {"by": 1, "seconds": None}),
    "upload_sick": Fault(
        "item",
        {"how": "reset", "status": None, "html": False, "seconds": None},
        choices={"how": ("reset", "status", "intercepted")},
    ),
    "create_refused": Fault(
        "item", {"status": 400, "message": "The input file cannot be used.", "seconds": None}
    ),
}

TRIGGERS_OF: Mapping[Scope, frozenset[str]] = {
    "call": frozenset({"on", "nth", "probability", "times", "from_s", "until_s"}),
    "job": frozenset({"nth", "probability", "times", "from_s", "until_s"}),
    "line": frozenset({"nth", "probability", "times", "jobs", "contains", "custom_ids"}),
    "item": frozenset({"nth", "probability", "from_s", "until_s"}),
}
