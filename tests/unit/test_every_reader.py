"""Over every reader: each word of a file is in a chunk, in the metadata, or counted as left out, with the reason."""

from __future__ import annotations

import io
import json
import re
import sysconfig
import zipfile
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import count
from pathlib import Path

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from pdf_files import pdf

from tests.splits import of_new_state
from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.readers.data import without_data
from voyage_jobs.readers.reader import Reader, Refused, Text
from voyage_jobs.readers.reading import read_text
from voyage_jobs.readers.registry import BUILT_IN, Registered, reader_of
from voyage_jobs.splitting.split import SplitOptions, split

OPTIONS = [of_new_state(), SplitOptions(max_chars=200, overlap_chars=20)]
WORD = re.compile(r"word\d+x")
_ROUNDING = 2  # tokens
Parts = list[tuple[int, int]]
"""What a file is made of: (which kind of part, how many words)."""


class _Words:
    """Words that are each of their own."""

    def __init__(self) -> None:
        self._numbers = count()

    def __call__(self, number: int) -> str:
        return " ".join(f"word{next(self._numbers)}x" for _ in range(number))


def lines_of(*kinds: str) -> Callable[[Parts], bytes]:
    """A file of lines of these kinds, `{}` and `{0}` for some words."""

    def made(parts: Parts) -> bytes:
        words = _Words()
        blocks = [kinds[kind % len(kinds)] for kind, _ in parts]
        texts = [
            re.sub(r"\{\}", lambda _, n=n: words(n), block)
            for block, (_, n) in zip(blocks, parts, strict=True)
        ]
        return "\n\n".join(texts).encode()

    return made


def html(parts: Parts) -> bytes:
    words, body = _Words(), []
    kinds = [
        "p",
        "nav",
        "h2",
        "aside",
        "pre",
        "form",
        "blockquote",
        "footer",
        "noscript",
        "li",
        "svg",
        "figcaption",
    ]
    for kind, number in parts:
        tag = kinds[kind % len(kinds)]
        body.append(f"<{tag}>{words(number)}<b>{words(1)}</b></{tag}><img alt='{words(1)}' src='a.png'>")
    around = f"<header>{words(2)}</header>", f"<div>{words(1)}</div>"
    return (
        f"<title>{words(2)}</title><body>{around[0]}<main>{''.join(body)}</main>{around[1]}</body>".encode()
    )


def notebook(parts: Parts) -> bytes:
    words, cells = _Words(), []
    for kind, number in parts:
        cell = {
            "cell_type": ["markdown", "code", "raw"][kind % 3],
            "source": [f"{words(number)}\n", words(1)],
        }
        if kind % 3 == 1:
            stream = {"output_type": "stream", "name": "stdout", "text": [words(number)]}
            shown = {"output_type": "display_data", "data": {"text/html": words(2), "text/plain": [words(1)]}}
            cell["outputs"] = [stream, shown, {"output_type": "error", "traceback": [words(1)]}]
        if kind % 5 == 0:
            cell["attachments"] = {"a.txt": {"text/plain": words(1)}}
        cells.append(cell)
    return json.dumps({"nbformat": 4, "cells": cells}).encode()


def pages(parts: Parts) -> bytes:
    words = _Words()
    head, foot = words(2), words(1)
    written = [[head, *(words(min(number, 6)) for _ in range(3)), foot] for _, number in parts]
    return pdf(written, outline=[(words(1), 0)], title=words(1), author=words(1))


DATA = Path(__file__).parents[1] / "data"
_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def office(parts: Parts) -> bytes:
    words = _Words()
    kinds = [
        "<w:p><w:r><w:t>{}</w:t></w:r></w:p>",
        '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>{}</w:t></w:r></w:p>',
        "<w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>{}</w:t></w:r></w:p>",
        "<w:p><w:del><w:r><w:delText>{}</w:delText></w:r></w:del></w:p>",
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc></w:tr></w:tbl>",
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:sdtContent></w:sdt>",
    ]
    body = "".join(kinds[kind % len(kinds)].format(words(number)) for kind, number in parts)
    document = f'<?xml version="1.0"?><w:document {_W}><w:body>{body}</w:body></w:document>'
    return _with_parts(DATA / "small.docx", {"word/document.xml": document})


def sheets(parts: Parts) -> bytes:
    """Two sheets, of which the second is hidden."""
    words = _Words()

    def sheet(of: Parts) -> str:
        rows = [
            f'<c r="A{at}" t="inlineStr"><is><t>{words(each[1])}</t></is></c>'
            for at, each in enumerate(of, 1)
        ]
        told = "".join(f'<row r="{at}">{row}</row>' for at, row in enumerate(rows, 1))
        footer = f"<headerFooter><oddFooter>&amp;C{words(2)}</oddFooter></headerFooter></worksheet>"
        return re.sub(
            r"<sheetData.*?(?:</sheetData>|/>)", f"<sheetData>{told}</sheetData>", first, flags=re.DOTALL
        ).replace("</worksheet>", footer)

    with zipfile.ZipFile(DATA / "small.xlsx") as archive:
        first, book, related = (
            archive.read(f"xl/{name}").decode()
            for name in ("worksheets/sheet1.xml", "workbook.xml", "_rels/workbook.xml.rels")
        )
    more = '<sheet name="Second" sheetId="2" state="hidden" r:id="rId99"/></sheets>'
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"
    link = f'<Relationship Id="rId99" Type="{kind}" Target="worksheets/sheet2.xml"/></Relationships>'
    return _with_parts(
        DATA / "small.xlsx",
        {
            "xl/worksheets/sheet1.xml": sheet([each for each in parts if each[0] % 3]),
            "xl/worksheets/sheet2.xml": sheet([each for each in parts if not each[0] % 3]),
            "xl/workbook.xml": book.replace("</sheets>", more),
            "xl/_rels/workbook.xml.rels": related.replace("</Relationships>", link),
        },
    )


def _with_parts(path: Path, contents: dict[str, str]) -> bytes:
    """An archive with other contents of some parts."""
    made = io.BytesIO()
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(made, "w") as after:
        for name in dict.fromkeys((*before.namelist(), *contents)):
            after.writestr(name, contents.get(name) or before.read(name))
    return made.getvalue()


def opendocument(parts: Parts) -> bytes:
    words = _Words()
    kinds = ["<text:p>{}</text:p>", '<text:h text:outline-level="1">{}</text:h>']
    body = "".join(kinds[kind % len(kinds)].format(words(number)) for kind, number in parts)
    with zipfile.ZipFile(DATA / "small.odt") as archive:
        content = archive.read("content.xml").decode()
    head, _, _ = content.partition("<office:text")
    content = f"{head}<office:text>{body}</office:text></office:body></office:document-content>"
    return _with_parts(DATA / "small.odt", {"content.xml": content})


def slides(parts: Parts) -> bytes:
    words = _Words()
    kinds = [
        *['<draw:frame presentation:class="title"><text:p>{}</text:p></draw:frame>', "<text:p>{}</text:p>"],
        *["<presentation:notes><text:p>{}</text:p></presentation:notes>", "<svg:desc>{}</svg:desc>"],
        "<text:list><text:list-item><text:p>{}</text:p></text:list-item></text:list>",
        "<table:table><table:table-row><table:table-cell>{}</table:table-cell></table:table-row></table:table>",
        "<table:table><table:table-row><table:table-cell><text:p>{}</text:p></table:table-cell></table:table-row></table:table>",
    ]
    body = "".join(kinds[kind % len(kinds)].format(words(number)) for kind, number in parts)
    with zipfile.ZipFile(DATA / "small.odp") as archive:
        content = archive.read("content.xml").decode()
    head, _, _ = content.partition("<office:presentation>")
    end = "</draw:page></office:presentation></office:body></office:document-content>"
    return _with_parts(
        DATA / "small.odp", {"content.xml": f"{head}<office:presentation><draw:page>{body}{end}"}
    )


def epub(parts: Parts) -> bytes:
    words = _Words()
    kinds = ["<p>{}</p>", "<h1>{}</h1>", "<pre>{}</pre>", "<blockquote>{}</blockquote>"]
    body = "".join(kinds[kind % len(kinds)].format(words(number)) for kind, number in parts)
    return _with_parts(DATA / "small.epub", {"in/one.xhtml": f"<html><body>{body}</body></html>"})


def mail(parts: Parts) -> bytes:
    words = _Words()
    lines = "".join(f"{words(number)}.\n" for _, number in parts)
    return f"Subject: {words(2)}\nFrom: a@b.org\n\n{lines}".encode()


def rtf(parts: Parts) -> bytes:
    lines = lines_of("{}")(parts).split(b"\n\n")
    return b"{\\rtf1\\ansi " + b"\\par ".join(lines) + b"\\par}"


FILES: dict[str, Callable[[Parts], bytes]] = {
    "markdown": lines_of(
        *[
            "# {}",
            "{}",
            "```\n{}\n```",
            "| {} | {} |\n|---|---|\n| {} | {} |",
            "- {}\n  - {}",
            "<!-- {} -->",
            "[{}](x)",
        ],
        *["![](data:image/png;base64," + "{}" + "A" * 900 + ")", "<h1>{}</h1>", "{}\n---", "> {}", "[a]: {}"],
    ),
    "rst": lines_of(
        "{}\n" + "=" * 90, ".. _{}:", ".. note:: {}", "::\n\n    {}", ".. {}", "* {}", ":field: {}"
    ),
    "asciidoc": lines_of(
        "= {}\n:a: {}", "== {}", "{}", "----\n{}\n----", "// {}", "[{}]", "* {}", "|===\n|{}\n|==="
    ),
    "org": lines_of(
        "#+title: {}", "* {}", ":X:\n:id: {}\n:END:", "{}", "#+begin_src\n{}\n#+end_src", "# {}", "#+a: {}"
    ),
    "html": html,
    "notebook": notebook,
    "pdf": pages,
    "office": office,
    "sheets": sheets,
    "opendocument": opendocument,
    "slides": slides,
    "epub": epub,
    "mail": mail,
    "rtf": rtf,
    "python": lines_of(
        "# {}", "def f():\n    return '{}'", "x = '{}'", "class A:\n    def b(self):\n        '{}'", "(("
    ),
    **dict.fromkeys(
        ("javascript", "typescript", "go", "rust", "java"), lines_of("// {}", "/* {} */", 'f("{}");', "((")
    ),
    "text": lines_of("{}", "  {}\n{}", "{}, {};", "\0{}", "a" * 500 + "{}"),
}
READERS = [each for each in BUILT_IN if each.name != "outlook"]
"""All but that of compound files, which no library here writes: it hands on what a mail says, as `mail` does."""
PARTS = st.lists(st.tuples(st.integers(0, 11), st.integers(1, 9)), min_size=1, max_size=12)


def lost(chosen: Registered, data: bytes, options: SplitOptions, path: str) -> set[str]:
    """The words of a file that are nowhere, beyond what is counted as left out."""
    try:
        document = without_data(read_text(chosen, io.BytesIO(data)), mdx=path.endswith(".mdx"))
    except Refused:  # all of it is skipped, with a reason
        return set()
    parts = split(document, path, options)
    chunks = [document.text[chunk.start : chunk.end] for chunk in parts.chunks]
    kept = [*chunks, parts.title, json.dumps(parts.metadata), *(" ".join(each) for each in parts.sections)]
    missing = words_in(data) - set(WORD.findall(" ".join(kept)))
    counted = document.data_tokens + sum(document.left_out.values())
    return missing if estimate_tokens(" ".join(missing)) > counted + _ROUNDING else set()


def words_in(data: bytes) -> set[str]:
    """The words of a file, of each part of an archive, and of what a PDF draws."""
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = b" ".join(archive.read(name) for name in archive.namelist())
    return set(WORD.findall(data.decode("latin-1")))


@pytest.mark.parametrize("reader", READERS, ids=[each.name for each in READERS])
def test_every_word_is_in_a_chunk_or_the_metadata_or_counted(reader: Reader) -> None:
    make = FILES[reader.name]  # a reader that is new brings its files
    chosen, path = Registered(reader), f"a{(*reader.suffixes, '.txt')[0]}"
    taken = 0

    @examples(40)
    @given(PARTS, st.sampled_from(OPTIONS))
    def check(parts: Parts, options: SplitOptions) -> None:
        nonlocal taken
        data = make(parts)
        taken += bool(words_in(data))
        assert lost(chosen, data, options, path) == set()

    check()
    assert taken


_SHOWN = {"org": 3, "asciidoc": 2, "sheets": 1}
"""Which part of its files is text."""


class _Loses(Reader):
    """One of ours whose text lacks its last two words."""

    def __init__(self, inner: Reader) -> None:
        self.inner = inner
        self.name, self.version, self.suffixes = inner.name, inner.version, inner.suffixes
        self.forms, self.heads = inner.forms, inner.heads

    def read(self, file, options):  # type: ignore[no-untyped-def]
        [found] = self.inner.read(file, options)
        *_, (start, _), (_, end) = [each.span() for each in WORD.finditer(found.text)]
        yield Text(
            found.text[:start] + " " * (end - start) + found.text[end:],
            found.form,
            metadata={},
            left_out=found.left_out,
        )


@pytest.mark.parametrize("reader", READERS, ids=[each.name for each in READERS])
def test_a_reader_that_loses_a_word_would_be_found(reader: Reader) -> None:
    data = FILES[reader.name]([(_SHOWN.get(reader.name, 0), 3)] * 2)
    assert lost(Registered(reader), data, OPTIONS[0], "a") == set()
    assert lost(Registered(_Loses(reader)), data, OPTIONS[0], f"a{(*reader.suffixes, '.txt')[0]}")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        *[
            ("html", [(0, 2), (1, 5)]),
            ("notebook", [(1, 3)]),
            ("pdf", [(0, 4)] * 5),
            ("office", [(0, 2), (2, 4)]),
        ],
        *[("sheets", [(0, 3), (1, 2)]), ("org", [(3, 2), (2, 4)])],
    ],
)
def test_what_a_reader_leaves_out_would_be_found_if_it_were_not_counted(name: str, parts: Parts) -> None:
    [reader] = [each for each in BUILT_IN if each.name == name]
    data = FILES[name](parts)
    counted = read_text(Registered(reader), io.BytesIO(data)).left_out

    assert [what for what, tokens in counted.items() if tokens]
    assert lost(Registered(reader), data, OPTIONS[0], "a") == set()
    assert lost(Registered(_Silent(reader)), data, OPTIONS[0], "a")


class _Silent(_Loses):
    """One of ours that does not count."""

    def read(self, file, options):  # type: ignore[no-untyped-def]
        [found] = self.inner.read(file, options)
        yield replace(found, left_out={})


# --- real files ---


class _Visible(HTMLParser):
    """The words of a page that are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in {"script", "style", "template", "head"}:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            self._inside.remove(tag)

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.words += re.findall(r"[^\W\d_]{3,}", data)


def real_files() -> list[Path]:
    """A few of each kind, of what is installed here."""
    found: dict[str, list[Path]] = {}
    for path in sorted(Path(sysconfig.get_path("purelib")).rglob("*")):
        kind = path.suffix.lower()
        if kind in {".md", ".rst", ".txt", ".html", ".ipynb", ".org", ".adoc", ".py"} and path.is_file():
            known = found.setdefault(kind, [])
            if len(known) < 15 and 0 < path.stat().st_size < 60_000:
                known.append(path)
    return [path for known in found.values() for path in known]


@pytest.mark.parametrize("path", real_files(), ids=lambda path: "-".join(path.parts[-2:]))
def test_so_it_is_with_real_files(path: Path) -> None:
    chosen = reader_of(path.name)
    try:
        read = read_text(chosen, io.BytesIO(path.read_bytes()))
        document = without_data(read, mdx=path.suffix == ".mdx")
    except Refused:
        return
    parts = split(document, path.name, of_new_state())
    kept = list(document.text)
    for chunk in parts.chunks:
        kept[chunk.start : chunk.end] = " " * (chunk.end - chunk.start)
    rest = "".join(kept)
    told = json.dumps(parts.metadata, ensure_ascii=False)
    assert [word for word in re.findall(r"\w{2,}", rest) if word not in told] == []
    if chosen.name == "html":
        page = _Visible()
        page.feed(path.read_text(encoding="utf-8"))
        missing = [word for word in page.words if word not in read.text.replace("\\", "")]
        assert len(missing) <= sum(read.left_out.values())
