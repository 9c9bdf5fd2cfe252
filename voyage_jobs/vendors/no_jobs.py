"""The parts of a `Vendor` and of its `Client` that have no jobs: nothing is there to be found, fetched or stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import RefusedError
from voyage_jobs.vendors.base import KeyDoubt
from voyage_jobs.vendors.remote import Downloaded, JobSpec, Phase, RemoteBatch, RemoteFile

_GONE = 404


class AnswersAtOnce:
    """Mix it into a provider whose trait is `sync_only` and of which little is known beforehand."""

    def doubts(self, profile: Profile) -> list[str]:
        """None: the operator has chosen the model, and knows what it makes."""
        del profile
        return []

    def key_doubt(self, key: str, where: str, host: str) -> KeyDoubt | None:
        """Any key, or none, may be right."""
        del key, where, host
        return None

    def params(self, profile: Profile, encoding: str) -> dict[str, Any]:
        """The model alone: many servers refuse a request that names a dimension."""
        del encoding
        return {"model": profile.model}

    def phase(self, status: str) -> Phase:
        """There are no jobs, hence no words."""
        del status
        return Phase.UNKNOWN


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
