"""What a reader is, and what it gives. Pure words: no I/O, no registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, NamedTuple, Protocol, TypeAlias, Union

# A name that stands in its own definition must be quoted, which `|` does not take.
Json: TypeAlias = Union[bool, int, float, str, list["Json"], dict[str, "Json"], None]  # noqa: UP007

ReaderOptions: TypeAlias = Mapping[str, Mapping[str, Json]]
"""What readers are told besides what they were registered with, by name."""

FORMS = ("markdown", "rst", "plain", "code")
"""What a text can be written in: the form decides how it is split (`splitting/forms.py`)."""


class Refusal(StrEnum):
    """Why a reader takes no text from a file. A reader may have further reasons, in words of the same kind."""

    EMPTY = "empty"  # no bytes, or nothing but white space
    BINARY = "binary"
    UNDECODABLE = (
        "undecodable"  # not in the encoding of its source, by default UTF-8 or UTF-16 with a byte order mark
    )
    ONLY_DATA = "only_data"  # data: addresses, packed or minified text, and nothing else
    FAILED = "reader_failed"  # an error in the reader itself
    NO_READER = "no_reader"  # its reader, or a library of it, is not installed here
    BROKEN = "broken"  # it is not what its suffix says, or only a part of it
    LIMIT = "reader_limit"  # it has more in it than its reader takes
    ENCRYPTED = "encrypted"
    NO_TEXT = "no_text"  # pictures of text: a scan
    GARBLED = "garbled"  # signs that stand for no letters
    TIMEOUT = "reader_timeout"  # these three of readers in a process of their own
    MEMORY = "reader_memory"
    CRASHED = "reader_crashed"


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A reader takes no text from this file: `reason` is a `Refusal` or a word of the reader's own."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


MOST_TITLE_CHARS = 4_000
"""Of a heading's line, from which its text is made: no title of a table is so long, and markup takes the square."""


class Heading(NamedTuple):
    """A heading and where it stands: `start` is that of its first line, `end` that of what follows its last."""

    start: int
    end: int
    level: int
    """1 is the highest."""
    text: str
    """Plain: without markup, in one line."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part of a document stands for its readers, from the character `at` on: ("page", "12"), say."""

    at: int
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class Text:
    """What one document says. All offsets are in characters of `text`."""

    text: str
    form: str = "plain"
    """One of `FORMS`."""
    title: str = ""
    """Empty: that of the metadata, else the first heading, else the file's name."""
    metadata: Mapping[str, Json] | None = None
    """Goes with every row of the document. None: found by the form (the front matter of Markdown)."""
    headings: Sequence[Heading] | None = None
    """In order. None: found by the form."""
    places: Sequence[Place] = ()
    """In order."""
    url: str = ""
    """Its address. Empty: none is known."""
    record: str | None = None
    """Its id, where a file holds many."""
    data_tokens: int = 0
    """About how many tokens of it were data, and are blanked (`readers/data.py`)."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What else of the file is not in the text, or not as it could be: how much, by reason (`attachments`, say)."""


class Reader(Protocol):
    """Reads one kind of file. A class of its own may inherit from this one for the defaults.

    It may have `needs`, a tuple of the modules without which it cannot read (where one is missing, its files are
    skipped as `no_reader`, and taken by the first scan after it was installed), and `extra`, what of ours brings them.
    With `plain_without = True` its files are plain text meanwhile, as they were before there was this reader.
    """

    name: str
    """Lower case; part of the identity of what it has read."""
    version: int
    """Raise it when the same bytes come to give another text, or to give one at all: its files are read again."""
    suffixes: tuple[str, ...]
    """The files that it takes: in lower case, with the dot."""
    heads: tuple[bytes, ...] = ()
    """How its files begin; others are refused as binary. Empty: in any way."""
    forms: tuple[str, ...] = ("plain",)
    """The forms that its texts may have."""
    isolated: bool = False
    """Whether it must run in a process of its own, as parsers of hostile formats must. Its class is imported there, and
    made without arguments."""

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:
        """The text of a file, which is at its start and can seek; the same for the same bytes and options, always.

        Raises Refused for bytes that it cannot take. A heavy library is imported here, not with the module.
        """
