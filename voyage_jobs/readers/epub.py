"""Books in EPUB: their chapters in the order in which they are read, as Markdown."""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

from voyage_jobs.readers.html import decoded_page, whole_page
from voyage_jobs.readers.office import opened_archive
from voyage_jobs.readers.reader import Json, Place, Reader, Refusal, Refused, Text

if TYPE_CHECKING:
    from lxml.etree import _Element

_CONTAINER, _SEALED = "META-INF/container.xml", "META-INF/encryption.xml"
_WORD = re.compile(r"(?<!&)\b\w")  # entities are no words
_PAGES = (".xhtml", ".html", ".htm", ".xml")
_TOLD = ("creator", "language", "publisher", "date", "subject", "description", "identifier")
_FAULTS = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError, RuntimeError, ValueError)


class EpubReader(Reader):
    """Pictures are left out. The place of a text is its chapter."""

    name = "epub"
    version = 2
    suffixes = (".epub",)
    forms = ("markdown",)
    isolated = True
    needs = ("lxml", "selectolax", "html_to_markdown")
    extra = "formats"

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:  # noqa: ARG002 - it has none
        """The whole book. Raises Refused for one that is protected, broken, or unpacks to too much."""
        from lxml.etree import XMLSyntaxError

        data = opened_archive(file)
        try:
            with zipfile.ZipFile(BytesIO(data)) as archive:
                if _SEALED in archive.namelist() and any(
                    each.lower().endswith(_PAGES) for each in _protected(archive)
                ):
                    raise Refused(Refusal.ENCRYPTED)
                yield _book(archive)
        except (*_FAULTS, XMLSyntaxError):
            raise Refused(Refusal.BROKEN, "no book that can be opened") from None


def _book(archive: zipfile.ZipFile) -> Text:
    package = next(iter(_found(_parsed(archive.read(_CONTAINER)), "rootfile", "full-path")), "")
    root = _parsed(archive.read(package))
    items = {each.get("id"): each.get("href") or "" for each in _each(root, "item")}
    text, places, lacking = "", [], 0
    for number, name in enumerate(_found(root, "itemref", "idref"), 1):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(items.get(name, ""))))
        try:
            page = archive.read(path)
        except KeyError:
            lacking += 1
            continue
        said, is_whole = _decoded(page)
        body = whole_page(said, is_xml=True).strip()
        lacking += not is_whole or (not body and _has_words(page))
        if body:
            places.append(Place(len(text), "chapter", str(number)))
            text += f"{body}\n\n"
    metadata: dict[str, Json] = {}
    for name in _TOLD:
        if said := ", ".join(" ".join((each.text or "").split()) for each in _each(root, name)):
            metadata["author" if name == "creator" else name] = said
    title = next((" ".join((each.text or "").split()) for each in _each(root, "title")), "")
    left_out = {"chapters": lacking} if lacking else {}
    return Text(
        text.replace("\0", ""), "markdown", title=title, metadata=metadata, places=places, left_out=left_out
    )


def _decoded(page: bytes) -> tuple[str, bool]:
    """What a page says, and whether all of it could be decoded."""
    try:
        return decoded_page(page), True
    except Refused as refused:
        return page.decode(errors="replace"), refused.reason == Refusal.EMPTY


def _has_words(page: bytes) -> bool:
    """Whether a page says something in its body, as XML has it."""
    from lxml.etree import XMLParser, XMLSyntaxError, fromstring

    lenient = XMLParser(
        recover=True, resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        root = fromstring(page, lenient)
    except XMLSyntaxError:
        return False
    if root is None:
        return False
    for each in root.iter("{*}head", "{*}script", "{*}style"):
        each.clear(keep_tail=True)
    return any(map(_WORD.search, root.itertext()))


def _protected(archive: zipfile.ZipFile) -> list[str]:
    return _found(_parsed(archive.read(_SEALED)), "CipherReference", "URI")


def _parsed(data: bytes) -> _Element:
    """XML that fetches nothing, and names nothing that would be put in its place."""
    from lxml.etree import XMLParser, fromstring

    return fromstring(data, XMLParser(resolve_entities=False, no_network=True))


def _each(root: _Element, name: str) -> Iterator[_Element]:
    return (each for each in root.iter("{*}" + name))


def _found(root: _Element, name: str, attribute: str) -> list[str]:
    return [value for each in _each(root, name) if (value := each.get(attribute))]


EPUB = EpubReader()
