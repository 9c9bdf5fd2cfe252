"""What a scan did not find any more, put on record page by page: a million records that are lost hold nobody up.

The guard has judged all of them before the first page. Who dies between two leaves documents that are missing already,
files of records that are to be read again, and a note of when the scan began; so its successor finds the rest, of which
no larger share is lost than of all, and tells moves among them as this one would have.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.clock import US, now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.state import documents, missing
from voyage_jobs.state.missing import Mark, Vanished
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.store import Tx
from voyage_jobs.steps.context import Context

PAGE = 5_000  # documents


@dataclass(frozen=True)
class Losses:
    """Those of one scan, which began at `since`. What a program removed `on_purpose` is given up at once, and `spoilt`
    are files that are no text any more."""

    context: Context
    row: SourceRow
    settings: SourceSettings
    gone: Sequence[Vanished]
    spoilt: Sequence[int]
    on_purpose: Container[int]
    since: Mark

    def all_but_the_last(self) -> Iterator[None]:
        """Record each page but the last, and give up what has been missing for long enough; yields after each."""
        for at in range(0, _last_page(self.gone), PAGE):
            with self.context.store.write() as tx:
                missing.note_begun(tx, self.row.id, self.since)
                missing.mark_vanished(tx, self.gone[at : at + PAGE], self.on_purpose, keeps=self._keeps)
            crash_point("scan.slice.committed")
            yield
        while self._confirmed:
            with self.context.store.write() as tx:
                count = documents.let_go(tx, self.row.id, PAGE)
            crash_point("scan.slice.committed")
            if count < PAGE:
                break
            yield
        while self._many_are_due():
            with self.context.store.write() as tx:
                self._let_go(tx, PAGE)
            crash_point("scan.slice.committed")
            yield
        for at in range(0, _last_page(self._spoilt), PAGE):
            with self.context.store.write() as tx:
                documents.retire(tx, self._spoilt[at : at + PAGE])
            crash_point("scan.slice.committed")
            yield

    def last(self, tx: Tx) -> None:
        """Record the last page of each, with which the scan is complete."""
        missing.mark_vanished(tx, self.gone[_last_page(self.gone) :], self.on_purpose, keeps=self._keeps)
        self._let_go(tx, 2 * PAGE)  # those of this page may be due at once
        documents.retire(tx, self._spoilt[_last_page(self._spoilt) :])
        missing.forget_begun(tx, self.row.id)

    @property
    def _spoilt(self) -> Sequence[int]:
        """What is given up of those that are no text any more."""
        return () if self._keeps else self.spoilt

    @property
    def _confirmed(self) -> bool:
        return self.row.confirmed_at is not None

    @property
    def _keeps(self) -> bool:
        """Whether what has gone stays, since its source keeps everything and nobody said that it may go."""
        return self.settings.keep and not self._confirmed

    def _many_are_due(self) -> bool:
        due_at = None if self._keeps else now_us(self.context.clock) - self._grace_us
        with self.context.store.read() as connection:
            return missing.are_due(connection, self.row.id, due_at, PAGE)

    def _let_go(self, tx: Tx, most: int) -> None:
        """Give up as many of those missing for long enough; in a source that keeps everything and was not
        confirmed, keep as many."""
        if self._keeps:
            missing.keep_missing(tx, self.row.id, "its source keeps what has gone", most)
        else:
            missing.expire_missing(tx, self.row.id, tx.now - self._grace_us, most)

    @property
    def _grace_us(self) -> int:
        return 0 if self.settings.keep else int(self.settings.delete_grace_s * US)


def _last_page(found: Sequence[object]) -> int:
    """Where it begins."""
    return max(0, len(found) - 1) // PAGE * PAGE
