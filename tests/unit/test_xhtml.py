"""XHTML, in files and in books: elements that close by themselves swallow nothing, and lost chapters are counted."""

from __future__ import annotations

import io

import pytest
from test_documents_of_formats import book, mail, read, refusal

from voyage_jobs.readers.html import MOST_DEPTH, whole_page

XML = '<?xml version="1.0" encoding="utf-8"?>\n'
NAMED = '<html xmlns="http://www.w3.org/1999/xhtml">'
DOCTYPE = '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "xhtml1-strict.dtd">'
HEADS = (
    "<title/>",
    '<title>T</title><script type="text/javascript" src="a.js"/>',
    "<title>T</title>\n<style type='text/css'\n/>",
    "<title lang='a>b' />",
)


def page(head: str, body: str = "<p>All that it says.</p>", before: str = NAMED) -> str:
    return f"{before}<head>{head}</head><body>{body}</body></html>"


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("before", [f"{XML}<html>", NAMED, f"{DOCTYPE}<html>"])
def test_a_page_is_read_past_what_closes_by_itself(before: str, head: str) -> None:
    for path in ("a.xhtml", "a.html"):
        assert read(path, page(head, before=before).encode()).text == "All that it says.\n"


@pytest.mark.parametrize("head", HEADS)
def test_so_is_a_chapter_of_a_book_and_a_mail(head: str) -> None:
    found = read("a.epub", book(**{"in__one.xhtml": page(head, before="<html>")}))
    assert found.text == "# Two\n\nsecond\n\nAll that it says.\n\n"
    made = mail()
    made.set_content(page(head), subtype="html")
    assert read("a.eml", made.as_bytes()).text == "All that it says."


def test_what_stands_after_an_empty_element_is_not_in_it() -> None:
    body = '<p>An <a id="p1"/>anchor, <i/>a<br/>line<textarea/></p><p>and <b />more</p>'
    assert read("a.xhtml", page("<title>T</title>", body).encode()).text == (
        "An anchor, a  \nline\n\nand more\n"
    )
    many = '<p><a id="p"/>word</p>' * (MOST_DEPTH + 1)
    assert read("a.xhtml", page("", many).encode()).text.count("word") == MOST_DEPTH + 1


def test_sections_of_cdata_are_text_and_scripts_and_comments_are_none() -> None:
    body = "<p><![CDATA[a < b]]></p><script>x = '<script/>'; '<title/>'</script><!-- <b 'x --><p id='y'>c</p>"
    assert read("a.xhtml", page("", body).encode()).text == "a < b\n\nc\n"


@pytest.mark.parametrize(
    "html",
    [
        page("<title/>", before="<html>"),
        page("<title>T</title>", "<div/><p>one <i/>two</p>", before="<!DOCTYPE html><html lang='en'>"),
        page("<title>T</title>", "<a href=x/>y</a> <![CDATA[z]]>", before="<html>"),
    ],
)
def test_a_page_that_is_no_xhtml_is_read_as_it_was(html: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = whole_page(html)
    monkeypatch.setattr("voyage_jobs.readers.html._as_html", lambda _: pytest.fail("no XHTML"))
    assert whole_page(html) == found


def test_a_chapter_with_words_of_which_none_is_read_is_counted() -> None:
    drawn = '<svg xmlns="http://www.w3.org/2000/svg"><text>words in a picture</text></svg>'
    cover = page("<title>Cover</title>", '<img src="cover.png"/>&nbsp;<!-- a note -->')
    for html, more in ((drawn, 1), (cover, 0), ("", 0)):
        assert read("a.epub", book(**{"in__one.xhtml": html})).left_out == {"chapters": 1 + more}


@pytest.mark.parametrize("part", ["<a '", '<a x="', "<![CDATA[", "<!--", "<script ", "<a x='\"'", "<i/>"])
def test_hostile_pages_end_in_a_text_or_a_reason(part: str) -> None:
    from voyage_jobs.readers.reader import Refused
    from voyage_jobs.readers.reading import read_here
    from voyage_jobs.readers.registry import reader_of

    data = (NAMED + part * 200_000).encode()
    try:
        assert read_here(reader_of("a.xhtml"), io.BytesIO(data)).text
    except Refused as refused:
        assert refused.reason != "reader_failed"  # noqa: PT017 - both ends are right
    assert refusal("a.xhtml", (NAMED + "<div>" * (MOST_DEPTH + 1)).encode()).startswith("reader_limit")
