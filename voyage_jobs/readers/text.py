"""The readers of files that are text as they are. Their offsets are offsets into the decoded file."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from voyage_jobs.readers.reader import Json, Reader, Refusal, Refused, Text

# What names itself in its first bytes, and may hold no zero byte that would give it away.
_BINARY_HEADS = (b"%PDF-", b"PK\x03\x04", b"\x1f\x8b", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"{\\rtf")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class TextReader(Reader):
    """Decodes; what the text is written in is said by the file's suffix."""

    def __init__(self, name: str, form: str, suffixes: tuple[str, ...] = (), version: int = 1) -> None:
        self.name = name
        self.version = version
        self.suffixes = suffixes
        self.forms = (form,)

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:  # noqa: ARG002 - it has none
        """The whole file; raises Refused if it is no text."""
        yield Text(decoded(file.read()), self.forms[0])


MARKDOWN = TextReader(
    "markdown",
    "markdown",
    (".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd", ".mdc", ".livemd"),
)
RST = TextReader("rst", "rst", (".rst", ".rest"))
TEXT = TextReader("text", "plain")
"""Takes what no other reader claims."""


def decoded(data: bytes) -> str:
    """The text of a file, without byte order mark; line ends are those of the file. Raises Refused if it is none."""
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    if encoding == "utf-8":
        zero = data.find(b"\0")
        if zero >= 0:
            raise Refused(Refusal.BINARY, f"a zero byte at offset {zero}")
        if data.startswith(_BINARY_HEADS):
            raise Refused(Refusal.BINARY, "starts as a binary format does")
    try:
        text = data[len(mark) :].decode(encoding) if mark else data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise Refused(
            Refusal.UNDECODABLE, f"not {encoding.upper()} at byte {len(mark) + exc.start}"
        ) from None
    if not text or text.isspace():
        raise Refused(Refusal.EMPTY, "nothing but white space" if text else "no text")
    if "\0" in text:
        raise Refused(Refusal.BINARY, f"a zero character at offset {text.index(chr(0))}")
    return text
