"""Headings are found where CommonMark has them, and nowhere else."""

from __future__ import annotations

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from voyage_jobs.splitting.markdown import headings, html_title, inline_text

LINES = st.lists(
    st.sampled_from(
        [
            *[
                "# a",
                "## b ##",
                "#c",
                "   ### d",
                "    # code",
                "\t# code",
                "#",
                "####### seven",
                "# a \\#",
                "#\ttab",
            ],
            *[
                "```",
                "````",
                "~~~",
                "```py",
                "``` a`b",
                "   ```",
                "    ```",
                "~~~ `",
                "text",
                "",
                "",
                "<!--",
                "-->",
            ],
            *["===", "---", "-----  ", " ---", "    ---", "<pre>", "</pre>", "<b>x", "> # q", "<!-- x -->"],
        ]
    ),
    max_size=14,
)


def reference(text: str) -> list[tuple[int, int]]:
    """(line, level) of the top-level headings, by a full CommonMark parser."""
    tokens = MarkdownIt("commonmark").parse(text)
    return [
        (token.map[0], int(token.tag[1]))
        for token in tokens
        if token.type == "heading_open" and token.level == 0 and token.map
    ]


def deviates(text: str) -> bool:
    """Whether the text has something that is read in another way, on purpose or for simplicity."""
    lines = text.split("\n")
    closed = text.count("<!--") <= text.count("-->") and text.count("<pre>") <= text.count("</pre>")
    html_block = any(line.startswith(("<b>", "-->", "</pre>")) for line in lines)
    block_above_text = any(line.startswith(("    ", "\t", ">")) for line in lines) and (
        "==" in text or "--" in text
    )
    return not closed or html_block or block_above_text or any(p.count("\n") > 3 for p in text.split("\n\n"))


@examples(300)
@given(LINES)
def test_the_headings_are_those_of_commonmark(lines: list[str]) -> None:
    text = "\n".join(lines)
    if not deviates(text):
        assert [(text.count("\n", 0, each.start), each.level) for each in headings(text)] == reference(text)


def found(text: str) -> list[str]:
    return [heading.text for heading in headings(text)]


@pytest.mark.parametrize(
    "text",
    [
        "```\n# a\n```",
        "```\n# a",
        "~~~~\n# a\n~~~\n# b\n~~~~",
        "- ```\n  # a\n  ```",
        "- item\n\n      # code",
        "<!--\n# a\n-->",
        "<pre>\n# a\n</pre>",
        "<SCRIPT>\n# a\n</script>",
        "<?php\n# a\n?>",
        "<![CDATA[\n# a\n]]>",
        "#hashtag",
        "    # code",
        "> # quoted",
        "- item\n---",
        "| a |\n---",
        "one\ntwo\nthree\nfour\n---",
        "a\n\n---",
        "***\n---",
        "text\n-",
    ],
)
def test_no_heading(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# a\n## b", ["a", "b"]),
        ("A\n==\n", ["A"]),
        ("two\nlines\n---\n", ["two lines"]),
        ("**Bold**\n====", ["Bold"]),
        ("- ```\n  code\n\n# after a fence that its item closed", ["after a fence that its item closed"]),
        ("10. ```\n    # no\n    ```\n# yes", ["yes"]),
        ("```\n````\n# yes", ["yes"]),
        ("<!-- never closed\n\n# yes\n\n<!-- again\n# too", ["yes", "too"]),
        ("<!-- one line --> # no\n# yes", ["yes"]),
        ("text\n# interrupts", ["interrupts"]),
        ("# a\r\n\r\nb\r\n-\r\n--\r\n", ["a"]),
        ("a\r\n==\r\n", ["a"]),
        ("a\r==\rb\r", ["a"]),
        ("# no newline", ["no newline"]),
    ],
)
def test_headings(text: str, expected: list[str]) -> None:
    assert found(text) == expected


def test_offsets_are_those_of_the_given_text() -> None:
    text = "x\r\n# a\r\n\r\ntwo\r\nlines\r\n---\r\nend"

    assert [(text[h.start : h.end], h.level) for h in headings(text)] == [
        ("# a\r\n", 1),
        ("two\r\nlines\r\n---\r\n", 2),
    ]


def test_the_scan_starts_where_it_is_told() -> None:
    assert [heading.text for heading in headings("# a\n# b\n", 4)] == ["b"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("**bold** and *it* and ~~gone~~", "bold and it and gone"),
        ("snake_case_name and _em_", "snake_case_name and em"),
        ("`code` and ``co`de``", "code and co`de"),
        ("[a](b) ![c](d) [e][f]", "a c e"),
        ("[![badge](x)](y) name", "badge name"),
        ("[wiki](https://x.org/a_(b))", "wiki"),
        ('<a id="x"></a>Title<br/>', "Title"),
        ("see <https://x.org>", "see https://x.org"),
        ("A &amp; B &lt;T&gt;", "A & B <T>"),
        ("Install {#install .class}", "Install"),
        (r"1\. not \*bold\*", "1. not *bold*"),
        ("a  \t b\nc", "a b c"),
        ("control\x07 \u202e", "control "),
        ("2 * 3 * 4", "2 * 3 * 4"),
    ],
)
def test_inline_text(source: str, text: str) -> None:
    assert inline_text(source) == text.strip()


@pytest.mark.parametrize(
    "attributes",
    [
        "{#id}",
        "{#id .c}",
        "{ #id }",
        "{.c}",
        "{: .c}",
        "{/*the-id*/}",
        '{ id="x" .c }',
        "{% raw %}",
        "{#a} {.b}",
    ],
)
def test_attributes_of_a_heading_are_no_part_of_its_text(attributes: str) -> None:
    assert inline_text(f"Set the *value* {attributes}") == "Set the value"
    assert [each.text for each in headings(f"## Head{attributes}\n\ntext")] == ["Head"]


@pytest.mark.parametrize(
    "text", ["Use {name} of it", "Type {string}", "f {x: 1}", "Call {{ x }}", "{#id} is first", "a {b=c}"]
)
def test_a_brace_in_running_text_stays(text: str) -> None:
    assert inline_text(text) == text


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('<h1 align="center">Small *Tool*</h1>\n\ntext', "Small Tool"),
        ('<!-- a --><p>\n\n<img src="x">\n<H1>Small <b>Tool</b>\n</H1>', "Small Tool"),
        ("text\n<h1>no</h1>", ""),
        ("<h1>never closed", ""),
        ("<!-- <h1>no</h1>", ""),
        ("```\n<h1>no</h1>\n```", ""),
    ],
)
def test_an_h1_that_a_text_begins_with_is_its_title(text: str, title: str) -> None:
    assert html_title(text) == title


def test_looking_for_an_h1_takes_no_time() -> None:
    for hostile in ("<!--" * 1_000, "<!-- -->" * 500, "<a" * 2_000, "<p>" * 1_300, " " * 4_000):
        assert html_title(hostile) == ""
