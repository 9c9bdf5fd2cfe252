"""What is wrong, or worth knowing, in one moment of the state: a code, a sentence, and the next command. Pure.

A problem is for a person, or a sign that something is stuck; a note (`info`) passes by itself. Only problems make the
report unhealthy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from voyage_jobs.clock import US, iso
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.plural import counted
from voyage_jobs.report import set_back_words, stuck
from voyage_jobs.report.facts import Facts
from voyage_jobs.report.rebuild import Vectors
from voyage_jobs.report.stuck import DEADLINE_GRACE_S
from voyage_jobs.sources import names
from voyage_jobs.state.batches import SEND_REFUSED, UNUSABLE, BatchRow
from voyage_jobs.state.engine import SAFE_LIBRARY, library_is_safe, library_version
from voyage_jobs.state.lanes import Lane
from voyage_jobs.state.sources import NOT_CONFIGURED, SourceRow
from voyage_jobs.state.troubles import FATAL
from voyage_jobs.states import Batch
from voyage_jobs.steps import budget
from voyage_jobs.steps import rebuild_words as words
from voyage_jobs.vendors.remote import Phase

HEARTBEAT_OLD_S = 600
PASSING_FAILURES = 3  # in a row, before a network or server trouble is more than a note
_REFUSING = ("auth", "quota")
_ALWAYS_PROBLEMS = (*_REFUSING, "paused_disk", SEND_REFUSED)
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
        hint = lane.hint or _lane_hint(facts, lane)
        severity: Severity = "info" if info else "problem"
        yield Problem(lane.code, lane.message, hint, severity, person=lane.code == SEND_REFUSED)


def _lane_hint(facts: Facts, lane: Lane) -> str:
    if facts.holder is None:
        return "It is tried again as soon as a process runs; nothing is lost."
    return f"It is tried again at {iso(lane.until_at)}; nothing is lost and nothing needs to be done."


def _process(facts: Facts, settings: Settings) -> Iterator[Problem]:
    if facts.holder is None:
        yield from _nobody(facts)
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


def _nobody(facts: Facts) -> Iterator[Problem]:
    """No process is running: told as worse, if one should be, or if the last one failed."""
    failed = next((each for each in facts.troubles if each.code == FATAL and each.over_at is None), None)
    last = "" if facts.here is None else f" Its last sign of life was at {iso(facts.here.heartbeat_at)}."
    if failed is not None:
        yield Problem(
            "process_failed",
            f"The last process ended by an error in step {failed.step} at {iso(failed.last_at)}: {failed.message}",
            failed.hint
            or "`voyage-jobs doctor` looks for the cause; then start it again: `voyage-jobs run`.",
        )
    elif facts.daemon_died:
        yield Problem(
            "daemon_died",
            f"The daemon was killed, crashed or lost power; nothing keeps the table in step now.{last}",
            "Start it again: `voyage-jobs run`. Nothing is lost.",
        )
    elif facts.work_remains:
        yield Problem(
            "daemon_not_running",
            "Work waits, and no voyage-jobs process is at it.",
            "Run `voyage-jobs run` (it stays), or `voyage-jobs sync` (it ends when all is done).",
            "info",
        )


def _machine(facts: Facts, settings: Settings) -> Iterator[Problem]:
    del facts, settings
    if not library_is_safe():
        least = ".".join(map(str, SAFE_LIBRARY))
        yield Problem(
            "sqlite_old",
            f"SQLite {library_version()} lacks the fix of the WAL-reset race (it is in {least}).",
            "Install `pysqlite3`, or a Python built with a newer SQLite.",
            "info",
        )


# --- a state that is older than the world ---


def _set_back(facts: Facts, settings: Settings) -> Iterator[Problem]:
    provider, found = vendor_of(settings).title, facts.set_back
    if found is not None:
        if set_back_words.is_copied(found):
            yield Problem(
                "state_copied", set_back_words.COPIED.format(provider=provider), set_back_words.COPIED_HINT
            )
        told = set_back_words.found(found, provider, claiming=facts.claiming)
        yield Problem("state_set_back", told, set_back_words.FOUND_HINT, "info")
    if facts.unchecked_since is not None:
        told = set_back_words.unchecked(facts.unchecked_since, provider)
        yield Problem("jobs_unchecked", told, set_back_words.UNCHECKED_HINT)


# --- the profile ---


def _vectors(facts: Facts, settings: Settings) -> Iterator[Problem]:
    del settings
    found = facts.vectors
    if found.changed and found.in_force is not None:
        message, hint = words.changed(found.asked, found.in_force, found.build, _cost(found))
        yield Problem("profile_changed", message, hint, person=True)
    if found.build is None or found.progress is None:
        return
    if found.progress.blocked and not found.build.leave_out:
        yield Problem("reprofile_blocked", words.blocked(found.progress), words.BLOCKED_HINT, person=True)
        return
    likely = "" if found.likely_at is None else f" It is likely to be complete at {iso(found.likely_at)}."
    message = f"{words.building(found.build, found.progress)}{likely} The table shows what it did until then."
    yield Problem("reprofiling", message, words.BUILDING_HINT, "info")


def _cost(found: Vectors) -> str:
    if found.change_tokens is None:
        return ""
    price = "" if found.change_usd is None else f", ${found.change_usd:.4f} by batch"
    return f"about {found.change_tokens:,} tokens{price}"


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
    elif facts.older_format is not None:
        yield Problem(
            "table_reformatting",
            f"The table {place} is being rebuilt in a new format, out of its own rows (it has format"
            f" {facts.older_format}). Nothing is sent, and it is read as before meanwhile.",
            "Nothing needs to be done; what is ready is published after it.",
            "info",
        )


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
    for row in facts.sources:
        yield from _source(facts, row)
        yield from _watch(facts, settings, row)


def _source(facts: Facts, row: SourceRow) -> Iterator[Problem]:
    if row.frozen_reason == NOT_CONFIGURED:
        yield Problem(
            "not_configured",
            f"Source {row.name} is no longer in the configuration; what the table has of it stays.",
            f"Put it back, or take its documents out: `voyage-jobs confirm-deletes {row.name}`.",
            person=True,
        )
    elif row.frozen_reason is not None:
        yield Problem(
            "frozen",
            f"Source {row.name} is frozen, nothing of it is deleted: {row.frozen_reason}.",
            f"Bring {names.display(row.path)} back, or, if that is meant, `voyage-jobs confirm-deletes {row.name}`.",
            person=True,
        )
    unreadable = facts.tallies[row.id].skipped.get("unreadable", 0) if row.id in facts.tallies else 0
    if unreadable:
        yield Problem(
            "unreadable",
            f"{counted(unreadable, 'file')} of source {row.name} cannot be read.",
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
    for batch in facts.open:
        if batch.state is Batch.PARKED:
            message = f"Batch {batch.ref} is parked: {batch.reason}"
            if batch.code == UNUSABLE:
                yield Problem("unusable_results", message, batch.hint, person=True)
            else:
                yield Problem("parked", message, batch.hint, person=True)
        elif batch.error is not None and batch.failures:
            yield _failing(batch)
        elif batch.state is Batch.RUNNING and _is_unknown_and_in_time(facts, batch, settings):
            yield Problem(
                "unknown_status",
                f"The vendor calls the job of batch {batch.ref} {batch.remote_status!r}, a word that voyage-jobs does"
                " not know.",
                "Nothing to do: it is asked about on. An hour past its window its results are taken, if it names any.",
                "info",
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


def _failing(batch: BatchRow) -> Problem:
    """A batch that fails alone. Others do not wait for it."""
    since = f" since {iso(batch.failing_since)}" if batch.failing_since else ""
    return Problem(
        "failing",
        f"Batch {batch.ref} ({batch.state}) failed {counted(batch.failures, 'time')} in a row{since}:"
        f" {_short(batch.error)}",
        f"It is tried again at {iso(batch.due_at)}; nothing is lost and no other batch waits for it.",
        "info" if batch.failures < PASSING_FAILURES else "problem",
    )


def _is_unknown_and_in_time(facts: Facts, batch: BatchRow, settings: Settings) -> bool:
    if not batch.remote_status or vendor_of(settings).phase(batch.remote_status) is not Phase.UNKNOWN:
        return False
    return batch.deadline_at is None or facts.now - batch.deadline_at <= DEADLINE_GRACE_S * US


def _stuck(facts: Facts, settings: Settings) -> Iterator[Problem]:
    """What is past its limit, and nothing that is told elsewhere explains it."""
    for each in stuck.find(facts, settings):
        if each.because is None:
            yield Problem(each.code, each.message, each.next)


# --- people ---


def _untold(facts: Facts, settings: Settings) -> Iterator[Problem]:
    """Whoever relies on being told must hear of it here."""
    del settings
    for each in facts.untold:
        waits = (
            f"{counted(each.waiting, 'message')} to be delivered"
            if each.waiting
            else f"{counted(each.given_up, 'message')} given up"
        )
        yield Problem(
            "notify_failing",
            f"Nobody is told by the {each.sink} of [notify]: {waits}. {_short(each.error)}",
            "`voyage-jobs notify --test` tries it at once; what waits is tried for a day.",
        )


# --- embeddings ---


def _failed(facts: Facts, settings: Settings) -> Iterator[Problem]:
    del settings
    failed = facts.chunks("failed") - facts.cancelled
    if failed:
        told = "; ".join(_short(reason).rstrip(".") for reason in facts.failure_reasons)
        yield Problem(
            "failed",
            f"{counted(failed, 'chunk')} could not be embedded: {told or 'no reason given'}.",
            "`voyage-jobs retry` tries them again; their documents are published without them.",
        )
    if facts.cancelled:
        yield Problem(
            "cancelled",
            f"Cancelled by a person and still needed: {counted(facts.cancelled, 'chunk')}.",
            "`voyage-jobs retry` sends them after all.",
        )


def _budget(facts: Facts, settings: Settings) -> Iterator[Problem]:
    del settings
    for room in facts.rooms:
        if not facts.is_tight(room):
            continue
        if room.source_id is None:
            waiting, what = facts.waiting.embeddings, "embeddings"
        else:
            waiting, what = facts.tallies[room.source_id].chunks["waiting"], "chunks"
        key = budget.setting_of(room)
        goes_on = "with the next run" if room.anew_at is None else f"at {iso(room.anew_at)}"
        yield Problem(
            "budget_reached",
            f"{key} is used up; {waiting:,} {what} wait.",
            f"It goes on {goes_on}, or when {key} is raised.",
        )


def _short(text: str | None) -> str:
    told = text or "no reason given"
    return told if len(told) <= _SHOWN_REASON_CHARS else told[: _SHOWN_REASON_CHARS - 3] + "..."


_CHECKS: tuple[Callable[[Facts, Settings], Iterator[Problem]], ...] = (
    _lanes,
    _process,
    _page,
    _machine,
    _set_back,
    _vectors,
    _table,
    _sources,
    _pauses,
    _batches,
    _failed,
    _budget,
    _stuck,
    _untold,
)
