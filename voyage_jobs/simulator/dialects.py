"""How each provider writes what all of them say: the shapes of refusals, files, jobs and lines. Pure.

OpenAI's shapes are those of its API reference (platform.openai.com/docs/api-reference: files, batch, embeddings) and of
its batch guide, as of 2026-11; the words of a full queue are those that its users report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from voyage_jobs.simulator.messages import ApiError, SchemaError
from voyage_jobs.simulator.options import Options

Answer = tuple[int, dict[str, Any]]


class Voyage:
    """Voyage AI, by its reference; where that is silent an option decides."""

    window = "12h"
    create_keys = frozenset({"endpoint", "input_file_id", "completion_window", "request_params", "metadata"})
    line_keys: tuple[str, ...] = ("custom_id", "body")
    endpoints = frozenset({"/v1/embeddings", "/v1/contextualizedembeddings", "/v1/rerank"})
    params_in_lines = False
    """Whether each line says its model and the rest for itself, in place of `request_params` of the job."""
    full_fails_the_job = False
    """Whether a job beyond the limit of tokens is made and fails; else its create call is refused."""
    batch_id = "batch{separator}{made}"

    def refusal(self, error: ApiError, options: Options) -> Answer:
        """Status and body of a refused call."""
        status, body = error.status, {"detail": error.detail}
        if isinstance(error, SchemaError) and options.schema_errors != "400":
            status = 422
            if options.schema_errors == "422_list":
                where = ["body", error.field_name] if error.field_name else ["body"]
                return status, {"detail": [{"loc": where, "msg": error.detail, "type": "value_error"}]}
        return status, body

    def unpaid(self) -> ApiError:
        """What an account without a payment method is told."""
        return ApiError(
            429,
            "You have not yet added your payment method in the billing page and will have reduced rate limits of "
            "3 RPM and 10K TPM. To unlock our standard rate limits, please add a payment method on the billing page.",
        )

    def no_input_file(self, file_id: str) -> ApiError:
        """What a create call is told whose file is not there."""
        del file_id
        return ApiError(404, "Input file not found")

    def full(self, model: str, most: int) -> str:
        """Why there is no room for another job."""
        del model
        return f"The limit of {most} tokens in in-flight batches is reached."

    def usage(self, tokens: int) -> dict[str, int]:
        """What a request is billed."""
        return {"total_tokens": tokens}

    def file(self, shown: dict[str, Any]) -> dict[str, Any]:
        """The File object."""
        return shown

    def batch(self, shown: dict[str, Any]) -> dict[str, Any]:
        """The Batch object."""
        return shown

    def line(self, batch_id: str, custom_id: str | None, outcome: Mapping[str, Any]) -> dict[str, Any]:
        """A line of a result file."""
        return {"batch_id": batch_id, "custom_id": custom_id, **outcome}

    def success(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The outcome of a line that was answered."""
        return {"response": {"status_code": 200, "body": body}, "error": None}

    def failure(self, status: int, message: str) -> dict[str, Any]:
        """The outcome of a line that was refused."""
        return {"response": {"status_code": status, "message": message}, "error": None}


class OpenAI(Voyage):
    """OpenAI: each line names its model, tokens are counted per model, and a full queue fails the job."""

    window = "24h"
    create_keys = frozenset(
        {"endpoint", "input_file_id", "completion_window", "metadata", "output_expires_after"}
    )
    line_keys = ("custom_id", "method", "url", "body")
    endpoints = frozenset({"/v1/embeddings"})
    params_in_lines = True
    full_fails_the_job = True
    batch_id = "batch_{made}"

    def refusal(self, error: ApiError, options: Options) -> Answer:
        """Status and body of a refused call."""
        del options
        kind = "invalid_request_error" if error.status < 500 else "server_error"
        code = error.code or {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(error.status)
        param = error.field_name if isinstance(error, SchemaError) else None
        told = {"message": error.detail, "type": code or kind, "param": param, "code": code}
        return error.status, {"error": told}

    def unpaid(self) -> ApiError:
        """What an account whose money is used up is told."""
        told = "You exceeded your current quota, please check your plan and billing details."
        return ApiError(429, told, code="insufficient_quota")

    def no_input_file(self, file_id: str) -> ApiError:
        """What a create call is told whose file is not there."""
        return ApiError(404, f"No such File object: {file_id}")

    def full(self, model: str, most: int) -> str:
        """Why there is no room for another job."""
        return (
            f"Enqueued token limit reached for {model} in organization org-simulated. Limit: {most:,} enqueued tokens."
            " Please try again once some in_progress batches have been completed."
        )

    def usage(self, tokens: int) -> dict[str, int]:
        """What a request is billed."""
        return {"prompt_tokens": tokens, "total_tokens": tokens}

    def file(self, shown: dict[str, Any]) -> dict[str, Any]:
        """The File object: results of both kinds have one purpose, and nothing expires unless asked to."""
        purpose = "batch" if shown["purpose"] == "batch" else "batch_output"
        return {**shown, "purpose": purpose, "expires_at": None, "status": "processed"}

    def batch(self, shown: dict[str, Any]) -> dict[str, Any]:
        """The Batch object: a job that ran out of time has a word and a time of its own."""
        expired = shown["status"] == "expired"
        expires_at = shown.pop("expected_completion_at")
        return {
            **shown,
            "completion_window": self.window,
            "expires_at": expires_at,
            "completed_at": None if expired else shown["completed_at"],
            "expired_at": shown["completed_at"] if expired else None,
        }

    def line(self, batch_id: str, custom_id: str | None, outcome: Mapping[str, Any]) -> dict[str, Any]:
        """A line of a result file."""
        made = hashlib.blake2b(f"{batch_id}/{custom_id}".encode(), digest_size=12).hexdigest()
        return {"id": f"batch_req_{made}", "custom_id": custom_id, **outcome}

    def success(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The outcome of a line that was answered."""
        return {"response": {"status_code": 200, "request_id": "req_simulated", "body": body}, "error": None}

    def failure(self, status: int, message: str) -> dict[str, Any]:
        """The outcome of a line that was refused."""
        told = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        response = {"status_code": status, "request_id": "req_simulated", "body": {"error": told}}
        return {"response": response, "error": None}


_DIALECTS: Mapping[str, Voyage] = {"voyage": Voyage(), "openai": OpenAI()}


def dialect(options: Options) -> Voyage:
    """How the provider of these options writes."""
    return _DIALECTS[options.vendor]
