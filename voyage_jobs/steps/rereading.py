"""Which unchanged files are read again all the same: those that their form would make another version of now.

A source remembers in its marker with which forms its documents were compared. While that is what the forms are now, a
scan goes by stats alone. Else it compares document by document, by the fingerprint on the newest live version, until
one scan has been through the whole source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voyage_jobs.sources import forms
from voyage_jobs.sources.split import SplitOptions
from voyage_jobs.sources.walk import Known
from voyage_jobs.state import documents, versions

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Rereading:
    """The comparison for one source, by its marker (None: it was never compared, or it is in doubt)."""

    def __init__(self, marker: str | None, options: SplitOptions) -> None:
        self.marker = forms.marker(options)
        """What the source says once this is done."""
        self._options = options
        self._unchanged = forms.unchanged(marker, options)
        self.due = marker != self.marker

    @property
    def marker_meanwhile(self) -> str | None:
        """What the source says until then, lest forms that change back are taken for compared."""
        if not self.due:
            return self.marker
        return " ".join(form.fingerprint(self._options) for form in self._unchanged) or None

    def known(self, connection: Connection, folder_id: int) -> Known:
        """What is remembered of one folder; without a stat that a file could have, what is to be read again."""
        found = documents.known(connection, folder_id)
        if not self.due:
            return found
        stale = {
            name for name, made in documents.made_by(connection, folder_id) if self._is_stale(name, made)
        }
        return {name: unsettled(stat) if name in stale else stat for name, stat in found.items()}

    def _is_stale(self, name: str, made: str | None) -> bool:
        form = forms.form_of(name)
        if made is None:  # a file that was not taken, say: another form of its kind might
            return form not in self._unchanged
        return not form.made(made, self._options)


def unsettled(stat: tuple[int, int, int]) -> tuple[int, int, int]:
    """The same with a time that no file has, so that the file is read again."""
    size, _, inode = stat
    return size, versions.UNSETTLED_MTIME, inode
