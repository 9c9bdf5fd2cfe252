"""A program of somebody else's that reads the table all the time, as the documentation of the table says to.

    python -m crash.reader --config FILE

Prints `reading` with its first sight of the table. At SIGTERM it prints, as JSON, what it has seen: `looks`, how often;
`documents`, each path with its content hash and the ordinals it was seen with; `absent`, how often a document that is
never deleted was not there although it had been before.
"""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path
from typing import Any

from voyage_jobs.config import load_settings
from voyage_jobs.core.clock import SystemClock

STEADY = "steady.md"
EVERY_S = 0.1


class Reader:
    """Looks again and again until `stopped`."""

    def __init__(self, uri: str, name: str) -> None:
        self._uri, self._name = uri, name
        self._table: Any = None
        self.stopped = False
        self.looks = 0
        self.absent = 0
        self.documents: set[tuple[str, str, tuple[int, ...]]] = set()

    def look(self) -> bool:
        """One look; False as long as there is no table."""
        if self._table is None:
            self._table = self._opened()
        if self._table is None:
            return False
        self._table.checkout_latest()
        rows = self._table.search().select(["path", "content_hash", "ordinal"]).limit(1_000_000).to_list()
        seen: dict[tuple[str, str], list[int]] = {}
        for row in rows:
            seen.setdefault((row["path"], row["content_hash"]), []).append(row["ordinal"])
        self.looks += 1
        before = any(path == STEADY for path, _, _ in self.documents)
        self.absent += before and not any(path == STEADY for path, _ in seen)
        versions = [path for path, _ in seen]
        for (path, content_hash), ordinals in seen.items():
            mixed = versions.count(path) > 1
            told = "two versions at once" if mixed else content_hash
            self.documents.add((path, told, tuple(sorted(ordinals))))
        return True

    def _opened(self) -> Any:
        import lancedb

        connection = lancedb.connect(self._uri)
        if self._name not in connection.list_tables().tables:
            return None
        try:
            return connection.open_table(self._name)
        except ValueError:  # it is being made: its folder is there before its first version
            return None


def main() -> None:
    """Read until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    settings = load_settings(parser.parse_args().config, {"VOYAGE_API_KEY": "none"})
    reader = Reader(settings.lancedb.uri, settings.lancedb.table)
    signal.signal(signal.SIGTERM, lambda *_: setattr(reader, "stopped", True))
    clock = SystemClock()
    while not reader.stopped:
        if reader.look() and reader.looks == 1:
            print("reading", flush=True)
        clock.wait(EVERY_S)
    documents = sorted(reader.documents)
    print(json.dumps({"looks": reader.looks, "absent": reader.absent, "documents": documents}), flush=True)


if __name__ == "__main__":
    main()
