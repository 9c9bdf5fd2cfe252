"""What has been in a state for longer than that state may take: which, since when, and which step should move it. Pure.

Every state that something can be in has a row here or an end of its own: a batch that is parked, a source that is
frozen and a text that failed wait for your decision, and are reasons of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from voyage_jobs.core.clock import US, iso
from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis.batch_conditions import DEADLINE_GRACE_S, MOVED_ON_BY, has_unknown_status
from voyage_jobs.diagnosis.blocker import EVERY_STEP, RECONCILE, SENDING, SUBMIT, Blocker, Mover, keeping
from voyage_jobs.diagnosis.snapshot import Facts
from voyage_jobs.state.batches import BatchRow

STUCK_S = 3_600  # in a state that takes minutes
OVERDUE_INTERVALS = 3
TIDY_S = 2 * 86_400  # the provider's files may be refused to us for a while
REQUEST_S = 120

CODES = frozenset(
    [
        "batch_stuck",
        "past_deadline",
        "not_tidied",
        "publish_stuck",
        "not_sent",
        "scan_overdue",
        "removal_stuck",
        "request_stuck",
    ]
)
Found = Sequence[Blocker]
"""What is known to keep things back."""
About = tuple[str, str, str | None, str, str]
"""Code, kind, ref, state, and the step that should move it on."""


@dataclass(frozen=True)
class Stuck:
    """One thing past its limit. `since` in microseconds UTC, `limit_s` is how long it may take.

    `because` is the code of a problem or note that explains it, None if nothing that is known does.
    """

    code: str
    kind: str
    ref: str | None
    state: str
    step: str
    since: int
    limit_s: float
    because: str | None
    message: str
    next: str

    def as_blocker(self) -> Blocker:
        """It as a reason of its own, where nothing explains it."""
        return Blocker(
            code=self.code,
            text=self.message,
            next=self.next,
            moved_by=Mover.OPERATOR,
            name=self.ref,
            since=self.since,
        )

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "since": iso(self.since)}


def find(facts: Facts, found: Found) -> list[Stuck]:
    """Everything past its limit, oldest first."""
    past = [each for check in _CHECKS for each in check(facts, found)]
    return sorted(past, key=lambda each: each.since)


def _past(
    facts: Facts,
    about: About,
    since: int | None,
    limit_s: float,
    because: str | None,
    message: str,
    hint: str,
) -> Iterator[Stuck]:
    """It, if it is in its state for longer than that may take."""
    if since is not None and facts.now - since > limit_s * US:
        yield Stuck(*about, since, limit_s, because, message, hint)


def _because(found: Found, *steps: str, source: str | None = None, batch: str | None = None) -> str | None:
    """What keeps a step from its work, if that is known: a code of `status`.

    What is the ordinary course of things explains nothing: it must end within the limit.
    """
    kept = keeping(found, *steps, source=source, batch=batch)
    return next((each.code for each in kept if each.severity != "wait" or each.stops == EVERY_STEP), None)


def _batches(facts: Facts, found: Found) -> Iterator[Stuck]:
    usual_s = max(STUCK_S, 2 * facts.settings.section.quarantine_s)
    for batch in facts.open:
        ref, state, since = batch.ref, str(batch.state), facts.since.get(batch.id)
        if batch.state is Batch.RUNNING:
            yield from _late(facts, found, batch)
        elif batch.state is not Batch.PARKED:
            steps = MOVED_ON_BY[batch.state]
            step = SUBMIT if steps == (RECONCILE,) else steps[0]
            because = _because(found, *steps, batch=ref)
            message = f"Batch {ref} has been {state} since {iso(since)}; step {step} should have moved it on."
            hint = f"`voyage-jobs why {ref}` tells what it waits for."
            about = ("batch_stuck", "batch", ref, state, step)
            yield from _past(facts, about, since, usual_s, because, message, hint)


def _late(facts: Facts, found: Found, batch: BatchRow) -> Iterator[Stuck]:
    unknown = has_unknown_status(facts, batch)
    word = f"{facts.provider} says {batch.remote_status!r}" + (
        ", a status that voyage-jobs does not know" if unknown else ""
    )
    message = f"Batch {batch.ref} should have ended at {iso(batch.deadline_at)}; {word}"
    if batch.cancel_asked_at is not None:
        message += ", and its cancellation was requested"
        hint = "It is parked half a day after that, and then `voyage-jobs retry` sends its texts again."
    else:
        hint = (
            f"Wait, or `voyage-jobs cancel {batch.ref}`, then `voyage-jobs retry`: what is finished is kept."
        )
    code, state = "unknown_status" if unknown else "past_deadline", f"{batch.state} ({batch.remote_status})"
    because, about = _because(found, "poll", batch=batch.ref), (code, "batch", batch.ref, state, "poll")
    yield from _past(facts, about, batch.deadline_at, DEADLINE_GRACE_S, because, f"{message}.", hint)


def _over(facts: Facts, found: Found) -> Iterator[Stuck]:
    """Batches that are over and cannot be closed: their files cannot be deleted."""
    for ref, state, since in facts.unclosed:
        message = f"Batch {ref} has been over since {iso(since)}, and its files at {facts.provider} cannot be deleted."
        hint = "Nothing is lost; let the key delete files, or set `delete_remote_files = false`."
        about = ("not_tidied", "batch", ref, state, "tidy")
        yield from _past(facts, about, since, TIDY_S, _because(found, "tidy"), message, hint)


def _publishing(facts: Facts, found: Found) -> Iterator[Stuck]:
    hint = "Look at the log of the running process for what keeps it from publishing."
    for state, since, what in (
        ("ready", facts.ready_since, "ready for the table"),
        ("leaving", facts.leaving_since, "to leave the table"),
    ):
        message = f"Documents have been {what} since {iso(since)}."
        about = ("publish_stuck", "version", None, state, "publish")
        yield from _past(facts, about, since, STUCK_S, _because(found, "publish"), message, hint)


def _unsent(facts: Facts, found: Found) -> Iterator[Stuck]:
    """Waiting, and no batch in flight, pause or budget, were it of a source, explains it."""
    because = next(
        (each.code for each in found if each.stops & SENDING and not each.batch and each.severity != "wait"),
        next((each.code for each in found if each.code in ("daemon_not_running", "in_flight")), None),
    )
    since, limit_s = facts.waiting.oldest_at, facts.settings.batching.linger_s + STUCK_S
    message = f"Not sent since {iso(since)}: {counted(facts.waiting.embeddings, 'embedding')}."
    hint = "Look at the log of the running process; files that changed or vanished are taken up by the next scan."
    about = ("not_sent", "embedding", None, "wanted", "assemble")
    yield from _past(facts, about, since, limit_s, because, message, hint)


def _scans(facts: Facts, found: Found) -> Iterator[Stuck]:
    """Sources that were not read whole for long, and documents whose grace period was over several scans ago."""
    configured = {source.name: source for source in facts.settings.sources}
    for row in facts.sources:
        source = configured.get(row.name)
        if source is None or row.frozen_reason is not None:
            continue
        name, because = row.name, _because(found, "scan", source=row.name)
        late_s = max(STUCK_S, OVERDUE_INTERVALS * source.scan_interval_s)
        message = f"Source {name} was last scanned completely at {iso(row.scanned_at)}."
        hint = "Look at the log of the running process for what keeps it from scanning."
        about: About = ("scan_overdue", "source", name, row.state, "scan")
        yield from _past(facts, about, row.scanned_at, late_s, because, message, hint)
        since = facts.missing_since.get(row.id)
        message = f"Documents of source {name} are missing since {iso(since)}, and still served."
        hint = (
            "Their grace period is over: the next complete scan removes them. The log says why there is none."
        )
        about = ("removal_stuck", "document", name, "missing", "scan")
        yield from _past(facts, about, since, source.delete_grace_s + late_s, because, message, hint)


def _requests(facts: Facts, found: Found) -> Iterator[Stuck]:
    since = facts.asked_since
    message = f"A request made at {iso(since)} on the command line has not been carried out."
    hint = (
        "It is carried out between two steps: the log of the running process shows which step takes so long."
    )
    about = ("request_stuck", "request", None, "asked", "requests")
    yield from _past(facts, about, since, REQUEST_S, _because(found, "requests"), message, hint)


_CHECKS = (_batches, _over, _publishing, _unsent, _scans, _requests)
