"""What one batch may hold: shared by assembling and by the plan that foretells it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_LINE_BYTES, _BYTES_A_TOKEN = 100, 3
"""Of a line without its text, and of the text for each token: of English as it is estimated."""


@dataclass(frozen=True)
class Limits:
    """What one batch may hold: `inputs` texts, `bytes` of JSONL, `tokens` (estimated)."""

    inputs: int
    bytes: int
    tokens: int
    crowded: bool = False
    """Whether what is in flight leaves so little room that a batch is better made later."""

    def are_met_by(self, inputs: int, tokens: int) -> bool:
        """Whether so much is likely to fill a batch."""
        size = inputs * _LINE_BYTES + tokens * _BYTES_A_TOKEN
        return inputs >= self.inputs or tokens >= self.tokens or size >= self.bytes


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
