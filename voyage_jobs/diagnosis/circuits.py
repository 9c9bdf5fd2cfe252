"""The shared circuits as reasons: what each code means, who ends it, what it keeps back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from voyage_jobs.clock import iso
from voyage_jobs.diagnosis.blocker import CALLS, CREATE, WRITES, Blocker, Mover
from voyage_jobs.diagnosis.snapshot import Gate, Moment
from voyage_jobs.state import lanes
from voyage_jobs.state.batches import SEND_REFUSED
from voyage_jobs.state.lanes import Lane

PASSING_FAILURES = 3  # in a row, before a network or server trouble is more than an info

_TEXTS = {
    "auth": "{provider} refuses the API key",
    "quota": "{provider} keeps this account to the limits of one without a payment method",
    "in_flight_limit": "{provider} takes no further job now",
    SEND_REFUSED: "{provider} refuses one batch after another; none is sent",
    lanes.VENDOR: "Calls to {provider} wait",
    lanes.CREATE: "New jobs wait",
    lanes.DISK: "Nothing large is written",
}
"""By code, or by circuit: what it keeps back. The words of the error say why."""
MOVERS = {
    "auth": Mover.ACCOUNT,
    "quota": Mover.ACCOUNT,
    SEND_REFUSED: Mover.DECISION,
    "paused_disk": Mover.OPERATOR,
}
"""Who ends it, where that is not the provider; such a thing is a problem at once, the rest only if it lasts."""
_STOPS = {lanes.VENDOR: CALLS, lanes.DISK: WRITES, lanes.CREATE: frozenset({CREATE})}


ACCOUNT_CODES = frozenset(code for code, mover in MOVERS.items() if mover is Mover.ACCOUNT)


def blocker_of(gate: Gate, lane: Lane, stops: frozenset[str] | None = None) -> Blocker:
    """An open circuit as a reason; `stops` where it does not keep back what its kind does."""
    mover = MOVERS.get(lane.code, Mover.PROVIDER)
    passing = lane.code == "in_flight_limit" or lane.failures < PASSING_FAILURES
    hint = lane.hint
    if hint is None and isinstance(gate, Moment) and gate.holder is None:
        hint = "It is tried again as soon as a process runs; nothing is lost."
    return Blocker(
        code=lane.code,
        text=_TEXTS.get(lane.code, _TEXTS[lane.name]).format(provider=gate.provider),
        words=lane.message,
        next=hint
        or f"It is tried again at {iso(lane.until_at)}; nothing is lost and nothing needs to be done.",
        moved_by=mover,
        severity="info" if passing and mover is Mover.PROVIDER else "problem",
        stops=_STOPS[lane.name] if stops is None else stops,
        circuit=lane.name,
        since=lane.since_at,
        until=lane.until_at,
    )


def account_refused(open_circuits: Iterable[Lane]) -> Lane | None:
    """The circuit that is open because the key or the account is refused."""
    return next((each for each in open_circuits if MOVERS.get(each.code) is Mover.ACCOUNT), None)


def sending_refused(open_circuits: Mapping[str, Lane]) -> Lane | None:
    """The circuit that is open because the provider refuses one batch after another."""
    found = open_circuits.get(lanes.CREATE)
    return found if found is not None and found.code == SEND_REFUSED else None
