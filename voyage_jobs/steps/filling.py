"""What one batch may hold, and what goes with it: shared by packing and by the plan that foretells it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from voyage_jobs.config.settings import Settings
from voyage_jobs.profile import Profile
from voyage_jobs.vendors.voyage.wire import create_body


@dataclass(frozen=True)
class Limits:
    """What one batch may hold: `inputs` texts, `bytes` of JSONL, `tokens` (estimated)."""

    inputs: int
    bytes: int
    tokens: int


@dataclass
class Filling:
    """A batch that is being filled, request by request."""

    limits: Limits
    inputs: int = 0
    bytes: int = 0
    tokens: int = 0

    def take(self, inputs: int, size: int, tokens: int) -> bool:
        """Add a request if it fits. The first always fits by its inputs and bytes, else it could never be sent."""
        limits = self.limits
        if self.tokens + tokens > limits.tokens:
            return False
        if self.inputs and (self.bytes + size > limits.bytes or self.inputs + inputs > limits.inputs):
            return False
        self.inputs, self.bytes, self.tokens = self.inputs + inputs, self.bytes + size, self.tokens + tokens
        return True


def request_params(settings: Settings, profile: Profile) -> dict[str, object]:
    """What goes into `request_params` of a job: everything about the request but the texts.

    `truncation` is off: chunks are far below the model's context, and if one were not, a visible failure is better than
    a vector of half a text.
    """
    body = create_body(
        endpoint=profile.endpoint,
        input_file_id="-",
        model=profile.model,
        input_type=profile.input_type,
        output_dimension=profile.dimension,
        output_dtype=profile.dtype,
        encoding_format=settings.voyage.encoding_format or None,
        truncation=False,
    )
    params: dict[str, object] = body["request_params"]
    return params
