"""What an operator's word means: a batch, a source. Raises ConfigError with the nearest name if it means nothing."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from voyage_jobs.errors import ConfigError
from voyage_jobs.state import batches, sources
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.history import View
from voyage_jobs.state.sources import SourceRow

_LOOKED_AT = 1_000  # of the newest batches, for a ref that was mistyped


def nearest(word: str, names: Sequence[str]) -> str:
    """` Did you mean ...?` with a blank in front, or nothing."""
    near = difflib.get_close_matches(word, names, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def batch_called(connection: View, word: object) -> BatchRow:
    """The batch whose ref begins with `word`, or whose job has that id."""
    if not word:
        raise ConfigError("The ref of the batch is empty.", hint="`voyage-jobs batches` lists them.")
    found = batches.find(connection, str(word))
    if not found:
        near = nearest(str(word), [batch.ref for batch in batches.newest(connection, _LOOKED_AT)])
        raise ConfigError(f"There is no batch {word}.{near}", hint="`voyage-jobs batches` lists them.")
    if len(found) > 1:
        raise ConfigError(f"{len(found)} batches begin with {word}.", hint="Give more of the ref.")
    return found[0]


def source_called(connection: View, name: object) -> SourceRow:
    """The source of that name, configured or not."""
    rows = sources.all_sources(connection)
    found = next((row for row in rows if row.name == str(name)), None)
    if found is None:
        near = nearest(str(name), [row.name for row in rows])
        raise ConfigError(f"There is no source {str(name)!r}.{near}", hint="`voyage-jobs status` lists them.")
    return found
