"""Every wait after a failure, in one literal table, and the one formula that reads it. Pure.

The rule: a failure belongs to the thing it happened to. A batch, a remote file, a list, a delivery each has a count of
its own, waits of its own and an end of its own, and everybody else goes on. The shared circuits (`voyage`: every
call; `create`: new jobs; `disk`: what is written) open only when different things fail alike, or when the answer is
about the account. See steps/circuits.py for when that is. `fresh` (changes that are sent at once) opens at the first
failure, since there is another way to go.

`docs/reliability.md` shows this table; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from voyage_jobs.core.clock import Clock, jittered

_MOST_DOUBLINGS = 40


@dataclass(frozen=True, slots=True)
class Retry:
    """`first_s` after the first failure in a row, `factor` times as long after each further one, at most `cap_s`.

    After `tries` failures in a row (None: never) comes `then`. All waits are in seconds, moved by up to a fifth of
    themselves in either direction so that what failed together does not come back together.
    """

    first_s: float
    factor: float
    cap_s: float
    tries: int | None
    then: str


_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0

POLICIES: Mapping[str, Retry] = {
    # Shared circuits: after the wait, each step may make one call; the first success closes the circuit.
    "voyage": Retry(2, 2, 5 * _MINUTE, None, "retried without limit, one call of each step at a time"),
    "account": Retry(
        _MINUTE, 2, 5 * _MINUTE, None, "retried without limit: a refused key or an unpaid account"
    ),
    "create": Retry(_MINUTE, 2, 30 * _MINUTE, None, "retried without limit, one new job at a time"),
    "create_refused": Retry(_HOUR, 1, _HOUR, None, "retried without limit, one batch at a time"),
    "disk": Retry(2, 2, 5 * _MINUTE, None, "retried without limit"),
    "table": Retry(2, 2, 5 * _MINUTE, None, "retried without limit: the object storage of the table"),
    "fresh": Retry(
        _MINUTE, 2, 15 * _MINUTE, None, "retried without limit: changes go by batch meanwhile, not at once"
    ),
    # One batch on its way out.
    "fresh_call": Retry(2, 2, 30, 3, "its texts go by batch: a call of the fresh lane that did not happen"),
    "upload": Retry(5, 2, _HOUR, 60, "parked"),
    "create_call": Retry(
        5, 2, 15 * _MINUTE, None, "retried without limit: nothing has happened at the provider"
    ),
    "create_lost": Retry(_MINUTE, 2, _HOUR, None, "created again after each sure no"),
    "reconcile": Retry(10, 2, 15 * _MINUTE, 700, "parked: the list of jobs has been unreadable for a week"),
    "quarantine": Retry(_MINUTE, 1, _MINUTE, None, "looked for until the quarantine is over"),
    "late_job": Retry(10 * _MINUTE, 1, 10 * _MINUTE, None, "looked for as long as the batch is parked"),
    "input_file": Retry(15, 2, 2 * _MINUTE, 4, "uploaded once more; refused again: parked"),
    "file_pending": Retry(
        15, 2, 15 * _MINUTE, 100, "parked: the provider has not read the input file for a day"
    ),
    # One job at the provider.
    "poll": Retry(10, 2, 15 * _MINUTE, None, "asked about until half a day past its window, then parked"),
    "list": Retry(10, 2, 15 * _MINUTE, None, "jobs are asked about one by one meanwhile"),
    "job_gone": Retry(_MINUTE, 2, _HOUR, 5, "parked"),
    "results_late": Retry(_MINUTE, 2, _HOUR, 5, "collected with the files it names"),
    "parked_job": Retry(10 * _MINUTE, 1, 10 * _MINUTE, None, "asked about as long as it is parked"),
    "jobs_at_start": Retry(_MINUTE, 2, 15 * _MINUTE, 6, "texts are sent without it, and that is reported"),
    # One result file.
    "download": Retry(
        5,
        2,
        30 * _MINUTE,
        12,
        "parked, with what is whole held; the size counts in the first three tries alone",
    ),
    "no_room": Retry(_MINUTE, 2, 15 * _MINUTE, None, "fetched when the disk has room for it"),
    "results_refused": Retry(30, 2, 30 * _MINUTE, 5, "gone: done without it; refused: parked"),
    "parked_results": Retry(6 * _HOUR, 1, 6 * _HOUR, None, "fetched again as long as it is parked"),
    # What is left at the provider.
    "delete_file": Retry(_MINUTE, 2, _DAY, None, "retried without limit"),
    "list_files": Retry(_MINUTE, 2, _HOUR, None, "retried without limit"),
    # People.
    "notice": Retry(5, 2, 15 * _MINUTE, None, "given up after a day"),
    "ping": Retry(30, 1, 30, None, "retried without limit"),
    # This machine.
    "page": Retry(30, 1, 30, None, "retried without limit: the page's port"),
    "engine": Retry(10, 2, 5 * _MINUTE, None, "retried without limit; files are read here meanwhile"),
    "watch": Retry(_MINUTE, 1, _MINUTE, None, "retried without limit; the periodic scans find what changes"),
}

SIZE_TRIES = 3
"""So often a result file must have the size that the provider names; then its lines alone are judged."""


def wait_s(policy: str, failures: int, clock: Clock) -> float:
    """Seconds to wait after so many failures in a row (at least 1)."""
    rule = POLICIES[policy]
    grown = rule.first_s * rule.factor ** min(max(failures, 1) - 1, _MOST_DOUBLINGS)
    return min(rule.cap_s, jittered(clock, grown))


def is_over(policy: str, failures: int) -> bool:
    """Whether so many failures in a row are as many as the policy allows."""
    tries = POLICIES[policy].tries
    return tries is not None and failures >= tries
