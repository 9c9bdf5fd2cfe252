"""What makes a version the one it is: the content, and what read and split it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Made(NamedTuple):
    """The identity of a version on record. `text_hash` is None where an older release made it."""

    content_hash: bytes
    text_hash: bytes | None
    splitter: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity that a version of a file would have now."""

    content_hash: bytes
    """Of the file's bytes."""
    text_hash: bytes
    """Of the text that was split: offsets into another text would cut other chunks."""
    splitter: str
    """The fingerprint of the form that read and split it."""
    older: tuple[str, ...] = ()
    """What earlier releases called the very same form."""

    def is_that_of(self, made: Made) -> bool:
        """Whether a version on record is this one."""
        return (
            made.content_hash == self.content_hash
            and made.text_hash in (None, self.text_hash)
            and (made.splitter == self.splitter or made.splitter in self.older)
        )
