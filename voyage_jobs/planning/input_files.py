"""The input files that would be uploaded: counted line by line, and written if somebody wants them."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from voyage_jobs.errors import ConfigError
from voyage_jobs.state import embeddings
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.story import View
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.submit import input_lines


class InputFiles:
    """Takes batches in the order of sending. Nothing is kept but sums, and the ids of the batches.

    With a `folder`, each batch becomes a file there, and the parameters of its job stand beside it.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.taken: list[int] = []
        self.inputs = 0
        self.bytes = 0
        self.tokens = 0
        if folder is not None:
            _make_empty(folder)

    def take(self, context: Context, batch: BatchRow) -> None:
        """Count a batch, and write it. Raises LookupError if texts of it cannot be had any more."""
        lines = input_lines(context, batch)
        if self._folder is None:
            size = sum(map(len, lines))
        else:
            with open(self._folder / f"batch-{len(self.taken) + 1:04}.jsonl", "wb") as file:
                size = sum(map(file.write, lines))
        self.taken.append(batch.id)
        self.inputs += batch.inputs
        self.bytes += size
        self.tokens += batch.tokens_estimated

    def lines(self, connection: View) -> int:
        """How many lines all of them have."""
        return sum(embeddings.count_lines(connection, batch_id) for batch_id in self.taken)

    def write_params(self, params: object) -> None:
        """Write what goes with each file, once the folder is there."""
        if self._folder is not None:
            text = orjson.dumps(params, option=orjson.OPT_INDENT_2)
            (self._folder / "request_params.json").write_bytes(text + b"\n")


def _make_empty(folder: Path) -> None:
    """Raises ConfigError unless the folder is there and empty, or can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(os.scandir(folder))
    except OSError as exc:
        raise ConfigError(f"{folder} cannot be written to: {exc.strerror}.") from exc
    if taken:
        raise ConfigError(f"{folder} is not empty.", hint="Name a new folder; nothing was written.")
