"""A reader beside everything: what it saw of the table must be documents that somebody wrote, whole."""

from __future__ import annotations

import contextlib
import json
import signal
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.splits import of_new_state, split

from . import checks
from .documents import Author
from .stage import PATIENCE_S, Stage

if TYPE_CHECKING:
    from .kills import Tally


@contextlib.contextmanager
def watched(stage: Stage, author: Author, tally: Tally) -> Iterator[None]:
    """For the time of the block a process of its own reads the table; afterwards its testimony is heard."""
    with tempfile.TemporaryFile("w+") as out:
        process = stage.start(module="crash.reader", out=out)
        yield
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        out.seek(0)
        lines = out.read().splitlines()
    assert lines, stage.tail()
    testimony = json.loads(lines[-1])
    assert testimony["looks"], "the reader saw no table"
    assert not testimony["absent"], f"a document that is always there was absent {testimony['absent']} times"
    whole = {
        (
            path,
            checks.content_hash(text),
            tuple(chunk.ordinal for chunk in split(text, path, of_new_state()).chunks),
        )
        for path, texts in author.history.items()
        for text in texts
    }
    seen = {(path, content_hash, tuple(ordinals)) for path, content_hash, ordinals in testimony["documents"]}
    assert seen <= whole, f"half a document was seen: {sorted(seen - whole)}"
    tally.looks += testimony["looks"]
