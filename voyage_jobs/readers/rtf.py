"""Rich Text Format: the text, without what says how it looks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from voyage_jobs.readers.reader import Json, Reader, Refusal, Refused, Text

_NOTES = re.compile(r"\\(?:footnote|annotation|header[lrf]?|footer[lrf]?)(?![a-z])")
_SAID = re.compile(r"\{\\(title|author|subject|keywords) ([^{}\\]{1,500})\}")
FAULTS = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What its library makes of what is broken."""


class RtfReader(Reader):
    """Pictures and what is embedded are left out; notes, headers and footers, which its library drops, are counted."""

    name = "rtf"
    version = 1
    suffixes = (".rtf",)
    heads = (b"{\\rtf",)
    isolated = True
    needs = ("striprtf",)
    extra = "formats"

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:  # noqa: ARG002 - it has none
        """The whole document. Raises Refused for what is broken."""
        source = file.read()
        try:
            text, notes = text_of(source)
        except FAULTS:
            raise Refused(Refusal.BROKEN, "no document that can be read to its end") from None
        metadata: dict[str, Json] = {}
        for name, value in _SAID.findall(_decoded(source)):
            metadata.setdefault(name, value.strip())
        title = str(metadata.get("title", ""))
        yield Text(text, title=title, metadata=metadata, left_out={"notes": notes} if notes else {})


def text_of(source: bytes) -> tuple[str, int]:
    """What RTF says, and how many notes, headers and footers are left out. Raises one of `FAULTS`."""
    from striprtf.striprtf import rtf_to_text

    said = _decoded(source)
    found = rtf_to_text(said, errors="backslashreplace")
    text = found.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", " ")
    return text, len(_NOTES.findall(said))


def _decoded(source: bytes) -> str:
    return source.decode("cp1252", "backslashreplace")


RTF = RtfReader()
