"""What is not as it should be, or worth knowing, of the process and of what it keeps. Pure."""

from __future__ import annotations

from voyage_jobs.core.clock import US
from voyage_jobs.core.plural import counted
from voyage_jobs.diagnosis import set_back_words
from voyage_jobs.diagnosis.blocker import (
    Mover,
)
from voyage_jobs.diagnosis.entry import Blockers, Cause, Say, entered_in
from voyage_jobs.diagnosis.snapshot import Facts
from voyage_jobs.state.engine import SAFE_LIBRARY, library_is_safe, library_version
from voyage_jobs.table import of_another

HEARTBEAT_OLD_S = 600

CAUSES: list[Cause] = []
cause = entered_in(CAUSES)


@cause("heartbeat_old", needs=Facts, moved_by=Mover.OPERATOR)
def _heartbeat(facts: Facts, say: Say) -> Blockers:
    age_s = (facts.now - facts.here.heartbeat_at) / US if facts.here else 0
    if facts.holder is not None and age_s > HEARTBEAT_OLD_S:
        yield say(
            f"Process {facts.holder} holds the lock of {facts.settings.data_dir} and has given no heartbeat for"
            f" {int(age_s // 60)} minutes",
            "Look at its log; if it hangs, end it and start it again: any moment is safe for that.",
        )


@cause("page_not_served", needs=Facts, moved_by=Mover.OPERATOR)
def _page(facts: Facts, say: Say) -> Blockers:
    served = facts.holder is not None and facts.here is not None and facts.here.mode == "run"
    if served and facts.page_problem is not None:
        yield say(
            f"The page and the metrics are not served: {facts.page_problem}",
            "Free the port, or set server.listen to another and restart; the work continues without it, and it is tried"
            " again automatically.",
        )


@cause("sqlite_old", needs=Facts, moved_by=Mover.OPERATOR, severity="info")
def _machine(_facts: Facts, say: Say) -> Blockers:
    if not library_is_safe():
        least = ".".join(map(str, SAFE_LIBRARY))
        text = f"SQLite {library_version()} lacks the fix of the WAL-reset race (it is in {least})"
        yield say(text, "Install `pysqlite3`, or a Python built with a newer SQLite.")


@cause("state_behind", needs=Facts, moved_by=Mover.PROCESS)
def _behind(facts: Facts, say: Say) -> Blockers:
    """An older copy was put back, and nothing was started since."""
    if facts.behind is not None:
        yield say(set_back_words.behind(facts.behind), set_back_words.BEHIND_HINT)


@cause("state_copied", needs=Facts, moved_by=Mover.OPERATOR)
def _copied(facts: Facts, say: Say) -> Blockers:
    if facts.set_back is not None and set_back_words.is_copied(facts.set_back):
        yield say(set_back_words.COPIED.format(provider=facts.provider), set_back_words.COPIED_HINT)


@cause("state_set_back", needs=Facts, moved_by=Mover.TIME, severity="info")
def _set_back(facts: Facts, say: Say) -> Blockers:
    """A state that was older than the world."""
    if facts.set_back is not None:
        text = set_back_words.found(facts.set_back, facts.provider, claiming=facts.claiming)
        yield say(text, set_back_words.FOUND_HINT, since=facts.set_back.at)


@cause("jobs_unchecked", needs=Facts, moved_by=Mover.OPERATOR)
def _unchecked(facts: Facts, say: Say) -> Blockers:
    since = facts.unchecked_since
    if since is not None:
        yield say(set_back_words.unchecked(since, facts.provider), set_back_words.UNCHECKED_HINT, since=since)


@cause("table_unreadable", needs=Facts, moved_by=Mover.OPERATOR)
def _table_unreadable(facts: Facts, say: Say) -> Blockers:
    if facts.table_exists is None:
        yield say(f"The table {facts.table_name} cannot be looked at", "Check its permissions.")


@cause("table_missing", needs=Facts, moved_by=Mover.OPERATOR)
def _table_missing(facts: Facts, say: Say) -> Blockers:
    if facts.table_exists is False and facts.chunks("published"):
        hint = "Start `voyage-jobs sync` (or restart `run`): it is built again at no cost."
        yield say(f"The table {facts.table_name} is gone", hint)


@cause("table_of_another", needs=Facts, moved_by=Mover.OPERATOR)
def _table_of_another(facts: Facts, say: Say) -> Blockers:
    if facts.table_rows is not None and facts.table_rows.of_another:
        error = of_another(facts.table_name)
        yield say(error.message.rstrip("."), error.hint)


@cause("table_rows", needs=Facts, moved_by=Mover.OPERATOR)
def _table_rows(facts: Facts, say: Say) -> Blockers:
    rows = facts.table_rows
    if facts.behind is not None:
        return  # the table is newer than what the state knows of it
    if rows is not None and rows.differ and not rows.of_another and facts.build is None:
        why = (
            "another program has changed it"
            if facts.set_back is None
            else "the state was lost, or older, and does not know all that it shows"
        )
        yield say(
            f"The table {facts.table_name} has {counted(rows.found, 'row')}, and {rows.expected:,} are published:"
            f" {why}",
            "`voyage-jobs verify` names the rows, `voyage-jobs verify --repair` mends them at no cost.",
            numbers={"found": rows.found, "expected": rows.expected or 0},
        )


@cause("table_reformatting", needs=Facts, moved_by=Mover.PROCESS, severity="info")
def _reformatting(facts: Facts, say: Say) -> Blockers:
    if facts.table_exists and facts.older_format is not None:
        yield say(
            f"The table {facts.table_name} is being rebuilt in a new format, out of its own rows (it has format"
            f" {facts.older_format}). Nothing is sent, and it is read as before meanwhile",
            "Nothing needs to be done; what is ready is published after it.",
        )


@cause("notify_failing", needs=Facts, moved_by=Mover.OPERATOR)
def _untold(facts: Facts, say: Say) -> Blockers:
    """Whoever relies on being told must hear of it here."""
    for each in facts.untold:
        count, what = (each.waiting, "to be delivered") if each.waiting else (each.given_up, "given up")
        yield say(
            f"The {each.sink} of [notify] fails; {counted(count, 'message')} {what}",
            "`voyage-jobs notify --test` tries it at once; what waits is retried for a day.",
            words=each.error or "no reason given",
            name=each.sink,
        )
