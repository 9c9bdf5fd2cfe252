"""Files of any name and any content, all the way: scan, split, batch, table, and out of it again when they are gone."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from pathlib import Path

from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from small_world import Small, quick
from step_doors import query
from world import World

from voyage_jobs.sources import names

HOSTILE = [
    b"plain.md", b"-rf.md", b"--help.md", b" .md", b"a b .md", b"new\nline.md", b"tab\t\r.md", b"\x01\x1b[31m.md",
    b"quote'\".md", b"a' OR '1'='1.md", b"back\\slash.md", b"100%_.md", b"*?[x].md", b"{a,b}.md", b"#.md", b"!x.md",
    b"~.md", b"$(HOME)`id`.md", b"a;b|c&d.md", b"..md", b"...md", b"con.md", b"\xff\xfe.md", b"\xed\xa0\x80.md",
    b"\xc3.md", b"\xf4\x8f\xbf\xbf.md", "\U0010ff41.md".encode(), "\u202eevil.md".encode(), "\U0001f980.md".encode(),
    "\u200b.md".encode(), "e\u0301.md".encode(), "\u00e9.md".encode(), "\u0130.md".encode(), b"Case.md", b"case.md",
    b"CASE.md", b"x" * 252 + b".md", "\U0001f980".encode() * 62 + b".md", b"deep/er/\xff/\n/.hid/x.md", b"-/-/-.md",
    b"docs:docs.md", b"docs", b"0.md", b"NULL.md",
]  # fmt: skip
PART = (
    st.binary(min_size=1, max_size=40)
    | st.text(min_size=1, max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.sampled_from(["e\u0301", "\u00e9", "K", "\u212a", "\ufb01", "\u202e", "\U0010ff0a", "..."]).map(
        str.encode
    )
).map(lambda part: part.replace(b"/", b"-").replace(b"\0", b"_").lstrip(b".") or b"x")
NAME = st.lists(PART, min_size=1, max_size=3).map(lambda parts: b"/".join(parts)[:200].rstrip(b"/") + b".md")


def fitting(chosen: list[bytes]) -> list[bytes]:
    """Those that can stand beside each other: none is also the folder of another."""
    kept: list[bytes] = []
    for name in dict.fromkeys(chosen):
        folders = {b"/".join(name.split(b"/")[:depth]) for depth in range(1, name.count(b"/") + 1)}
        taken = {
            b"/".join(other.split(b"/")[:depth])
            for other in kept
            for depth in range(1, other.count(b"/") + 1)
        }
        if not folders & set(kept) and name not in taken:
            kept.append(name)
    return kept


def path_of(docs: Path, name: bytes) -> bytes:
    return os.path.join(os.fsencode(docs), name)


def test_all_hostile_names_through_the_real_table(tmp_path):
    world = World(
        tmp_path,
        sources=[
            {
                "name": "docs",
                "path": str(tmp_path / "docs"),
                "delete_grace_s": 0,
                "include": ["*"],
                "hidden": True,
                "max_delete_share": 1,
            }
        ],
    )
    texts = {}
    for number, name in enumerate(fitting(HOSTILE)):
        world.write(name, f"text number {number}")
        texts[names.encode(name)] = f"text number {number}"
    world.run()
    assert {row["path"]: row["text"] for row in world.table_rows("path", "text")} == texts
    assert names.decode(names.encode(HOSTILE[0])) == HOSTILE[0]

    for name in fitting(HOSTILE)[::2]:
        os.unlink(path_of(world.docs, name))
        del texts[names.encode(name)]
    world.clock.advance(400)
    world.run()
    assert {row["path"]: row["text"] for row in world.table_rows("path", "text")} == texts
    assert world.ledger.billed_more_than_once() == {}


@examples(8)
@given(st.lists(NAME, min_size=1, max_size=6).map(fitting), st.data())
def test_any_names_come_in_move_and_go(chosen, data):
    with quick(), tempfile.TemporaryDirectory() as folder:
        source = {
            "name": "docs",
            "path": folder + "/docs",
            "delete_grace_s": 0,
            "max_delete_share": 1,
            "hidden": True,
        }
        small = Small(Path(folder), sources=[source])
        small.write("stays.md", "a folder that is empty all of a sudden would be frozen")
        texts = {"stays.md": ["a folder that is empty all of a sudden would be frozen"]}
        for number, name in enumerate(chosen):
            text = f"# Number {number}\n\nIts text."  # with a title: without one, a new name is paid for
            small.write(name, text)
            texts[names.encode(name)] = [text]
        small.run()
        assert small.served() == texts

        gone = data.draw(st.sampled_from(chosen))
        os.unlink(path_of(small.docs, gone))
        del texts[names.encode(gone)]
        moved = data.draw(st.sampled_from(chosen))
        target = data.draw(NAME)
        if moved != gone and fitting([*chosen, target])[-1] == target and target not in chosen:
            to = path_of(small.docs, target)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            os.rename(path_of(small.docs, moved), to)
            texts[names.encode(target)] = texts.pop(names.encode(moved))
        small.later()
        assert small.served() == texts
        assert small.ledger.units() == len(chosen) + 1
        assert small.ledger.billed_more_than_once() == {}


def test_names_that_differ_only_in_form_or_case_are_different_documents(tmp_path):
    with quick():
        small = Small(tmp_path)
        twins = ["\u00e9.md", unicodedata.normalize("NFD", "\u00e9.md"), "A.md", "a.md", "\u212a.md", "K.md"]
        for number, name in enumerate(twins):
            small.write(name, f"text number {number}")
        small.run()
        assert small.served() == {name: [f"text number {number}"] for number, name in enumerate(twins)}


# --- contents ---

PIECES = st.sampled_from(
    ["# Title\n", "## Part\n\n", "Some words. ", "\r\n", "\r", "\n\n", "```\ncode\n", "---\n", "+++\n",
     "a: [1, 2\n", "title: T\n", "\ufeff", "\u2028", "\x0b", "\x00", "\x1b[2J", "e\u0301",
     "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u202e", "x" * 900, " " * 700, "漢字。" * 300, "<!--", "-->",
     "| a | b |\n|---|---|\n", "- one\n  - two\n", "> quote\n", "\t", "\ud7ff\ue000", "&nbsp;", "\\"]
)  # fmt: skip
CONTENTS = st.lists(PIECES, max_size=25).map("".join)
FILES = (
    st.tuples(CONTENTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])).map(
        lambda pair: pair[0].encode(pair[1])
    )
    | st.binary(max_size=200)
    | st.tuples(CONTENTS, st.binary(max_size=3)).map(lambda pair: pair[0].encode() + pair[1])
)


@examples(12)
@given(st.dictionaries(st.sampled_from(["a.md", "b.rst", "c.txt", "d.markdown"]), FILES, min_size=1))
def test_any_contents_are_cut_where_the_table_says_or_are_skipped_for_a_reason(contents):
    with quick(), tempfile.TemporaryDirectory() as folder:
        docs = {
            "name": "docs",
            "path": str(Path(folder) / "docs"),
            "skip_data": False,
        }  # runs of one letter are data
        small = Small(Path(folder), splitting={"max_chars": 200}, sources=[docs])
        for name, content in contents.items():
            small.write(name, content)
        small.run()
        documents = small.documents()
        for (_, path), rows in documents.items():
            decoded = text_of(contents[path])
            for row in rows:
                assert decoded[row["start"] : row["end"]] == row["text"]
                assert len(row["text"]) <= 200
            uncovered = decoded
            for row in reversed(rows):
                uncovered = uncovered[: row["start"]] + uncovered[row["end"] :]
            assert not uncovered.strip() or uncovered.lstrip().startswith(("---", "+++"))
        with small.worker() as context:
            skipped = dict(query(context, "SELECT name, reason FROM documents WHERE state = 'skipped'"))
        assert skipped.keys() | {path for _, path in documents} >= {
            name for name, content in contents.items() if content.strip()
        } - bare(contents)
        assert all(skipped.values())
        assert small.ledger.billed_more_than_once() == {}


def text_of(content: bytes) -> str:
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    return content.decode()


def bare(contents: dict[str, bytes]) -> set[str]:
    """Documents of front matter alone: they are there, and have nothing to show."""
    found = set()
    for name, content in contents.items():
        try:
            text = text_of(content)
        except UnicodeDecodeError:
            continue
        if text.lstrip().startswith(("---", "+++")):
            found.add(name)
    return found
