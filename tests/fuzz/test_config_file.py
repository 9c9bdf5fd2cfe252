"""Whatever stands in a configuration: a command does its work, or says in plain sentences what is wrong."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from world import KEY, World

from voyage_jobs.cli.main import cli
from voyage_jobs.config.problems import section_by_name, section_of
from voyage_jobs.config.settings import Settings

EXAMPLE = (Path(__file__).parents[2] / "config.example.toml").read_text()
COMMANDS = st.sampled_from(
    [("status",), ("status", "--json"), ("batches",), ("history", "a.md"), ("plan", "--json"), ("cost",)]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PATHS = st.sampled_from(
    ["", ".", "..", "~", "~nobody-of-this-name/x", "docs", "docs/../docs", "a\0b", "x" * 300, "x/" * 3000,
     "\u202e", "data", "a\nb", "-", "*", "file:docs", "s3://bucket/x", "s3://", "://", "db://x", "//", "%00",
     "C:\\x", "\ufffe"]
)  # fmt: skip
"""All below the test's own folder, or nowhere: nothing of this machine is to be looked at."""
WORDS = st.sampled_from(
    ["float", "query", "none", "None", "info", "JSON", "voyage-4", "voyage-3-large", "voyage-context-3",
     "rerank-2", "https://example.test/v1", "http://[::1", "https://x:99999/", "https://u:p@h", "https://h?x#y",
     "http://localhost:0", "http://\u2100", "https://.", "127.0.0.1", "**/*.md", "[", "!", "\\", "/", "{a,b",
     "a" * 5000, KEY]
)  # fmt: skip
LARGE = [8, 100, 200, 256, 1024, 8000, 10**6, 10**9, 2**31, 2**63, 2**64, 10**40, -(10**40)]
NUMBERS = st.integers(-5, 5) | st.sampled_from(LARGE)
FLOATS = st.floats() | st.sampled_from([0.1, 0.3, 1.0, 60.0, 1e308, 5e-324, -0.0])


class Literal(str):
    """Stands in the file as it is."""


DATES = st.sampled_from(["1979-05-27T07:32:00Z", "1979-05-27", "07:32:00"]).map(Literal)
SIMPLE = NUMBERS | FLOATS | st.booleans() | TEXT | WORDS | DATES
ODD = st.sampled_from(
    ["[" * 2000 + "]" * 2000, "1" * 5000, "0x" + "f" * 5000, "{a = " * 1500 + "1" + "}" * 1500]
)
LISTS = st.lists(SIMPLE | PATHS, max_size=3) | st.just([{}]) | ODD.map(Literal)
VALUES = SIMPLE | LISTS | st.dictionaries(TEXT, SIMPLE, max_size=2)


def toml(value: Any) -> str:
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value)


def keys_of(model: type[BaseModel]) -> list[str]:
    return [*model.model_fields, "colour", "api_key", "max_tokenz"]


SECTIONS = {name: section_of(field.annotation) for name, field in Settings.model_fields.items()}
TABLES = {name: section for name, section in SECTIONS.items() if section is not None and name != "sources"}


def section(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Some keys of a section, with any values; paths where the folder or file of somebody might be meant."""
    paths = {"path", "uri", "tokenizer", "data_dir"}
    named = {key: (PATHS if key in paths else VALUES) for key in keys_of(model)}
    return st.lists(st.sampled_from(sorted(named)), max_size=3, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: named[key] for key in keys})
    )


SOURCE = SECTIONS["sources"]
FILES = st.fixed_dictionaries(
    {},
    optional={
        "data_dir": PATHS,
        "sources": st.lists(section(SOURCE), max_size=3) | VALUES,
        "prices": st.dictionaries(
            WORDS | TEXT, section(section_by_name(Settings.model_fields["prices"].annotation)), max_size=2
        ),
        "colour": VALUES,
        **{name: section(model) | VALUES for name, model in TABLES.items()},
    },
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a world that has run."""
    root = tmp_path_factory.mktemp("place")
    world = World(root, dimension=1024)
    world.write("a.md", "# A\n\nSome text.")
    world.run()
    return world


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.chdir(place.root)
    monkeypatch.setenv("HOME", str(place.root / "home"))
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)


def run(command: tuple[str, ...], text: str, place: World, **environ: str) -> None:
    """Nothing but 0 (done) and 2 (configuration) may come of it, in plain sentences."""
    path = place.root / "fuzzed.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    result = CliRunner(env=environ).invoke(cli, ["--config", str(path), *command], prog_name="voyage-jobs")
    told = result.stderr
    assert result.exit_code in (0, 2), (result.exit_code, result.output)
    assert "Traceback" not in told
    assert "unexpected" not in told
    assert "pydantic" not in told
    assert KEY not in result.output
    if result.exit_code == 2:
        first, *rest = told.removeprefix("error: ").strip().splitlines()
        assert told.startswith(("error: ", "warning: ", '{"error": ')), told
        assert all(line.isprintable() for line in (first, *rest)), told
        assert len(told) < 40_000


def written(file: dict[str, Any], place: World) -> str:
    """The file as TOML; where it names no data folder or source of its own, those of the world are used."""
    file = {"data_dir": str(place.data_dir), "sources": [{"name": "docs", "path": str(place.docs)}], **file}
    lines = [f"{toml(key)} = {toml(value)}" for key, value in file.items() if not isinstance(value, dict)]
    for key, value in file.items():
        if isinstance(value, dict):
            lines.append(f"[{toml(key)}]")
            lines += [f"{toml(name)} = {toml(each)}" for name, each in value.items()]
    return "\n".join(lines) + "\n"


@examples(50)
@given(FILES, COMMANDS)
def test_any_value_of_any_key(place, file, command):
    run(command, written(file, place), place)


NAMED = re.findall(r"^#? ?([a-z_]+) =", EXAMPLE, flags=re.MULTILINE)
SIGNS = st.sampled_from(["\n", "[", "]", '"', "=", "#", "\0", "\udcff", *NAMED])
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), TEXT | SIGNS), min_size=1, max_size=6)


@examples(30)
@given(EDITS, COMMANDS)
def test_an_example_that_somebody_spoiled(place, edits, command):
    text = EXAMPLE.replace('path = "docs"', f"path = {toml(str(place.docs))}")
    for at, length, instead in edits:
        place_in_text = int(at * len(text))
        text = text[:place_in_text] + instead + text[place_in_text + length :]
    data = f"data_dir = {toml(str(place.data_dir))}\n"
    run(command, data + text, place)


VARIABLES = [
    f"VOYAGE_JOBS_{name}__{key}".upper()
    for name, model in TABLES.items()
    for key in keys_of(model)
    if key not in ("uri", "tokenizer")
]
VARIABLES += ["VOYAGE_JOBS_SOURCES", "VOYAGE_JOBS_VOYAGE"]
SAID = (
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
    | WORDS
    | VALUES.map(lambda value: json.dumps(value) if not isinstance(value, str) else value.replace("\0", ""))
)


@examples(30)
@given(st.dictionaries(st.sampled_from(VARIABLES), SAID, max_size=3), COMMANDS)
def test_any_value_of_any_variable(place, variables, command):
    run(command, written({}, place), place, **variables)


def test_a_dotted_key_of_thousands_of_parts(place):
    tracemalloc.start()
    try:
        run(("status",), ".".join("a" * 16_000) + " = 1\n" + written({}, place), place)
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024 * 1024
    finally:
        tracemalloc.stop()
