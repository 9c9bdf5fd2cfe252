"""Every fault the simulator knows, where it strikes, and its parameters with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Scope = Literal["call", "job", "line"]

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


@dataclass(frozen=True)
class Fault:
    """One kind of fault; `operations` are those it can strike (calls only)."""

    scope: Scope
    params: Mapping[str, Any] = field(default_factory=dict)
    operations: frozenset[str] = OPERATIONS


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
    "answer_spoilt": Fault("call", {"how": "nan"}, SYNCHRONOUS),
    "input_file_not_found": Fault("call", {}, frozenset({"create_batch"})),
    "not_deleted": Fault("call", {}, frozenset({"delete_file", "bulk_delete_files"})),
    # Jobs
    "job_slow": Fault("job", {"done_share": 0.5}),
    "job_invalid": Fault("job", {"line": 1, "code": "invalid_line", "message": "The line is not valid."}),
    "job_all_failed": Fault("job", {"status": 500, "message": "Internal server error."}),
    "job_hidden": Fault("job", {"seconds": 30.0, "retrieve": True}),
    "job_status": Fault("job", {"instead_of": "completed", "word": "partially_completed"}),
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
}

SPOILS = ("without_data", "not_json", "wrong_dimension", "nan", "all_zero")
"""How `answer_spoilt` spoils: as the line fault of that name does."""

TRIGGERS_OF: Mapping[Scope, frozenset[str]] = {
    "call": frozenset({"on", "nth", "probability", "times", "from_s", "until_s"}),
    "job": frozenset({"nth", "probability", "times", "from_s", "until_s"}),
    "line": frozenset({"nth", "probability", "times", "jobs", "contains", "custom_ids"}),
}
