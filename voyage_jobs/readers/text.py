"""The readers of files that are text as they are. Their offsets are offsets into the decoded file."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from voyage_jobs.readers.encodings import AUTO, guessed, utf16_without_mark
from voyage_jobs.readers.reader import Json, Reader, Refusal, Refused, Text

# What names itself in its first bytes, and may hold no zero byte that would give it away.
_BINARY_HEADS = (b"%PDF-", b"PK\x03\x04", b"\x1f\x8b", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"{\\rtf")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_ZEROS = re.compile(rb"\0+")
_NO_TEXT = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_CHARS_PER_FAULT = 64


class TextReader(Reader):
    """Decodes; what the text is written in is said by the file's suffix."""

    def __init__(self, name: str, form: str, suffixes: tuple[str, ...] = (), version: int = 1) -> None:
        self.name = name
        self.version = version
        self.suffixes = suffixes
        self.forms = (form,)

    decodes = True

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:
        """The whole file; raises Refused if it is no text. The option `encoding` is that of the source, or `auto`."""
        yield Text(decoded(file.read(), str(options.get("encoding", ""))), self.forms[0])


MARKDOWN = TextReader(
    "markdown",
    "markdown",
    (".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd", ".mdc", ".livemd"),
)
RST = TextReader("rst", "rst", (".rst", ".rest"))
TEXT = TextReader("text", "plain")
"""Takes what no other reader claims."""


def decoded(data: bytes, said: str = "") -> str:
    """The text of a file, without byte order mark; line ends are those of the file. Raises Refused if it is none.

    A mark says the encoding; without one it is what is `said`, by default UTF-8. `auto`: UTF-8, else what it seems.
    """
    default = (utf16_without_mark(data) or "utf-8") if said == AUTO else said or "utf-8"
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", default))
    if encoding == "utf-8":
        zero = data.find(b"\0")
        if zero >= 0:
            data = _without_zeros(data, zero)
        if data.startswith(_BINARY_HEADS):
            raise Refused(Refusal.BINARY, "starts as a binary format does")
    try:
        text = data[len(mark) :].decode(encoding) if mark else data.decode(encoding)
    except UnicodeError as exc:
        guess = guessed(data) if said == AUTO and not mark else None
        if guess is None:
            at = len(mark) + getattr(exc, "start", 0)
            raise Refused(Refusal.UNDECODABLE, f"not {encoding.upper()} at byte {at}") from None
        text = guess
    if not text or text.isspace():
        raise Refused(Refusal.EMPTY, "nothing but white space" if text else "no text")
    if "\0" in text:
        raise Refused(Refusal.BINARY, f"a zero character at offset {text.index(chr(0))}")
    return text


def _without_zeros(data: bytes, first: int) -> bytes:
    """Blanks in place of the few zero bytes of a log that was cut or not written whole, so that no offset moves.

    Raises Refused where there are more of them, or of other signs that no text has: that is a binary file.
    """
    faults = len(_ZEROS.findall(data)) + len(_NO_TEXT.findall(data))
    if faults > (len(data) - data.count(0)) // _CHARS_PER_FAULT:
        raise Refused(Refusal.BINARY, f"a zero byte at offset {first}")
    return data.replace(b"\0", b" ")
