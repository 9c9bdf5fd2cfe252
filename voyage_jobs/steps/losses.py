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
    """Those of one scan, which began at `since`. What a program removed `on_purpose` is given up at once."""

    context: Context
    row: SourceRow
    settings: SourceSettings
    gone: Sequence[Vanished]
    on_purpose: Container[int]
    since: Mark

    def all_but_the_last(self) -> Iterator[None]:
        """Record each page but the last, and give up what has been missing for long enough; yields after each."""
        for at in range(0, self._last, PAGE):
            with self.context.store.write() as tx:
                missing.note_begun(tx, self.row.id, self.since)
                missing.mark_vanished(tx, self.gone[at : at + PAGE], self.on_purpose)
            crash_point("scan.slice.committed")
            yield
        if self._confirmed:
            with self.context.store.write() as tx:
                documents.let_go(tx, self.row.id)
        while self._many_are_due():
            with self.context.store.write() as tx:
                self._let_go(tx)
            crash_point("scan.slice.committed")
            yield

    def last(self, tx: Tx) -> None:
        """Record the last page, with which the scan is complete."""
        missing.mark_vanished(tx, self.gone[self._last :], self.on_purpose)
        self._let_go(tx)
        missing.forget_begun(tx, self.row.id)

    @property
    def _last(self) -> int:
        """Where the last page begins."""
        return max(0, len(self.gone) - 1) // PAGE * PAGE

    @property
    def _confirmed(self) -> bool:
        return self.row.confirmed_at is not None

    @property
    def _keeps(self) -> bool:
        """Whether what has gone stays, since its source keeps everything and nobody said that it may go."""
        return self.settings.keep and not self._confirmed

    def _many_are_due(self) -> bool:
        with self.context.store.read() as connection:
            due_at = now_us(self.context.clock) - self._grace_us
            return not self._keeps and missing.are_due(connection, self.row.id, due_at, PAGE)

    def _let_go(self, tx: Tx) -> None:
        """Give up a page of what has been missing for long enough; in a source that keeps everything, if that was
        confirmed."""
        if self._keeps:
            missing.keep_missing(tx, self.row.id, "its source keeps what has gone")
        else:
            missing.expire_missing(tx, self.row.id, tx.now - self._grace_us, PAGE)

    @property
    def _grace_us(self) -> int:
        return 0 if self.settings.keep else int(self.settings.delete_grace_s * US)
