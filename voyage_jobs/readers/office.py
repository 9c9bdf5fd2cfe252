"""Documents and slides of Office Open XML: headings, lists and tables as Markdown."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from voyage_jobs.readers.reader import Json, Reader, Refusal, Refused, Text

MOST_BYTES = 256 << 20
"""Of all that is in an archive, unpacked."""
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MANIFEST, _SEALED = "META-INF/manifest.xml", b"encryption-data"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


class OfficeReader(Reader):
    """Pictures, macros, links and what is embedded are left out, and nothing is followed."""

    name = "office"
    version = 1
    suffixes = (".docx", ".pptx")
    forms = ("markdown",)
    isolated = True
    needs = ("office_oxide",)
    extra = "office"

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:  # noqa: ARG002 - it has none
        """The whole document. Raises Refused for what needs a password, is broken, or unpacks to too much."""
        from office_oxide import Document, OfficeOxideError

        data = opened_archive(file)
        kind = "pptx" if b"ppt/presentation.xml" in data else "docx"  # a name in the archive's directory
        try:
            found = Document.from_bytes(data, kind).to_markdown()
        except OfficeOxideError:
            raise Refused(Refusal.BROKEN, f"no {kind} that can be opened") from None
        yield Text(found.replace("\0", ""), "markdown", metadata={})


def opened_archive(file: BinaryIO, *, older: bool = False) -> bytes:
    """The bytes of an archive that is whole; with `older`, of a file from before there were archives, too. Raises
    Refused."""
    data, sealed = file.read(), False
    if not data.lstrip(b"\xef\xbb\xbf").strip():
        raise Refused(Refusal.EMPTY, "no bytes")
    if data.startswith(OLE) and _ENCRYPTED in data:
        raise Refused(Refusal.ENCRYPTED)
    if data.startswith(OLE) and older:
        return data
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(each.file_size for each in archive.infolist())
            if _MANIFEST in archive.namelist() and size <= MOST_BYTES:
                sealed = _SEALED in archive.read(_MANIFEST)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError):
        raise Refused(Refusal.BROKEN, "no archive, or only a part of one") from None
    if sealed:
        raise Refused(Refusal.ENCRYPTED)
    if size > MOST_BYTES:
        raise Refused(Refusal.LIMIT, f"unpacks to {size:,} bytes, more than {MOST_BYTES:,}")
    return data


OFFICE = OfficeReader()
