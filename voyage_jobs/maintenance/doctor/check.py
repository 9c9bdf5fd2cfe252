"""What one check has found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from voyage_jobs.errors import AuthError, ConfigError, QuotaError


class Verdict(StrEnum):
    """How a check ended. A note is for information: it is neither good nor bad."""

    GOOD = "good"
    BAD = "bad"
    NOTE = "note"


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, why that is said, and what to do if it is bad.

    `exit_code` is what the whole examination ends with if this is the worst: 2 configuration, 5 key refused,
    6 only an operator can decide it, else 3.
    """

    name: str
    verdict: Verdict
    why: str
    fix: str | None = None
    exit_code: int = 3

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        told = asdict(self)
        del told["exit_code"]
        return {**told, "verdict": str(self.verdict)}


def good(name: str, why: str) -> Check:
    """All is well."""
    return Check(name, Verdict.GOOD, why)


def note(name: str, why: str, fix: str | None = None) -> Check:
    """Worth knowing."""
    return Check(name, Verdict.NOTE, why, fix)


def bad(name: str, why: str, fix: str | None = None, *, exit_code: int = 3) -> Check:
    """Something is wrong."""
    return Check(name, Verdict.BAD, why, fix, exit_code)


def told(name: str, error: Exception) -> Check:
    """An error of ours as a check."""
    code = {ConfigError: 2, AuthError: 5, QuotaError: 5}.get(type(error), 3)
    return bad(name, getattr(error, "message", str(error)), getattr(error, "hint", None), exit_code=code)


def exit_code(checks: list[Check]) -> int:
    """0 if nothing is bad; else 2 before 5, 6 and 3: nothing else means much while the configuration is wrong."""
    codes = {check.exit_code for check in checks if check.verdict is Verdict.BAD}
    return next((code for code in (2, 5, 6, 3) if code in codes), 0)
