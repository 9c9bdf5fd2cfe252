"""The task of reading and cutting several files of safe readers at once: what an engine takes off a scan.

What goes in and what comes out is JSON beside the bytes of the files; `asked` and `answered` are the other side of
`cut_files`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

import orjson

from voyage_jobs.core.profile import KEY_BYTES, KeyMaker, Profile
from voyage_jobs.core.tokens import Count
from voyage_jobs.readers.data import BLANKED, without_data
from voyage_jobs.readers.isolation import text_of
from voyage_jobs.readers.reader import Json, Refusal, Refused, Text
from voyage_jobs.readers.reading import read_here
from voyage_jobs.readers.registry import BUILT_IN, Registered
from voyage_jobs.splitting.addresses import address_of
from voyage_jobs.splitting.frontmatter import front_matter
from voyage_jobs.splitting.header import embedded
from voyage_jobs.splitting.requests import Request, requests_for
from voyage_jobs.splitting.split import Chunk, SplitDocument, SplitOptions, split

CUT = "voyage_jobs.splitting.task:cut_files"
_SAFE = {each.name: each for each in BUILT_IN if not each.isolated}


class File(NamedTuple):
    """One file of a task; `size` is that of its bytes."""

    path: str
    reader: str
    options: Mapping[str, Json]
    size: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A document that was cut, and the requests that answer for its chunks."""

    document: SplitDocument
    requests: Sequence[Request]


def is_safe(chosen: Registered) -> bool:
    """Whether a task can have this reader read: one of ours, which needs no process of its own."""
    return _SAFE.get(chosen.name) is chosen.reader


def read_safely(chosen: Registered, path: str, file: BinaryIO) -> Text:
    """The text of a file, without its data where its reader was told so. Raises Refused."""
    return prepared(chosen, path, read_here(chosen, file))


def prepared(chosen: Registered, path: str, document: Text) -> Text:
    """What is to be cut of a text, and where it is on the web. Raises Refused if nothing is."""
    whole = document
    if chosen.options.get("data") == BLANKED:
        document = without_data(document, mdx=path.endswith(".mdx"))
    if _has_no_body(document):
        raise Refused(Refusal.EMPTY if document is whole else Refusal.ONLY_DATA, "nothing but front matter")
    base_url = chosen.options.get("base_url")
    if base_url and not document.url:
        document = replace(document, url=address_of(str(base_url), path))
    return document


def _has_no_body(document: Text) -> bool:
    """Whether front matter is all that there is: no chunk would come of it, and the table would lose it in silence."""
    if document.form != "markdown" or document.metadata is not None:
        return False
    text = document.text.rstrip()
    return text.endswith(("---", "...", "+++")) and front_matter(text).end == len(text)


# --- the other side ---


def asked(profile: Profile, options: SplitOptions, files: Sequence[File]) -> bytes:
    """The request for these files, whose bytes follow each other."""
    return orjson.dumps(
        {"profile": profile.to_json(), "options": options, "files": [tuple(each) for each in files]}
    )


def cut_files(request: bytes, file: BinaryIO) -> dict[str, Any]:
    """What each file comes to; tokens are estimated."""
    told = orjson.loads(request)
    options, profile = SplitOptions(**told["options"]), told["profile"]
    found = []
    for each in told["files"]:
        known = File(*each)
        found.append(_cut(known, file.read(known.size), options, profile))
    return {"files": found}


def _cut(file: File, data: bytes, options: SplitOptions, profile: str) -> dict[str, Any]:
    chosen = Registered(_SAFE[file.reader], options=file.options)
    try:
        text = read_safely(chosen, file.path, io.BytesIO(data))
    except Refused as refused:
        return {"refused": [refused.reason, refused.detail]}
    document = split(text, file.path, options)
    keys, contextualized = _keys(profile)
    requests = requests_for(text.text, document, options, keys, contextualized=contextualized)
    return {
        "text": text,
        "title": document.title,
        "metadata": document.metadata,
        "sections": document.sections,
        "headers": document.headers,
        "chunks": [tuple(chunk) for chunk in document.chunks],
        "keys": b"".join(request.key for request in requests).hex(),
        "sizes": [len(request.chunks) for request in requests] if contextualized else None,
    }


@lru_cache(4)
def _keys(profile: str) -> tuple[KeyMaker, bool]:
    told = Profile.from_json(profile)
    return KeyMaker(told), told.contextualized


def answered(answer: Mapping[str, Any], exact: Count | None) -> Iterator[tuple[Text, Cut] | Refused]:
    """What a task has found, file by file; `exact` counts tokens, where the estimate is not to stand."""
    for each in answer["files"]:
        if "refused" in each:
            yield Refused(*each["refused"])
        else:
            text = text_of(each["text"])
            yield text, _answered(each, text, exact)


def _answered(each: Mapping[str, Any], text: Text, exact: Count | None) -> Cut:
    chunks = [Chunk(*chunk) for chunk in each["chunks"]]
    headers = each["headers"]
    if exact is not None:
        tokens = exact([embedded(text.text, c.start, c.end, headers, c.section) for c in chunks])
        chunks = [chunk._replace(tokens=count) for chunk, count in zip(chunks, tokens, strict=True)]
    sections = [tuple(section) for section in each["sections"]]
    document = SplitDocument(each["title"], each["metadata"], sections, headers, chunks)
    return Cut(document, list(_requests(bytes.fromhex(each["keys"]), chunks, each["sizes"])))


def _requests(keys: bytes, chunks: Sequence[Chunk], sizes: Sequence[int] | None) -> Iterator[Request]:
    at = 0
    for number, size in enumerate(sizes or [1] * len(chunks)):
        yield Request(keys[number * KEY_BYTES : (number + 1) * KEY_BYTES], chunks[at : at + size])
        at += size
