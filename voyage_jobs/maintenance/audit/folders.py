"""The sources against the state: what would the next scan find that the last one did not?"""

from __future__ import annotations

from collections.abc import Iterator

from voyage_jobs.config.settings import Settings
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.maintenance.audit.findings import Findings
from voyage_jobs.records.formats import takes
from voyage_jobs.sources import names
from voyage_jobs.sources.files import FileStat, Skip
from voyage_jobs.sources.source import FolderScan, Known, RootMissing
from voyage_jobs.state import audit, documents, record_files, sources
from voyage_jobs.state.door import Reader
from voyage_jobs.state.record_files import RecordFile
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.steps.context import Progress
from voyage_jobs.steps.reading import read_document, reader_for, source_of, with_defaults


class FolderAudit:
    """One source. `deep` reads every file again, also those that look unchanged."""

    def __init__(self, store: Reader, source: SourceSettings, found: Findings, *, deep: bool) -> None:
        self._store = store
        self._source = source
        self._found = found
        self._deep = deep
        self._documents = source_of(source)  # as configured, until the state has said since when it has it
        self._folder_ids: dict[str, int] = {}
        self._records: dict[tuple[str, str], RecordFile] = {}
        self._visited: set[str] = set()
        self._unseen: list[str] = []
        self._gone = "file_gone"

    def run(self, progress: Progress) -> None:
        """Walk it and compare."""
        with self._store.read() as connection:
            row = sources.by_name(connection, self._source.name)
            self._source = with_defaults(self._source, row)
            self._documents = source_of(self._source)
            if row is not None:
                self._folder_ids = documents.folder_ids(connection, row.id)
                self._records = record_files.of_source(connection, row.id)
                if row.frozen_reason is not None:  # a scan would not take note of it
                    self._gone = "file_frozen"
        try:
            for folder in self._folders(row):
                self._compare(folder)
                progress(f"looking at {self._source.name}", self._found.checked.get("files", 0), None)
        except RootMissing as exc:
            self._found.add("source_missing", f"{self._source.name}: {exc.message}")
            return
        self._vanished_folders()

    def _folders(self, row: SourceRow | None) -> Iterator[FolderScan]:
        known = (lambda _folder: {}) if self._deep else self._known
        changed = row is None or row.rules_fingerprint != self._documents.fingerprint
        return self._documents.discover(known, rules_changed=changed)

    def _known(self, folder: str) -> Known:
        folder_id = self._folder_ids.get(folder)
        files = {name: each.revision for (path, name), each in self._records.items() if path == folder}
        if folder_id is None:
            return files
        with self._store.read() as connection:
            return {**documents.known(connection, folder_id), **files}

    def _contents(self, folder: str) -> dict[str, tuple[int, str, bytes | None]]:
        folder_id = self._folder_ids.get(folder)
        if folder_id is None:
            return {}
        with self._store.read() as connection:
            return audit.contents(connection, folder_id)

    def _compare(self, folder: FolderScan) -> None:
        if folder.unreadable is not None:
            self._unseen.append(folder.path)
            self._found.add("folder_unreadable", f"{self._named(folder.path)}: {folder.unreadable}")
            return
        self._visited.add(folder.path)
        self._found.looked_at("files", folder.unchanged + len(folder.changed) + len(folder.skipped))
        if not (folder.changed or folder.skipped or folder.vanished or folder.excluded or self._deep):
            return
        contents = self._contents(folder.path)
        for stat in folder.changed:
            self._changed(folder.path, stat, contents)
        for skip in folder.skipped:
            self._skipped(folder.path, skip, contents)
        for name in folder.excluded:
            self._add("file_stale", folder.path, name, contents)
        gone = folder.vanished
        if self._deep:
            here = {stat.name for stat in folder.changed} | {skip.name for skip in folder.skipped}
            gone = sorted(contents.keys() - here)
        for name in gone:
            self._add(self._gone, folder.path, name, contents)

    def _changed(
        self, folder: str, stat: FileStat, contents: dict[str, tuple[int, str, bytes | None]]
    ) -> None:
        """A file that looks changed is stale only if its content is: a stat may have been forgotten on purpose."""
        if takes(stat.name, self._source.recipe):
            self._changed_records(folder, stat)
            return
        known = contents.get(stat.name)
        if known is None:
            self._found.add("file_unknown", self._named(folder, stat.name))
            return
        path = f"{folder}/{stat.name}" if folder else stat.name
        read = read_document(self._documents, path, stat, reader_for(self._source, path))
        if isinstance(read, Skip):
            same = (
                known[1] == "skipped" or read.stat is None
            )  # what cannot be read now is not taken for changed
        else:
            same = known[1] != "skipped" and read.content_hash == known[2]
        if not same:
            self._add("file_stale", folder, stat.name, contents)

    def _changed_records(self, folder: str, stat: FileStat) -> None:
        """The same for a file of records: by its bytes, not row by row."""
        known = self._records.get((folder, stat.name))
        path = f"{folder}/{stat.name}" if folder else stat.name
        if known is None:
            self._found.add("file_unknown", self._named(folder, stat.name))
            return
        if self._source.logs:
            return  # logs grow, and the next scan reads on
        opened = self._documents.stream(path, stat)
        if not isinstance(opened, Skip):
            opened.file.close()
            if opened.content_hash != known.content_hash:
                self._found.add("file_stale", self._named(folder, stat.name))

    def _skipped(self, folder: str, skip: Skip, contents: dict[str, tuple[int, str, bytes | None]]) -> None:
        known = contents.get(skip.name)
        if known is not None and known[1] != "skipped" and skip.stat is not None:
            self._add("file_stale", folder, skip.name, contents)

    def _vanished_folders(self) -> None:
        for path in self._folder_ids:
            if path in self._visited or self._out_of_sight(path):
                continue
            contents = self._contents(path)
            for name in contents:
                self._add(self._gone, path, name, contents)

    def _out_of_sight(self, path: str) -> bool:
        return any(root in ("", path) or path.startswith(root + "/") for root in self._unseen)

    def _add(
        self, code: str, folder: str, name: str, contents: dict[str, tuple[int, str, bytes | None]]
    ) -> None:
        known = contents.get(name)
        self._found.add(code, self._named(folder, name), None if known is None else known[0])

    def _named(self, folder: str, name: str = "") -> str:
        path = "/".join(part for part in (folder, name) if part)
        return f"{self._source.name}:{names.display(path)}"


def audit_folders(
    store: Reader, settings: Settings, found: Findings, progress: Progress, *, deep: bool
) -> None:
    """Compare every configured source with what the state remembers of it."""
    for source in settings.sources:
        FolderAudit(store, source, found, deep=deep).run(progress)
