"""What a scan of one source would find, and what it would have to send. Nothing is recorded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.sections import SourceSettings
from voyage_jobs.config.settings import Settings
from voyage_jobs.items.folder import removals
from voyage_jobs.profile import KeyMaker
from voyage_jobs.report.input_files import InputFiles
from voyage_jobs.report.plan_file import Sink
from voyage_jobs.sources import names
from voyage_jobs.sources.files import FileStat, Skip
from voyage_jobs.sources.source import FolderScan, Known, RootMissing
from voyage_jobs.splitting.split import split
from voyage_jobs.state import documents, foresight
from voyage_jobs.state.foresight import KnownDocument
from voyage_jobs.state.schema import DROPPED, FAILED
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.story import View
from voyage_jobs.state.versions import NewChunk
from voyage_jobs.states import Document
from voyage_jobs.steps.context import Progress
from voyage_jobs.steps.reading import ReadDocument, read_document, source_of
from voyage_jobs.steps.rereading import Rereading, unsettled
from voyage_jobs.steps.scan import why_freeze
from voyage_jobs.steps.splitting import identity_of, requests_for, split_options


@dataclass
class SourcePlan:
    """One source in numbers: documents as a scan would find them, and what their chunks need."""

    name: str
    path: str
    new: int = 0
    changed: int = 0
    moved: int = 0
    vanished: int = 0
    kept: int = 0
    unchanged: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable_folders: int = 0
    chunks: int = 0
    reused_chunks: int = 0
    failed_chunks: int = 0
    embeddings: int = 0
    tokens: int = 0
    reused_tokens: int = 0
    frozen: str | None = None
    would_freeze: str | None = None


class Keys:
    """Makes keys, and remembers those that are counted: a set of 20-byte keys is all that grows with a plan."""

    def __init__(self, settings: Settings) -> None:
        self.profile = profile_of(settings)
        self.keys = KeyMaker(self.profile)
        self.count = vendor_of(settings).tokenizer(settings.tokenizer_file)
        self.counted: set[bytes] = set()


class SourcePlanner:
    """Foretells one scan; see `steps.scan` for the scan itself."""

    def __init__(
        self,
        settings: Settings,
        source: SourceSettings,
        row: SourceRow | None,
        keys: Keys,
        files: InputFiles,
        sink: Sink,
        progress: Progress,
    ) -> None:
        self.plan = SourcePlan(source.name, names.display(names.encode(os.fsencode(source.path))))
        self._source = source
        self._row = row
        self._keys = keys
        self._files = files
        self._sink = sink
        self._progress = progress
        self._options = split_options(settings)
        self._documents = source_of(source)
        self._folder_ids: dict[str, int] = {}
        self._profile_id: int | None = None
        self._visited: set[str] = set()
        self._protected: list[str] = []
        self._gone: list[tuple[str, str]] = []
        self._new_contents: Counter[bytes] = Counter()
        self._spoilt = 0
        self._removed = removals(settings, source)

    def run(self, connection: View) -> SourcePlan:
        """Walk the source and compare. The plan of a missing folder says that it would freeze."""
        self.plan.frozen = self._row.frozen_reason if self._row else None
        try:
            identity = self._documents.identity()
        except RootMissing as exc:
            self.plan.would_freeze = f"its folder is missing: {exc.message}"
            return self.plan
        if self._row is not None:
            self._folder_ids = documents.folder_ids(connection, self._row.id)
            self._profile_id = foresight.profile_row(connection, self._keys.profile.fingerprint)
        for folder in self._walk(connection):
            self._visit(connection, folder)
        self._count_gone(connection, identity.device)
        return self.plan

    def _walk(self, connection: View) -> Iterator[FolderScan]:
        row = self._row
        rules_changed = row is not None and row.rules_fingerprint != self._documents.fingerprint
        rereading = Rereading(None if row is None else row.splitter_fingerprint, self._options)
        other_vectors = row is not None and row.profile_id not in (None, self._profile_id)

        def known(folder: str) -> Known:
            folder_id = self._folder_ids.get(folder)
            found: Known = {} if folder_id is None else rereading.known(connection, folder_id)
            if rules_changed or other_vectors:
                return {name: unsettled(stat) for name, stat in found.items()}
            return found

        yield from self._documents.discover(known, rules_changed=rules_changed)

    def _visit(self, connection: View, folder: FolderScan) -> None:
        if folder.unreadable is not None:
            self._protected.append(folder.path)
            self.plan.unreadable_folders += 1
            return
        self._visited.add(folder.path)
        self.plan.unchanged += folder.unchanged
        self._gone.extend((folder.path, name) for name in (*folder.vanished, *folder.excluded))
        for skip in folder.skipped:
            self._skip(connection, folder.path, skip)
        for stat in folder.changed:
            self._look(connection, folder.path, stat)

    def _look(self, connection: View, folder: str, stat: FileStat) -> None:
        path = _path(folder, stat.name)
        found = read_document(self._documents, path, stat)
        if not isinstance(found, ReadDocument):
            self._skip(connection, folder, found)
            return
        folder_id = self._folder_ids.get(folder)
        known = None
        if folder_id is not None:
            known = foresight.known_document(connection, folder_id, stat.name, self._profile_id)
        change = self._change(known, found)
        if change is None:
            return
        chunks = split(found.document, path, self._options, self._keys.count).chunks
        send = list(self._count(connection, found.text, requests_for(self._keys, found.text, chunks)))
        self._sink.document(change, self._source.name, path, found.content_hash, send)
        self._progress(f"planning {self._source.name}", self.plan.new + self.plan.changed, None)

    def _skip(self, connection: View, folder: str, skip: Skip) -> None:
        """Count a file that is not taken, and whether the table would lose it."""
        folder_id = self._folder_ids.get(folder)
        if folder_id is not None and str(skip.reason) not in documents.PASSING_REASONS:
            known = foresight.known_document(connection, folder_id, skip.name, self._profile_id)
            self._spoilt += known is not None and known.state == Document.PRESENT
        self.plan.skipped[str(skip.reason)] += 1
        self._sink.skipped(self._source.name, _path(folder, skip.name), str(skip.reason))

    def _change(self, known: KnownDocument | None, found: ReadDocument) -> str | None:
        """Count the document as what it is: new, changed, or None if its chunks need not be looked at."""
        if known is None or known.state in (Document.MISSING, Document.GONE):
            self.plan.new += 1
            self._new_contents[found.content_hash] += 1
            return "new"
        if any(map(identity_of(found, self._options).is_that_of, known.identities)):
            self.plan.unchanged += 1
            return None
        self.plan.changed += 1
        return "changed"

    def _count(self, connection: View, text: str, chunks: list[NewChunk]) -> Iterator[tuple[bytes, int]]:
        """Count the chunks of a document; what of it would be sent, with its tokens."""
        plan, counted = self.plan, self._keys.counted
        states = foresight.embedding_states(connection, list({chunk.key for chunk in chunks}))
        plan.chunks += len(chunks)
        for key, group in groupby(chunks, key=lambda chunk: chunk.key):
            request = list(group)
            tokens = sum(chunk.tokens for chunk in request)
            if states.get(key) == FAILED:
                plan.failed_chunks += len(request)
            elif states.get(key, DROPPED) != DROPPED or key in counted:
                plan.reused_chunks += len(request)
                plan.reused_tokens += tokens
            else:
                counted.add(key)
                first = request[: request[0].request_vectors]
                plan.reused_chunks += len(request) - len(first)
                plan.embeddings += 1
                plan.tokens += request[0].request_tokens
                plan.reused_tokens += tokens - sum(chunk.tokens for chunk in first)
                texts = [text[chunk.start : chunk.end] for chunk in first]
                if self._files.add(key, texts, request[0].request_tokens):
                    yield key, request[0].request_tokens

    # --- what is not there any more ---

    def _count_gone(self, connection: View, device: int) -> None:
        """Tell moves from losses, and losses from what would freeze the source."""
        for path, folder_id in self._folder_ids.items():
            if path not in self._visited and not self._is_protected(path):
                self._gone.extend((path, name) for name in documents.known(connection, folder_id))
        meant = 0
        for folder, name in self._gone:
            known = foresight.known_document(connection, self._folder_ids[folder], name, self._profile_id)
            if known is None or not (known.state == Document.PRESENT or known.identities):
                continue
            present = known.state == Document.PRESENT
            if present and known.content_hash is not None and self._new_contents[known.content_hash] > 0:
                self._new_contents[known.content_hash] -= 1
                self.plan.moved += 1
                self.plan.new -= 1
                change = "moved"
            elif self._source.keep:
                self.plan.kept += 1
                continue
            else:
                self.plan.vanished += 1
                meant += _path(folder, name) in self._removed
                change = "vanished"
            self._sink.gone(change, self._source.name, _path(folder, name))
        if self._row is not None and self._row.confirmed_at is None and not self._source.keep:
            self._spoilt += len(documents.spoilt(connection, self._row.id))
            live = documents.count_live(connection, self._row.id) + self.plan.new + self.plan.moved
            elsewhere = self._row.device is not None and self._row.device != device
            self.plan.would_freeze = why_freeze(
                self.plan.vanished - meant,
                live - meant,
                self._source,
                elsewhere=elsewhere,
                spoilt=self._spoilt,
            )

    def _is_protected(self, path: str) -> bool:
        return any(root in ("", path) or path.startswith(root + "/") for root in self._protected)


def _path(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
