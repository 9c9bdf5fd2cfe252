"""Source code: symbols as sections, functions whole, and what cannot be parsed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from readers_in_use import use
from test_nothing_left_out import left_out
from world import World

from tests.splits import of_new_state
from voyage_jobs.readers import registry
from voyage_jobs.readers.code import CODE
from voyage_jobs.readers.reader import Refused, Text
from voyage_jobs.readers.reading import read_here, read_text
from voyage_jobs.readers.registry import Registered, reader_of
from voyage_jobs.report.status import status
from voyage_jobs.splitting.split import SplitDocument, SplitOptions, split

APART = SplitOptions(max_chars=400, rules=2)
"""Nothing is put together: each section is a chunk of its own."""
SOURCES = {
    "a.py": '''"""About pumps."""

import os


# How it is called.
@dataclass
class Pump:
    """Moves water."""

    rate = 1

    @property
    def speed(self):
        return self.rate

    async def run(self):
        def inner():
            pass
        return inner

    tail = 2


if __name__ == "__main__":
    Pump().run()
''',
    "a.js": """import x from "x";

/** A pump. */
export class Pump {
  #rate = 1;

  // Starts it.
  run() {
    return 1;
  }
  stop = async () => { return 2; };
}

export const start = (pump) => {
  pump.run();
};
module.exports.go = function () { return 3; };
start(new Pump());
""",
    "a.tsx": """export interface Pump { rate: number }
export abstract class Big<T> implements Pump {
  rate = 1;
  run(): T { return this.all[0]; }
}
export const View = (props: { pump: Pump }) => {
  return <div>{props.pump.rate}</div>;
};
""",
    "a.go": """package pumps

// Pump moves water.
type Pump struct {
	rate int
}

// Run starts it.
func (p *Pump) Run() int { return p.rate }

func New() *Pump { return &Pump{} }
""",
    "a.rs": """use std::fmt;

/// Moves water.
#[derive(Debug)]
pub struct Pump { rate: u8 }

impl fmt::Display for Pump {
    fn fmt(&self) -> u8 { self.rate }
}

mod inner {
    pub fn start() {}
}
""",
    "a.java": """package pumps;

/** Moves water. */
@Big
public class Pump {
  int rate = 1;

  Pump() { rate = 2; }

  /** Starts it. */
  @Override
  public void run() { rate = 3; }

  enum Kind { A; void go() { rate(); } }
}
""",
}
SECTIONS = {
    "a.py": ["class Pump", "class Pump/def speed", "class Pump/def run"],
    "a.js": [
        "class Pump",
        "class Pump/run()",
        "class Pump/function stop",
        "function start",
        "function module.exports.go",
    ],
    "a.tsx": ["interface Pump", "class Big", "class Big/run()", "function View"],
    "a.go": ["type Pump", "func Pump.Run", "func New"],
    "a.rs": ["struct Pump", "impl fmt::Display for Pump/fn fmt", "mod inner/fn start"],
    "a.java": [
        "class Pump",
        "class Pump/Pump()",
        "class Pump/run()",
        "class Pump/enum Kind",
        "class Pump/enum Kind/go()",
    ],
}


def read(path: str, source: str) -> Text:
    return read_here(reader_of(path), io.BytesIO(source.encode()))


def chunks(document: SplitDocument, text: str) -> dict[str, str]:
    """The text of each section, by its path."""
    return {
        "/".join(document.sections[each.section]): text[each.start : each.end] for each in document.chunks
    }


@pytest.mark.parametrize("path", SOURCES)
def test_classes_and_functions_are_the_sections(path):
    found = read(path, SOURCES[path])
    document = split(found, path, APART)
    said = ["/".join(document.sections[each.section]) for each in document.chunks]
    assert [each for each in dict.fromkeys(said) if each] == SECTIONS[path]
    assert document.title == "a"
    assert document.metadata == {"language": reader_of(path).name}
    assert left_out(found.text, document) == ""
    assert not found.left_out


def test_what_stands_above_a_function_is_its_own_and_what_follows_is_not():
    found = chunks(split(read("a.py", SOURCES["a.py"]), "a.py", APART), SOURCES["a.py"])
    assert found["class Pump"] == "tail = 2"  # the last of its own, behind the functions
    assert found["class Pump/def speed"].startswith("@property\n")
    assert found[""].startswith("if __name__")
    java = chunks(split(read("a.java", SOURCES["a.java"]), "a.java", APART), SOURCES["a.java"])
    assert java["class Pump/run()"].startswith("/** Starts it. */\n  @Override")
    assert java["class Pump"].startswith("/** Moves water. */\n@Big\npublic class Pump {\n  int rate")
    rust = chunks(split(read("a.rs", SOURCES["a.rs"]), "a.rs", APART), SOURCES["a.rs"])
    assert rust["mod inner/fn start"].startswith("mod inner {")  # a bare head goes with what is in it
    assert rust["struct Pump"].startswith("/// Moves water.")


def test_offsets_are_those_of_the_file_whatever_its_letters():
    source = 'MOTTO = "é🙂"\n\n\ndef größe():\n    return "ü"\n\n\ndef next():\n    pass\n'
    found = read("a.py", source)
    assert [found.text[each.start :].split("(")[0] for each in found.headings] == ["def größe", "def next"]


def function(name: str, lines: int, indent: str = "") -> str:
    body = "".join(f"{indent}    value_{at} = call_{name}({at})\n" for at in range(lines))
    return f"{indent}def {name}():\n{body}"


def test_a_function_that_fits_is_not_cut_nor_one_within_another():
    options = of_new_state(1000)
    inner = [function(f"inner{at}", 20, "    ") for at in range(6)]
    source = "\n".join([function("one", 25), "def outer():\n" + "\n".join(inner), function("two", 25)])
    found = read("a.py", source)
    cut = [found.text[each.start : each.end] for each in split(found, "a.py", options).chunks]
    for whole in (function("one", 25), function("two", 25), *inner):
        assert sum(whole.strip() in each for each in cut) == 1


def test_a_function_that_comes_leaves_the_others_as_they_were():
    functions = [function(f"f{at}", 8) for at in range(60)]
    before, after = ("\n\n".join(each) for each in (functions, [function("new", 8), *functions]))
    options = of_new_state(1000)
    cut = [
        {text[each.start : each.end] for each in split(read("a.py", text), "a.py", options).chunks}
        for text in (before, after)
    ]
    assert len(cut[1] - cut[0]) <= 2


@pytest.mark.parametrize(
    "source",
    [
        ")]} " * 400 + "\n",
        "Dear all,\n\nthe pump is here; it's big!\n" * 20,
        "def f(): pass\n" + "x = 1\n" * 400_000,
    ],
    ids=["brackets", "prose", "long"],
)
def test_what_cannot_be_parsed_is_cut_by_its_lines_and_counted(source):
    found = read("a.go", source) if len(source) < 10_000 else read("a.py", source)
    assert found.left_out == {"unparsed": 1}
    assert found.text == source
    if len(source) < 10_000:
        assert left_out(source, split(found, "a.go", of_new_state(200))) == ""


@pytest.mark.parametrize(
    "deep", ["(" * 200_000, "class A {" * 20_000, "if a:\n" + " " * 90_000 + "b\n", "{[" * 100_000]
)
@pytest.mark.parametrize("path", ["a.py", "a.ts", "a.java"])
def test_deep_nesting_ends_in_a_text(path, deep):
    found = read_text(reader_of(path), io.BytesIO(deep.encode()))
    assert found.text == deep


@examples(150)
@given(st.sampled_from(sorted(SOURCES)), st.integers(0, 400), st.integers(0, 60), st.text(max_size=20))
def test_no_character_of_damaged_code_is_lost(path, at, size, noise):
    source = SOURCES[path]
    source = source[:at] + noise.encode(errors="ignore").decode() + source[at + size :]
    try:
        found = read(path, source)
    except Refused:
        return
    for options in (APART, of_new_state(200), SplitOptions(max_chars=100)):
        assert left_out(found.text, split(found, path, options)) == ""


def without(monkeypatch, library: str) -> None:
    """As if the library were not installed."""
    real = registry._is_installed
    monkeypatch.setattr(registry, "_is_installed", lambda name: name != library and real(name))
    use(monkeypatch)


def test_without_the_extra_it_is_plain_text_as_before(monkeypatch):
    assert reader_of("a.py").name == "python"
    without(monkeypatch, "tree_sitter")
    assert reader_of("a.py").name == "text"
    assert reader_of("a.go").name == "text"
    from voyage_jobs.report.passed_over import how_to_take

    assert how_to_take({".py": 3, ".go": 2}) == (
        "Add *.py, *.go to `include` to have 5 of them read; "
        "reader python needs tree_sitter: pip install 'voyage-jobs[code]'."
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_code_is_found_by_its_symbols_and_what_cannot_be_parsed_is_told(world):
    mine = [{"name": "docs", "path": str(world.docs), "include": ["*.py", "*.go"]}]
    for path in ("a.py", "a.go"):
        world.write(path, SOURCES[path])
    world.write("bad.go", ")]} " * 400)
    world.run(sources=mine)
    rows = world.table_rows("path", "section", "front_matter")
    assert {tuple(each["section"]) for each in rows if each["path"] == "a.go"} == {
        (),
        ("type Pump",),
        ("func Pump.Run",),
        ("func New",),
    }
    [source] = status(world.settings(sources=mine), world.clock)["sources"]
    assert source["parts_left_out"] == {"unparsed": 1}
    billed = world.ledger.units()
    world.run(sources=mine)
    assert world.ledger.units() == billed


def test_what_was_plain_text_stays_so_until_it_changes(world, monkeypatch):
    mine = [{"name": "docs", "path": str(world.docs), "include": ["*.py"]}]
    world.write("a.py", SOURCES["a.py"])
    world.write("b.py", SOURCES["a.py"].replace("Pump", "Valve"))
    with monkeypatch.context() as before:
        without(before, "tree_sitter")
        world.run(sources=mine)
    use(monkeypatch)
    billed = world.ledger.units()
    world.run(sources=mine)
    assert world.ledger.units() == billed
    world.write("b.py", SOURCES["a.py"].replace("Pump", "Tap"))
    world.run(sources=mine)
    languages = {
        each["path"]: "language" in each["front_matter"] for each in world.table_rows("path", "front_matter")
    }
    assert languages == {"a.py": False, "b.py": True}


def test_each_language_is_a_reader_of_its_own():
    assert [each.name for each in CODE] == ["python", "javascript", "typescript", "go", "rust", "java"]
    assert all(Registered(each).missing == "" for each in CODE)


def test_a_function_that_fits_is_not_cut_for_what_stands_around_it():
    body = "".join(f"        value_{at} = compute(value_{at - 1}, {at})\n" for at in range(1, 40))
    inner = f"    def inner(value_0):\n{body}        return value_39\n"
    text = f"if FAST:\n    {'call()' * 60}\nelse:\n    import slow\n\n{inner}"
    [start] = [at for at in range(len(text)) if text.startswith("def inner", at)]
    document = split(Text(text, "code"), "a.py", of_new_state(len(inner) + 60))
    [chunk] = [chunk for chunk in document.chunks if chunk.start <= start < chunk.end]
    assert chunk.end == len(text.rstrip())

    after = f"{'# told above' * 30}\n{inner[4:]}\nlast_line = {'x' * 200}\n"
    document = split(Text(after, "code"), "a.py", of_new_state(len(inner) + 20))
    found = [after[chunk.start : chunk.end] for chunk in document.chunks]
    assert [each for each in found if "def inner" in each and "return value_39" in each]


@pytest.mark.parametrize(
    ("path", "comment", "head"),
    [
        ("a.go", "// It says why.\n", "func Run() string {\n\treturn `\nnot indented at all\n"),
        (
            "a.java",
            " * It says why.\n",
            '@Override\npublic String run() {\n  String all = """\nnot indented\n""";\n',
        ),
        ("a.js", " * It says why.\n", "function run() {\n  return `\nnot indented at all\n"),
        ("a.rs", "/// It says why.\n", 'fn run() -> String {\n    r#"\nnot indented at all\n'),
    ],
)
@pytest.mark.parametrize("count", [4, 30, 90])
def test_a_function_that_fits_without_the_comment_above_it_is_whole(
    path: str, comment: str, head: str, count: int
) -> None:
    ends = {"a.go": "`\n}", "a.java": "  return all;\n}", "a.js": "`\n}", "a.rs": '"#.to_string()\n}'}
    function = head + "".join(f"line {at} of the text\n" for at in range(50) if path != "a.java") + ends[path]
    if path == "a.java":
        function = function.replace("not indented\n", "not indented\n" * 90)
    above = f"/**\n{comment * count} */\n" if comment.startswith(" *") else comment * count
    text = f"{above}{function}\n"
    options = of_new_state(len(function) + 40)
    document = split(Text(text, "code"), path, options)
    found = [text[chunk.start : chunk.end] for chunk in document.chunks]
    assert function in found
    assert "".join("".join(found).split()) == "".join(text.split())
