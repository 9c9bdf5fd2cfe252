"""Names of character sets in pages, mails and books: what is meant by them, as browsers have it."""

from __future__ import annotations

import itertools

import pytest
from test_documents_of_formats import archive, read

from voyage_jobs.readers.encodings import labelled

SAID = [
    ("iso-8859-1", "cp1252", "\u201cquoted\u201d \u2013 5 \u20ac, caf\u00e9"),
    ("latin1", "cp1252", "5 \u20ac"),
    ("ISO-8859-9", "cp1254", "\u201c\u015fey\u201d"),
    ("tis-620", "cp874", "\u201c\u0e01\u201d"),
    ("gb2312", "gb18030", "\u6731\u9555\u57fa"),
    ("GBK", "gb18030", "\u6731\u9555\u57fa \U00020000"),
    ("ks_c_5601-1987", "cp949", "\uac02"),
    ("euc-kr", "cp949", "\uac02"),
    ("shift_jis", "cp932", "\u2460 \uff5e"),
    ("x-sjis", "cp932", "\u2460"),
    ("windows-1251", "cp1251", "\u043f\u0440\u0438\u0432\u0435\u0442"),
]


@pytest.mark.parametrize(("label", "encoding", "text"), SAID)
def test_a_page_a_book_and_a_mail_say_what_browsers_read(label: str, encoding: str, text: str) -> None:
    html = f'<html><head><meta charset="{label}"></head><body><p>{text}</p></body></html>'.encode(encoding)
    assert read("a.html", html).text == f"{text}\n"
    declared = f"<?xml version='1.0' encoding='{label}'?>\n<html><body><p>{text}</p></body></html>"
    assert read("a.xhtml", declared.encode(encoding)).text == f"{text}\n"
    found = read("a.epub", one_page(declared.encode(encoding)))
    assert (found.text, found.left_out) == (f"{text}\n\n", {})
    head = f"Subject: =?{label}?q?{''.join(f'={byte:02X}' for byte in text.encode(encoding))}?=\n"
    kind = f"Content-Type: text/plain; charset={label}\nContent-Transfer-Encoding: 8bit\n\n"
    found = read("a.eml", (head + kind).encode() + text.encode(encoding))
    assert (found.text, found.title) == (text, text)


def one_page(page: bytes) -> bytes:
    package = (
        '<package><manifest><item id="one" href="one.xhtml"/></manifest>'
        '<spine><itemref idref="one"/></spine></package>'
    )
    container = '<container><rootfiles><rootfile full-path="book.opf"/></rootfiles></container>'
    return archive({"META-INF/container.xml": container, "book.opf": package, "one.xhtml": page})


@pytest.mark.parametrize(
    "label",
    [
        "iso-8859-1",
        "iso-8859-9",
        "iso-8859-11",
        "tis-620",
        "us-ascii",
        "gb2312",
        "gbk",
        "euc-kr",
        "shift_jis",
    ],
)
def test_what_could_be_decoded_by_the_name_still_can_be(label: str) -> None:
    once = [bytes((each,)) for each in range(256)]
    twice = [bytes(each) for each in itertools.product(range(0x81, 256), range(0x40, 256))]
    for data in (*once, *twice):
        try:
            data.decode(label)
        except UnicodeDecodeError:
            continue
        assert labelled(data, label)


def test_bytes_that_windows_has_no_character_for_are_controls() -> None:
    assert labelled(b"a\x81\x93", "latin1") == "a\x81\u201c"
    with pytest.raises(UnicodeDecodeError):
        labelled(b"\xff", "tis-620")
    for label in ("nope", "base64", "a\0b"):
        with pytest.raises(LookupError):
            labelled(b"a", label)


def test_a_mail_that_is_said_to_be_ascii_is_read_as_utf8_first() -> None:
    head = b"Subject: a\nContent-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 8bit\n\n"
    assert read("a.eml", head + "Grüße".encode()).text == "Grüße"
    assert read("a.eml", head + "“Grüße”".encode("cp1252")).text == "“Grüße”"


def test_a_chapter_goes_by_its_mark_and_one_that_is_not_decodable_is_counted() -> None:
    html = '<?xml version="1.0" encoding="{}"?><html><body><p>café €</p></body></html>'
    for encoding in ("utf-16", "utf-8-sig", "utf-8"):
        assert read("a.epub", one_page(html.format("utf-16").encode(encoding))).text == "café €\n\n"
    found = read("a.epub", one_page(html.format("utf-8").encode("cp1252")))
    assert (found.text, found.left_out) == ("caf\ufffd \ufffd\n\n", {"chapters": 1})
