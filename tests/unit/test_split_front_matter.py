"""Front matter becomes plain JSON whatever it holds, and never costs more than its size allows."""

from __future__ import annotations

import json
import math
import time
import tomllib
import tracemalloc
from typing import Any

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from voyage_jobs.core.toml_text import has_longer_keys
from voyage_jobs.splitting.frontmatter import ERROR_KEY, FrontMatter, front_matter


def yaml_of(block: str) -> dict[str, Any]:
    return front_matter(f"---\n{block}\n---\nbody").metadata


def toml_of(block: str) -> dict[str, Any]:
    return front_matter(f"+++\n{block}\n+++\nbody").metadata


@pytest.mark.parametrize(
    ("block", "kept"),
    [
        ("a: b: c", {"a": "b: c"}),
        ("a: [1, 2", {"a": "[1, 2"}),
        ("a: *unknown", {"a": "*unknown"}),
        ("a: &x [*x]", {"a": "&x [*x]"}),
        ("a: !!python/object/apply:os.system ['true']", {"a": "!!python/object/apply:os.system ['true']"}),
        ("a: !custom x\nb: 2", {"a": "!custom x", "b": 2}),
        ("a: !!int ''", {"a": "!!int ''"}),
        ("a: !!bool maybe", {"a": "!!bool maybe"}),
        ("a: !!timestamp never", {"a": "!!timestamp never"}),
        ("a: \x01\nb: x", {"a": "\x01", "b": "x"}),
        ("title: Upgrading: part two\nstatus: draft", {"title": "Upgrading: part two", "status": "draft"}),
        ("title: 'It's'\ntags:\n- a\n- b", {"title": "It's", "tags": ["a", "b"]}),
        (
            "title: {{ page.title }}\n{% if x %}\ntags: [a]",
            {"title": "{{ page.title }}\n{% if x %}", "tags": ["a"]},
        ),
        ("tags: a\nlang: en\ntags: b", {"tags": ["a", "b"], "lang": "en"}),
        ("{a: [1, 2", {}),
    ],
)
def test_broken_front_matter_keeps_what_can_be_read_and_is_no_text(block: str, kept: dict[str, Any]) -> None:
    found = front_matter(f"---\n{block}\n---\nbody")

    error = str(found.metadata.pop(ERROR_KEY))
    assert error.startswith("YAML: ")
    assert len(error) <= 200
    assert found.metadata == kept
    assert found.end == len(f"---\n{block}\n---\n")


def test_broken_toml_keeps_what_can_be_read() -> None:
    found = toml_of('title = "T"\nwhen = 2024-13-45\nn = 1\n[params]\ntags = ["a"]\n[more]\nx = nothing')

    assert found.pop(ERROR_KEY).startswith("TOML: ")
    assert found == {
        "title": "T",
        "when": "2024-13-45",
        "n": 1,
        "params": {"tags": ["a"]},
        "more": "x = nothing",
    }


@pytest.mark.parametrize(
    "block",
    [
        "Pump Works Ltd: 12 Harbour Street\nDear customers,\nthe price: see below: it rose",
        "# Slide one",
        "# Slide one\n\n* a point: `made`\n* *another*",
        "Q: How: so?\nA: Thus.\nQ: And now?\nA: Wait.",
        "Q: How?\nA: Thus.\nQ: And now?\nA: Wait.",
        "? [a]\n: b",
        "<<: x",
    ],
)
@pytest.mark.parametrize("fence", ["---", "+++"])
def test_what_does_not_look_like_front_matter_is_text(block: str, fence: str) -> None:
    assert front_matter(f"{fence}\n{block}\n{fence}\nbody") == FrontMatter()


def test_values_stand_as_they_are_written() -> None:
    assert yaml_of(
        "title: 1.20\ncountry: NO\ncode: 0123\ntime: 12:30\ndate: 2024-02-29\nday: 2024-02-03\nid: 1e5\n"
        "phone: +49123\n"
        "hex: 0x1F\nlong: 1234567890123456789012\nyes: yes\n"
        "n: -3\nx: 1.5\nb: true\nnone: null\nempty:"
    ) == {
        "title": "1.20",
        "country": "NO",
        "code": "0123",
        "time": "12:30",
        "date": "2024-02-29",
        "day": "2024-02-03",
        "id": "1e5",
        "phone": "+49123",
        "hex": "0x1F",
        "long": "1234567890123456789012",
        "yes": "yes",
        "n": -3,
        "x": 1.5,
        "b": True,
        "none": None,
        "empty": None,
    }


@pytest.mark.parametrize("value", ["2024-02-30", "2024-13-01T10:00:00Z", '"2023-02-29 08:00"'])
def test_a_date_that_is_in_no_calendar_is_told_and_kept(value: str) -> None:
    written = value.strip('"')
    assert yaml_of(f"title: T\ndate: {value}") == {
        ERROR_KEY: f"date: {written} is no date",
        "title": "T",
        "date": written,
    }


@pytest.mark.parametrize(
    "line", ["date: 2024-2-3", "date: 0000-00-00", "part: 2024-13-45", "date: 2024-99-99-a"]
)
def test_what_is_no_date_by_its_form_is_not_told(line: str) -> None:
    assert ERROR_KEY not in yaml_of(line)


def test_an_error_names_the_line_of_the_file() -> None:
    assert (
        yaml_of("a: 1\nb: c: d")[ERROR_KEY] == "YAML: line 3: mapping values are not allowed in this context"
    )


def bomb(levels: int, by: str = "list") -> str:
    lines = ["a0: &a0 {k: [lol, lol]}"]
    for n in range(1, levels):
        aliases = ", ".join([f"*a{n - 1}"] * 10)
        value = f"[{aliases}]" if by == "list" else f"{{<<: [{aliases}], k{n}: 1}}"
        lines.append(f"a{n}: &a{n} {value}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "block",
    [
        bomb(30),
        bomb(30, by="merge"),
        "a: " + "[" * 5000,
        "a:\n" + "- " * 5000 + "x",
        "a: &a " + "x" * 20_000 + "\nb: [" + "*a, " * 100 + "]",
    ],
    ids=["aliases", "merges", "flow nesting", "block nesting", "long alias"],
)
def test_a_bomb_is_refused_before_it_is_built(block: str) -> None:
    before = time.process_time()
    error = yaml_of(block)[ERROR_KEY]

    assert "nested more than" in error or "written out" in error
    assert time.process_time() - before < 2


def test_a_few_aliases_are_welcome() -> None:
    assert yaml_of("a: &x {k: 1}\nb: *x\nc: {<<: *x, d: 2}") == {
        "a": {"k": 1},
        "b": {"k": 1},
        "c": {"k": 1, "d": 2},
    }


def test_deep_toml_is_refused() -> None:
    assert toml_of("a = " + "[" * 20_000)[ERROR_KEY].startswith("TOML: ")
    assert toml_of("a = " + "[" * 100 + "]" * 100)[ERROR_KEY] == "nested more than 32 deep"


@pytest.mark.parametrize("block", ["a = ", "a = 1\na = 2", "a = 2024-13-45"])
def test_toml_that_cannot_be_read_says_so(block: str) -> None:
    assert toml_of(block)[ERROR_KEY].startswith("TOML: ")


def test_values_are_json() -> None:
    found = yaml_of(
        "date: !!timestamp 2024-05-06\nnan: !!float .nan\ninf: !!float -.inf\n"
        "big: !!int 123456789012345678901234567890\nraw: !!binary aGk=\nset: !!set {b, a}\n"
        "pairs: !!pairs [x: 1]\n7: one\ntrue: true\nnull: ~\n2.5: f\n"
        "2024-01-01: d\nplain: text"
    )

    json.dumps(found, allow_nan=False)
    assert found == {
        "date": "2024-05-06",
        "nan": "nan",
        "inf": "-inf",
        "big": "0x18ee90ff6c373e0ee4e3f0ad2",
        "raw": "aGk=",
        "set": ["a", "b"],
        "pairs": [["x", 1]],
        "7": "one",
        "true": True,
        "null": None,
        "2.5": "f",
        "2024-01-01": "d",
        "plain": "text",
    }


def test_toml_values_are_json() -> None:
    found = toml_of('title = "T"\nd = 2024-05-06\nt = 07:08:09\nn = nan\n[params]\ntags = ["a"]')

    assert found == {"title": "T", "d": "2024-05-06", "t": "07:08:09", "n": "nan", "params": {"tags": ["a"]}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---",
        "text\n---\na: 1\n---\n",
        "---\na: 1\n",
        "---\nJust a sentence between rules.\n---\n",
        "---\n- a list\n---\n",
        "----\na: 1\n----\n",
        " ---\na: 1\n---\n",
        "---\na: " + "x" * 40_000 + "\n---\n",
        "+++\na = 1\n---\n",
    ],
)
def test_no_front_matter(text: str) -> None:
    assert front_matter(text) == FrontMatter()


@pytest.mark.parametrize(
    ("text", "metadata", "rest"),
    [
        ("---\na: 1\n---\nbody", {"a": 1}, "body"),
        ("---\r\na: 1\r\n---\r\nbody", {"a": 1}, "body"),
        ("---\ra: 1\r---\rbody", {"a": 1}, "body"),
        ("---  \na: 1\n...\nbody", {"a": 1}, "body"),
        ("---\na: 1\n---", {"a": 1}, ""),
        ("---\n---\nbody", {}, "body"),
        ("---\n# only a comment\n---\nbody", {}, "---\n# only a comment\n---\nbody"),
        ("---\na: |\n  x\n  ---\n---\nbody", {"a": "x\n---\n"}, "body"),
        ("+++\na = 1\n+++\nbody", {"a": 1}, "body"),
        ("+++\r\na = 1\r\n+++\r\nbody", {"a": 1}, "body"),
    ],
)
def test_where_it_ends(text: str, metadata: dict[str, Any], rest: str) -> None:
    found = front_matter(text)

    assert found.metadata == metadata
    assert text[found.end :] == rest


@given(st.text(alphabet="a:-[]{}&*!|>%@`'\"# \n0.~<?=,", max_size=80), st.sampled_from(["---", "+++"]))
def test_nothing_makes_it_fail(block: str, fence: str) -> None:
    found = front_matter(f"{fence}\n{block}\n{fence}\nbody")

    json.dumps(found.metadata, allow_nan=False).encode()
    assert not any(isinstance(value, float) and math.isnan(value) for value in found.metadata.values())


# --- bounds, whatever the format ---

MOST_BYTES = 48 * 1024 * 1024
"""A generous bound on what 32 KB of front matter may take while it is read; without one it was a gigabyte."""
HOSTILE = {
    "dotted key": ("+++", ".".join("a" * 16_000) + " = 1"),
    "dotted key in quotes": ("+++", ".".join(['"a"', "'a'"] * 4_000) + " = 1"),
    "dotted key with spaces": ("+++", " . ".join("a" * 8_000) + " = 1"),
    "dotted table": ("+++", "[" + ".".join("a" * 16_000) + "]"),
    "dotted key of an inline table": ("+++", "x = {" + ".".join("a" * 16_000) + " = 1}"),
    "dotted keys behind a text": ("+++", 'x = """ " """\n' + ".".join("a" * 15_000) + " = 1"),
    "dotted keys behind an open text": ("+++", "x = 'a\n" + ".".join("a" * 15_000) + " = 1"),
    "many tables": ("+++", "\n".join("[[" + "a." * 15 + "b]]" for _ in range(900))),
    "many keys in tables": ("+++", "\n".join(f"[{'a.' * 30}k{n}]" for n in range(450))),
    "inline tables": ("+++", "a = " + "{a=" * 8_000 + "1" + "}" * 8_000),
    "lists": ("+++", "a = " + "[" * 16_000),
    "many keys": ("+++", "\n".join(f"{n}=1" for n in range(4_500))),
    "many values": ("+++", "a = [" + "1," * 16_000 + "]"),
    "a long number": ("+++", "a = 0x" + "f" * 32_000),
    "a longer number": ("+++", "a = " + "9" * 32_000),
    "open texts": ("+++", 'a = """' + '\\"""' * 7_000),
    "yaml lists": ("---", "a: " + "[" * 32_000),
    "yaml mappings": ("---", "a: " + "{a: " * 8_000),
    "yaml dashes": ("---", "a:\n" + "- " * 16_000),
    "yaml questions": ("---", "a:\n  " + "? " * 16_000),
    "yaml values": ("---", "a: [" + "1," * 16_000 + "]"),
    "yaml empty lists": ("---", "a: [" + "[]," * 10_000 + "]"),
    "yaml keys": ("---", "\n".join(f"{n}:" for n in range(5_400))),
    "yaml anchors": ("---", "a: [" + ",".join(f"&{n} x" for n in range(3_500)) + "]"),
    "yaml aliases": ("---", "a: &a [" + "x," * 90 + "]\nb: [" + "*a," * 150 + "]"),
    "yaml merges": (
        "---",
        "a: &a {" + ",".join(f"k{n}: 1" for n in range(900)) + "}\nb: {<<: [" + "*a," * 5 + "]}",
    ),
    "yaml base 60": ("---", "a: " + ":".join(["59"] * 10_000)),
    "yaml binary": ("---", "a: !!binary " + "A" * 32_000),
    "json": ("---", '{"a":' * 5_000 + "1" + "}" * 5_000),
}


@pytest.mark.parametrize(("fence", "block"), HOSTILE.values(), ids=HOSTILE)
def test_no_front_matter_takes_more_than_its_share(fence: str, block: str) -> None:
    text = f"{fence}\n{block}\n{fence}\nbody"
    tracemalloc.start()
    try:
        found = front_matter(text)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert taken < MOST_BYTES
    assert found.end
    assert size_of(found.metadata) <= 5_001
    assert len(json.dumps(found.metadata, allow_nan=False)) < 200_000


def size_of(value: Any) -> int:
    """Values in lists and mappings, and itself."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(size_of(each) for each in inner)


@pytest.mark.parametrize(
    ("fence", "block", "says"),
    [
        ("+++", ".".join("a" * 33) + " = 1", "TOML: nested more than 32 deep"),
        ("+++", "a = [" + "1," * 5_000 + "]", "more than 5000 values"),
        ("---", "a: [" + "1," * 5_000 + "]", "more than 5000 values"),
        ("---", '{"a": [' + '"x",' * 5_000 + "]}", "more than 5000 values"),
        ("+++", "a = 0x" + "f" * 32_000 + "\n", None),
    ],
)
def test_what_is_over_a_bound_says_so_and_is_no_text(fence: str, block: str, says: str | None) -> None:
    text = f"{fence}\n{block}\n{fence}\nbody"
    found = front_matter(text)
    assert found.metadata.get(ERROR_KEY) == says
    assert text[found.end :] == "body"


@pytest.mark.parametrize(
    "block",
    [
        'version = "' + "1." * 100 + '"',
        "version = '" + "1." * 100 + "'",
        'a = """\n' + '"1." ' * 40 + '\\""" . . . ' + "." * 90 + '"""\nb = 1',
        "a = '''" + "'." * 50 + "'''",
        "a = 1  # " + "." * 100,
        "a = [" + "1.5, " * 100 + "]",
        ".".join("a" * 30) + " = 1",
        "a = 1\n" + "\n".join(f"k{n}.b = 1.5" for n in range(100)),
        '"' + "." * 100 + '" = 1',
    ],
)
def test_dots_that_are_no_nesting_are_welcome(block: str) -> None:
    assert ERROR_KEY not in toml_of(block)


PARTS = st.sampled_from(
    ["a", ".", " ", "=", "1", '"', "'", '"""', "'''", "\\", "#", "\n", "[", "]", "{", "}", ",", "a.a.a.a.a"]
)


def deepest(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((deepest(each) for each in inner), default=0)


@examples(600)
@given(st.lists(PARTS, max_size=24).map("".join))
def test_no_dotted_key_of_toml_is_overlooked_and_no_other_dot_taken_for_one(block: str) -> None:
    try:
        value = tomllib.loads(block)
    except (tomllib.TOMLDecodeError, ValueError):
        return
    if not has_longer_keys(block, 3):
        assert deepest(value) - 1 <= 3 * (1 + block.count("{") + block.count("["))
    if not any(sign in block for sign in "[{"):
        assert has_longer_keys(block, 3) == (deepest(value) - 1 > 3)


@examples(60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "a",
                    ".",
                    "[",
                    "]",
                    "{",
                    "}",
                    "=",
                    ",",
                    ":",
                    "-",
                    "&",
                    "*",
                    "?",
                    "\n",
                    '"',
                    "'",
                    "#",
                    "\\",
                    "0x",
                    "9",
                    "&a",
                    "*a",
                    "<<",
                    "~",
                    "!",
                    "|",
                ]
            ),
            st.integers(1, 9_000),
        ),
        max_size=6,
    ),
    st.sampled_from(["---", "+++"]),
)
def test_long_runs_of_anything_take_no_more_than_their_share(runs: list[tuple[str, int]], fence: str) -> None:
    block = "a" + "".join(sign * times for sign, times in runs)
    tracemalloc.start()
    try:
        found = front_matter(f"{fence}\n{block[:32_000]}\n{fence}\nbody")
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    assert size_of(found.metadata) <= 5_001


_KEYS = ("title", "a", "true", "Null", "x-y", "n", "é", "No", "a_b", "title")
_VALUES = (
    *(
        "abc",
        "True",
        "NULL",
        "no",
        "a b",
        "a: b",
        "a #b",
        "a#b",
        "12",
        "012",
        "9" * 18,
        "9" * 19,
        "1.5",
        "e5",
        "a\tb",
    ),
    *(
        "2020-01-01",
        "it's",
        "'x'",
        "a/b.c (d), e",
        "a,",
        "x  ",
        "",
        "null ",
        "- a",
        "a -",
        "1_000",
        "A.B",
        "a:",
        "b]",
    ),
    *(".npmrc", ".5", ".inf", ".", "...", "a & b", 'a "b" c', "a @b", "a+b!", "a? b", "a = b;", "a=", "a !b"),
)


@given(st.lists(st.tuples(st.sampled_from(_KEYS), st.sampled_from(_VALUES)), min_size=1, max_size=4))
@examples(200)
def test_a_plain_block_is_read_as_the_parser_of_yaml_reads_it(entries: list[tuple[str, str]]) -> None:
    block = "".join(f"{key}: {value}\n" for key, value in entries)
    by_the_parser = front_matter(f"---\n{block}# a comment is not plain\n---\ntext").metadata
    found = front_matter(f"---\n{block}---\ntext").metadata
    assert (ERROR_KEY in found) == (ERROR_KEY in by_the_parser)
    assert ERROR_KEY in found or found == by_the_parser
