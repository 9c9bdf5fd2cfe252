"""What is on record of a `state.db` that is older than what it led to: who it is, and what was found of its future.

A state has an id, made once, which its jobs and segments carry. What an older copy of it does not know (segments on
disk, jobs at the provider) is taken in before anything is sent; this is the record of that, for `status`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Connection, func, select

from voyage_jobs.core.clock import US
from voyage_jobs.core.generation import Stamp
from voyage_jobs.state import meta
from voyage_jobs.state.last_errors import SHOWN_S
from voyage_jobs.state.schema import batches
from voyage_jobs.state.store import Tx

LOST = "lost"  # the state was lost, and made again
REPLACED = "replaced"  # the state of another folder, or of another time, took its place
GENERATION = "generation"  # the file beside it names a later start
SEGMENTS = "packs"  # segments lie here that it does not know
JOBS = "jobs"  # the provider has jobs that it does not know
RESTORED = "restored"  # a backup was restored

_STATE_ID = "state_id"
_SET_BACK = "set_back"
_FORMER = "former_states"
_JOBS_LEFT = "jobs_left"
_COUNT_AGAIN = "count_versions_again"
_UNREAD = "jobs_unread"
_UNCHECKED = "jobs_unchecked"


@dataclass(frozen=True)
class SetBack:
    """What was found: segments taken in with how many embeddings, jobs claimed. Times are microseconds UTC.

    `by_jobs` counts how often only the provider's list of jobs told.
    """

    cause: str
    at: int
    segments: int = 0
    embeddings: int = 0
    jobs: int = 0
    by_jobs: int = 0


# --- who it is ---


def state_id(connection: Connection) -> str | None:
    """The id of this state; None before its first start by a release that has ids."""
    return meta.get(connection, _STATE_ID)


def name_state(tx: Tx, new_id: str) -> None:
    """Give this state its id."""
    meta.put(tx, _STATE_ID, new_id)


def former_states(connection: Connection) -> frozenset[str]:
    """Ids of the states that worked on this folder before this one."""
    return frozenset((meta.get(connection, _FORMER) or "").split())


def own_ids(connection: Connection) -> frozenset[str | None]:
    """The ids of this state and of those before it: whatever carries one of them is this data folder's."""
    return former_states(connection) | {state_id(connection)}


def note_former(tx: Tx, former: str) -> None:
    """Another state worked on this folder before."""
    known = former_states(tx.connection)
    if former != state_id(tx.connection) and former not in known:
        meta.put(tx, _FORMER, " ".join(sorted({*known, former})))


# --- that it was set back, and what was found ---


def older_than(there: Stamp | None, state: str | None, epoch: int) -> str | None:
    """Why a state whose latest start was `epoch` is older than the file beside it; None if it is not."""
    if there is None or state is None:
        return None
    if there.state != state:
        return REPLACED
    return GENERATION if there.generation > epoch else None


def unrecognised(connection: Connection, there: Stamp | None) -> str | None:
    """Why the next start will find this state older than the file beside it. For a state that nobody works on."""
    if is_claim_due(connection):
        return None  # it is known already
    return older_than(there, state_id(connection), int(meta.get(connection, meta.EPOCH) or 0))


def note(tx: Tx, cause: str) -> None:
    """The state is older than the world: jobs are claimed before anything is sent, and `status` tells."""
    meta.put(tx, meta.CLAIM, meta.CLAIM_DUE)
    before = recent(tx.connection, tx.now)
    if before is None:
        before = SetBack(cause, tx.now)
    elif cause != SEGMENTS:  # which always follows another one, or is the first
        before = replace(before, cause=cause)
    _put(tx, replace(before, at=tx.now, by_jobs=before.by_jobs + (cause == JOBS)))


def add(tx: Tx, *, segments: int = 0, embeddings: int = 0, jobs: int = 0) -> None:
    """Count what was taken in, if the state is on record as set back."""
    before = recent(tx.connection, tx.now)
    if before is not None:
        after = replace(
            before, segments=before.segments + segments, embeddings=before.embeddings + embeddings
        )
        _put(tx, replace(after, jobs=before.jobs + jobs))


def recent(connection: Connection, now: int) -> SetBack | None:
    """What was found in the last week, if anything was."""
    body = meta.get(connection, _SET_BACK)
    if body is None:
        return None
    known = SetBack(**orjson.loads(body))
    return known if now - known.at < SHOWN_S * US else None


def _put(tx: Tx, found: SetBack) -> None:
    meta.put(tx, _SET_BACK, orjson.dumps(asdict(found)).decode())


def is_claim_due(connection: Connection) -> bool:
    """Whether jobs at the provider are to be claimed before anything is sent."""
    return meta.get(connection, meta.CLAIM) == meta.CLAIM_DUE


def ask_to_count(tx: Tx) -> None:
    """What versions wait for is to be counted again, whatever happens to this process first."""
    meta.put(tx, _COUNT_AGAIN, "1")


def is_to_count(connection: Connection) -> bool:
    """Whether what versions wait for is to be counted again."""
    return meta.get(connection, _COUNT_AGAIN) is not None


def has_counted(tx: Tx) -> None:
    """It was."""
    meta.forget(tx, _COUNT_AGAIN)


# --- the list of jobs ---


def jobs_left(connection: Connection) -> frozenset[str]:
    """Refs of jobs of this state that it does not know, and that were looked at and could not be claimed."""
    return frozenset((meta.get(connection, _JOBS_LEFT) or "").split())


def leave_jobs(tx: Tx, refs: Iterable[str]) -> None:
    """These are all the jobs that cannot be claimed: they are no news at the next start."""
    meta.put(tx, _JOBS_LEFT, " ".join(sorted(refs)))


@dataclass(frozen=True)
class Unread:
    """How often in a row the list of jobs could not be read, and since when (microseconds UTC)."""

    tries: int
    since: int


def unread(connection: Connection) -> Unread | None:
    """Whether the list could not be read when it was last tried."""
    body = meta.get(connection, _UNREAD)
    return None if body is None else Unread(**orjson.loads(body))


def note_unread(tx: Tx) -> Unread:
    """It could not be read, once more."""
    before = unread(tx.connection)
    now = Unread(1, tx.now) if before is None else replace(before, tries=before.tries + 1)
    meta.put(tx, _UNREAD, orjson.dumps(asdict(now)).decode())
    return now


def unchecked_since(connection: Connection) -> int | None:
    """Since when texts are sent although the list of jobs could not be read; None if it was read since."""
    since = meta.get(connection, _UNCHECKED)
    return None if since is None else int(since)


def go_on_unchecked(tx: Tx) -> None:
    """The list could not be read for long: texts are sent all the same."""
    meta.forget(tx, _UNREAD)
    meta.put(tx, _UNCHECKED, str(tx.now))


def has_read(tx: Tx) -> None:
    """The list was read, as far as it matters."""
    meta.forget(tx, _UNREAD)
    meta.forget(tx, _UNCHECKED)


def newest_job_at(connection: Connection) -> Any:
    """When the newest job on record was created, by the provider's clock (microseconds); None if there is none."""
    return connection.execute(select(func.max(batches.c.remote_created_at))).scalar()
