"""The shared circuits as reasons: what each code means, who ends it, what it keeps back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from voyage_jobs.core.clock import iso
from voyage_jobs.diagnosis.blocker import CALLS, CREATE, WRITES, Blocker, Mover
from voyage_jobs.diagnosis.snapshot import Gate, Moment
from voyage_jobs.state import circuits
from voyage_jobs.state.batches import MODEL_REFUSED, SEND_REFUSED
from voyage_jobs.state.circuits import Circuit

PASSING_FAILURES = 3  # in a row, before a network or server trouble is more than an info

_TEXTS = {
    "auth": "{provider} refuses the API key",
    "quota": "{provider} keeps this account to the limits of one without a payment method",
    "in_flight_limit": "{provider} takes no further job now",
    SEND_REFUSED: "{provider} refuses one batch after another; none is sent",
    MODEL_REFUSED: "{provider} has no model {model} that this account may use; nothing is sent",
    circuits.VENDOR: "Calls to {provider} are deferred",
    circuits.CREATE: "New jobs are deferred",
    circuits.DISK: "Nothing large is written",
    circuits.TABLE: "Nothing is published",
}
"""By code, or by circuit: what it keeps back. The words of the error say why."""
MOVERS = {
    "auth": Mover.ACCOUNT,
    "quota": Mover.ACCOUNT,
    SEND_REFUSED: Mover.DECISION,
    MODEL_REFUSED: Mover.DECISION,
    "paused_disk": Mover.OPERATOR,
}
"""Who ends it, where that is not the provider; such a thing is a problem at once, the rest only if it lasts."""
_STOPS = {
    circuits.VENDOR: CALLS,
    circuits.DISK: WRITES,
    circuits.CREATE: frozenset({CREATE}),
    circuits.TABLE: frozenset({"publish"}),
}


REFUSED_CODES = frozenset({SEND_REFUSED, MODEL_REFUSED})
ACCOUNT_CODES = frozenset(code for code, mover in MOVERS.items() if mover is Mover.ACCOUNT)


def blocker_of(gate: Gate, circuit: Circuit, stops: frozenset[str] | None = None) -> Blocker:
    """An open circuit as a reason; `stops` where it does not keep back what its kind does."""
    mover = MOVERS.get(circuit.code, Mover.PROVIDER)
    passing = circuit.code == "in_flight_limit" or circuit.failures < PASSING_FAILURES
    hint = circuit.hint
    if hint is None and isinstance(gate, Moment) and gate.holder is None:
        hint = "It is tried again as soon as a process runs; nothing is lost."
    return Blocker(
        code=circuit.code,
        text=_TEXTS.get(circuit.code, _TEXTS[circuit.name]).format(
            provider=gate.provider, model=gate.settings.section.model
        ),
        words=circuit.message,
        next=hint
        or f"It is tried again at {iso(circuit.until_at)}; nothing is lost and nothing needs to be done.",
        moved_by=mover,
        severity="info" if passing and mover is Mover.PROVIDER else "problem",
        stops=_STOPS[circuit.name] if stops is None else stops,
        circuit=circuit.name,
        since=circuit.since_at,
        until=circuit.until_at,
    )


def account_refused(open_circuits: Iterable[Circuit]) -> Circuit | None:
    """The circuit that is open because the key or the account is refused."""
    return next((each for each in open_circuits if MOVERS.get(each.code) is Mover.ACCOUNT), None)


def sending_refused(open_circuits: Mapping[str, Circuit]) -> Circuit | None:
    """The circuit that is open because the provider refuses one batch after another, or has no such model."""
    found = open_circuits.get(circuits.CREATE)
    return found if found is not None and found.code in REFUSED_CODES else None
