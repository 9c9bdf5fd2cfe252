"""Every state, every legal move, and why: nothing about transitions stands outside this file.

Six kinds of things have states. Each starts in the first state of its column below and may only move along `MOVES`.
`state/moves.py` makes every move: it asks `check`, says which state it expects (a stale decision changes nothing) and
writes a row into `transitions` in the same transaction (so the story can be told afterwards).

**source**: `active` sources are scanned and may lose documents. A `frozen` one keeps serving what it has and
deletes nothing: its root is missing, is another device than before, or would lose too much at once. Only an operator,
or the root coming back as it was, thaws it.

**document**: `present` on disk. `missing` since a scan did not find it: still served, until the grace period is
over. `gone`: its rows are to leave the table. `skipped`: looked at and not embedded, with the reason kept (binary,
empty, too large, unreadable ...). A document may come back from anywhere; `gone -> missing` when an operator undeletes
one whose rows can be had at no cost.

**version**: one content of one document, read and split by one form, embedded under one profile. `waiting` until each
of its embeddings is held or has failed for good (and at least one is held); then `ready` to be published; `published`
when the table serves it; `retired` when the table does not serve it any more. A version that a newer one overtakes
before it was ever published is `superseded`. `published -> ready` happens when the table has to be built again, or
when a failed chunk was mended. A `waiting` or `ready` version that is superseded while the table may show it (its
publication broke off, or it was being mended) becomes `published`, marked doubtful, until what follows has replaced it:
otherwise nobody would take its rows out. `retired`/`superseded` versions are never revived: the same content found
again is a new version, whose embeddings are held already and cost nothing.

**embedding**: the unit that is paid for. `wanted` until a batch takes it: `packed`. The move from `packed` to
`submitted` is the batch's own move (a batch of 100,000 lines does not rewrite 100,000 rows to say so): in the
database both are one stored word, and the batch tells which it is. A line's outcome then makes it `held` (its vectors
are in a segment), `wanted` again (expired, lost, failed for a passing reason), or `failed` (refused by the provider, or
tried too often). `dropped` means that nothing needs it, or that an operator cancelled it; if something needs it again,
or the person says `retry`, it is simply `wanted`. `held -> wanted` happens only when a segment is damaged and the
provider no longer has the result; `held -> packed` if a batch is still to bring it. Without a job of its batch: `packed
-> held` if its vectors turn up in a segment or a batch of mode `sync` brings them, `packed -> failed` if it was alone
in an input file that is too large.

**batch**: one input file and one job. Its `ref` exists before anything is sent.

    packed     the members are fixed                         dies -> write the spool file again
    spooled    the JSONL file is whole and on disk           dies -> upload
    uploading  an upload may be in flight                    dies -> upload again (costs nothing; strays are swept)
    uploaded   the provider has the file, we have its id       dies -> create
    creating   an attempt row is on disk; the create call may or may not have happened
                                                             dies -> look for the job before anything else
    running    the provider has the job, we have its id        dies -> poll
    ended      the job is over, result ids are known         dies -> download (resumes)
    collected  vectors, outcomes and spend are recorded      dies -> delete remote and local files
    closed     nothing is left to do

`creating -> uploaded` only when it is *known* that no job exists: the provider said so, or the quarantine passed and
the list does not show one. `refused`: the job failed validation, or its file was too large; its lines are wanted
again or failed. `parked`: only an operator can tell what is right, and nothing but this batch waits for that. `retry`
gives its lines to a new batch, `cancel` gives them up; if its job shows up at the provider after all it is adopted, and
results that could not be fetched, or read, are taken in once they can be (`parked -> ended`). `cancelled`: stopped
before a job existed (a job that is cancelled at the provider ends and is collected like any other, because finished
lines are paid for and kept).

A batch of mode `sync` goes to a synchronous endpoint, which bills when it answers and keeps nothing that could be
listed. It has no upload and no job: `packed`, `spooled`, `creating` (the request is on its way, or its answer is lost),
`ended` (the answer is whole in the spool), and on as any other. An answer that is lost ends it as `cancelled`, with all
that it might have cost booked as maybe paid, and its lines wanted again.

**attempt**: one create call, or one request of a batch of mode `sync`. `open` until its outcome is known: `created`,
`refused`, `not_happened`, or `lost` (nothing was found after the quarantine; of a synchronous request: timeout, cut
connection, 5xx, our own death, and nothing that could be looked for; or its answer vanished from the disk).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from voyage_jobs.errors import VoyageJobsError


class IllegalMoveError(VoyageJobsError):
    """A state was asked to change in a way that the table of moves does not allow."""


class Source(StrEnum):
    """States of a source."""

    ACTIVE = "active"
    FROZEN = "frozen"


DOCUMENT_STANDINGS = ("published", "waiting", "skipped", "missing", "gone")
"""How a document stands, its versions seen: `waiting` has one on its way, whether the table serves another or not."""


class Document(StrEnum):
    """States of a document."""

    PRESENT = "present"
    MISSING = "missing"
    GONE = "gone"
    SKIPPED = "skipped"


class Version(StrEnum):
    """States of a version."""

    WAITING = "waiting"
    READY = "ready"
    PUBLISHED = "published"
    RETIRED = "retired"
    SUPERSEDED = "superseded"


class Embedding(StrEnum):
    """States of an embedding."""

    WANTED = "wanted"
    PACKED = "packed"
    SUBMITTED = "submitted"
    HELD = "held"
    FAILED = "failed"
    DROPPED = "dropped"


class Batch(StrEnum):
    """States of a batch."""

    PACKED = "packed"
    SPOOLED = "spooled"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    CREATING = "creating"
    RUNNING = "running"
    ENDED = "ended"
    COLLECTED = "collected"
    CLOSED = "closed"
    REFUSED = "refused"
    PARKED = "parked"
    CANCELLED = "cancelled"


class Attempt(StrEnum):
    """Outcomes of one create call."""

    OPEN = "open"
    CREATED = "created"
    REFUSED = "refused"
    NOT_HAPPENED = "not_happened"
    LOST = "lost"


class Mode(StrEnum):
    """How a batch is sent: as a job that runs for hours, or as one request that is answered at once."""

    BATCH = "batch"
    SYNC = "sync"


State = Source | Document | Version | Embedding | Batch | Attempt

# By kind, because words are equal across kinds: a refused batch goes on, a refused attempt does not.
MOVES: Mapping[type[StrEnum], Mapping[State, frozenset[State]]] = {
    Source: {
        Source.ACTIVE: frozenset({Source.FROZEN}),
        Source.FROZEN: frozenset({Source.ACTIVE}),
    },
    Document: {
        Document.PRESENT: frozenset({Document.MISSING, Document.GONE, Document.SKIPPED}),
        Document.MISSING: frozenset({Document.PRESENT, Document.GONE, Document.SKIPPED}),
        Document.SKIPPED: frozenset({Document.PRESENT, Document.MISSING, Document.GONE}),
        Document.GONE: frozenset({Document.PRESENT, Document.SKIPPED, Document.MISSING}),
    },
    Version: {
        Version.WAITING: frozenset({Version.READY, Version.PUBLISHED, Version.SUPERSEDED}),
        Version.READY: frozenset({Version.PUBLISHED, Version.SUPERSEDED, Version.WAITING}),
        Version.PUBLISHED: frozenset({Version.RETIRED, Version.READY, Version.WAITING}),
        Version.RETIRED: frozenset(),
        Version.SUPERSEDED: frozenset(),
    },
    Embedding: {
        Embedding.WANTED: frozenset({Embedding.PACKED, Embedding.HELD, Embedding.DROPPED}),
        Embedding.PACKED: frozenset(
            {Embedding.SUBMITTED, Embedding.WANTED, Embedding.HELD, Embedding.FAILED, Embedding.DROPPED}
        ),
        Embedding.SUBMITTED: frozenset(
            {Embedding.HELD, Embedding.WANTED, Embedding.FAILED, Embedding.DROPPED}
        ),
        Embedding.HELD: frozenset({Embedding.WANTED, Embedding.PACKED, Embedding.DROPPED}),
        Embedding.FAILED: frozenset({Embedding.WANTED, Embedding.HELD, Embedding.DROPPED}),
        Embedding.DROPPED: frozenset({Embedding.WANTED, Embedding.HELD}),
    },
    Batch: {
        Batch.PACKED: frozenset({Batch.SPOOLED, Batch.CANCELLED, Batch.PARKED}),
        Batch.SPOOLED: frozenset({Batch.UPLOADING, Batch.CANCELLED, Batch.PARKED}),
        Batch.UPLOADING: frozenset(
            {Batch.UPLOADED, Batch.SPOOLED, Batch.REFUSED, Batch.CANCELLED, Batch.PARKED}
        ),
        Batch.UPLOADED: frozenset({Batch.CREATING, Batch.SPOOLED, Batch.CANCELLED, Batch.PARKED}),
        Batch.CREATING: frozenset(
            {Batch.RUNNING, Batch.UPLOADED, Batch.SPOOLED, Batch.REFUSED, Batch.PARKED}
        ),
        Batch.RUNNING: frozenset({Batch.ENDED, Batch.REFUSED, Batch.PARKED}),
        Batch.ENDED: frozenset({Batch.COLLECTED, Batch.PARKED}),
        Batch.COLLECTED: frozenset({Batch.CLOSED}),
        Batch.CLOSED: frozenset(),
        Batch.REFUSED: frozenset({Batch.CLOSED}),
        Batch.PARKED: frozenset({Batch.RUNNING, Batch.ENDED, Batch.CANCELLED}),
        Batch.CANCELLED: frozenset({Batch.CLOSED}),
    },
    Attempt: {
        Attempt.OPEN: frozenset({Attempt.CREATED, Attempt.REFUSED, Attempt.NOT_HAPPENED, Attempt.LOST}),
        Attempt.CREATED: frozenset({Attempt.LOST}),
        Attempt.REFUSED: frozenset(),
        Attempt.NOT_HAPPENED: frozenset(),
        Attempt.LOST: frozenset({Attempt.CREATED}),
    },
}

ONLY_SYNC = frozenset(
    {
        (Batch.SPOOLED, Batch.CREATING),
        (Batch.SPOOLED, Batch.REFUSED),
        (Batch.CREATING, Batch.ENDED),
        (Batch.CREATING, Batch.CANCELLED),
        (Batch.ENDED, Batch.CANCELLED),
    }
)
"""Moves that a batch of mode `sync` may make on top: any other has a job that must be looked for first."""

# What stands behind a batch in each state, for the embeddings in it.
BEFORE_THE_JOB = (Batch.PACKED, Batch.SPOOLED, Batch.UPLOADING, Batch.UPLOADED)
AT_THE_VENDOR = (Batch.CREATING, Batch.RUNNING)
UNFINISHED = (*BEFORE_THE_JOB, *AT_THE_VENDOR, Batch.ENDED)

# Versions that somebody still wants to see in the table, now or later.
LIVE_VERSIONS = (Version.WAITING, Version.READY, Version.PUBLISHED)


def check(current: State, target: State) -> None:
    """Raise `IllegalMoveError` unless `current -> target` stands in the table."""
    legal = target in MOVES[type(current)][current] or (current, target) in ONLY_SYNC
    if type(current) is not type(target) or not legal:
        raise IllegalMoveError(f"{type(current).__name__.lower()}: {current} -> {target} is not a legal move")


def check_batch(mode: Mode, current: Batch, target: Batch) -> None:
    """The same for a batch, whose mode has a say. Raises `IllegalMoveError`."""
    if mode is not Mode.SYNC and (current, target) in ONLY_SYNC:
        raise IllegalMoveError(f"batch: {current} -> {target} is for mode {Mode.SYNC} alone")
    check(current, target)


def kind_of(state: State) -> str:
    """The name of the kind a state belongs to, as stored in `transitions`."""
    return type(state).__name__.lower()
