"""Source code of six languages: the text of the file, with its classes and functions as headings.

The parser is tree-sitter, with one small grammar for each language. A file that it cannot make sense of is taken by its
lines alone, and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from voyage_jobs.readers.reader import Heading, Json, Reader, Text
from voyage_jobs.readers.text import decoded

if TYPE_CHECKING:
    from tree_sitter import Node

UNPARSED = "unparsed"
"""What is counted of a file that no symbols were found in because it could not be parsed."""
_MOST_BYTES = 2 << 20  # a tree takes fifty times as much; what is longer was written by a program
_MOST_FAULTS = 5  # no more than this part of a file may be what the grammar does not know
_MOST_DEPTH = 20
_LABEL_CHARS = 120
_HEAD_BYTES = (
    500  # of a class: what is longer is a piece by itself, and not kept with the first function in it
)
_BRACE = ord("{")
_NAME = re.compile(r"\w+")
_WORD = re.compile(rb"\w")

_OPEN = {  # what has symbols of its own, and how it is called
    "class_definition": "class",
    "class_declaration": "class",
    "abstract_class_declaration": "class",
    "class": "class",
    "interface_declaration": "interface",
    "annotation_type_declaration": "@interface",
    "record_declaration": "record",
    "enum_declaration": "enum",
    "internal_module": "namespace",
    "module": "module",
    "trait_item": "trait",
    "impl_item": "impl",
    "mod_item": "mod",
}
_WHOLE = {
    "function_definition": "def",
    "function_declaration": "function",
    "generator_function_declaration": "function",
    "function_expression": "function",
    "generator_function": "function",
    "arrow_function": "function",
    "method_definition": "",
    "method_declaration": "",
    "constructor_declaration": "",
    "compact_constructor_declaration": "",
    "function_item": "fn",
    "struct_item": "struct",
    "enum_item": "enum",
    "union_item": "union",
    "macro_definition": "macro_rules!",
    "type_spec": "type",
    "type_alias_declaration": "type",
}
_AROUND = (  # what a symbol may stand in without being in another one
    "decorated_definition",
    "export_statement",
    "ambient_declaration",
    "expression_statement",
    "type_declaration",
    "lexical_declaration",
    "variable_declaration",
    "enum_body_declarations",
)
_NAMED = {  # what gives its name to a function that has none
    "variable_declarator": ("name", "value"),
    "field_definition": ("property", "value"),
    "public_field_definition": ("name", "value"),
    "assignment_expression": ("left", "right"),
}
_ABOVE = ("comment", "line_comment", "block_comment", "attribute_item", "decorator")


class _Mark(NamedTuple):
    """Where a class or function begins, its comments included, and where its body; in bytes. Without a label: where
    something else goes on behind one."""

    start: int
    head_end: int
    level: int
    label: str = ""


class CodeReader(Reader):
    """One language: `grammars` are functions of its module, of which the one counts that knows most of a file."""

    version = 1
    forms = ("code",)
    isolated = True
    extra = "code"
    plain_without = True
    grammars: tuple[str, ...] = ("language",)
    words: Mapping[str, str] = {}
    """Kinds that are called otherwise in this language."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The parser, and this grammar."""
        return ("tree_sitter", f"tree_sitter_{self.name}")

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:
        """The whole file; raises Refused if it is no text."""
        text = decoded(file.read(), str(options.get("encoding", "")))
        metadata: dict[str, Json] = {"language": self.name}
        data = text.encode()
        root = self._parsed(data) if len(data) <= _MOST_BYTES else None
        if root is None:
            yield Text(text, "code", metadata=metadata, headings=(), left_out={UNPARSED: 1})
            return
        marks = [*_Symbols(data, {**_OPEN, **_WHOLE, **self.words}).below(root, 1)]
        yield Text(text, "code", metadata=metadata, headings=_headings(text, data, marks))

    def _parsed(self, data: bytes) -> Node | None:
        """What the grammar makes of it; None if that is too little."""
        from tree_sitter import Language, Parser

        grammar = import_module(f"tree_sitter_{self.name}")
        best: Node | None = None
        least = len(data) // _MOST_FAULTS + 1
        for name in self.in_order(data):
            root = Parser(Language(getattr(grammar, name)())).parse(data).root_node
            if (faults := _faults(root)) < least:
                best, least = root, faults
            if not faults:
                break
        return best

    def in_order(self, _data: bytes) -> Sequence[str]:
        """Its grammars, the likeliest first."""
        return self.grammars


def _faults(root: Node) -> int:
    """How many bytes the grammar does not know."""
    found, todo = 0, [root]
    while todo:
        node = todo.pop()
        if node.is_error:
            found += node.end_byte - node.start_byte
        elif node.has_error:
            todo += node.children
    return found


class _Symbols:
    """Finds the classes and functions of one file; `words` says how kinds of nodes are called."""

    def __init__(self, data: bytes, words: Mapping[str, str]) -> None:
        self._data = data
        self._words = words

    def below(self, parent: Node, level: int) -> Iterator[_Mark]:
        """Those in a node, in order, each from the comments right above it on."""
        above, row, is_behind = None, -2, False
        for child in parent.named_children:
            near = child.start_point[0] <= row + 1
            if child.type in _ABOVE:
                if above is None or not near:
                    above = self._line(child.start_byte)
                row = child.end_point[0] - (not child.end_point[1])
                continue
            start = self._line(child.start_byte) if above is None or not near else above
            found = [*self._of(child, start, level)]
            if found:
                yield from found
                is_behind = True
            elif is_behind and _WORD.search(self._data, child.start_byte, child.end_byte):
                yield _Mark(start, start, level)
                is_behind = False
            above, row = None, -2

    def _of(self, node: Node, start: int, level: int) -> Iterator[_Mark]:
        """The one that a node is, with those in it; or those that it is around."""
        name: Node | None = None
        value: Node | None = node
        if node.type in _NAMED:
            name, value = (node.child_by_field_name(field) for field in _NAMED[node.type])
        if value is not None and value.type in self._words:
            body = value.child_by_field_name("body")
            if body is None or value.type not in _OPEN or level == _MOST_DEPTH:
                yield _Mark(start, start, level, self._label(value, name))
                return
            inside = body.start_byte + (self._data[body.start_byte] == _BRACE)
            yield _Mark(
                start, inside if inside - start < _HEAD_BYTES else start, level, self._label(value, name)
            )
            yield from self.below(body, level + 1)
        elif node.type in _AROUND:
            is_first = True
            for child in node.named_children:
                found = [*self._of(child, start if is_first else self._line(child.start_byte), level)]
                yield from found
                is_first = is_first and not found

    def _label(self, node: Node, name: Node | None) -> str:
        """`class Scan`, `def run`: as one says it."""
        said = _said(name or node.child_by_field_name("name"))
        if node.type == "impl_item":
            said = " for ".join(
                filter(None, (_said(node.child_by_field_name(each)) for each in ("trait", "type")))
            )
        receiver = _said(node.child_by_field_name("receiver"))
        if receiver:  # `Tree` of `(t *Tree[K])`
            said = f"{_NAME.findall(receiver.partition('[')[0])[-1]}.{said}"
        word = self._words[node.type]
        return " ".join(f"{word} {said}".split())[:_LABEL_CHARS] if word else f"{said}()"

    def _line(self, at: int) -> int:
        """The start of the line, if nothing but blanks stands before `at`; else `at` itself."""
        line = self._data.rfind(b"\n", 0, at) + 1
        return at if self._data[line:at].strip() else line


def _said(node: Node | None) -> str:
    return "" if node is None or node.text is None else node.text.decode()


def _headings(text: str, data: bytes, marks: Sequence[_Mark]) -> list[Heading]:
    """Marks as headings, in characters. None reaches into the next."""
    ends = [min(mark.head_end, after.start) for mark, after in pairwise(marks)]
    ends += [mark.head_end for mark in marks[-1:]]
    offsets = _in_characters(text, data, sorted({*ends, *(mark.start for mark in marks)}))
    return [
        Heading(offsets[mark.start], offsets[end], mark.level, mark.label)
        for mark, end in zip(marks, ends, strict=True)
    ]


def _in_characters(text: str, data: bytes, places: Sequence[int]) -> dict[int, int]:
    """Byte -> character, of places in order."""
    if text.isascii():
        return dict(zip(places, places, strict=True))
    found, at, count = {}, 0, 0
    for place in places:
        count += len(data[at:place].decode())
        found[place] = count
        at = place
    return found


class PythonReader(CodeReader):
    """Python."""

    name = "python"
    suffixes = (".py", ".pyi")


class JavaScriptReader(CodeReader):
    """JavaScript, JSX included."""

    name = "javascript"
    suffixes = (".js", ".mjs", ".cjs", ".jsx")


class TypeScriptReader(CodeReader):
    """TypeScript and TSX, which are two grammars."""

    name = "typescript"
    suffixes = (".ts", ".mts", ".cts", ".tsx")
    grammars = ("language_typescript", "language_tsx")

    def in_order(self, data: bytes) -> Sequence[str]:
        """That of elements first where there seem to be some."""
        return self.grammars[::-1] if b"</" in data or b"/>" in data else self.grammars


class GoReader(CodeReader):
    """Go."""

    name = "go"
    suffixes = (".go",)
    words: Mapping[str, str] = {"function_declaration": "func", "method_declaration": "func"}


class RustReader(CodeReader):
    """Rust."""

    name = "rust"
    suffixes = (".rs",)


class JavaReader(CodeReader):
    """Java."""

    name = "java"
    suffixes = (".java",)


CODE: tuple[Reader, ...] = (
    PythonReader(),
    JavaScriptReader(),
    TypeScriptReader(),
    GoReader(),
    RustReader(),
    JavaReader(),
)
