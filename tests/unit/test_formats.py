"""What the readers of pages and notebooks take from a file, and what they leave out."""

from __future__ import annotations

import io
import json

import pytest
from readers_in_use import copy_of

from voyage_jobs.engine import children
from voyage_jobs.readers.html import HTML
from voyage_jobs.readers.notebook import NOTEBOOK
from voyage_jobs.readers.reader import Refused, Text
from voyage_jobs.readers.reading import read_here, read_text
from voyage_jobs.readers.registry import Registered, reader_of
from voyage_jobs.sources.rules import PathRules
from voyage_jobs.splitting.split import SplitOptions, split


def html(page: str | bytes, **options) -> Text:
    data = page if isinstance(page, bytes) else page.encode()
    return read_here(Registered(HTML, options=options), io.BytesIO(data))


def notebook(*cells: dict, **more) -> Text:
    data = json.dumps({"nbformat": 4, "cells": cells, **more}).encode()
    return read_here(Registered(NOTEBOOK), io.BytesIO(data))


PAGE = """<!doctype html><html><head><title> A &amp; B </title>
<link rel="canonical" href="https://docs.example.com/a"><style>p {}</style></head><body>
<header>Site</header><nav><a href="/">Home</a></nav><aside>Ad</aside>
<main><h1>One<a class="headerlink" href="#one">¶</a></h1><p>Text of <b>one</b>.</p>
<div class="highlight"><pre><span>def</span> f():
    return 1

```
</pre></div><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2|3</td></tr></table>
<script>var x;</script><h2>Two</h2><p>More.</p></main><footer>Imprint</footer></body></html>"""


def test_a_page_is_its_main_content_as_markdown():
    found = html(PAGE)
    assert (found.title, found.metadata, found.url) == ("A & B", {}, "https://docs.example.com/a")
    for left_out in ("Site", "Home", "Ad", "Imprint", "¶", "var x", "{}"):
        assert left_out not in found.text
    assert "````\ndef f():\n    return 1\n\n```\n````" in found.text
    assert "2\\|3" in found.text
    document = split(found, "a.html", SplitOptions())
    assert document.sections == [("One",), ("One", "Two")]


@pytest.mark.parametrize(
    ("options", "kept", "left"),
    [
        ({"select": [".text"]}, "Words", "Menu"),
        ({"drop": [".menu"]}, "Words", "Menu"),
        ({}, "Menu", "Nothing"),
    ],
)
def test_what_is_main_can_be_said(options, kept, left):
    found = html("<body><div class=menu>Menu</div><div class=text>Words</div></body>", **options)
    assert kept in found.text
    assert left not in found.text


def test_the_longest_of_several_articles_is_the_page():
    assert html("<article>a</article><article>much more</article>").text.strip() == "much more"


def test_a_page_may_say_in_what_it_is_written():
    assert html('<meta charset="iso-8859-1"><main>café</main>'.encode("latin-1")).text.strip() == "café"
    with pytest.raises(Refused, match="undecodable"):
        html(b"<meta charset=nonsense><main>caf\xe9</main>")


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("<div>" * 200_000 + "x", "reader_limit: elements nested more than 2000 deep"),
        ("<b>" * 200_000 + "</b>" * 200_000, "reader_limit: elements nested more than 2000 deep"),
        ("<p>" + "x" * 20_000_000, "reader_limit: more than 20,000,000 bytes of HTML"),
        ("<title>Only this</title>", "empty"),
        ("<nav>menu</nav>", "empty"),
    ],
)
def test_what_is_no_page_that_can_be_read_is_told(page, reason):
    with pytest.raises(Refused, match=reason):
        html(page)


def test_selectors_that_are_none_are_an_error_of_the_reader():
    with pytest.raises(Refused, match=r"reader_failed|empty"):
        html(PAGE, select=["<<"])


def test_a_page_is_read_in_a_process_of_its_own():
    try:
        assert read_text(reader_of("a.HTML"), io.BytesIO(PAGE.encode())) == html(PAGE)
        (child,) = children._idle
        assert read_text(reader_of("b.htm"), io.BytesIO(PAGE.encode())) == html(PAGE)
        assert children._idle == [child]
    finally:
        children.rest()


def test_a_notebook_is_its_cells_without_their_outputs():
    found = notebook(
        {"cell_type": "markdown", "source": ["# One\n", "text"]},
        {
            "cell_type": "code",
            "source": "x = '''\n```\n'''",
            "outputs": [{"data": {"image/png": "A" * 1000}}],
        },
        {"cell_type": "markdown", "source": "  "},
        {"cell_type": "raw", "source": "raw\0"},
        metadata={"kernelspec": {"language": "python"}},
    )
    assert found.text == "# One\ntext\n\n````python\nx = '''\n```\n'''\n````\n\nraw\n\n"
    assert [(place.label, found.text[place.at :][:4]) for place in found.places] == [
        ("1", "# On"),
        ("2", "````"),
        ("4", "raw\n"),
    ]


def test_a_notebook_of_format_3_has_sheets():
    data = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": ["a\n", "b"]}]}]}
    found = read_here(Registered(NOTEBOOK), io.BytesIO(json.dumps(data).encode()))
    assert found.text == "```\na\nb\n```\n\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"nbformat": 4, "cells": [', "broken: no JSON at character"),
        (b"[]", "broken: JSON, but no notebook"),
        (b'{"nbformat": 4, "cells": [7, {"source": 7}]}', "empty"),
        (b'{"nbformat": 4, "worksheets": {"a": 1}}', "empty"),
    ],
)
def test_what_is_no_notebook_is_told(data, reason):
    with pytest.raises(Refused, match=reason):
        read_here(Registered(NOTEBOOK), io.BytesIO(data))


@pytest.mark.parametrize("name", ["a.html", "a.htm", "a.xhtml", "a.ipynb"])
def test_a_source_takes_them_only_where_it_names_them(name):
    assert not PathRules((), ()).keeps(name)
    assert PathRules(("*.html", "*.htm", "*.xhtml", "*.ipynb"), ()).keeps(name)


def test_a_page_without_the_extra_is_left_out():
    lacking = Registered(copy_of(HTML, needs=("no_such_library",)))
    assert lacking.lacking(lacking.missing).endswith("pip install 'voyage-jobs[html]'")
