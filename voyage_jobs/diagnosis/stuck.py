"""What has been in a state for longer than that state may take: which, since when, and which step should move it. Pure.

Every state that something can be in has a row here or an end of its own: a batch that is parked, a source that is
frozen and a text that failed wait for your decision, and are reasons of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from voyage_jobs.clock import US, iso
from voyage_jobs.diagnosis.blocker import RECONCILE, SENDING, SUBMIT, Blocker, Mover, keeping
from voyage_jobs.diagnosis.conditions import DEADLINE_GRACE_S, MOVED_ON_BY, has_unknown_status, is_overdue
from voyage_jobs.diagnosis.snapshot import Facts
from voyage_jobs.plural import counted
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.states import Batch

STUCK_S = 3_600  # in a state that takes minutes
OVERDUE_INTERVALS = 3
TIDY_S = 2 * 86_400  # the vendor's files may be refused to us for a while
REQUEST_S = 120

CODES = frozenset(
    {
        "batch_stuck",
        "past_deadline",
        "not_tidied",
        "publish_stuck",
        "not_sent",
        "scan_overdue",
        "removal_stuck",
        "request_stuck",
    }
)
Found = Sequence[Blocker]
"""What is known to keep things back."""


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


def _because(found: Found, *steps: str, source: str | None = None, batch: str | None = None) -> str | None:
    """What keeps a step from its work, if that is known: a code of `status`."""
    return next((each.code for each in keeping(found, *steps, source=source, batch=batch)), None)


def _older(facts: Facts, at: int | None, limit_s: float) -> bool:
    return at is not None and facts.now - at > limit_s * US


def _batches(facts: Facts, found: Found) -> Iterator[Stuck]:
    usual_s = max(STUCK_S, 2 * facts.settings.voyage.quarantine_s)
    for batch in facts.open:
        if batch.state is Batch.RUNNING:
            yield from _late(facts, found, batch)
            continue
        since = facts.since.get(batch.id)
        if batch.state is Batch.PARKED or since is None or not _older(facts, since, usual_s):
            continue
        steps = MOVED_ON_BY[batch.state]
        step = SUBMIT if steps == (RECONCILE,) else steps[0]
        yield Stuck(
            "batch_stuck",
            "batch",
            batch.ref,
            str(batch.state),
            step,
            since,
            usual_s,
            _because(found, *steps, batch=batch.ref),
            f"Batch {batch.ref} has been {batch.state} since {iso(since)}; step {step} should have moved it on.",
            f"`voyage-jobs why {batch.ref}` tells what it waits for.",
        )


def _late(facts: Facts, found: Found, batch: BatchRow) -> Iterator[Stuck]:
    if batch.deadline_at is None or not is_overdue(batch, facts.now):
        return
    known = not has_unknown_status(batch)
    word = f"Voyage says {batch.remote_status!r}"
    if not known:
        word += ", a word that voyage-jobs does not know"
    told = "stopping it was asked for" if batch.cancel_asked_at is not None else None
    cancel = f"`voyage-jobs cancel {batch.ref}`, then `voyage-jobs retry`: what is finished is kept."
    parked = "It is parked half a day after that, and then `voyage-jobs retry` sends its texts again."
    yield Stuck(
        "past_deadline" if known else "unknown_status",
        "batch",
        batch.ref,
        f"{batch.state} ({batch.remote_status})",
        "poll",
        batch.deadline_at,
        DEADLINE_GRACE_S,
        _because(found, "poll", batch=batch.ref),
        f"Batch {batch.ref} should have ended at {iso(batch.deadline_at)}; {word}"
        + (f", and {told}." if told else "."),
        parked if told else f"Wait, or {cancel}",
    )


def _over(facts: Facts, found: Found) -> Iterator[Stuck]:
    """Batches that are over and cannot be closed: their files cannot be deleted."""
    for ref, state, since in facts.unclosed:
        if _older(facts, since, TIDY_S):
            yield Stuck(
                "not_tidied",
                "batch",
                ref,
                state,
                "tidy",
                since,
                TIDY_S,
                _because(found, "tidy"),
                f"Batch {ref} is over since {iso(since)}, and its files at Voyage cannot be deleted.",
                "Nothing is lost; let the key delete files, or set voyage.delete_remote_files to false.",
            )


def _publishing(facts: Facts, found: Found) -> Iterator[Stuck]:
    for state, since, what in (
        ("ready", facts.ready_since, "ready for the table"),
        ("leaving", facts.leaving_since, "to leave the table"),
    ):
        if since is not None and _older(facts, since, STUCK_S):
            yield Stuck(
                "publish_stuck",
                "version",
                None,
                state,
                "publish",
                since,
                STUCK_S,
                _because(found, "publish"),
                f"Documents have been {what} since {iso(since)}.",
                "Look at the log of the running process for what keeps it from publishing.",
            )


def _unsent(facts: Facts, found: Found) -> Iterator[Stuck]:
    """Waiting, and neither a batch under way nor a budget explains it."""
    since, limit_s = facts.waiting.oldest_at, facts.settings.batching.linger_s + STUCK_S
    if since is None or not _older(facts, since, limit_s):
        return
    unfinished = next((each.code for each in found if each.code == "in_flight"), None)
    why = _because(found, *SENDING) or unfinished
    yield Stuck(
        "not_sent",
        "embedding",
        None,
        "wanted",
        "pack",
        since,
        limit_s,
        why,
        f"Not sent since {iso(since)}: {counted(facts.waiting.embeddings, 'embedding')}.",
        "Look at the log of the running process; files that changed or vanished are taken up by the next scan.",
    )


def _scans(facts: Facts, found: Found) -> Iterator[Stuck]:
    known = {row.name: row for row in facts.sources}
    for source in facts.settings.sources:
        row = known.get(source.name)
        if row is None or row.frozen_reason is not None or row.scanned_at is None:
            continue
        late_s = max(STUCK_S, OVERDUE_INTERVALS * source.scan_interval_s)
        if _older(facts, row.scanned_at, late_s):
            yield Stuck(
                "scan_overdue",
                "source",
                row.name,
                row.state,
                "scan",
                row.scanned_at,
                late_s,
                _because(found, "scan", source=row.name),
                f"Source {row.name} was last scanned whole at {iso(row.scanned_at)}.",
                "Look at the log of the running process for what keeps it from scanning.",
            )


def _missing(facts: Facts, found: Found) -> Iterator[Stuck]:
    """Documents whose grace period was over several scans ago."""
    configured = {source.name: source for source in facts.settings.sources}
    for row in facts.sources:
        source, since = configured.get(row.name), facts.missing_since.get(row.id)
        if source is None or since is None or row.frozen_reason is not None:
            continue
        limit_s = source.delete_grace_s + max(STUCK_S, OVERDUE_INTERVALS * source.scan_interval_s)
        if _older(facts, since, limit_s):
            yield Stuck(
                "removal_stuck",
                "document",
                row.name,
                "missing",
                "scan",
                since,
                limit_s,
                _because(found, "scan", source=row.name),
                f"Documents of source {row.name} are missing since {iso(since)}, and still served.",
                "Their grace period is over: the next whole scan takes them out. The log says why there is none.",
            )


def _requests(facts: Facts, found: Found) -> Iterator[Stuck]:
    if facts.asked_since is not None and _older(facts, facts.asked_since, REQUEST_S):
        yield Stuck(
            "request_stuck",
            "request",
            None,
            "asked",
            "requests",
            facts.asked_since,
            REQUEST_S,
            _because(found, "requests"),
            f"Something that was asked for at {iso(facts.asked_since)} on the command line has not been done.",
            "It is done between two steps: look at the log of the running process for the step that takes so long.",
        )


_CHECKS: tuple[Callable[[Facts, Found], Iterator[Stuck]], ...] = (
    _batches,
    _over,
    _publishing,
    _unsent,
    _scans,
    _missing,
    _requests,
)
