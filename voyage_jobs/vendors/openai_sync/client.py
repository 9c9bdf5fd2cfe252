"""The calls to an OpenAI-compatible server: no jobs, and no key where none is set."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import AuthError, ConfigError, InterceptedError, RefusedError
from voyage_jobs.vendors.base import Wanted
from voyage_jobs.vendors.no_jobs import NoJobs
from voyage_jobs.vendors.remote import JobSpec, RemoteBatch, RemoteFile
from voyage_jobs.vendors.rest.client import RestClient
from voyage_jobs.vendors.rest.verdict import NO_MODEL, Api

if TYPE_CHECKING:
    import httpx

_NEVER = re.compile(r"(?!)")


class OpenAISyncClient(NoJobs, RestClient):
    """Speaks with the server at `base_url` (with its `/v1`)."""

    api: ClassVar[Api] = Api(
        title="OpenAI-compatible server",
        section="openai_sync",
        dashboard="your server",
        usual_url="http://127.0.0.1:8000/v1",
        unpaid=_NEVER,
        kept_to="",
        no_input_file=_NEVER,
        no_model=NO_MODEL,
    )

    def list_files(self, limit: int = 0) -> Iterator[RemoteFile]:
        """No files."""
        del limit
        return NoJobs.list_files(self)

    def list_batches(self, limit: int = 0) -> Iterator[RemoteBatch]:
        """No jobs."""
        del limit
        return NoJobs.list_batches(self)

    @classmethod
    def named(cls, url: httpx.URL) -> str:
        """By its address: a port tells one server on a machine from another."""
        return f"{cls.api.title} at {url.netloc.decode('ascii')}"

    def key_hint(self, key: str) -> str:
        """Where to set another."""
        del key
        where = self._key.describe()
        return f"The key comes from {where}; set OPENAI_SYNC_API_KEY, or OPENAI_SYNC_API_KEY_FILE."

    def probe(self) -> int | None:
        """Ask for the list of models. A server that has none answers, too."""
        with contextlib.suppress(RefusedError, InterceptedError):
            self._ask("list the models", "GET", "/models")
        return self.server_date_us

    def create_body(self, job: JobSpec) -> dict[str, Any]:
        """There are no jobs."""
        raise self._refused("jobs", job)

    def embed_now(self, wanted: Sequence[Wanted], params: Mapping[str, Any], profile: Profile) -> bytes:
        """Post texts, each with the prefix of the profile; the answer as it came."""
        prefixed = [Wanted(each.custom_id, [profile.prefix + each.texts[0]], each.tokens) for each in wanted]
        return RestClient.embed_now(self, prefixed, params, profile)

    def query_bodies(self, texts: Sequence[str], profile: Profile) -> list[tuple[dict[str, Any], int]]:
        """The model alone, each text with the prefix of the profile."""
        return [({"model": profile.model, "input": [profile.prefix + text for text in texts]}, len(texts))]

    def _usable_key(self) -> str:
        """The key, or nothing where none is set: most servers on a private network want none."""
        try:
            return self._key().strip()
        except ConfigError as exc:
            raise AuthError(exc.message, hint=exc.hint) from exc
