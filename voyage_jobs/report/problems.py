"""What is wrong, or worth knowing, in one moment of the state: a code, a sentence, and the next command. Pure.

A problem is for a person, or a sign that something is stuck; a note (`info`) passes by itself. Only problems make the
report unhealthy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from voyage_jobs.clock import US, iso
from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.report.facts import Facts
from voyage_jobs.sources import names
from voyage_jobs.states import Batch
from voyage_jobs.steps import budget
from voyage_jobs.store.engine import SAFE_LIBRARY, library_is_safe, library_version
from voyage_jobs.store.lanes import Lane
from voyage_jobs.store.sources import NOT_CONFIGURED, SourceRow

HEARTBEAT_OLD_S = 600
PASSING_FAILURES = 3  # in a row, before a network or server trouble is more than a note
STUCK_S = 3_600  # in a state that takes minutes
DEADLINE_GRACE_S = 600
OVERDUE_INTERVALS = 3
_REFUSING = ("auth", "quota")
_ALWAYS_PROBLEMS = (*_REFUSING, "paused_disk")
_SHOWN_REASON_CHARS = 200

Severity = Literal["problem", "info"]


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be. `person` says that nothing but a person moves it on."""

    code: str
    message: str
    hint: str | None
    severity: Severity = "problem"
    person: bool = False

    @property
    def vendor_refuses(self) -> bool:
        """Whether it is the key or the account."""
        return self.code in _REFUSING

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {key: value for key, value in asdict(self).items() if key != "person"}


def find(facts: Facts, settings: Settings) -> list[Problem]:
    """Everything of note, worst first: what the vendor refuses, what needs a person, what is stuck, then the notes."""
    found = [problem for check in _CHECKS for problem in check(facts, settings)]
    return sorted(found, key=_rank)


def _rank(problem: Problem) -> int:
    if problem.severity == "info":
        return 3
    return 0 if problem.vendor_refuses else 1 if problem.person else 2


# --- the vendor and the machine ---


def _lanes(facts: Facts, settings: Settings) -> Iterator[Problem]:
    del settings
    for lane in facts.lanes:
        passing = lane.code == "in_flight_limit" or lane.failures < PASSING_FAILURES
        info = passing and lane.code not in _ALWAYS_PROBLEMS
        yield Problem(lane.code, lane.message, lane.hint or _lane_hint(lane), "info" if info else "problem")


def _lane_hint(lane: Lane) -> str:
    return f"It is tried again at {iso(lane.until_at)}; nothing is lost and nothing needs to be done."


def _process(facts: Facts, settings: Settings) -> Iterator[Problem]:
    if facts.holder is None:
        if facts.work_remains:
            yield Problem(
                "daemon_not_running",
                "Work waits, and no voyage-jobs process is at it.",
                "Run `voyage-jobs run` (it stays), or `voyage-jobs sync` (it ends when all is done).",
                "info",
            )
        return
    age_s = (facts.now - facts.here.heartbeat_at) / US if facts.here else 0
    if age_s > HEARTBEAT_OLD_S:
        yield Problem(
            "heartbeat_old",
            f"Process {facts.holder} holds the lock of {settings.data_dir} and has given no sign of life for"
            f" {int(age_s // 60)} minutes.",
            "Look at its log; if it hangs, end it and start it again: any moment is safe for that.",
        )


def _page(facts: Facts, settings: Settings) -> Iterator[Problem]:
    del settings
    served = facts.holder is not None and facts.here is not None and facts.here.mode == "run"
    if served and facts.page_problem is not None:
        yield Problem(
            "page_not_served",
            f"The page and the metrics are not served: {facts.page_problem}",
            "Free the port, or set server.listen to another and restart; the work goes on without, and it is tried"
            " again by itself.",
        )


def _machine(facts: Facts, settings: Settings) -> Iterator[Problem]:
    if not library_is_safe():
        least = ".".join(map(str, SAFE_LIBRARY))
        yield Problem(
            "sqlite_old",
            f"SQLite {library_version()} lacks the fix of the WAL-reset race (it is in {least}).",
            "Install `pysqlite3`, or a Python built with a newer SQLite.",
            "info",
        )
    asked = profile_of(settings).to_json()
    if facts.profile is not None and facts.profile != asked:
        yield Problem(
            "profile_differs",
            f"The settings ask for {asked}, {settings.data_dir} was made for {facts.profile}.",
            "Set [voyage] back, or name a new data_dir.",
            person=True,
        )


def _table(facts: Facts, settings: Settings) -> Iterator[Problem]:
    place = f"{settings.lancedb.table} in {settings.lancedb.uri}"
    if facts.table_exists is None:
        yield Problem("table_unreadable", f"The table {place} cannot be looked at.", "Check its permissions.")
    elif not facts.table_exists and facts.chunks("published"):
        yield Problem(
            "table_missing",
            f"The table {place} is gone.",
            "Start `voyage-jobs sync` (or start `run` anew): it is built again at no cost.",
        )
    if facts.holder is not None and _older(facts, facts.ready_since, STUCK_S):
        yield Problem(
            "publish_stuck",
            f"Documents have been ready for the table since {iso(facts.ready_since)}.",
            "Look at the log of the running process for what keeps it from publishing.",
        )


def _older(facts: Facts, at: int | None, limit_s: float) -> bool:
    return at is not None and facts.now - at > limit_s * US


# --- sources ---


def _sources(facts: Facts, settings: Settings) -> Iterator[Problem]:
    known = {row.name: row for row in facts.sources}
    for source in settings.sources:
        row = known.get(source.name)
        if row is None or (row.scanned_at is None and row.frozen_reason is None):
            yield Problem(
                "never_scanned",
                f"Source {source.name} has never been scanned whole.",
                "`voyage-jobs sync` or `voyage-jobs run` scans it.",
                "info",
            )
        elif row.frozen_reason is None and facts.holder is not None and not facts.pauses.rests(row.name):
            late_s = max(STUCK_S, OVERDUE_INTERVALS * source.scan_interval_s)
            if _older(facts, row.scanned_at, late_s):
                yield Problem(
                    "scan_overdue",
                    f"Source {source.name} was last scanned whole at {iso(row.scanned_at)}.",
                    "Look at the log of the running process for what keeps it from scanning.",
                )
    for row in facts.sources:
        yield from _source(facts, row)
        yield from _watch(facts, settings, row)


def _source(facts: Facts, row: SourceRow) -> Iterator[Problem]:
    if row.frozen_reason == NOT_CONFIGURED:
        yield Problem(
            "not_configured",
            f"Source {row.name} is no longer in the configuration; what the table has of it stays.",
            f"Put it back, or take its documents out: `voyage-jobs confirm {row.name}`.",
            person=True,
        )
    elif row.frozen_reason is not None:
        yield Problem(
            "frozen",
            f"Source {row.name} is frozen, nothing of it is deleted: {row.frozen_reason}.",
            f"Bring {names.display(row.path)} back, or, if that is meant to be so, `voyage-jobs confirm {row.name}`.",
            person=True,
        )
    unreadable = facts.tallies[row.id].skipped.get("unreadable", 0) if row.id in facts.tallies else 0
    if unreadable:
        yield Problem(
            "unreadable",
            f"{unreadable:,} files of source {row.name} cannot be read.",
            "Let this user read them; the next scan takes them up.",
        )


def _watch(facts: Facts, settings: Settings, row: SourceRow) -> Iterator[Problem]:
    """A note only: the periodic scans find everything, later."""
    state = facts.watching.get(row.name)
    if state is None or not row.configured:
        return
    interval_s = next((each.scan_interval_s for each in settings.sources if each.name == row.name), 0)
    later = f"its changes are found by the scans every {interval_s:g} s"
    code = state["code"]
    if code == "watch_limit":
        yield Problem(
            "watch_limit",
            f"Source {row.name} is not watched, {later}: the system watches no more folders for this user.",
            'Raise fs.inotify.max_user_watches and max_user_instances (sysctl); or set watch = "poll" or false for it.',
            "info",
        )
    elif code == "watch_failed":
        yield Problem(
            "watch_failed",
            f"Source {row.name} is not watched, {later}: {_short(str(state['message']))}",
            'It is tried again every minute; or set watch = "poll" or false for it.',
            "info",
        )
    elif code == "watch_silent":
        yield Problem(
            "watch_silent",
            f"Source {row.name} changed without its watch hearing of it; {later}.",
            'If another machine, or a program with memory-mapped files, writes there: set watch = "poll" for it.',
            "info",
        )


def _pauses(facts: Facts, settings: Settings) -> Iterator[Problem]:
    """A person wants it so: a note, which the headline repeats."""
    del settings
    for pause in facts.pauses.by_what.values():
        yield Problem("paused", str(pause), f"`{pause.ended_by}` lets it go on.", "info")


# --- batches ---


def _batches(facts: Facts, settings: Settings) -> Iterator[Problem]:
    usual_s = max(STUCK_S, 2 * settings.voyage.quarantine_s)
    hindered = facts.holder is None or bool(facts.lanes) or facts.pauses.all_sending
    for batch in facts.open:
        since = facts.since.get(batch.id)
        if batch.state is Batch.PARKED:
            yield Problem("parked", f"Batch {batch.ref} is parked: {batch.reason}", batch.hint, person=True)
        elif batch.state is Batch.RUNNING and _older(facts, batch.deadline_at, DEADLINE_GRACE_S):
            yield Problem(
                "past_deadline",
                f"Batch {batch.ref} should have ended at {iso(batch.deadline_at)}; the vendor says"
                f" {batch.remote_status!r}.",
                f"Wait, or `voyage-jobs cancel {batch.ref}`, then `voyage-jobs retry`: what is finished is kept.",
            )
        elif batch.state is not Batch.RUNNING and not hindered and _older(facts, since, usual_s):
            yield Problem(
                "batch_stuck",
                f"Batch {batch.ref} has been {batch.state} since {iso(since)}.",
                f"`voyage-jobs history {batch.ref}` tells what it waits for.",
            )
    for batch in facts.refused:
        yield Problem(
            "refused",
            f"The vendor refused batch {batch.ref}: {_short(batch.reason)}",
            "Nothing to do: its lines are sent again in smaller batches until the bad one is alone.",
            "info",
        )
    if facts.duplicates:
        yield Problem(
            "duplicate_jobs",
            f"{facts.duplicates} second jobs for one batch were found at the vendor, and cancelled.",
            "The log has their ids (`batch.duplicate`); what they had finished is on the bill.",
            "info",
        )


# --- embeddings ---


def _failed(facts: Facts, settings: Settings) -> Iterator[Problem]:
    del settings
    failed = facts.chunks("failed") - facts.cancelled
    if failed:
        told = "; ".join(_short(reason).rstrip(".") for reason in facts.failure_reasons)
        yield Problem(
            "failed",
            f"{failed:,} chunks could not be embedded: {told or 'no reason given'}.",
            "`voyage-jobs retry` tries them again; their documents are published without them.",
        )
    if facts.cancelled:
        yield Problem(
            "cancelled",
            f"{facts.cancelled:,} chunks were in batches that a person cancelled.",
            "`voyage-jobs retry` sends them after all.",
        )


def _budget(facts: Facts, settings: Settings) -> Iterator[Problem]:
    del settings
    for room in facts.rooms:
        if room.source_id is None:
            waiting, what = facts.waiting.embeddings, "embeddings"
        else:
            tally = facts.tallies.get(room.source_id)
            waiting, what = (tally.chunks["waiting"] if tally else 0), "chunks"
        if room.anew_at is None and facts.holder is None:
            continue  # the run is over, and its limit with it
        if waiting and (room.tokens <= 0 or room.tokens < (facts.waiting.first_tokens or 0)):
            key = budget.setting_of(room)
            goes_on = "with the next run" if room.anew_at is None else f"at {iso(room.anew_at)}"
            yield Problem(
                "budget_reached",
                f"{key} is used up; {waiting:,} {what} wait.",
                f"It goes on {goes_on}, or when {key} is raised.",
            )


def _not_sent(facts: Facts, settings: Settings) -> Iterator[Problem]:
    """Waiting although nothing that this report knows of keeps it from being sent."""
    explained = facts.lanes or facts.open or facts.holder is None or any(_budget(facts, settings))
    explained = explained or bool(facts.pauses.by_what)
    if not explained and _older(facts, facts.waiting.oldest_at, settings.batching.linger_s + STUCK_S):
        yield Problem(
            "not_sent",
            f"{facts.waiting.embeddings:,} embeddings wait to be sent since {iso(facts.waiting.oldest_at)}.",
            "Look at the log of the running process; files that changed or vanished are taken up by the next scan.",
        )


def _short(text: str | None) -> str:
    told = text or "no reason given"
    return told if len(told) <= _SHOWN_REASON_CHARS else told[: _SHOWN_REASON_CHARS - 3] + "..."


_CHECKS: tuple[Callable[[Facts, Settings], Iterator[Problem]], ...] = (
    _lanes,
    _process,
    _page,
    _machine,
    _table,
    _sources,
    _pauses,
    _batches,
    _failed,
    _budget,
    _not_sent,
)
