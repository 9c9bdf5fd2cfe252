"""What commands print: the unknown is never 0, names cannot command a terminal, JSON stays JSON."""

import io
import json
import math
import sys

import pytest

from voyage_jobs.cli import output


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("shown", [output.number, output.size, output.usd, output.duration])
def test_what_could_not_be_read_is_no_number(shown):
    assert shown(None) == "?"


def test_what_is_not_json_is_refused(capsys):
    with pytest.raises(ValueError, match="JSON"):
        output.emit_json({"age_s": math.nan})
    assert capsys.readouterr().out == ""


def test_json_keeps_order_and_any_file_name(capsysbinary):
    output.emit_json({"b": "bücher", "a": "x\udcff\x1b", "n": None})
    text = capsysbinary.readouterr().out
    assert "bücher".encode() in text
    assert list(json.loads(text).items()) == [("b", "bücher"), ("a", "x\udcff\x1b"), ("n", None)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb", "a\\x0ab"),
        ("x\udcff", "x\\udcff"),
        ("ünï", "ünï"),
        ("\x9b", "\\x9b"),
    ],
)
def test_names_are_shown_harmlessly(text, shown):
    assert output.printable(text) == shown


def test_numbers_as_people_write_them():
    assert [output.number(n) for n in (0, 999, 1234567)] == ["0", "999", "1,234,567"]
    assert [output.size(n) for n in (0, 812, 999_949, 999_950, 2_100_000, 3 * 10**15)] == [
        "0 B",
        "812 B",
        "999.9 kB",
        "1.0 MB",
        "2.1 MB",
        "3,000.0 TB",
    ]
    assert [output.usd(x) for x in (0, 0.0123, 0.00004, 12.3, 1234)] == [
        "$0.00",
        "$0.0123",
        "<$0.0001",
        "$12.30",
        "$1,234.00",
    ]
    assert [output.duration(s) for s in (-1, 0.9, 119, 120, 7199, 7200, 172800)] == [
        "0 s",
        "0 s",
        "119 s",
        "2 m",
        "119 m",
        "2 h",
        "2 d",
    ]


def test_ages():
    assert output.ago(None, 5) == "-"
    assert output.ago(0, 180_000_000) == "3 m ago"
    assert output.ago(180_000_000, 0) == "in 3 m"


def test_a_table_fits_80_columns_and_reads_no_markup(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    rows = [("a" * 100, "[red]not markup[/red]", "1,234"), ("b\x1b[2J", "x", "1")]
    output.show(output.table(["name", "what", "count"], rows, right=["count"]))
    text = stream.getvalue()
    assert "[red]not markup[/red]" in text
    assert "\x1b" not in text
    assert text.replace("\n", "").count("a") >= 100, "the first column is never cut"
    assert "1,234" in text
    assert max(map(len, text.splitlines())) <= 100


def test_no_color_is_honoured_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    output.show(output.table(["name"], [("x",)]))
    assert "\x1b[3" not in stream.getvalue()


def test_progress_is_silent_elsewhere_than_on_a_terminal(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with output.progress() as report:
        report("splitting", 1, 2)
    assert stream.getvalue() == ""


def test_progress_draws_one_bar_for_each_thing(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with output.progress() as report:
        report("splitting", 1, None)
        report("splitting", 2, 2)
        report("publishing", 1, 3)
    assert "splitting" in stream.getvalue()
    assert "publishing" in stream.getvalue()


COLUMNS = ("source", "documents", "published", "scanned")


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        ("80", COLUMNS),
        ("40", ("source", "documents", "published")),
        ("34", ("source", "published")),
        ("25", ("source",)),
    ],
)
def test_in_a_narrow_window_columns_go_and_the_name_stays_whole(capsys, monkeypatch, columns, shown):
    monkeypatch.setenv("COLUMNS", columns)
    rows = [("a-long-name-of-17", "1,234", "5,678", "51 s ago")]
    output.show(output.table(COLUMNS, rows, right=COLUMNS[1:], spare=("scanned", "documents", "published")))
    head, row = capsys.readouterr().out.splitlines()
    assert tuple(head.split()) == shown
    assert row.startswith("a-long-name-of-17")
    assert max(len(head.rstrip()), len(row.rstrip())) <= int(columns)


def test_paragraphs_are_as_wide_as_the_window(monkeypatch):
    text = "word " * 60
    for columns, most in (("200", 79), ("60", 59), ("10", 30)):
        monkeypatch.setenv("COLUMNS", columns)
        assert max(map(len, output.wrapped(text).splitlines())) in range(most - 5, most + 1)
        assert max(map(len, output.hanging("label   ", text).splitlines())) <= most


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LANG": "en_US.UTF-8", "TERM": "xterm"}, True),
        ({"LANG": "de_DE.utf8"}, True),
        ({}, True),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, False),
        ({"LANG": "en_US.UTF-8", "TERM": "dumb"}, False),
    ],
)
def test_block_characters_are_for_terminals_that_have_them(monkeypatch, variables, expected):
    for name in ("LC_ALL", "LC_CTYPE", "LANG", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert output.blocks() is expected
