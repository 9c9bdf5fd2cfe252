"""Mending what an audit found, along the roads on which the daily work goes: scan, publish, adopt, count again.

Each road mends some classes and is safe to take again; so a repair that dies half way is simply started again. Nothing
is sent to be embedded here: what has to be made again is wanted again, and the next `sync` or `run` sends it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core import lock
from voyage_jobs.core.clock import Clock
from voyage_jobs.errors import CorruptionError
from voyage_jobs.maintenance.audit.catalog import CATALOG
from voyage_jobs.maintenance.audit.findings import Finding, Findings
from voyage_jobs.maintenance.audit.segments import first_rows
from voyage_jobs.maintenance.audit.verify import Audit, Scope, verify
from voyage_jobs.service.worker import working
from voyage_jobs.state import (
    audit,
    documents,
    impossible,
    mending,
    provider_files,
    segment_rows,
    versions,
)
from voyage_jobs.state.door import Reader, open_state
from voyage_jobs.state.ledger import usd
from voyage_jobs.steps.context import Context, Progress, no_progress
from voyage_jobs.steps.publish import lose_segment, publish
from voyage_jobs.steps.recover_all import scan_all
from voyage_jobs.steps.recover_remote import adopt_jobs
from voyage_jobs.steps.recover_segments import adopt_segments
from voyage_jobs.steps.shown import note_rows
from voyage_jobs.steps.tidy import tend

if TYPE_CHECKING:
    import httpx

MOST_ROUNDS = 5
_CAUSE = "verify found damage"
_SCANNED = ("file_unknown", "file_gone", "file_stale", "documents_unversioned", "chunks_wrong")
_ROWS = ("rows_missing", "rows_extra", "rows_duplicate", "rows_wrong", "rows_vector")
_PUBLISHED = ("table_missing", "table_torn", "table_behind", *_ROWS, "documents_unretired", *_SCANNED)
_INDEXES = ("index_damaged", "index_empty")
_LOST_SEGMENTS = ("pack_cut", "pack_changed", "pack_missing")


@dataclass
class Repair:
    """Repairs of one data folder, by the process that holds its lock."""

    context: Context
    scope: Scope
    _published_again: set[int] = field(default_factory=set)

    def run(self, first: Findings) -> Findings:
        """Mend what `first` found, and what shows up behind it. Returns what is left after that."""
        found = first
        for done in range(MOST_ROUNDS):
            if not any(not finding.person for finding in found.all()):
                return found
            self._mend(found)
            before, found = found, self._audit()
            if done and found.total >= before.total:  # once more without success: there may be a harder way
                return found
        return found

    def _audit(self) -> Findings:
        context = self.context
        client = context.client if self.scope.remote else None
        return Audit(
            context.settings,
            context.clock,
            context.store,
            context.segments,
            context.table_door,
            client,
            self.scope,
            context.progress,
        ).run()

    def _mend(self, found: Findings) -> None:
        """One round. What later roads need is mended by the earlier ones."""
        roads: tuple[tuple[tuple[str, ...], Callable[[Findings], None]], ...] = (
            (("pack_unreadable", *_LOST_SEGMENTS), self._segments),
            (("pack_rows",), self._segment_rows),
            (("pack_unknown",), lambda _: _ignored(adopt_segments(self.context))),
            (tuple(audit.STATE_RULES), self._state),
            (("history_wrong",), self._history),
            (_SCANNED, self._scan),
            (("rows_unknown", *_ROWS), self._rows),
            (_PUBLISHED, self._publish),
            (_INDEXES, self._indexes),
            (("job_orphan",), lambda _: _ignored(adopt_jobs(self.context))),
            (("job_twice",), self._cancel),
            (("file_orphan",), self._delete_files),
        )
        for codes, road in roads:
            if found.has(codes):
                self.context.progress("mending", 0, None)
                road(found)

    # --- state ---

    def _state(self, found: Findings) -> None:
        with self.context.store.write() as tx:
            mending.drop_leftovers(tx, found.of("leftovers"))
            mending.want_astray(tx, found.of("embeddings_astray"))
            mending.close_lines(tx, found.of("lines_open"))
            mending.book_again(tx, found.of("spend_wrong"))
            mending.make_anew(tx, found.of("chunks_wrong"), _CAUSE)
            documents.retire(tx, found.of("documents_unretired"))
            versions.recount_all(tx)
            if found.has(("totals_wrong",)):
                mending.count_totals(tx)

    def _history(self, found: Findings) -> None:
        with self.context.store.write() as tx:
            for kind, subject in found.of("history_wrong"):
                mending.put_on_record(tx, kind, subject)

    def _scan(self, found: Findings) -> None:
        with self.context.store.write() as tx:
            mending.forget_stats(tx, found.of("file_stale", "documents_unversioned"))
        scan_all(self.context)

    # --- segments ---

    def _segments(self, found: Findings) -> None:
        for name in found.of(*_LOST_SEGMENTS):
            lose_segment(self.context, name, CorruptionError(f"{name} is damaged."))
        for name in found.of("pack_unreadable"):
            if self.context.segments.path(name).exists():
                self.context.segments.set_aside(name)

    def _segment_rows(self, found: Findings) -> None:
        rows: dict[str, dict[bytes, int]] = {}
        with self.context.store.write() as tx:
            for embedding_id in found.of("pack_rows"):
                place = mending.segment_and_key(tx, embedding_id)
                if place is None:
                    continue
                name, key = place
                if name not in rows:
                    rows = {name: first_rows(self.context.segments.open(name))}
                mending.move_held(tx, embedding_id, rows[name].get(key))
            versions.recount_all(tx)

    # --- table ---

    def _rows(self, found: Findings) -> None:
        """Versions go back in line; one that is wrong again after that is cut again. Rows of nobody are deleted."""
        named = found.of("rows_unknown", *_ROWS)
        again = [each for each in named if isinstance(each, int)]
        stubborn = self._published_again.intersection(again)
        self._published_again.update(again)
        with self.context.store.write() as tx:
            mending.publish_again(tx, [each for each in again if each not in stubborn], _CAUSE)
            mending.make_anew(tx, sorted(stubborn), _CAUSE)
        if stubborn:
            scan_all(self.context)
        orphaned_files = [each for each in named if not isinstance(each, int)]
        if orphaned_files:
            table = self.context.open_table()
            table.delete(orphaned_files)
            table.sync()

    def _publish(self, _found: Findings) -> None:
        while not self.context.stopping.is_set() and publish(self.context):
            pass
        note_rows(self.context)

    def _indexes(self, found: Findings) -> None:
        self.context.open_table().drop_indexes(found.of(*_INDEXES))
        tend(self.context)

    # --- vendor ---

    def _cancel(self, found: Findings) -> None:
        for job_id in found.of("job_twice"):
            self.context.client.cancel_batch(job_id)

    def _delete_files(self, found: Findings) -> None:
        for file_id in found.of("file_orphan"):
            if self.context.client.delete_file(file_id):
                with self.context.store.write() as tx:
                    provider_files.note_file(tx, file_id, deleted_at=tx.now)


def _replace_tokens(settings: Settings, clock: Clock, log: Any) -> None:
    """Make it possible to add up tokens. Before anything else: no process can begin its work on such a state."""
    with (
        lock.held(settings.paths.lock, clock),
        contextlib.closing(open_state(settings).writer(clock)) as store,
        store.write() as tx,
    ):
        done = impossible.replace(tx)
    log.warning("tokens.replaced", numbers=done.numbers, batches=done.batches)


def _ignored(_answer: object) -> None:
    """The audit that follows tells what came of it."""


def foretell(found: Findings, store: Reader, price: float | None) -> list[dict[str, Any]]:
    """What a repair would do, for `--dry-run`: a class, how many, what, and what the provider may ask for it later.

    `price` is USD per million tokens, or None if it is not known.
    """
    return [_told(finding, store, price) for finding in found.all()]


def _told(finding: Finding, store: Reader, price: float | None) -> dict[str, Any]:
    damage = CATALOG[finding.code]
    tokens = 0
    if finding.code in _LOST_SEGMENTS:
        names = set(finding.subjects)
        with store.read() as connection:
            ids = [segment.id for segment in segment_rows.all_segments(connection) if segment.name in names]
            tokens = audit.tokens_of_segments(connection, ids)
    return {
        "class": finding.code,
        "count": finding.count,
        "do": damage.mend,
        "person": damage.person,
        "tokens": tokens,
        "cost_usd": usd(tokens, price) if tokens else 0.0,
    }


def compare(before: Findings, after: Findings) -> list[dict[str, Any]]:
    """What a repair did: each class that was found, how many there were, and how many are left."""
    left = {finding.code: finding.count for finding in after.all()}
    return [
        {
            "class": finding.code,
            "count": finding.count,
            "left": left.get(finding.code, 0),
            "do": CATALOG[finding.code].mend,
        }
        for finding in before.all()
    ]


def verify_and_repair(
    settings: Settings,
    clock: Clock,
    log: Any,
    scope: Scope,
    *,
    progress: Progress = no_progress,
    transport: httpx.BaseTransport | None = None,
) -> tuple[Findings, Findings]:
    """Audit, mend, audit again: what was found, and what is left. Raises LockedError if a process is at work."""
    with lock.held(settings.paths.lock, clock):
        pass  # a process at work is told of before anything else is done
    found = verify(settings, clock, scope, progress=progress, transport=transport)
    if not any(not finding.person for finding in found.all()):
        return found, found
    if found.has(("tokens_impossible",)):
        _replace_tokens(settings, clock, log)
    with working(settings, clock, log, mode="verify", progress=progress, transport=transport) as context:
        return found, Repair(context, scope).run(found)
