"""The calls to the local model. None leaves the process."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import orjson
import pybase64

from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import ConfigError, NotSentError, RefusedError
from voyage_jobs.vendors.base import Access, Embedded, Wanted
from voyage_jobs.vendors.local.models import MODEL
from voyage_jobs.vendors.no_jobs import NoJobs

if TYPE_CHECKING:
    from voyage_jobs.vendors.local.engine import Engine

_NOT_READ = 400
"""As a server says it of a text."""


class LocalClient(NoJobs):
    """What computes vectors. The model is loaded when the first text comes, and gone with the client."""

    name = "The local model"

    def __init__(self, access: Access) -> None:
        self.max_retry_after_s = access.max_retry_after_s
        self.skipped_entries = 0
        self.give_up_at: float | None = None
        self.send_by: float | None = None  # nothing leaves the process, and nothing is paid for
        self._clock, self._folder = access.clock, access.base_url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.__dict__.pop("_engine", None)

    @functools.cached_property
    def _engine(self) -> Engine:
        try:
            from voyage_jobs.vendors.local.engine import Engine
            from voyage_jobs.vendors.local.files import files_of

            return Engine(files_of(self._folder))
        except ConfigError as exc:  # nothing was computed, and work goes on once it is there
            raise NotSentError(exc.message, hint=exc.hint) from exc

    def embed_now(self, wanted: Sequence[Wanted], params: Mapping[str, Any], profile: Profile) -> bytes:
        """The texts' vectors, in the shape of an answer over HTTP."""
        del params
        embedded = self.embed([text for each in wanted for text in each.texts], profile)
        data = [
            {"index": place, "embedding": pybase64.b64encode(vector.astype("<f4").tobytes()).decode()}
            for place, vector in enumerate(embedded.vectors)
        ]
        return orjson.dumps({"data": data, "usage": {"total_tokens": embedded.tokens}})

    def embed(self, texts: Sequence[str], profile: Profile) -> Embedded:
        """Vectors and the tokens that were read. Raises RefusedError for another model than the one that is here."""
        self._check_time()
        if not self._folder and profile.model != MODEL.name:
            raise RefusedError(
                f"The local model is {MODEL.name}, not {profile.model}.",
                hint="Name the folder of the other model in [local] model_dir.",
            )
        try:
            vectors, tokens = self._engine.embed([profile.prefix + text for text in texts])
        except ConfigError as exc:
            raise RefusedError(exc.message, status=_NOT_READ) from exc
        if vectors.shape[1] != profile.dimension:
            raise RefusedError(
                f"{profile.model} makes vectors of {vectors.shape[1]} numbers, not of {profile.dimension}.",
                hint="Set [local] output_dimension to it.",
            )
        return Embedded(vectors, tokens)

    def probe(self) -> int | None:
        """Load the model, and have it read a word. It has no clock."""
        self._check_time()
        try:
            self._engine.embed(["word"])
        except ConfigError as exc:
            raise RefusedError(exc.message, status=_NOT_READ) from exc
        return None

    def vendor_now_us(self) -> int | None:
        """It has no clock."""
        return None

    def _check_time(self) -> None:
        if self.give_up_at is not None and self._clock.mono() >= self.give_up_at:
            raise NotSentError("The local model was not run: the deadline has passed.")
