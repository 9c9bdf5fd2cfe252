"""How a scan ends: the guard judges what is gone, losses are recorded, and that the source was scanned.

Only a scan that came to its end says that something vanished, and only if the guard agrees. Otherwise the source is
frozen: nothing of it is deleted until its files are back or somebody says that it is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.clock import US
from voyage_jobs.core.crash import crash_point
from voyage_jobs.items.folder import Removals, back_again, forget_removals, removals
from voyage_jobs.sources.kinds import Kinds
from voyage_jobs.sources.source import RootIdentity, Source
from voyage_jobs.state import documents, missing, scan_notes, sources
from voyage_jobs.state.missing import Mark, Vanished
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.store import Tx
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.delete_guard import why_freeze
from voyage_jobs.steps.losses import Losses
from voyage_jobs.steps.reading import leaves_out
from voyage_jobs.steps.record_files import RecordFiles

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass
class Walked:
    """What a scan came by on its way through the folders of a source."""

    begun: Mark = field(default_factory=lambda: Mark(0, 0))
    """When it began."""
    removed: Removals = field(default_factory=dict)
    """What a program had removed by then."""
    visited: set[str] = field(default_factory=set)
    """Folders."""
    vanished: list[tuple[str, str]] = field(default_factory=list)
    """Names that are not there any more, by their folder."""
    unreadable_folders: list[str] = field(default_factory=list)
    passed_over: Kinds = field(default_factory=Kinds)
    """Files that `include` does not name."""
    unchanged: int = 0
    changed: int = 0
    later: int = 0
    """Files that were left for a later scan because they were being written to."""
    unread: bool = False
    """Whether something could not be read, or not yet."""

    def is_out_of_sight(self, path: str) -> bool:
        """Whether a folder is, or is below, one that cannot be listed: what is in it is not gone."""
        return any(root in ("", path) or path.startswith(root + "/") for root in self.unreadable_folders)


@dataclass
class Marks:
    """What a source notes of the rules and the readers of a scan."""

    rules: str
    readers: str | None
    """None where not every document was compared with the reader that it has now."""


@dataclass
class Ending:
    """That of one scan. Afterwards `gone`, `lost`, `moved` and `frozen` are what came of it."""

    context: Context
    row: SourceRow
    settings: SourceSettings
    records: RecordFiles
    walked: Walked
    source: Source
    hinted: bool
    gone: Sequence[Vanished] = ()
    """What was not found any more, once the scan has come to its end."""
    lost: int = 0
    moved: int = 0
    frozen: str | None = None

    def run(self, identity: RootIdentity, folder_ids: Mapping[str, int], marks: Marks) -> Iterator[None]:
        """Judge what is gone, and record it; yields between pages of losses."""
        with self.context.store.read() as connection:
            live = documents.count_live(connection, self.row.id)
            self.gone = self._gone(connection, folder_ids)
            known = {each.id for each in self.gone}
            spoilt = [each for each in documents.spoilt(connection, self.row.id) if each not in known]
            withheld = self.records.withheld(connection) if self.gone or spoilt else 0
        if self.records.done:
            with self.context.store.write() as tx:
                self.records.record(tx)
        # A file that vanished may have moved to where this scan did not read: only a complete scan can tell.
        if self.walked.later:
            return
        removed = removals(self.context.settings, self.settings)
        unnoted = [each.path for each in self.gone if each.path not in removed]
        back = back_again(self.context.settings, self.settings, unnoted)
        self.gone = [each for each in self.gone if each.path not in back]
        self.lost = sum(each.is_a_loss for each in self.gone)
        self.moved = sum(each.moved_to is not None for each in self.gone)
        on_purpose = {each.id for each in self.gone if each.path in removed and not self.settings.keep}
        reason = self._why_freeze(identity, live, len(spoilt), withheld, on_purpose)
        if reason is not None:
            self.freeze(reason)
            return
        losses = Losses(
            self.context, self.row, self.settings, self.gone, spoilt, on_purpose, self.walked.begun
        )
        yield from losses.all_but_the_last()
        with self.context.store.write() as tx:
            losses.last(tx)
            self.records.record_losses(tx, self.walked.is_out_of_sight)
            if self.row.frozen_reason is not None:
                cause = "confirmed" if self.row.confirmed_at else "its folder is back"
                sources.thaw(tx, self.row.id, cause)
            self._note_done(tx, identity, marks)
        crash_point("scan.finish.committed")
        if not self.context.rehearsal:
            seen = {each.path: removed[each.path] for each in self.gone if each.path in removed}
            forget_removals(self.settings, {**self.walked.removed, **seen})

    def freeze(self, reason: str) -> None:
        """Delete nothing of the source until its files are back, or somebody says that it is meant."""
        with self.context.store.write() as tx:
            sources.freeze(tx, self.row.id, reason)
            self._note_unseen(tx)
            sources.note(tx, self.row.id, **self._used_up(tx))
        self.context.log.error("source.frozen", source=self.row.name, reason=reason)
        self.frozen = reason

    # --- what is gone ---

    def _gone(self, connection: Connection, folder_ids: Mapping[str, int]) -> list[Vanished]:
        walked = self.walked
        self._add_vanished_folders(connection, folder_ids)
        names = dict.fromkeys((*walked.vanished, *self.records.plain))
        gone = [
            missing.vanished(connection, folder_ids[folder], name, walked.begun) for folder, name in names
        ]
        return [*gone, *self.records.judge(connection, walked.begun, walked.is_out_of_sight)]

    def _add_vanished_folders(self, connection: Connection, folder_ids: Mapping[str, int]) -> None:
        """Everything known of folders that are not there any more, unless they are only out of sight."""
        for path, folder_id in folder_ids.items():
            if path not in self.walked.visited and not self.walked.is_out_of_sight(path):
                known = documents.known(connection, folder_id)
                self.walked.vanished.extend((path, name) for name in known)

    def _why_freeze(
        self, identity: RootIdentity, live: int, spoilt: int, withheld: int, on_purpose: set[int]
    ) -> str | None:
        row, settings = self.row, self.settings
        if row.confirmed_at is not None or settings.keep:
            return None
        lost = [each for each in self.gone if each.is_a_loss and each.id not in on_purpose]
        meant = self.lost - len(lost)
        rows = self.records.left_out
        moved = row.device is not None and row.device != identity.device
        return why_freeze(
            len(lost),
            live - meant,
            settings,
            elsewhere=moved and settings.same_device,
            another=row.scanned_at is not None and row.device is None,
            spoilt=spoilt,
            withheld=withheld,
            unwanted=sum(each.id in rows or leaves_out(self.source, each.path) for each in lost),
        )

    # --- what the source notes ---

    def _note_done(self, tx: Tx, identity: RootIdentity, marks: Marks) -> None:
        self._note_unseen(tx)
        sources.note(
            tx,
            self.row.id,
            device=identity.device,
            inode=identity.inode,
            rules_fingerprint=marks.rules,
            **({} if marks.readers is None else {"splitter_fingerprint": marks.readers}),
            profile_id=self.context.profile_id,
            scanned_at=tx.now,
            **self._used_up(tx),
        )

    def _note_unseen(self, tx: Tx) -> None:
        walked = self.walked
        if not self.hinted or walked.unreadable_folders:
            scan_notes.put(
                tx,
                self.row.id,
                walked.unreadable_folders,
                count=bool(walked.changed or walked.vanished),
                passed_over=walked.passed_over.as_dict() if walked.visited else None,
            )

    def _used_up(self, tx: Tx) -> dict[str, object]:
        """When to scan again, and that the confirmation is used up: it was about what was seen then.

        One that was given while this scan was running is for the next one, which is due at once.
        """
        now = sources.by_name(tx.connection, self.row.name)
        if now is not None and now.confirmed_at != self.row.confirmed_at:
            return {"scan_due_at": 0}
        if self.hinted and now is not None:
            return {"scan_due_at": now.scan_due_at, "confirmed_at": None}
        return {"scan_due_at": tx.now + int(self.settings.scan_interval_s * US), "confirmed_at": None}
