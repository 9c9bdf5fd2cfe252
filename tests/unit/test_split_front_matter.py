"""Front matter becomes plain JSON whatever it holds, and never costs more than its size allows."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voyage_jobs.sources.frontmatter import ERROR_KEY, FrontMatter, front_matter


def yaml_of(block: str) -> dict[str, Any]:
    return front_matter(f"---\n{block}\n---\nbody").metadata


def toml_of(block: str) -> dict[str, Any]:
    return front_matter(f"+++\n{block}\n+++\nbody").metadata


@pytest.mark.parametrize(
    "block",
    [
        "a: b: c",
        "a: [1, 2",
        "a: *unknown",
        "a: &x [*x]",
        "a: !!python/object/apply:os.system ['true']",
        "a: !custom x",
        "a: 2024-13-45",
        "? [a]\n: b",
        "a: !!int ''",
        "a: !!bool maybe",
        "a: !!timestamp never",
        "a: 0x" + "f" * 5000 + "\nb: " + "9" * 5000,
        "a: \x01",
        "<<: x",
    ],
)
def test_what_cannot_be_read_says_so_and_is_no_text(block: str) -> None:
    found = front_matter(f"---\n{block}\n---\nbody")

    assert list(found.metadata) == [ERROR_KEY]
    assert str(found.metadata[ERROR_KEY]).startswith("YAML: ")
    assert len(str(found.metadata[ERROR_KEY])) <= 200
    assert found.end == len(f"---\n{block}\n---\n")


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
        "- " * 5000 + "x",
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
        "date: 2024-05-06\ntime: 2024-05-06T07:08:09Z\nnan: .nan\ninf: -.inf\nbig: 123456789012345678901234567890\n"
        "raw: !!binary aGk=\nset: !!set {b, a}\npairs: !!pairs [x: 1]\n7: one\ntrue: yes\nnull: ~\n2.5: f\n"
        "2024-01-01: d\nplain: text"
    )

    json.dumps(found, allow_nan=False)
    assert found == {
        "date": "2024-05-06",
        "time": "2024-05-06T07:08:09+00:00",
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
        ("---\n# only a comment\n---\nbody", {}, "body"),
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
