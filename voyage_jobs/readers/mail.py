"""Mails: their text, with the headers that people read as metadata; attachments are counted."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import parsedate_to_datetime
from typing import BinaryIO

from voyage_jobs.readers import rtf
from voyage_jobs.readers.compressed_rtf import unpacked
from voyage_jobs.readers.encodings import encoding_called, labelled
from voyage_jobs.readers.html import whole_page
from voyage_jobs.readers.office import OLE
from voyage_jobs.readers.reader import Json, Reader, Refusal, Refused, Text

_TOLD = {
    "from": "from",
    "to": "to",
    "cc": "cc",
    "date": "date",
    "subject": "subject",
    "message-id": "message_id",
    "in-reply-to": "in_reply_to",
    "list-id": "list_id",
}
"""The headers that are metadata, and their names there."""
_ABOUT_PARTS = ("content-type", "content-transfer-encoding", "content-disposition", "mime-version")
_SEALED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
_HTML = "text/html"
_DATES = ("date",)
_HTML_LIBRARIES = ("selectolax", "html_to_markdown")
_FAULTS = (  # of what a library makes of a damaged file
    *(OSError, ValueError, LookupError, AttributeError, TypeError, struct.error, AssertionError),
    *(RecursionError, OverflowError, NotImplementedError),
)


class MailReader(Reader):
    """Of a text that is there in several forms, the plain one is read."""

    name = "mail"
    version = 2
    suffixes = (".eml",)
    forms = ("plain", "markdown")
    isolated = True
    needs = _HTML_LIBRARIES
    extra = "formats"
    plain_without = True

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:  # noqa: ARG002 - it has none
        """The whole mail. Raises Refused for what is none, and for one that is encrypted."""
        data = file.read()
        if not data.removeprefix(b"\xef\xbb\xbf").strip(b"\0 \t\r\n"):
            raise Refused(Refusal.EMPTY, "no bytes")
        left_out: Counter[str] = Counter()
        try:
            mail = BytesParser(policy=compat32).parsebytes(data)
            if not mail.keys():
                raise Refused(Refusal.BROKEN, "no mail: it has no headers")
            parts = list(_texts(mail, left_out))
        except RecursionError:
            raise Refused(Refusal.LIMIT, "parts within parts within parts") from None
        metadata: dict[str, Json] = {}
        for name, value in mail.items():
            known = _TOLD.get(name.lower())
            if known is not None and known not in metadata:
                metadata[known] = _date(value) if known in _DATES else _header(value)
            elif name.lower() not in _ABOUT_PARTS:
                left_out["headers"] += 1
        yield _mail(parts, metadata, left_out)


class OutlookReader(Reader):
    """The same of mails as Outlook saves them. A body in RTF is read where there is no other."""

    name = "outlook"
    version = 2
    suffixes = (".msg",)
    heads = (OLE,)
    forms = ("plain", "markdown")
    isolated = True
    needs = ("oxmsg", "striprtf", *_HTML_LIBRARIES)
    extra = "formats"

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:  # noqa: ARG002 - it has none
        """The whole mail. Raises Refused for what is none."""
        from oxmsg import Message as Saved
        from oxmsg.domain.constants import PID_RTF_COMPRESSED
        from oxmsg.domain.model import UnrecognizedCodePageError, UnsupportedEncodingError

        left_out: Counter[str] = Counter()
        try:
            mail = Saved.load(file.read())
            plain, html = mail.body, mail.html_body
            packed = mail.properties.binary_prop_value(PID_RTF_COMPRESSED)
            said = {
                "from": mail.sender,
                "to": ", ".join(f"{each.name} <{each.email_address}>" for each in mail.recipients),
                "date": mail.sent_date and mail.sent_date.isoformat(),
                "subject": mail.subject,
            }
            left_out["attachments"] = mail.attachment_count
        except (*_FAULTS, UnrecognizedCodePageError, UnsupportedEncodingError):
            raise Refused(Refusal.BROKEN, "no mail of Outlook that can be opened") from None
        metadata: dict[str, Json] = {name: str(value) for name, value in said.items() if value}
        forms = [(plain, False)] if plain and plain.strip() else []
        forms += [(html, True)] if html else []
        if packed and not forms:
            forms = [(_of_rtf(packed, left_out), False)]
        left_out["alternatives"] = max(0, len(forms) - 1)
        yield _mail(forms[:1], metadata, left_out)


def _of_rtf(packed: bytes, left_out: Counter[str]) -> str:
    try:
        text, left_out["notes"] = rtf.text_of(unpacked(packed))
    except rtf.FAULTS:
        raise Refused(Refusal.BROKEN, "its body is RTF that cannot be read to its end") from None
    return text


def _mail(parts: list[tuple[str, bool]], metadata: dict[str, Json], left_out: Counter[str]) -> Text:
    """One text of all parts. A mail without any says its subject."""
    subject = str(metadata.get("subject", ""))
    is_markdown = any(is_html for _, is_html in parts)
    said = [whole_page(text) if is_html else text for text, is_html in parts]
    text = "\n\n".join(part.strip() for part in said if part.strip()) or subject
    if not text.strip():
        what = f"{left_out['attachments']} attachments and no text" if left_out["attachments"] else "no text"
        raise Refused(Refusal.EMPTY, what)
    counted = {reason: int(count) for reason, count in sorted(left_out.items()) if count}
    clean: dict[str, Json] = {name: _clean(str(value)) for name, value in metadata.items()}
    form = "markdown" if is_markdown else "plain"
    return Text(_clean(text), form, title=_clean(subject), metadata=clean, left_out=counted)


def _texts(part: Message, left_out: Counter[str]) -> Iterator[tuple[str, bool]]:
    """The texts of a part and those within it, and whether each is HTML. Raises Refused where they are encrypted."""
    kind = part.get_content_type()
    if kind in _SEALED and "signed" not in str(part.get_param("smime-type", "")):
        raise Refused(Refusal.ENCRYPTED)
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        yield from _of_several(part, left_out)
    elif part.get_content_disposition() == "attachment" or part.get_content_maintype() != "text":
        left_out["attachments"] += 1
    else:
        yield _decoded(part), kind == _HTML


def _of_several(part: Message, left_out: Counter[str]) -> Iterator[tuple[str, bool]]:
    inner = [each for each in part.get_payload() if isinstance(each, Message)]
    if part.get_content_type() != "multipart/alternative":
        for each in inner:
            yield from _texts(each, left_out)
        return
    found = [[*_texts(each, left_out)] for each in inner]
    told = [texts for texts in found if any(text.strip() for text, _ in texts)]
    plain = next((texts for texts in told if not any(is_html for _, is_html in texts)), None)
    yield from plain or (told[-1] if told else ())
    left_out["alternatives"] += max(0, len(told) - 1)


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    said = part.get_content_charset() or "utf-8"
    for label in ("utf-8" if encoding_called(said) == "ascii" else said, "utf-8"):
        try:
            return labelled(data, label)
        except (LookupError, ValueError):
            continue
    return data.decode("cp1252", "backslashreplace")


def _header(value: object) -> str:
    try:
        words = [
            (labelled(word, said), "utf-8") if said and isinstance(word, bytes) else (word, said)
            for word, said in decode_header(str(value))
        ]
        return " ".join(str(make_header(words)).split())
    except (HeaderParseError, LookupError, ValueError):
        return " ".join(str(value).split())


def _date(value: object) -> str:
    try:
        return parsedate_to_datetime(str(value)).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return _header(value)


def _clean(text: str) -> str:
    """Without zeros and lone surrogates, by which a parser hands bytes on."""
    return text.replace("\0", " ").encode("utf-8", "backslashreplace").decode()


MAIL, OUTLOOK = MailReader(), OutlookReader()
