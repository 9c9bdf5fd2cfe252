"""Which unchanged files are read again all the same: those of which their reader would make another version now.

A source remembers in its marker with which readers its documents were compared. While that is what the readers are now,
a scan goes by stats alone. Else it compares document by document, by the fingerprint on the newest live version, until
one scan has been through the whole source.

What was made by a reader that is not here (a package that was removed, or cannot be loaded) is left as it is: another
reader would make other chunks of it, which would be paid for, and paid for once more when the reader is back. So is
what an older release took for plain text, and belongs to a reader now whose library is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voyage_jobs.readers.reader import ReaderOptions
from voyage_jobs.readers.registry import NO_OPTIONS, reader_of, readers
from voyage_jobs.sources.files import Revision
from voyage_jobs.sources.source import Known
from voyage_jobs.splitting import fingerprints
from voyage_jobs.splitting.split import SplitOptions
from voyage_jobs.state import documents, versions

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Rereading:
    """The comparison for one source, by its marker (None: it was never compared, or it is in doubt)."""

    def __init__(self, marker: str | None, options: SplitOptions, told: ReaderOptions = NO_OPTIONS) -> None:
        used = readers(told)
        self.marker = fingerprints.marker(options, used)
        """What the source says once this is done."""
        self._options = options
        self._told = told
        self._unchanged = fingerprints.unchanged(marker, options, used)
        self.due = marker != self.marker
        self.without_reader: frozenset[str] = frozenset()
        """The names, in the folder that was asked for last, of documents whose reader is not here."""
        self.all_readers_here = True
        """Whether there was no such document in any folder. Else the source is not to say that this is done."""

    @property
    def marker_meanwhile(self) -> str | None:
        """What the source says until then, lest readers that change back are taken for compared."""
        if not self.due:
            return self.marker
        return " ".join(fingerprints.named(each, self._options) for each in self._unchanged) or None

    def known(self, connection: Connection, folder_id: int) -> Known:
        """What is remembered of one folder; without a stat that a file could have, what is to be read again."""
        found = documents.known(connection, folder_id)
        if not self.due:
            return found
        made_by = dict(documents.made_by(connection, folder_id))
        self.without_reader = frozenset(
            name
            for name, made in made_by.items()
            if made is not None and (fingerprints.lacks_reader(made) or reader_of(name).missing)
        )
        self.all_readers_here = self.all_readers_here and not self.without_reader
        stale = {name for name, made in made_by.items() if self._is_stale(name, made)} - self.without_reader
        return {name: unsettled(stat) if name in stale else stat for name, stat in found.items()}

    def _is_stale(self, name: str, made: str | None) -> bool:
        reader = reader_of(name, self._told)
        if made is None:  # a file that was not taken, say: another reader of its kind might
            return reader not in self._unchanged
        return not fingerprints.is_made_by(made, reader, self._options)


def unsettled(stat: Revision) -> Revision:
    """The same with a time that no file has, so that the file is read again."""
    size, _, inode, ctime_ns = stat
    return size, versions.UNSETTLED_MTIME, inode, ctime_ns
