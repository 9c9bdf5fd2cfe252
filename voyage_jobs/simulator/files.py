"""The Files API: uploads and results, listed, fetched, deleted, and gone after thirty days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from voyage_jobs.core.clock import US
from voyage_jobs.simulator.blobs import Blob
from voyage_jobs.simulator.dialects import dialect
from voyage_jobs.simulator.faults import FaultScript, Item
from voyage_jobs.simulator.messages import ApiError
from voyage_jobs.simulator.options import Options
from voyage_jobs.simulator.pages import envelope, page_of, whole_number
from voyage_jobs.simulator.stamps import Ids, stamp

Purpose = Literal["batch", "batch-output", "batch-error"]
_MOST_PER_PAGE = 10_000


@dataclass(frozen=True)
class StoredFile:
    """One file at the provider; `job` is the one whose results it holds."""

    id: str
    filename: str
    purpose: Purpose
    created_us: int
    expires_us: int
    blob: Blob
    job: Item | None = None

    def as_json(self, options: Options) -> dict[str, Any]:
        """The File object."""
        shown = {
            "id": self.id,
            "object": "file",
            "bytes": self.blob.size,
            "created_at": stamp(self.created_us, options),
            "expires_at": stamp(self.expires_us, options),
            "filename": self.filename,
            "purpose": self.purpose,
        }
        return dialect(options).file(shown)

    def is_pending(self, now_us: int, options: Options) -> bool:
        """Whether the provider has not read it yet."""
        return self.purpose == "batch" and now_us < self.created_us + options.file_pending_s * US


class Files:
    """All files of the account."""

    def __init__(self, ids: Ids, options: Options, faults: FaultScript) -> None:
        self._ids = ids
        self._options = options
        self._faults = faults
        self._files: dict[str, StoredFile] = {}
        self._names: dict[str, Item] = {}

    def name(self, filename: str, now_us: int) -> Item:
        """A file by its name, which it keeps when it is uploaded again; it came to be when first heard of."""
        return self._names.setdefault(filename, Item(filename, len(self._names) + 1, now_us))

    def add(
        self, filename: str, purpose: Purpose, blob: Blob, now_us: int, job: Item | None = None
    ) -> StoredFile:
        """Store a file from now on for the retention time."""
        file = StoredFile(
            id=f"file{self._options.id_separator}{self._ids.new()}",
            filename=filename,
            purpose=purpose,
            created_us=now_us,
            expires_us=now_us + int(self._options.file_retention_s * US),
            blob=blob,
            job=job,
        )
        self._files[file.id] = file
        return file

    def drop_expired(self, now_us: int) -> None:
        """Forget what is past its time."""
        for file in [f for f in self._files.values() if f.expires_us <= now_us]:
            del self._files[file.id]

    def get(self, file_id: str) -> StoredFile:
        """The file of that id. Raises ApiError 404."""
        file = self._files.get(file_id)
        if file is None:
            raise ApiError(404, f"File {file_id} not found.")
        return file

    def find(self, file_id: str) -> StoredFile | None:
        """The file of that id, or None."""
        return self._files.get(file_id)

    def delete(self, file_id: str) -> None:
        """Delete one file. Raises ApiError 404."""
        self.get(file_id)
        del self._files[file_id]

    def delete_all(self, file_ids: list[str]) -> list[str]:
        """Delete all of these or, if any is unknown, none; returns the unknown ones."""
        unknown = [file_id for file_id in file_ids if file_id not in self._files]
        if not unknown:
            for file_id in file_ids:
                self._files.pop(file_id, None)
        return unknown

    def shown(self, file: StoredFile, now_us: int) -> dict[str, Any]:
        """The File object, which may lie about the size of results."""
        shown, size = file.as_json(self._options), file.blob.size
        if file.is_pending(now_us, self._options):
            shown["status"] = "pending"
        hit = file.job and self._faults.item(
            "file_size_lies", file.job, now_us, lambda params: _lied(size, params["by"]) != size
        )
        return shown | {"bytes": _lied(size, hit["by"])} if hit else shown

    def page(self, query: Mapping[str, str], now_us: int = 0) -> dict[str, Any]:
        """One page of the list."""
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise ApiError(400, "Argument 'order' must be 'asc' or 'desc'.")
        limit = whole_number(query, "limit", _MOST_PER_PAGE, 1, _MOST_PER_PAGE)
        files = sorted(self._files.values(), key=lambda f: f.created_us)
        if order == "desc":
            files.reverse()
        if "purpose" in query:
            files = [f for f in files if f.as_json(self._options)["purpose"] == query["purpose"]]
        shown, more = page_of(files, [f.id for f in files], query.get("after"), limit)
        return envelope([self.shown(f, now_us) for f in shown], more)

    def __len__(self) -> int:
        return len(self._files)


def _lied(size: int, by: float) -> int:
    return max(0, size + int(by))
