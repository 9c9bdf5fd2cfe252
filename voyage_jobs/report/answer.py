"""The answer to "why": how something stands in one paragraph, a stable code for the reason, and the next command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from voyage_jobs.core.clock import iso
from voyage_jobs.report.waits import Wait


@dataclass
class Answer:
    """`published`: whether the table shows it as it is wanted; None where that is no question (a batch, a folder)."""

    kind: str
    ref: str
    reason: str
    published: bool | None
    paragraph: str
    next: str
    expected_at: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self, now: int) -> dict[str, Any]:
        """For `--json`."""
        return {
            "as_of": iso(now),
            "kind": self.kind,
            "ref": self.ref,
            "reason": self.reason,
            "published": self.published,
            "paragraph": self.paragraph,
            "next": self.next,
            "expected_at": iso(self.expected_at),
            **self.facts,
        }


def waiting(kind: str, ref: str, said: str, wait: Wait, **facts: Any) -> Answer:
    """Something that is not there yet, for a reason."""
    return Answer(kind, ref, wait.code, False, f"{said} {wait.text}".strip(), wait.next, wait.until, facts)
