"""fsync for a library that never calls it: what is new on disk is made durable, data before manifests."""

from __future__ import annotations

import contextlib
import os

from voyage_jobs.core.durable import no_room_is_one_error, sync_dir, sync_file
from voyage_jobs.table.objects import Remote

_MANIFESTS = "_versions"


class Syncer:
    """Makes the files of one table directory durable, each once.

    Lance's files are never changed under their names, so a name that was synced stays synced. The first call
    of a process syncs everything it finds: what an earlier process left unsynced cannot be told from the
    rest. (The one file that does change, the version hint, may be lost without harm.)
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: dict[str, set[str]] = {}

    def sync(self) -> int:
        """Sync files and directories that are new since the last call; how many files there were.

        An object that was written is durable: in object storage there is nothing to do.
        """
        if isinstance(self._path, Remote):
            return 0
        with no_room_is_one_error(self._path):
            folders = list(os.walk(self._path))
            # Deepest first, so that a folder is durable before what refers to it; manifests last of all.
            folders.sort(
                key=lambda found: (os.path.basename(found[0]) == _MANIFESTS, -found[0].count(os.sep))
            )
            synced = sum(self._sync_folder(folder, below, names) for folder, below, names in folders)
            if self._path not in self._known:
                place = os.path.dirname(self._path)
                sync_dir(place)
                with contextlib.suppress(PermissionError):  # then somebody else has made `place`
                    sync_dir(os.path.dirname(place))  # `place` may be as new as the table
            self._known = {folder: {*below, *names} for folder, below, names in folders}
        return synced

    def _sync_folder(self, folder: str, below: list[str], names: list[str]) -> int:
        known = self._known.get(folder, set())
        count = 0
        for name in sorted(set(names) - known):
            try:
                sync_file(os.path.join(folder, name))
                count += 1
            except FileNotFoundError:  # another program tidied it away
                continue
        if not known.issuperset((*below, *names)):
            sync_dir(folder)
        return count
