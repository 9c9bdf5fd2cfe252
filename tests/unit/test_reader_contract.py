"""What every reader promises: one suite, for ours and for a double that gives all that a reader can give.

Below it: how a reader is called, whatever it does; and how readers are found.
"""

from __future__ import annotations

import io
import random
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from pdf_files import pdf
from readers_in_use import copy_of, use

from voyage_jobs.errors import ConfigError
from voyage_jobs.readers.reader import FORMS, Heading, Place, Reader, Refusal, Refused, Text
from voyage_jobs.readers.reading import read_text
from voyage_jobs.readers.registry import BUILT_IN, GROUP, Registered, Registry, reader_of, register_reader
from voyage_jobs.readers.text import TEXT, decoded
from voyage_jobs.splitting.frontmatter import ERROR_KEY
from voyage_jobs.splitting.split import SplitOptions, split


class Captions(Reader):
    """A double that gives everything: a title, metadata, headings and places. Line by line: `12 what is said`."""

    name = "captions"
    version = 1
    suffixes = (".cap",)
    heads = (b"CAP", b"\xef\xbb\xbfCAP")
    forms = ("plain", "markdown")

    def read(self, file, options):
        first, *lines = decoded(file.read()).splitlines()
        text, places, headings = "", [], []
        for line in lines:
            label, _, said = line.partition(" ")
            places.append(Place(len(text), options.get("kind", "second"), label))
            if said.isupper():
                headings.append(Heading(len(text), len(text) + len(said) + 1, 1, said))
            text += said + "\n"
        yield Text(text, title=first[3:], metadata={"lines": len(lines)}, headings=headings, places=places)


DATA = Path(__file__).parents[1] / "data"
FILES = {
    "markdown": b"---\ntitle: A\n---\n# One\n\ntext\n\n## Two\n\nmore caf\xc3\xa9\n",
    "rst": b"\xef\xbb\xbfOne\n===\n\ntext\n\nTwo\n---\n\nmore\n",
    "text": b"\xff\xfe" + "Plain é🙂\r\n\r\n".encode("utf-16-le"),
    "asciidoc": b"= One\n:a: b\n\ntext\n\n== Two\n\n----\nmore\n----\n",
    "org": b"#+title: A\n* One\n:X:\n:id: 1\n:END:\ntext\n** Two\nmore\n",
    "html": b"<title>A page</title><nav>menu</nav><main><h1>One</h1><p>text</p><pre>a\n b</pre></main>",
    "notebook": b'{"nbformat": 4, "cells": [{"cell_type": "markdown", "source": ["# One\\n", "text"]}, '
    b'{"cell_type": "code", "source": "1 + 1", "outputs": [{"text": "2"}]}]}',
    "pdf": pdf([["One", "text, and more text"], ["Two", "text, and still more"]], outline=[("Two", 1)]),
    "office": (DATA / "small.docx").read_bytes(),
    "sheets": (DATA / "small.xlsx").read_bytes(),
    "opendocument": (DATA / "small.odt").read_bytes(),
    "slides": (DATA / "small.odp").read_bytes(),
    "rtf": rb"{\rtf1\ansi One\par two\'e9 three}",
    "epub": (DATA / "small.epub").read_bytes(),
    "mail": b"Subject: One\nFrom: a@example.com\n\nTwo and three.\n",
    "outlook": (DATA / "small.msg").read_bytes(),
    "python": b"# One\ndef two():\n    return 3\n\n\nclass Four:\n    def five(self):\n        pass\n",
    "javascript": b"// One\nfunction two() {\n  return 3;\n}\nfour();\n",
    "typescript": b"interface One { two: number }\nexport const three = () => <b>{4}</b>;\n",
    "go": b"package one\n\n// Two\nfunc Three() int { return 4 }\n",
    "rust": b"/// One\nstruct Two;\nimpl Two { fn three() {} }\n",
    "java": b"package one;\nclass Two { int three() { return 4; } }\n",
    "captions": b"CAP The film\n1 INTRO\n5 hello there\n9 END\n12 bye\n",
}
READERS = [Registered(each) for each in (*BUILT_IN, Captions())]
OPTIONS = SplitOptions()


@pytest.fixture(params=READERS, ids=[each.name for each in READERS])
def chosen(request):
    return request.param


def read(chosen: Registered, data: bytes) -> Text:
    return read_text(chosen, io.BytesIO(data))


def refusal(chosen: Registered, data: bytes) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        read(chosen, data)
    return refused.value.reason, refused.value.detail


def test_it_says_what_it_is(chosen):
    Registry(BUILT_IN).register(copy_of(chosen.reader, name="copy", suffixes=(".copy",)))
    assert chosen.reader.version >= 1
    assert set(chosen.reader.forms) <= set(FORMS)


def test_the_same_bytes_give_the_same_text(chosen):
    data = FILES[chosen.name]
    assert read(chosen, data) == read(chosen, data)


def test_offsets_cut_the_text_that_was_read(chosen):
    found = read(chosen, FILES[chosen.name])
    document = split(found, f"a{chosen.reader.suffixes[:1]}", SplitOptions(max_chars=100))
    assert document.chunks
    for chunk in document.chunks:
        cut = found.text[chunk.start : chunk.end]
        assert cut
        assert cut == cut.strip()


def test_it_reads_a_file_from_wherever_it_can_seek(chosen):
    class NotMuchOfAFile(io.RawIOBase):
        def __init__(self, data):
            self.inner = io.BytesIO(data)

        def readable(self):
            return True

        def seekable(self):
            return True

        def readinto(self, buffer):
            return self.inner.readinto(memoryview(buffer)[:7])

        def seek(self, at, whence=0):
            return self.inner.seek(at, whence)

    data = FILES[chosen.name]
    file = io.BufferedReader(NotMuchOfAFile(data), 11)
    assert read_text(chosen, file) == read(chosen, data)


@examples(300)
@given(st.sampled_from(READERS), st.binary(max_size=200), st.booleans(), st.integers(0, 1 << 30))
def test_hostile_bytes_are_a_text_or_a_reason(chosen, noise, whole, seed):
    data = bytearray(FILES[chosen.name])
    if whole:
        data = noise
    else:
        at = random.Random(seed).randrange(len(data))
        data[at : at + len(noise) // 4] = noise
    found, reason = None, None
    try:
        found = read(chosen, bytes(data))
    except Refused as refused:
        reason = str(refused)
    assert (found is None) == (reason is not None)
    assert not (reason or "").startswith(Refusal.FAILED)
    if found is None:
        return
    assert found.text.strip()
    assert "\0" not in found.text
    assert found.text.encode().decode() == found.text
    split(found, "a", OPTIONS)


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"CAP", b"CAP \n1  \n2 \t\n"])
def test_nothing_said_is_empty(chosen, data):
    if chosen.name == "captions" or b"CAP" not in data:
        assert refusal(chosen, data)[0] in (Refusal.EMPTY, Refusal.BINARY)


# Text files.


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", (Refusal.EMPTY, "no text")),
        (b"\xef\xbb\xbf", (Refusal.EMPTY, "no text")),
        (b" \r\n\t\xc2\xa0", (Refusal.EMPTY, "nothing but white space")),
        (b"text\0more", (Refusal.BINARY, "a zero byte at offset 4")),
        (b"%PDF-1.7 text", (Refusal.BINARY, "starts as a binary format does")),
        (b"\xff\xfeT\0\0\0", (Refusal.BINARY, "a zero character at offset 1")),
        (b"caf\xe9 au lait", (Refusal.UNDECODABLE, "not UTF-8 at byte 3")),
        (b"\xef\xbb\xbfab\xff", (Refusal.UNDECODABLE, "not UTF-8 at byte 5")),
        (b"\xff\xfeT\0\x00\xd8", (Refusal.UNDECODABLE, "not UTF-16-LE at byte 4")),
        (b"\xfe\xff\0Tx", (Refusal.UNDECODABLE, "not UTF-16-BE at byte 4")),
    ],
)
def test_what_is_no_text_is_refused_with_the_place(data, expected):
    assert refusal(Registered(TEXT), data) == expected


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"# T\r\n\rx\n", "# T\r\n\rx\n"),
        ("\ufeffcafé 🙂".encode(), "café 🙂"),
        ("\ufeff\ufeffx".encode(), "\ufeffx"),
        (b"\xff\xfe" + "é🙂\r\n".encode("utf-16-le"), "é🙂\r\n"),
        (b"\xfe\xff" + "é🙂\r\n".encode("utf-16-be"), "é🙂\r\n"),
    ],
)
def test_text_is_decoded_and_otherwise_left_alone(data, text):
    assert read(Registered(TEXT), data) == Text(text, "plain")


# What a reader gives is what documents are made of.


def test_what_is_given_is_taken_in_place_of_what_would_be_found():
    found = read(READERS[-1], FILES["captions"])
    document = split(found, "film.cap", OPTIONS)
    assert document.title == "The film"
    assert document.metadata == {"lines": 4}
    assert [section for chunk in document.chunks for section in document.sections[chunk.section]] == [
        "INTRO",
        "END",
    ]
    assert [(place.kind, place.label) for place in found.places][:2] == [("second", "1"), ("second", "5")]


def test_a_text_of_markdown_may_bring_its_own_metadata():
    given = Text("---\na: 1\n\n---\n# Real\n\ntext", "markdown", metadata={"from": "html"})
    document = split(given, "page.html", OPTIONS)
    assert (document.title, document.metadata) == ("Real", {"from": "html"})
    assert document.chunks[0].start == 0


def test_metadata_of_a_reader_is_bounded_as_front_matter_is():
    endless = []
    endless.append(endless)
    for metadata in ({"a": endless}, {"a": ["x"] * 10_000}, {"a": object()}):
        assert ERROR_KEY in split(Text("text", metadata=metadata), "a", OPTIONS).metadata


def test_headings_of_a_reader_are_plain_lines():
    found = split(Text("text", headings=[Heading(0, 0, 1, "a\x07 \n" + "b" * 300)]), "a", OPTIONS)
    assert found.sections[0][0].startswith("a bbb")
    assert len(found.sections[0][0]) == 200


# Whatever a reader does, it is a reason.


def bad(gives):
    """A reader that does this."""
    made = copy_of(TEXT)
    made.read = lambda file, options: gives(file)
    return Registered(made)


def broken(_file):
    raise ValueError("the document says: a secret")


def with_own_reason(_file):
    raise Refused("encrypted", "needs\n a password")


def with_no_word(_file):
    raise Refused("Not a word!")


def lacks_a_library(_file):
    raise ModuleNotFoundError("No module named 'lib'", name="lib")


def two(_file):
    yield from (Text("a"), Text("b"))


def endless(_file):
    while True:
        yield Text("a")


@pytest.mark.parametrize(
    ("gives", "reason", "detail"),
    [
        (broken, Refusal.FAILED, "text: ValueError in test_reader_contract.py, line "),
        (lambda file: [Text(file.read().decode())], Refusal.UNDECODABLE, "not UTF-8 at byte 0"),
        (lambda file: None, Refusal.FAILED, "text: TypeError in reading.py, line "),
        (with_own_reason, "encrypted", "needs a password"),
        (with_no_word, Refusal.FAILED, ""),
        (lacks_a_library, Refusal.NO_READER, "reader text needs lib"),
        (two, Refusal.FAILED, "text found more than one text, and a file is one document"),
        (endless, Refusal.FAILED, "text found more than one text, and a file is one document"),
        (lambda file: [], Refusal.EMPTY, "no text"),
        (lambda file: ["text"], Refusal.FAILED, "text gave str in place of a text"),
        (lambda file: [Text(b"text")], Refusal.FAILED, "text gave Text in place of a text"),
        (
            lambda file: [Text("a", "html")],
            Refusal.FAILED,
            "text gave a text of form 'html', which it does not name",
        ),
        (lambda file: [Text("a\ud800")], Refusal.FAILED, "text gave a text with a lone surrogate"),
        (lambda file: [Text("a\0")], Refusal.BINARY, "a zero character at offset 1"),
        (
            lambda file: [Text("a", headings=[Heading(0, 2, 1, "")])],
            Refusal.FAILED,
            "text gave headings that are not",
        ),
        (lambda file: [Text("a", headings=[None])], Refusal.FAILED, "text gave headings that are not"),
        (lambda file: [Text("a", headings=7)], Refusal.FAILED, "text: TypeError in reading.py, line "),
        (
            lambda file: [Text("ab", places=[Place(2, "", ""), Place(1, "", "")])],
            Refusal.FAILED,
            "text gave places",
        ),
    ],
)
def test_whatever_a_reader_does_is_a_reason(gives, reason, detail):
    found, told = refusal(bad(gives), b"\xff")
    assert found == reason
    assert told.startswith(detail)
    assert "secret" not in told


# Finding readers.


def point(value: str, name: str = "captions") -> EntryPoint:
    return EntryPoint(name, value, GROUP)


def test_an_installed_reader_takes_its_files():
    found = Registry(BUILT_IN, lambda: [point("test_reader_contract:Captions")])
    assert found.of("a.CAP").name == "captions"
    assert found.of("a.CAP").origin == "test_reader_contract:Captions"
    assert found.of("a.md").name == "markdown"
    assert found.has("captions")
    assert found.broken == ()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_module:Reader", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("test_reader_contract:Nothing", "AttributeError: "),
        ("test_reader_contract:bad", "its name is None, not a word in lower case"),
        ("sys:exit", "its name is None, not a word in lower case"),
        ("voyage_jobs.readers.text:MARKDOWN", "there is a reader called markdown already"),
    ],
)
def test_an_installed_reader_that_cannot_be_used_is_left_out_and_told(value, why):
    found = Registry(BUILT_IN, lambda: [point(value, "a"), point("test_reader_contract:Captions", "b")])
    assert [each.name for each in found.readers] == [*(each.name for each in BUILT_IN), "captions"]
    [broken] = found.broken
    assert broken.name == "a"
    assert broken.why.startswith(why)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"name": "Captions"}, "its name is 'Captions', not a word in lower case"),
        ({"version": 0}, "the version of captions is 0"),
        ({"version": True}, "the version of captions is True"),
        ({"suffixes": ()}, "the suffixes of captions"),
        ({"suffixes": ("cap",)}, "the suffixes of captions"),
        ({"suffixes": (".CAP",)}, "the suffixes of captions"),
        ({"suffixes": ".cap"}, "the suffixes of captions"),
        ({"suffixes": (".cap", ".md")}, ".md belongs to reader markdown"),
        ({"heads": b"CAP"}, "the heads of captions"),
        ({"forms": ("html",)}, "the forms of captions"),
        ({"forms": ()}, "the forms of captions"),
        ({"isolated": None}, "whether captions is isolated is not said"),
        ({"needs": "lxml"}, "what captions needs is not a tuple of names of modules"),
        ({"read": None}, "captions has no method `read`"),
        ({"name": "text"}, "there is a reader called text already"),
    ],
)
def test_a_reader_that_cannot_be_used_is_refused(monkeypatch, changed, why):
    use(monkeypatch)
    with pytest.raises(ConfigError) as refused:
        register_reader(copy_of(Captions(), **changed))
    assert refused.value.message.startswith(f"This reader cannot be used: {why}")
    assert reader_of("a.cap").name == "text"


def test_options_of_a_reader_are_json(monkeypatch):
    use(monkeypatch)
    with pytest.raises(ConfigError, match="its options are not JSON"):
        register_reader(Captions(), {"kind": object()})
    with pytest.raises(ConfigError, match="its options are no dict"):
        register_reader(Captions(), 5)


def test_a_class_in_the_place_of_a_reader_is_told(monkeypatch):
    use(monkeypatch)
    with pytest.raises(ConfigError, match=r"Captions is a class, and not an object of it: Captions\(\)"):
        register_reader(Captions)
    assert reader_of("a.cap").name == "text"


def test_a_program_registers_a_reader_and_may_do_so_again(monkeypatch):
    use(monkeypatch)
    register_reader(Captions())
    register_reader(copy_of(Captions(), suffixes=(".caps",)), {"kind": "minute"})
    assert reader_of("a.cap").name == "text"
    assert reader_of("a.caps").options == {"kind": "minute"}
    assert read(reader_of("a.caps"), FILES["captions"]).places[0].kind == "minute"


def test_a_package_that_registers_its_reader_while_it_is_loaded_is_no_circle(monkeypatch):
    class Loads:
        name, value, dist = "a", "a", None

        def load(self):
            register_reader(copy_of(Captions(), name="other", suffixes=(".other",)))
            return Captions()

    use(monkeypatch, installed=[Loads()])
    assert reader_of("a.other").name == "other"
    assert reader_of("a.cap").name == "captions"


LOG = b"2024-05-06 07:08:09 INFO the pump was started, all is well here\n"


@pytest.mark.parametrize(
    "data",
    [
        LOG * 20 + b"\0" * 512 + LOG * 20,
        b"\0" * 5_000 + LOG * 9,
        LOG * 9 + b"\0" * 4_000,
        LOG * 9 + b"the end\0\n",
    ],
    ids=["hole", "head", "tail", "one"],
)
def test_a_few_zero_bytes_in_a_log_are_blanks_and_move_no_offset(data):
    assert decoded(data) == data.decode().replace("\0", " ")


@pytest.mark.parametrize(
    "data",
    [
        LOG.decode().encode("utf-16-le") * 20,
        b"\0a" * 200,
        LOG * 9 + b"\0\1\2\3\4\5\6\7\x0e\x0f\0",
        b"%PDF-" + LOG * 9 + b"\0",
    ],
    ids=["utf-16", "records", "signs", "pdf"],
)
def test_many_zero_bytes_are_binary(data):
    with pytest.raises(Refused) as refused:
        decoded(data)
    assert refused.value.reason == Refusal.BINARY
