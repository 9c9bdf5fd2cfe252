"""The input files that would be uploaded: counted line by line, and written if somebody wants them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import orjson

from voyage_jobs.errors import ConfigError
from voyage_jobs.state.batches import BatchRow


class InputFiles:
    """Takes batches in the order of sending, line by line. Nothing is kept but sums, and the ids of the batches.

    With a `folder`, each batch becomes a file there, and the parameters of its job stand beside it.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._file: IO[bytes] | None = None
        self._size = 0
        self.taken: list[int] = []
        self.calls = 0
        """How many of them go at once, in the fresh lane: no file is written for these."""
        self.fresh_documents = 0
        self.fresh_inputs = 0
        self.fresh_tokens = 0
        self.inputs = 0
        self.bytes = 0
        self.tokens = 0
        if folder is not None:
            _make_empty(folder)

    def line(self, line: bytes) -> None:
        """Add a line to the batch at hand."""
        self._size += len(line)
        if self.folder is not None:
            if self._file is None:
                path = self.folder / f"batch-{len(self.taken) - self.calls + 1:04}.jsonl"
                self._file = open(path, "wb")  # noqa: SIM115 - closed by take or drop
            self._file.write(line)

    def take(self, batch: BatchRow) -> None:
        """The batch at hand is whole: it is this one."""
        self.taken.append(batch.id)
        if batch.fresh_documents is not None:
            self.calls += 1
            self.fresh_documents += batch.fresh_documents
            self.fresh_inputs += batch.inputs
            self.fresh_tokens += batch.tokens_estimated
        self.inputs += batch.inputs
        self.bytes += self._size
        self.tokens += batch.tokens_estimated
        self.drop()

    def drop(self) -> None:
        """There is no batch at hand any more; what was written of it is written over by the next."""
        self._size = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def write_params(self, params: object) -> None:
        """Write what goes with each file, once the folder is there."""
        if self.folder is not None:
            text = orjson.dumps(params, option=orjson.OPT_INDENT_2)
            (self.folder / "request_params.json").write_bytes(text + b"\n")


def _make_empty(folder: Path) -> None:
    """Raises ConfigError unless the folder is there and empty, or can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(os.scandir(folder))
    except OSError as exc:
        raise ConfigError(f"{folder} cannot be written to: {exc.strerror}.") from exc
    if taken:
        raise ConfigError(f"{folder} is not empty.", hint="Name a new folder; nothing was written.")
