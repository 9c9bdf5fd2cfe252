"""OpenDocument texts: headings, lists and tables as Markdown."""

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

_ROW = re.compile(r"^\|.*\|[ \t]*$", re.MULTILINE)
_PADDING = re.compile(r" {2,}|-{4,}")
_PARTS = re.compile(r"(?:content|styles)\.xml\Z")
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
    suffixes = (".odt", ".ott")
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
            if document.get_type() not in ("text", "text-template"):
                raise Refused(Refusal.BROKEN, "no text of OpenDocument")
            found = str(document.to_markdown())
            said = {ours: getattr(document.meta, theirs) for theirs, ours in _TOLD.items()}
            title = str(document.meta.title or "")
        except SecurityError:
            raise Refused(Refusal.LIMIT, "it unpacks or expands to more than its library takes") from None
        except _FAULTS:
            raise Refused(Refusal.BROKEN, "no document that can be opened") from None
        metadata: dict[str, Json] = {name: str(value) for name, value in said.items() if value}
        text = _narrow(found).replace("\0", "")
        hidden = hidden_tokens(file, text, _PARTS, words_between_tags)
        left_out = {"hidden_text": hidden} if hidden else {}
        yield Text(text, "markdown", title=title, metadata=metadata, left_out=left_out)


def _narrow(text: str) -> str:
    """Rows of tables without what pads their columns: it would be paid for."""
    return _ROW.sub(lambda row: _PADDING.sub(lambda run: " " if run[0][0] == " " else "---", row[0]), text)


OPENDOCUMENT = OpenDocumentReader()
