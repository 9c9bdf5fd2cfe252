"""Documents and slides of Office Open XML: headings, lists and tables as Markdown."""

from __future__ import annotations

import html
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.readers.reader import Json, Reader, Refusal, Refused, Text

MOST_BYTES = 256 << 20
"""Of all that is in an archive, unpacked."""
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PARTS = re.compile(
    r"(?:(?:word|ppt/slides|ppt/notesSlides|(?:word|ppt)/charts)/[^/]+|(?:word|ppt)/diagrams/data\d*)\.xml\Z"
)
_WORD = re.compile(r"\w+")
_RUNS = re.compile(rb"<(?:w:t|w:delText|a:t|c:v)(?:\s[^>]*)?>([^<]*)</")
_OF_NUMBERS = re.compile(rb"<number:[^>]*>[^<]*")  # how dates and amounts are to look
_WITHIN_WORDS = re.compile(rb"</?text:(?:span|a|bookmark\w*)\b[^>]*>")
_TAG = re.compile(rb"<[^>]*>")
_NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
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
        text = found.replace("\0", "")
        hidden = hidden_tokens(file, text)
        yield Text(text, "markdown", metadata={}, left_out={"hidden_text": hidden} if hidden else {})


def words_of_runs(part: bytes) -> bytes:
    """What the runs of text in Office's XML say, and the values of its charts."""
    return b" ".join(_RUNS.findall(part))


def words_between_tags(part: bytes) -> bytes:
    """What stands between the tags of XML; those that are about a part of a word do not part it."""
    return _TAG.sub(b" ", _WITHIN_WORDS.sub(b"", _OF_NUMBERS.sub(b" ", part)))


def hidden_tokens(
    file: BinaryIO, text: str, parts: re.Pattern[str] = _PARTS, said: Callable[[bytes], bytes] = words_of_runs
) -> int:
    """About how many tokens of the words in an archive's parts are not in the text: hidden or deleted ones, headers and
    footers. `said`: what the XML of a part says."""
    words: list[str] = []
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            for name in filter(parts.match, archive.namelist()):
                words += _WORD.findall(html.unescape(said(archive.read(name)).decode(errors="ignore")))
    except _NO_ARCHIVE:
        return 0  # where only a part is broken that the library does without
    shown = set(_WORD.findall(text.replace("\\", "")))
    hidden = " ".join(word for word in words if word not in shown)
    return estimate_tokens(hidden) if hidden else 0


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
    except _NO_ARCHIVE:
        raise Refused(Refusal.BROKEN, "no archive, or only a part of one") from None
    if sealed:
        raise Refused(Refusal.ENCRYPTED)
    if size > MOST_BYTES:
        raise Refused(Refusal.LIMIT, f"unpacks to {size:,} bytes, more than {MOST_BYTES:,}")
    return data


OFFICE = OfficeReader()
