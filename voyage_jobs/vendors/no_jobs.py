"""The part of a `Client` that has no jobs: nothing is ever there to be found, fetched or stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from voyage_jobs.errors import RefusedError
from voyage_jobs.vendors.remote import Downloaded, JobSpec, RemoteBatch, RemoteFile

_GONE = 404


class NoJobs:
    """Mix it into the client of a provider whose trait is `sync_only`. The lists are empty; all else is refused as
    gone, by RefusedError, without a call."""

    name: str

    def _refused(self, what: str, *asked: object) -> RefusedError:
        del asked
        return RefusedError(f"{self.name} has no {what}: it answers at once.", status=_GONE)

    def upload(self, path: Path, filename: str) -> RemoteFile:
        """Refused."""
        raise self._refused("files", path, filename, RemoteFile)

    def list_files(self) -> Iterator[RemoteFile]:
        """No files."""
        return iter(())

    def get_file(self, file_id: str) -> RemoteFile:
        """Refused."""
        raise self._refused("files", file_id, RemoteFile)

    def delete_file(self, file_id: str) -> bool:
        """Gone, as every file is."""
        del file_id
        return True

    def download(
        self,
        file_id: str,
        dest: Path,
        *,
        expected_bytes: int | None,
        on_progress: Callable[[int], None] | None = None,
    ) -> Downloaded:
        """Refused."""
        raise self._refused("files", file_id, dest, expected_bytes, on_progress)

    def create_batch(self, job: JobSpec) -> RemoteBatch:
        """Refused."""
        raise self._refused("jobs", job, RemoteBatch)

    def list_batches(self) -> Iterator[RemoteBatch]:
        """No jobs."""
        return iter(())

    def get_batch(self, batch_id: str) -> RemoteBatch:
        """Refused."""
        raise self._refused("jobs", batch_id, RemoteBatch)

    def cancel_batch(self, batch_id: str) -> RemoteBatch:
        """Refused."""
        raise self._refused("jobs", batch_id, RemoteBatch)
