"""Queries by batch jobs, by the same steps as documents and with the same promises: nothing is paid twice.

Each model has a data folder of its own in `queries/jobs/`: a state, a spool, segments, and a lock, so that a daemon may
be at work on the documents meanwhile. What is asked is a document of that state, whose chunks are the texts of one
request, and it is never published: the segments are what is read. A process that dies is followed by the same command,
which goes on. What these jobs cost is booked in the state of the documents as queries, once, whoever dies in between.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voyage_jobs.config.prices import batch_price
from voyage_jobs.config.profile import with_profile
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.sections import BudgetSettings, LanceSettings, NotifySettings
from voyage_jobs.config.settings import Settings
from voyage_jobs.core import private
from voyage_jobs.core.clock import Clock, now_us
from voyage_jobs.core.plural import counted
from voyage_jobs.core.profile import RERANK, Profile
from voyage_jobs.diagnosis.blocker import SENDING, Mover, keeping
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.circuits import account_refused
from voyage_jobs.diagnosis.rooms import rooms
from voyage_jobs.diagnosis.snapshot import gate
from voyage_jobs.errors import AuthError, ConfigError, NeedsOperatorError, StateError, VoyageJobsError
from voyage_jobs.evaluation.kept import Progress
from voyage_jobs.explain.history import history
from voyage_jobs.explain.record import History
from voyage_jobs.report.answer import Answer
from voyage_jobs.report.batches import QUERIES
from voyage_jobs.report.failures import failures
from voyage_jobs.report.find import demand_word
from voyage_jobs.report.why import why
from voyage_jobs.state import (
    backlog,
    batches,
    documents,
    embeddings,
    ledger,
    meta,
    rebuild,
    sources,
    versions,
)
from voyage_jobs.state.documents import Seen
from voyage_jobs.state.door import At, open_state
from voyage_jobs.state.embeddings import Stuck
from voyage_jobs.state.history import View
from voyage_jobs.state.open_work import OpenWork, open_work
from voyage_jobs.state.statements import slices
from voyage_jobs.state.versions import Identity, NewChunk, NewVersion
from voyage_jobs.steps import budget
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.context import Context, encoded
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.steps.retrying import retry

_STEPS = frozenset({"requests", "poll", "collect", "assemble", "submit", "tidy"})
_FOLDER = "jobs"
_SOURCE = "queries"
_SHORTEST_REF = 4
_REF_SHOWN, _NAMED = 10, 3  # of the refs of batches that are waited for
_AGAIN = "The same command asks for them again. What came is kept."
_RESUMES = "The same `voyage-jobs eval --batch` command resumes it."
_FORM = "query"
"""The splitter of a request: its texts are cut by whoever asks."""

Working = Callable[[Settings, Progress], AbstractContextManager[Context]]
"""Makes a process the writer of a data folder: `service.worker.working`."""


def has_jobs(settings: Settings, profile: Profile) -> bool:
    """Whether the provider takes batch jobs of this profile: vectors, or what a reranker makes."""
    vendor = vendor_of(settings)
    if vendor.traits.sync_only:
        return False
    try:
        vendor.line("", ["query", "text"][: 2 if profile.endpoint == RERANK else 1], profile, {})
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Request:
    """One request to be: its key under the profile, its texts, and the tokens of each as they are estimated."""

    key: bytes
    texts: Sequence[str]
    tokens: Sequence[int]


class Jobs:
    """The jobs of one profile. `settings` say who is asked, and whose ledger they are on."""

    def __init__(
        self, settings: Settings, profile: Profile, folder: Path, clock: Clock, working: Working
    ) -> None:
        self._books, self._clock, self._working = settings, clock, working
        self._folder = folder / _FOLDER / profile.fingerprint[:12]
        self._settings = _apart(settings, profile, self._folder)

    @property
    def vectors(self) -> Path:
        """Where the segments come to lie."""
        return self._settings.paths.vectors

    @property
    def price(self) -> float | None:
        """USD for a million tokens."""
        return batch_price(self._settings)

    def fetch(self, requests: Sequence[Request], progress: Progress) -> None:
        """Send the requests, and wait for what they bring.

        Raises ConfigError where a budget has no room for all of it (then nothing is sent), and VoyageJobsError for what
        only you can move on.
        """
        private.make_folder(self._folder)
        with self._working(self._settings, progress) as context:
            with context.store.read() as connection:  # what is on its way already is booked
                known = embeddings.ids_of(connection, [each.key for each in requests])
            new = sum(sum(each.tokens) for each in requests if each.key not in known)
            demand_room(self._books, self.price, new, self._clock)
            retry(context, {"failed": True}, "eval")
            _order(context, requests, self._folder)
            _ask_again(context, requests)
            self._book(context, waiting=True)
            budget.begin_run(context)
            circuit.try_again(context)
            _go_on(context)
            self._book(context)
            _demand_not_cancelled(context, requests)
        found = failures(self._settings, self._clock)
        if found["failed_embeddings"]:
            reason = found["reasons"][0]["reason"] if found["reasons"] else "no reason is known"
            raise VoyageJobsError(
                f"{counted(found['failed_embeddings'], 'query')} failed: {reason}",
                hint=_AGAIN,
            )

    def _book(self, context: Context, *, waiting: bool = False) -> None:
        """Have the ledger of the documents say what these jobs cost; `waiting`: with what is not assembled yet."""
        state = open_state(self._books)
        if not state.exists():
            return
        with context.store.read() as connection:
            tokens, _ = ledger.used_since(connection, 0)
            if waiting:
                tokens += backlog.measure(connection, context.profile_id).tokens
        note = f"query_jobs_{context.state_id}"
        with state.beside(self._clock) as tx:
            booked = int(meta.get(tx.connection, note) or 0)
            if tokens != booked:
                ledger.query_asked(tx, tokens - booked, self.price)
                meta.put(tx, note, str(tokens))


def states(settings: Settings) -> list[At]:
    """Where the jobs of queries are on record: a state for each model."""
    return [At(folder) for folder in sorted((settings.paths.queries / _FOLDER).glob("*/"))]


def _looked_up_in(settings: Settings, word: str, source: str | None = None) -> Settings:
    """Under which settings `word` is to be looked up: those of the jobs of queries if it means one of their batches.

    Raises ConfigError for what can be the name of nothing.
    """
    demand_word(word)
    if source is not None or len(word) < _SHORTEST_REF or os.path.lexists(word):
        return settings
    return with_batch(settings, word) or settings


def why_of(settings: Settings, clock: Clock, word: str, source: str | None = None) -> Answer:
    """`why`, of a batch of queries as of any other thing. Raises as that does."""
    there = _looked_up_in(settings, word, source)
    answer = why(there, clock, word, source)
    if there is settings:
        return answer
    answer.facts["batch"]["asks_for"] = QUERIES
    return replace(answer, next=_RESUMES) if "`voyage-jobs sync`" in answer.next else answer


def history_of(
    settings: Settings, clock: Clock, word: str, source: str | None = None, *, disk: bool = True
) -> History:
    """`history`, of a batch of queries as of any other thing. Raises as that does."""
    there = _looked_up_in(settings, word, source)
    found = history(there, clock, word, source, disk=disk)
    if there is not settings:
        found.facts["asks_for"] = QUERIES
    return found


def with_batch(settings: Settings, word: object) -> Settings | None:
    """Under which settings the jobs of queries work that have the batch `word` means (the beginning of its ref, or its
    job's id); None where it is none of theirs, or one of the documents'."""
    jobs = states(settings)
    if not word or not jobs or _has_batch(At(settings.data_dir), word):
        return None
    for at in jobs:
        if _has_batch(at, word):
            with open_state(at).read() as connection:
                profile = rebuild.active(connection)
            return None if profile is None else _apart(settings, profile, at.data_dir)
    return None


def _has_batch(at: At, word: object) -> bool:
    try:
        with open_state(at).read() as connection:
            return bool(batches.find(connection, str(word)))
    except StateError:
        return False


def demand_room(settings: Settings, price: float | None, tokens: int, clock: Clock) -> None:
    """Raise ConfigError where the limit of a day or month has no room for so many tokens, at this price a million."""
    state = open_state(settings)
    if not settings.budget.model_dump(exclude_none=True) or not state.exists():
        return
    with state.read() as connection:
        found = list(rooms(connection, settings, price, now_us(clock)))
    # The limit of a run is of that run, that of a source of its documents.
    tight = [room for room in found if room.anew_at and room.source_id is None and room.tokens < tokens]
    if tight:
        raise ConfigError(
            f"{tight[0].setting} allows {max(0, tight[0].tokens):,} tokens, the queries have {tokens:,}."
            " Nothing was sent.",
            hint="Raise it, wait for the next day or month, or evaluate with --run words, which costs nothing.",
        )


def _apart(settings: Settings, profile: Profile, folder: Path) -> Settings:
    """The same provider, at work for this profile in a folder of its own; the limits of the documents' state hold
    before anything is sent, and tokens are estimated, so that no count waits for another."""
    there = with_profile(settings, profile)
    section: Any = there.section
    if "tokenizer" in type(section).model_fields:
        there = there.model_copy(update={there.section_name: section.model_copy(update={"tokenizer": ""})})
    return there.model_copy(
        update={
            "data_dir": folder,
            "sources": (),
            "budget": BudgetSettings(),
            "notify": NotifySettings(),
            "lancedb": LanceSettings(uri=str(folder / "lancedb")),
        }
    )


def _order(context: Context, requests: Sequence[Request], folder: Path) -> None:
    """Want these requests; those that are wanted, or were asked for, stay as they are."""
    with context.store.write() as tx:
        sources.configure(tx, [(_SOURCE, encoded(folder))])
        [source] = sources.all_sources(tx.connection)
    for part in slices(requests):
        with context.store.write() as tx:
            seen = [Seen("", each.key.hex(), 0, 0, 0, content_hash=each.key) for each in part]
            known = documents.folder_ids(tx.connection, source.id)
            ids = documents.save(tx, source.id, _SOURCE, known, seen)
            wanted = [_version(each, document_id) for each, document_id in zip(part, ids, strict=True)]
            versions.add(tx, source.id, context.profile_id, wanted)


def _ask_again(context: Context, requests: Sequence[Request]) -> None:
    """Want what an operator cancelled and the same or another command asks for now."""
    with context.store.write() as tx:
        embeddings.want_again(tx, _cancelled(tx.connection, requests), "eval")


def _demand_not_cancelled(context: Context, requests: Sequence[Request]) -> None:
    with context.store.read() as connection:
        cancelled = len(_cancelled(connection, requests))
    if cancelled:
        raise VoyageJobsError(f"{counted(cancelled, 'query')} cancelled by an operator.", hint=_AGAIN)


def _cancelled(connection: View, requests: Sequence[Request]) -> list[tuple[int, int]]:
    """(id, stored state) of the requests that were cancelled."""
    asked = set(embeddings.ids_of(connection, [each.key for each in requests]).values())
    failed = set(embeddings.stuck(connection, Stuck(failed=True)))
    return [each for each in embeddings.stuck(connection, Stuck()) if each[0] in asked and each not in failed]


def _version(request: Request, document_id: int) -> NewVersion:
    return NewVersion(
        document_id=document_id,
        identity=Identity(request.key, request.key, _FORM),
        modified_at=0,
        title="",
        sections="[[]]",
        metadata="{}",
        text="".join(request.texts),
        chunks=list(_chunks(request)),
    )


def _chunks(request: Request) -> Iterator[NewChunk]:
    start, total = 0, sum(request.tokens)
    for slot, (text, tokens) in enumerate(zip(request.texts, request.tokens, strict=True)):
        end = start + len(text)
        yield NewChunk(request.key, slot, start, end, 0, tokens, len(request.texts), total)
        start = end


def _go_on(context: Context) -> None:
    """Take turns until nothing is wanted and nothing is at the provider any more."""
    pipeline = Pipeline(context, eager=True, scan_once=True, only=_STEPS)
    while True:
        did = pipeline.turn()
        with context.store.read() as connection:
            rest = open_work(connection, context.profile_id, now_us(context.clock))
        _demand_movable(context, rest)
        if did:
            continue
        if not rest.wanted and not rest.open_batches:
            return
        refs = ", ".join(each.ref[:_REF_SHOWN] for each in rest.open_batches[:_NAMED])
        context.progress(f"waiting for {counted(len(rest.open_batches), 'batch')} ({refs})", 0, None)
        context.clock.wait(pipeline.idle_s())


def _demand_movable(context: Context, rest: OpenWork) -> None:
    """Raise where time alone moves nothing on."""
    refused = account_refused(rest.circuits.values())
    if refused is not None:
        raise AuthError(refused.message, hint=refused.hint)
    if rest.parked:
        batch = rest.parked[0]
        raise NeedsOperatorError(
            f"Batch {batch.ref} of the queries is parked: {batch.reason}",
            hint=f"`voyage-jobs retry {batch.ref}` lets the same command send its queries in another batch,"
            f" `voyage-jobs cancel {batch.ref}` gives it up.",
        )
    with context.store.read() as connection:
        found = blockers(gate(context, connection))
    for each in keeping(found, *SENDING):
        if each.moved_by in (Mover.DECISION, Mover.OPERATOR):
            raise VoyageJobsError(each.text, hint=each.next)
