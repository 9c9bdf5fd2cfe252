"""What is read of documents, slides and sheets; and what is no text."""

from __future__ import annotations

import datetime
import io
import zipfile

import office_oxide
import pytest

from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.readers.office import OFFICE, OLE
from voyage_jobs.readers.reader import Reader, Refused, Text
from voyage_jobs.readers.reading import read_here, read_text
from voyage_jobs.readers.registry import Registered, reader_of
from voyage_jobs.readers.sheets import SHEETS
from voyage_jobs.splitting.split import SplitOptions, split

DOCUMENT = "# One\n\nText of **one**.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n## Two\n\n- first\n- second"


def read(reader: Reader, data: bytes) -> Text:
    return read_here(Registered(reader), io.BytesIO(data))


def refusal(reader: Reader, data: bytes) -> str:
    with pytest.raises(Refused) as refused:
        read(reader, data)
    return str(refused.value)


@pytest.fixture
def docx(tmp_path):
    office_oxide.create_from_markdown(DOCUMENT, "docx", str(tmp_path / "a.docx"))
    return (tmp_path / "a.docx").read_bytes()


def slides(*titles: str) -> bytes:
    writer = office_oxide.PptxWriter()
    for title in titles:
        at = writer.add_slide()
        writer.set_slide_title(at, title)
        writer.add_slide_text(at, f"Words of {title}")
    return bytes(writer.to_bytes())


def sheets(**named: list[list[object]]) -> bytes:
    writer = office_oxide.XlsxWriter()
    for name, rows in named.items():
        at = writer.add_sheet(name)
        for number, row in enumerate(rows):
            for column, value in enumerate(row):
                if value is not None:
                    writer.set_cell(at, number, column, value)
    return bytes(writer.to_bytes())


def test_a_document_keeps_its_headings_lists_and_tables(docx):
    found = read(OFFICE, docx)
    assert found.text == DOCUMENT
    assert split(found, "a.docx", SplitOptions()).sections == [("One",), ("One", "Two")]


def test_charts_and_diagrams_of_slides_are_counted():
    more = {
        "ppt/charts/chart1.xml": "<a:t>Sales</a:t><c:v>777</c:v>",
        "ppt/diagrams/data1.xml": "<a:t>first</a:t>",
    }
    found = read(OFFICE, changed(slides("One"), more, "ppt/presentation.xml", "<p:", "<p:"))
    assert found.left_out == {"hidden_text": estimate_tokens("Sales 777 first")}


def test_slides_are_sections():
    found = read(OFFICE, slides("First", "Second"))
    assert split(found, "a.pptx", SplitOptions()).sections == [("First",), ("Second",)]
    assert "Words of Second" in found.text


def test_a_sheet_is_a_table_without_what_is_blank():
    rows = [["name", None, "price"], ["tea|leaves", None, 1.5], [], ["coffee\nbeans", None, 2.0]]
    found = read(SHEETS, sheets(Prices=rows, Empty=[], Other=[["x"], [True]]))
    assert found.text == (
        "# Prices\n\n| name | price |\n| --- | --- |\n| tea\\|leaves | 1.5 |\n| coffee beans | 2 |\n\n"
        "# Other\n\n| x |\n| --- |\n| True |\n\n"
    )
    assert [(place.kind, place.label, found.text[place.at :][:3]) for place in found.places] == [
        ("sheet", "Prices", "# P"),
        ("sheet", "Other", "# O"),
    ]
    document = split(found, "a.xlsx", SplitOptions())
    assert (document.title, document.sections) == ("Prices", [("Prices",), ("Other",)])


CATALOGUE = [
    ["sku", "what"],
    *([f"SKU{at}", f"a thing of kind {at} and many words about it"] for at in range(300)),
]


def chunks_of(rows: list[list[object]]) -> list[str]:
    found = read(SHEETS, sheets(Catalogue=rows))
    document = split(found, "a.xlsx", SplitOptions())
    return [found.text[chunk.start : chunk.end] for chunk in document.chunks]


def test_every_chunk_of_a_long_sheet_names_the_columns():
    chunks = chunks_of(CATALOGUE)
    assert len(chunks) > 5
    assert all("| sku | what |\n| --- | --- |\n" in chunk for chunk in chunks)
    assert sum(chunk.count("| SKU") for chunk in chunks) == 300


def test_a_row_that_is_put_in_at_the_top_leaves_the_chunks_further_down_as_they_are():
    more = [CATALOGUE[0], ["NEW", "a thing that was not there"], *CATALOGUE[1:]]
    assert len(set(chunks_of(more)) - set(chunks_of(CATALOGUE))) <= 3


@pytest.mark.parametrize(
    ("value", "said"),
    [(1234567.0, "1234567"), (0.1, "0.1"), (datetime.date(2026, 1, 2), "2026-01-02"), ("", "")],
)
def test_a_value_is_said_as_a_person_would(value, said):
    from voyage_jobs.readers.sheets import _told

    assert _told(value) == said


def archive(parts: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in parts.items():
            made.writestr(name, data)
    return packed.getvalue()


@pytest.mark.parametrize("reader", [OFFICE, SHEETS], ids=["office", "sheets"])
def test_what_has_no_text_to_give_says_so(reader, docx):
    assert refusal(reader, OLE + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le")) == "encrypted"
    assert refusal(reader, OLE + b"\0" * 600).startswith("broken")
    assert refusal(reader, archive({"META-INF/manifest.xml": b"<manifest:encryption-data/>"})) == "encrypted"
    assert refusal(reader, docx[:-200]) == "broken: no archive, or only a part of one"
    assert refusal(reader, b"words").startswith("broken")
    assert (
        refusal(reader, archive({f"word/{at}.xml": b"<" * (60 << 20) for at in range(5)}))
        == "reader_limit: unpacks to 314,572,800 bytes, more than 268,435,456"
    )


def test_an_archive_of_something_else_is_broken():
    words = archive({"a.txt": b"words"})
    assert refusal(OFFICE, words).startswith("broken")
    assert refusal(SHEETS, words).startswith("broken")


def test_it_is_read_in_a_process_of_its_own(docx):
    assert read_text(reader_of("a.DOCX"), io.BytesIO(docx)).text == DOCUMENT
    assert read_text(reader_of("a.xlsx"), io.BytesIO(sheets(A=[["x"], ["y"]]))).text.startswith("# A")


def changed(data: bytes, more: dict[str, str], part: str, old: str, new: str) -> bytes:
    """An archive with more parts, and one that says something else."""
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        parts = {name: made.read(name) for name in made.namelist()}
    assert old.encode() in parts[part]
    parts[part] = parts[part].replace(old.encode(), new.encode(), 1)
    return archive({**parts, **{name: said.encode() for name, said in more.items()}})


def test_headers_text_boxes_and_charts_beside_cells_are_counted():
    more = {
        "xl/drawings/drawing1.xml": "<xdr:wsDr><a:t>the box</a:t></xdr:wsDr>",
        "xl/charts/chart1.xml": "<c:chart><a:t>the chart</a:t><c:v>777</c:v></c:chart>",
    }
    running = "&amp;C&amp;&quot;Arial,Bold&quot;&amp;12&amp;K00FF00Secret lamp&amp;RPage &amp;P"
    footer = f"<headerFooter><oddHeader>{running}</oddHeader></headerFooter></worksheet>"
    data = changed(sheets(Prices=[["a", "lamp"]]), more, "xl/worksheets/sheet1.xml", "</worksheet>", footer)
    found = read(SHEETS, data)
    assert found.text == "# Prices\n\n| a | lamp |\n| --- | --- |\n\n"
    assert found.left_out == {"hidden_text": estimate_tokens("Secret Page the box the chart 777")}


def test_comments_and_shapes_of_open_sheets_are_counted():
    import odfdo

    document, packed = odfdo.Document("spreadsheet"), io.BytesIO()
    document.body.clear()
    table = odfdo.Table("Prices")
    table.set_value((0, 0), "lamp")
    document.body.append(table)
    document.save(packed)
    note = "<office:annotation><text:p>too dear</text:p></office:annotation>"
    box = "<draw:frame><draw:text-box><text:p>a box</text:p></draw:text-box></draw:frame>"
    data = changed(
        packed.getvalue(), {}, "content.xml", "</table:table-cell>", f"{note}{box}</table:table-cell>"
    )
    plain, found = read(SHEETS, packed.getvalue()), read(SHEETS, data)
    assert found.text == plain.text
    more = found.left_out["hidden_text"] - plain.left_out["hidden_text"]  # a new file has a header
    assert abs(more - estimate_tokens("too dear a box")) <= 1


@pytest.mark.parametrize("part", ["xl/comments1.xml", "xl/comments/comment1.xml"])
def test_comments_of_sheets_are_counted(part):
    plain = sheets(One=[["name"], ["lamp"]])
    assert not read(SHEETS, plain).left_out
    packed = io.BytesIO(plain)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(part, "<comments><text><t>a lamp never told</t></text></comments>")
    found = read(SHEETS, packed.getvalue())
    assert found.text == read(SHEETS, plain).text
    assert found.left_out == {"hidden_text": estimate_tokens("a never told")}
