"""How the line of a batch ended, as stored in `lines.outcome`, and the words for it."""

from __future__ import annotations

OPEN, SUCCESS, TRANSIENT, REFUSED, MISSING, MALFORMED, RETURNED, CANCELLED = range(8)
OUTCOME_WORDS = {
    OPEN: "open",
    SUCCESS: "success",
    TRANSIENT: "failed for a passing reason",
    REFUSED: "refused",
    MISSING: "missing from the results",
    MALFORMED: "answered with something that is not a vector",
    RETURNED: "not answered; sent again",
    CANCELLED: "cancelled",
}
