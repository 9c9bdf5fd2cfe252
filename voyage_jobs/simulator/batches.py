"""A batch job: its plan of times, its status at any moment, and the object that describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voyage_jobs.core.clock import US
from voyage_jobs.simulator.dialects import dialect
from voyage_jobs.simulator.endpoints import Endpoint
from voyage_jobs.simulator.faults import Hit, Item
from voyage_jobs.simulator.options import Options
from voyage_jobs.simulator.params import Params
from voyage_jobs.simulator.scan import LineError
from voyage_jobs.simulator.stamps import stamp

IN_FLIGHT = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
CANCELLABLE = frozenset({"validating", "in_progress"})
_VALIDATED_AT = 0.05
_FINALIZING_AT = 0.9


@dataclass(frozen=True)
class Plan:
    """When a job will do what, in microseconds, and which share of its lines it finishes."""

    created_us: int
    validated_us: int
    finalizing_us: int
    ended_us: int
    share: float = 1.0

    def lines_done(self, total: int, now_us: int) -> int:
        """How many of `total` lines are worked off by now."""
        if now_us >= self.finalizing_us:
            return int(total * self.share)
        if now_us <= self.validated_us:
            return 0
        passed = (now_us - self.validated_us) / (self.finalizing_us - self.validated_us)
        return int(total * self.share * passed)


def make_plan(created_us: int, batch_s: float, window_s: float, slow_share: float | None) -> Plan:
    """The times of a job that takes `batch_s`, cut short where the window ends.

    With `slow_share` the job is so slow that only this share of its lines is done by then.
    """
    validated_s = min(_VALIDATED_AT * batch_s, window_s)
    working_s = _FINALIZING_AT * batch_s - validated_s
    left_s = window_s - validated_s
    share = slow_share if slow_share is not None else 1.0
    if slow_share is None and working_s > left_s:
        share = left_s / working_s
    finalizing_s = window_s if slow_share is not None else validated_s + min(working_s, left_s)
    times = (validated_s, finalizing_s, finalizing_s + (1 - _FINALIZING_AT) * batch_s)
    validated_us, finalizing_us, ended_us = (created_us + int(s * US) for s in times)
    return Plan(created_us, validated_us, finalizing_us, ended_us, share)


@dataclass
class Batch:
    """One job. `done` of its `lines` are worked off, in the order of the runner; `tokens` count as in flight, unless it
    found no room (`is_refused_room`)."""

    id: str
    number: int
    endpoint: Endpoint
    params: Params
    input_file_id: str
    metadata: Mapping[str, str] | None
    plan: Plan
    lines: int
    tokens: int
    hits: Mapping[str, Hit] = field(default_factory=dict)
    invalid: list[LineError] = field(default_factory=list)
    is_refused_room: bool = False
    cancel_us: int | None = None
    cancelled_us: int | None = None
    done: int = 0
    completed: int = 0
    failed: int = 0
    finished: bool = False
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def item(self) -> Item:
        """What faults know the job by."""
        return Item(self.number, self.number, self.plan.created_us)

    def visible(self, now_us: int, *, to_retrieve: bool) -> bool:
        """Whether the job shows up yet; a fault may keep it out of sight for a while."""
        hit = self.hits.get("job_hidden")
        if hit is None or (to_retrieve and not hit["retrieve"]):
            return True
        return now_us >= self.plan.created_us + int(hit["seconds"] * US)

    def ends_us(self) -> int:
        """When the job is or will be over."""
        if self.cancelled_us is not None:
            return self.cancelled_us
        return self.plan.validated_us if self.invalid else self.plan.ended_us

    def status(self, now_us: int) -> str:
        """The status in the provider's words, before any fault renames it."""
        if self.cancelled_us is not None and self.cancel_us is not None and now_us >= self.cancel_us:
            return "cancelled" if now_us >= self.cancelled_us else "cancelling"
        if now_us < self.plan.validated_us:
            return "validating"
        if self.invalid:
            return "failed"
        if now_us < self.plan.finalizing_us:
            return "in_progress"
        return "finalizing" if now_us < self.plan.ended_us else "completed"

    def shown_status(self, now_us: int, options: Options) -> str:
        """The status as the API shows it."""
        status = self.status(now_us)
        hit = self.hits.get("job_status")
        if hit is not None and hit["instead_of"] == status:
            return str(hit["word"])
        if status == "completed" and self.plan.share < 1.0:
            return options.overrun_status
        return status

    def as_json(self, now_us: int, options: Options) -> dict[str, Any]:
        """The Batch object as it is at `now_us`."""
        status = self.status(now_us)
        errors = [error.as_json() for error in self.invalid] if status == "failed" else None
        validated = status not in ("validating", "failed") and now_us >= self.plan.validated_us
        shown: dict[str, Any] = {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint.path,
            "model": self.params.model.name,
            "errors": {"object": "list", "data": errors} if errors is not None else None,
            "input_file_id": self.input_file_id,
            "completion_window": "12h",
            "status": self.shown_status(now_us, options),
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "request_counts": {
                "total": self.lines if validated else 0,
                "completed": self.completed,
                "failed": self.failed,
            },
            "metadata": self.metadata,
        }
        shown.update((name, stamp(us, options)) for name, us in self._times(now_us, options).items())
        if options.legacy_batch_keys:
            del shown["model"]
            shown.update(dict.fromkeys(("canceling_at", "canceled_at")))
            shown.update(dict.fromkeys(("partial_finalizing_at", "partially_completed_at")))
        return dialect(options).batch(shown)

    def _times(self, now_us: int, options: Options) -> dict[str, int | None]:
        """Every time of the object, None for what has not happened."""
        plan, stop_us = self.plan, self.cancel_us
        went_on = not self.invalid

        def passed(us: int, happens: bool) -> int | None:
            return us if happens and us <= now_us and (stop_us is None or us < stop_us) else None

        cancelled = self.cancelled_us is not None and now_us >= self.cancelled_us
        return {
            "created_at": plan.created_us,
            "in_progress_at": passed(plan.validated_us, went_on),
            "expected_completion_at": plan.created_us + int(options.expected_completion_s * US),
            "finalizing_at": passed(plan.finalizing_us, went_on),
            "completed_at": passed(plan.ended_us, went_on),
            "failed_at": passed(plan.validated_us, not went_on),
            "cancelling_at": stop_us,
            "cancelled_at": self.cancelled_us if cancelled else None,
        }
