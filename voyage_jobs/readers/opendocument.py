"""OpenDocument texts and presentations: headings, slides, lists and tables as Markdown."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from voyage_jobs.readers.office import hidden_tokens, opened_archive, words_between_tags
from voyage_jobs.readers.reader import Json, Reader, Refusal, Refused, Text
from voyage_jobs.readers.slides import slides

_ROW = re.compile(r"^\|.*\|[ \t]*$", re.MULTILINE)
_PADDING = re.compile(r" {2,}|-{4,}")
_PARTS = re.compile(r"(?:content|styles)\.xml\Z")
_PROMPTS = re.compile(rb'<draw:frame\b[^>]*presentation:class="[^>]*>.*?</draw:frame>', re.DOTALL)
_MASTERS = b"<office:master-styles"
_TOLD = {"creator": "author", "subject": "subject", "keyword": "keywords", "description": "description"}
_FAULTS = (
    *(
        OSError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        SyntaxError,
        AssertionError,
        RecursionError,
    ),
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OverflowError),
)


class OpenDocumentReader(Reader):
    """Pictures are left out, and no link is followed; headers, footers and what was deleted, which its library drops,
    are counted."""

    name = "opendocument"
    version = 1
    suffixes: tuple[str, ...] = (".odt", ".ott")
    forms = ("markdown",)
    isolated = True
    needs = ("odfdo",)
    extra = "formats"

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:  # noqa: ARG002 - it has none
        """The whole document. Raises Refused for what needs a password, is broken, or unpacks to too much."""
        from odfdo import Document
        from odfdo.security import SecurityError

        data = opened_archive(file)
        try:
            document = Document(io.BytesIO(data))
            kind = document.get_type().removesuffix("-template")
            if kind not in ("text", "presentation"):
                raise Refused(Refusal.BROKEN, "no text and no presentation of OpenDocument")
            found = slides(document.body) if kind == "presentation" else str(document.to_markdown())
            said = {ours: getattr(document.meta, theirs) for theirs, ours in _TOLD.items()}
            title = str(document.meta.title or "")
        except SecurityError:
            raise Refused(Refusal.LIMIT, "it unpacks or expands to more than its library takes") from None
        except _FAULTS:
            raise Refused(Refusal.BROKEN, "no document that can be opened") from None
        metadata: dict[str, Json] = {name: str(value) for name, value in said.items() if value}
        text = _narrow(found).replace("\0", "")
        hidden = hidden_tokens(file, text, _PARTS, _said)
        left_out = {"hidden_text": hidden} if hidden else {}
        yield Text(text, "markdown", title=title, metadata=metadata, left_out=left_out)


class OpenSlidesReader(OpenDocumentReader):
    """The same of presentations. A reader of its own, so that files which were skipped before it came are read."""

    name = "slides"
    suffixes = (".odp", ".otp")


def _said(part: bytes) -> bytes:
    """What a part says, without what masters of slides say of where to write."""
    return words_between_tags(_PROMPTS.sub(b" ", part) if _MASTERS in part else part)


def _narrow(text: str) -> str:
    """Rows of tables without what pads their columns: it would be paid for."""
    return _ROW.sub(lambda row: _PADDING.sub(lambda run: " " if run[0][0] == " " else "---", row[0]), text)


OPENDOCUMENT = OpenDocumentReader()
OPEN_SLIDES = OpenSlidesReader()
