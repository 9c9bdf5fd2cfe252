"""The input files that would be uploaded: counted by the rules of the pack step, and written if somebody wants them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

import orjson

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.provider import request_params, vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.errors import ConfigError
from voyage_jobs.steps.filling import Filling, Limits


class InputFiles:
    """Takes requests in the order of sending and cuts them into batches. Nothing is kept but sums.

    `most_inputs` is where sending ends; what comes after is refused by `add`. With a `folder`, each batch becomes a
    file there, and the parameters of its job stand beside it.
    """

    def __init__(self, settings: Settings, most_inputs: int | None, folder: Path | None) -> None:
        batching = settings.batching
        self._limits = Limits(batching.max_inputs, batching.max_bytes, batching.max_in_flight_tokens)
        self._vendor, self._profile = vendor_of(settings), profile_of(settings)
        self._most_inputs = most_inputs
        self._folder = folder
        self._filling: Filling | None = None
        self._file: IO[bytes] | None = None
        self.batches = 0
        self.inputs = 0
        self.bytes = 0
        self.tokens = 0
        if folder is not None:
            _make_empty(folder)
            params = orjson.dumps(request_params(settings), option=orjson.OPT_INDENT_2)
            (folder / "request_params.json").write_bytes(params + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, key: bytes, texts: Sequence[str], tokens: int) -> bool:
        """Put one request into the batch at hand, or into the next. False if it would not be sent."""
        if self._most_inputs is not None and self.inputs + len(texts) > self._most_inputs:
            return False
        line = self._vendor.line(key.hex(), texts, self._profile)
        if self._filling is None or not self._filling.take(len(texts), len(line), tokens):
            self._filling = Filling(self._limits)
            if not self._filling.take(len(texts), len(line), tokens):
                return False
            self._next_file()
        if self._file is not None:
            self._file.write(line)
        self.inputs += len(texts)
        self.bytes += len(line)
        self.tokens += tokens
        return True

    def _next_file(self) -> None:
        self.batches += 1
        if self._folder is None:
            return
        if self._file is not None:
            self._file.close()
        path = self._folder / f"batch-{self.batches:04}.jsonl"
        self._file = open(path, "xb")  # noqa: SIM115 - closed with the next one, or at the end


def _make_empty(folder: Path) -> None:
    """Raises ConfigError unless the folder is there and empty, or can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(os.scandir(folder))
    except OSError as exc:
        raise ConfigError(f"{folder} cannot be written to: {exc.strerror}.") from exc
    if taken:
        raise ConfigError(f"{folder} is not empty.", hint="Name a new folder; nothing was written.")
