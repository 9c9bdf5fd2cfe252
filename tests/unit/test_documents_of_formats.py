"""Mails, books, OpenDocument and RTF: what is read of them, and what is counted or refused."""

from __future__ import annotations

import io
import struct
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest
from readers_in_use import use
from world import World

from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.readers import registry
from voyage_jobs.readers.compressed_rtf import unpacked
from voyage_jobs.readers.reader import Refused, Text
from voyage_jobs.readers.reading import read_here, read_text
from voyage_jobs.readers.registry import reader_of
from voyage_jobs.report.parts import parts_left_out
from voyage_jobs.report.status import status
from voyage_jobs.splitting.split import SplitOptions, split

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def read(path: str, data: bytes) -> Text:
    return read_here(reader_of(path), io.BytesIO(data))


def refusal(path: str, data: bytes) -> str:
    with pytest.raises(Refused) as refused:
        read(path, data)
    return str(refused.value)


# Mails.


def mail(text: str = "The pump is here.\n", **headers: str) -> EmailMessage:
    made = EmailMessage()
    made["From"] = "Zoë <zoe@example.com>"
    made["To"] = "team@example.com"
    made["Subject"] = "Die Pumpe für größere Höhen"
    made["Date"] = "Mon, 04 May 2026 10:30:00 +0200"
    made["Received"] = "from a by b"
    for name, value in headers.items():
        made[name] = value
    made.set_content(text)
    return made


def test_a_mail_has_its_headers_as_metadata_and_its_attachments_counted():
    made = mail()
    made.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="a.pdf")
    made.add_attachment("a note", filename="note.txt")
    found = read("a.eml", made.as_bytes())
    assert found.text == "The pump is here."
    assert found.form == "plain"
    assert found.title == "Die Pumpe für größere Höhen"
    assert found.metadata == {
        "from": "Zoë <zoe@example.com>",
        "to": "team@example.com",
        "subject": "Die Pumpe für größere Höhen",
        "date": "2026-05-04T10:30:00+02:00",
    }
    assert found.left_out == {"attachments": 2, "headers": 1}
    assert parts_left_out("mail", found.left_out) == (
        "Left out of documents of mail: 2 attachments of mails, 1 header of mails' transport"
    )


def test_of_a_text_in_two_forms_the_plain_one_is_read_and_the_other_counted():
    made = mail("plain words\n")
    made.add_alternative("<p><b>bold</b> words</p>", subtype="html")
    found = read("a.eml", made.as_bytes())
    assert (found.text, found.form) == ("plain words", "plain")
    assert found.left_out["alternatives"] == 1


def test_a_mail_of_html_is_markdown_without_its_style():
    made = mail()
    made.set_content("<style>p {}</style><h1>News</h1><p>It <b>runs</b>.</p>", subtype="html")
    found = read("a.eml", made.as_bytes())
    assert (found.text, found.form) == ("# News\n\nIt **runs**.", "markdown")


def test_a_mail_without_words_says_its_subject():
    assert read("a.eml", mail("\n").as_bytes()).text == "Die Pumpe für größere Höhen"


def test_what_is_encrypted_or_no_mail_says_so():
    sealed = b"Subject: a\nContent-Type: multipart/encrypted; boundary=x\n\n--x\n\nabc\n--x--\n"
    assert refusal("a.eml", sealed) == "encrypted"
    assert refusal("a.eml", b"Content-Type: application/pkcs7-mime\n\nabc") == "encrypted"
    assert refusal("a.eml", b"\n\njust words").startswith("broken")
    assert refusal("a.eml", b"").startswith("empty")
    assert refusal("a.msg", b"words").startswith("binary")
    assert refusal("a.msg", OLE + b"\0" * 2_000).startswith("broken")


def test_bytes_of_another_encoding_and_parts_within_parts_end_in_a_text_or_a_reason():
    assert (
        read("a.eml", b"Subject: =?x-no?b?zzz?=\nContent-Type: text/plain; charset=nope\n\ncaf\xe9").text
        == "café"
    )
    deep = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (at, at) for at in range(3_000)
    )
    assert refusal("a.eml", b"Subject: a\n" + deep).startswith("reader_limit")


# Books, OpenDocument, RTF.


def archive(parts: dict[str, str | bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in parts.items():
            made.writestr(name, data)
    return packed.getvalue()


def book(**more: str) -> bytes:
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        "<dc:title>Pumps</dc:title><dc:creator>Zoë</dc:creator></metadata><manifest>"
        '<item id="one" href="one.xhtml"/><item id="two" href="a%20b/two.xhtml"/></manifest>'
        '<spine><itemref idref="two"/><itemref idref="one"/><itemref idref="gone"/></spine></package>'
    )
    container = '<container><rootfiles><rootfile full-path="in/book.opf"/></rootfiles></container>'
    parts = {"META-INF/container.xml": container, "in/book.opf": package}
    pages = {
        "in/one.xhtml": "<body><h1>One</h1><p>first</p></body>",
        "in/a b/two.xhtml": "<h1>Two</h1><p>second</p>",
    }
    return archive({**parts, **pages, **{name.replace("__", "/"): text for name, text in more.items()}})


def test_the_chapters_of_a_book_come_as_they_are_read():
    found = read("a.epub", book())
    assert found.text == "# Two\n\nsecond\n\n# One\n\nfirst\n\n"
    assert (found.title, found.metadata) == ("Pumps", {"author": "Zoë"})
    assert [(each.kind, each.label, found.text[each.at :][:5]) for each in found.places] == [
        ("chapter", "1", "# Two"),
        ("chapter", "2", "# One"),
    ]
    assert found.left_out == {"chapters": 1}
    assert split(found, "a.epub", SplitOptions()).sections == [("Two",), ("One",)]


def test_a_book_that_is_protected_or_broken_says_so():
    sealed = '<encryption><CipherReference URI="in/one.xhtml"/></encryption>'
    assert refusal("a.epub", book(**{"META-INF__encryption.xml": sealed})) == "encrypted"
    fonts = '<encryption><CipherReference URI="in/font.otf"/></encryption>'
    assert read("a.epub", book(**{"META-INF__encryption.xml": fonts})).text
    assert refusal("a.epub", archive({"a.txt": "words"})).startswith("broken")
    assert refusal("a.epub", book()[:-40]).startswith("broken")


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + at)} "{f"&{chr(97 + at)};" * 10}">' for at in range(9))
    + "]><container><rootfiles><rootfile full-path='in/book.opf'/></rootfiles><x>&j;</x></container>"
)


def test_a_bomb_is_refused_and_nothing_from_outside_is_taken(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    roots = '&s;<rootfile full-path="in/book.opf"/>'
    outside = f'<!DOCTYPE c [<!ENTITY s SYSTEM "file://{secret}">]><container><rootfiles>{roots}</rootfiles></container>'
    assert "secret" not in read("a.epub", book(**{"META-INF__container.xml": outside})).text
    for path in ("a.epub", "a.odt"):
        bomb = archive({f"{at}.xml": "<" * (60 << 20) for at in range(5)})
        assert refusal(path, bomb).startswith("reader_limit")
    read_or_refuse("a.epub", book(**{"META-INF__container.xml": BOMB}))
    read_or_refuse("a.odt", odt(BOMB))
    read_or_refuse("a.odt", odt("<a>" * 200_000))


def read_or_refuse(path: str, data: bytes) -> None:
    """In a process of its own, as it is read."""
    reason = ""
    try:
        assert read_text(reader_of(path), io.BytesIO(data)).text
    except Refused as refused:
        reason = refused.reason
    assert reason != "reader_failed"


def odt(content: str | None = None, title: str = "Pumps") -> bytes:
    import odfdo

    document = odfdo.Document("text")
    document.meta.title = title
    body = document.body
    body.clear()
    body.append(odfdo.Header(1, "One"))
    body.append(odfdo.Paragraph("first words"))
    table = odfdo.Table("T")
    for row in (["name", "price"], ["a lamp with a long name", 3]):
        made = odfdo.Row()
        for cell in row:
            made.append_cell(odfdo.Cell(cell, text=str(cell)))
        table.append_row(made)
    body.append(table)
    packed = io.BytesIO()
    document.save(packed)
    if content is None:
        return packed.getvalue()
    with zipfile.ZipFile(packed) as made:
        parts = {
            name: made.read(name).decode(errors="replace")
            for name in made.namelist()
            if name != "content.xml"
        }
    return archive({**parts, "content.xml": content})


def test_a_text_of_opendocument_keeps_headings_and_tables():
    found = read("a.odt", odt())
    assert found.text.startswith("# One\n\nfirst words\n")
    assert "| name | price |\n|---|---|\n| a lamp with a long name | 3 |" in found.text
    assert found.title == "Pumps"
    assert refusal("a.odt", odt()[:-100]).startswith("broken")
    assert refusal("a.odt", archive({"META-INF/manifest.xml": "<manifest:encryption-data/>"})) == "encrypted"
    assert refusal("a.odt", archive({"a.txt": "words"})).startswith("broken")


SLIDES = """<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p># Pumps</text:p></draw:text-box>
</draw:frame><draw:frame presentation:class="outline"><draw:text-box><text:list><text:list-item>
<text:p>They <text:span>lift</text:span></text:p><text:list><text:list-item><text:p>water</text:p></text:list-item>
</text:list></text:list-item></text:list></draw:text-box></draw:frame>
<draw:g><draw:custom-shape><text:p># sold<text:line-break/>here</text:p></draw:custom-shape></draw:g>
<draw:frame><table:table><table:table-row><table:table-cell><text:p>a|b</text:p></table:table-cell>
<table:table-cell table:number-columns-repeated="9"/></table:table-row><table:table-row>
<table:table-cell table:number-columns-repeated="2"><text:p>1</text:p></table:table-cell></table:table-row>
</table:table><draw:image><text:p>of a picture</text:p></draw:image></draw:frame>
<office:annotation><dc:creator>Zoë</dc:creator><dc:date>2026-05-04</dc:date><text:p>Too short.</text:p>
</office:annotation>
<presentation:notes><draw:frame><draw:text-box><text:p>Say it slowly.</text:p></draw:text-box></draw:frame>
</presentation:notes></draw:page><draw:page><draw:frame><draw:text-box><text:p>The end.</text:p></draw:text-box>
</draw:frame></draw:page>"""


def odp(pages: str = SLIDES) -> bytes:
    import odfdo

    packed = io.BytesIO()
    document = odfdo.Document("presentation")
    document.meta.title = "About pumps"
    document.save(packed)
    with zipfile.ZipFile(packed) as made:
        parts = {name: made.read(name).decode(errors="replace") for name in made.namelist()}
    head, _, _ = parts["content.xml"].partition("<office:presentation>")
    content = (
        f"{head}<office:presentation>{pages}</office:presentation></office:body></office:document-content>"
    )
    return archive({**parts, "content.xml": content})


def test_slides_of_opendocument_are_sections_with_lists_tables_comments_and_notes():
    found = read("a.odp", odp())
    assert found.text == (
        "## # Pumps\n\n- They lift\n  - water\n\n\\# sold\nhere\n\n| a\\|b | |\n| --- | --- |\n| 1 | 1 |\n\n"
        "> **Comment (Zoë):**\n> Too short.\n\n> **Notes:**\n> Say it slowly.\n\n## Slide 2\n\nThe end."
    )
    assert found.title == "About pumps"
    assert found.left_out["hidden_text"] >= estimate_tokens("2026 05 04 of a picture")
    assert [path[-1] for path in split(found, "a.odp", SplitOptions()).sections] == ["# Pumps", "Slide 2"]
    assert refusal("a.odp", odp()[:-100]).startswith("broken")
    assert refusal("a.odp", archive({"a.txt": "words"})).startswith("broken")
    read_or_refuse("a.odp", odp("<draw:g>" * 100_000))


def test_slides_without_a_word_are_not_embedded():
    pictures = "<draw:page><draw:frame><draw:image/></draw:frame></draw:page>" * 3
    assert refusal("a.odp", odp(pictures)) == "empty: no text"


def test_what_is_in_headers_and_footers_or_was_deleted_is_counted():
    head = "<text:p>Kept con<text:span>fidential</text:span></text:p>"
    foot = "<text:p>first words of the footer</text:p><number:text>never</number:text>"
    with zipfile.ZipFile(io.BytesIO(odt())) as made:
        parts = {name: made.read(name) for name in made.namelist()}
    end = b"</office:document-styles>"
    assert end in parts["styles.xml"]
    page = f"<style:header>{head}</style:header><style:footer>{foot}</style:footer>".encode()
    parts["styles.xml"] = parts["styles.xml"].replace(end, page + end)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for name, part in parts.items():
            made.writestr(name, part)
    assert not read("a.odt", odt()).left_out
    found = read("b.odt", packed.getvalue())
    assert found.text == read("a.odt", odt()).text
    assert found.left_out == {"hidden_text": estimate_tokens("Kept confidential of the footer")}


# From the specification of the format.
PACKED = bytes.fromhex(
    "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
)
AGAIN = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")


def test_rtf_that_outlook_packs_is_unpacked():
    assert unpacked(PACKED) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    assert unpacked(AGAIN) == b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"
    assert unpacked(AGAIN[:-5]).startswith(b"{\\rtf1 WXYZ")
    for wrong in (b"", PACKED[:15], PACKED[:8] + b"none" + PACKED[12:]):
        with pytest.raises(ValueError, match=r"header|unknown"):
            unpacked(wrong)


def outlook(rtf: bytes) -> bytes:
    """A mail whose body is RTF, and nothing else: in the place of the plain one, which is as long."""
    data = (Path(__file__).parents[1] / "data" / "small.msg").read_bytes()
    plain = "Hello Bob,\r\n\r\nThis is a simple email body.".encode("utf-16-le")
    plain = plain if plain in data else plain.replace(b"\r\0", b"")
    packed = struct.pack("<II4sI", len(plain) - 4, len(plain) - 16, b"MELA", 0) + rtf.ljust(len(plain) - 16)
    assert len(packed) == len(plain)
    for was, now in (
        (plain, packed),
        ("substg1.0_1000001F".encode("utf-16-le"), "substg1.0_10090102".encode("utf-16-le")),
        (b"\x1f\0\0\x10", b"\x02\x01\x09\x10"),
    ):
        assert data.count(was) == 1
        data = data.replace(was, now)
    return data


def test_a_mail_of_outlook_whose_body_is_rtf_alone_is_read():
    found = read("a.msg", outlook(rb"{\rtf1 Dear \b Bob\b0\par it works{\footnote a}}"))
    assert found.text.split() == ["Dear", "Bob", "it", "works"]
    assert found.form == "plain"
    assert found.left_out == {"notes": 1}
    assert found.metadata["subject"]
    assert refusal("a.msg", outlook(b"").replace(b"MELA", b"none")).startswith("broken")


RTF = rb"""{\rtf1\ansi{\info{\title Pumps}{\author Zoe}}\b One\b0\par caf\'e9 \u8364? here{\footnote a note}\par
\trowd first\cell second\cell\row}"""


def test_rtf_is_its_text_with_what_its_library_drops_counted():
    found = read("a.rtf", RTF)
    assert found.text.split() == ["One", "café", "€", "here", "first|second|"]
    assert (found.title, found.metadata) == ("Pumps", {"title": "Pumps", "author": "Zoe"})
    assert found.left_out == {"notes": 1}
    assert refusal("a.rtf", b"words").startswith("binary")
    read_or_refuse("b.rtf", b"{\\rtf1" + b"{" * 300_000)


# In a source.


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_folder_of_them_is_published_once_and_tells_what_is_left_out(world):
    mine = [{"name": "docs", "path": str(world.docs), "include": ["*.eml", "*.odt", "*.epub", "*.rtf"]}]
    made = mail()
    made.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="a.pdf")
    world.write("a.eml", made.as_bytes())
    world.write("b.odt", odt())
    world.write("c.epub", book())
    world.write("d.rtf", RTF)
    world.run(sources=mine)
    rows = {each["path"]: each for each in world.table_rows("path", "title", "place", "front_matter")}
    assert {path: each["title"] for path, each in rows.items()} == {
        "a.eml": "Die Pumpe für größere Höhen",
        "b.odt": "Pumps",
        "c.epub": "Pumps",
        "d.rtf": "Pumps",
    }
    assert '"from":"Zoë <zoe@example.com>"' in rows["a.eml"]["front_matter"]
    [source] = status(world.settings(sources=mine), world.clock)["sources"]
    assert source["parts_left_out"] == {"attachments": 1, "chapters": 1, "headers": 1, "notes": 1}
    billed = world.ledger.units()
    world.run(sources=mine)
    assert world.ledger.units() == billed


def test_a_mail_is_plain_text_without_the_extra_as_it_was(monkeypatch):
    real = registry._is_installed
    monkeypatch.setattr(registry, "_is_installed", lambda name: name != "selectolax" and real(name))
    use(monkeypatch)
    assert reader_of("a.eml").name == "text"
    assert reader_of("a.epub").missing == "selectolax"
