"""Source code: bytes per CPU second read and split, and how many functions that would fit a chunk are cut.

`python -m benchmarks code --docs DIR`, on any folder of source files. A function is what the grammar calls one.
"""

from __future__ import annotations

import argparse
import io
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from importlib import import_module
from pathlib import Path
from typing import Any

from tree_sitter import Language, Parser

from tests.splits import of_new_state
from voyage_jobs.readers.code import CodeReader
from voyage_jobs.readers.reader import Refused, Text
from voyage_jobs.readers.reading import read_here
from voyage_jobs.readers.registry import reader_of
from voyage_jobs.splitting.split import SplitDocument, split

FUNCTIONS = {
    *(
        "function_definition",
        "function_declaration",
        "method_definition",
        "method_declaration",
        "function_item",
    ),
    *("constructor_declaration", "generator_function_declaration"),
    *("arrow_function", "function_expression"),
}
MAX_CHARS = 2_000


def cut(reader: Any, found: Text, document: SplitDocument) -> tuple[int, int]:
    """How many functions of a file would fit a chunk with its header, and how many of them are not within one."""
    grammar = import_module(f"tree_sitter_{reader.name}")
    language = getattr(grammar, reader.in_order(found.text.encode())[0])
    todo = [Parser(Language(language())).parse(found.text.encode()).root_node]
    starts, fit, lost = [chunk.start for chunk in document.chunks], 0, 0
    room = MAX_CHARS - max(map(len, document.headers))
    while todo:
        node = todo.pop()
        todo += node.children
        if node.type in FUNCTIONS and node.end_byte - node.start_byte <= room:
            chunk = document.chunks[bisect_right(starts, node.start_byte) - 1]
            fit, lost = fit + 1, lost + (node.end_byte > chunk.end)
    return fit, lost


def main() -> None:
    """Read, split, count, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", default="voyage_jobs")
    options = parser.parse_args()
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path in sorted(Path(options.docs).rglob("*")):
        reader = reader_of(str(path)).reader
        if not isinstance(reader, CodeReader) or not path.is_file():
            continue
        data, begun = path.read_bytes(), time.process_time()
        try:
            found = read_here(reader_of(str(path)), io.BytesIO(data))
        except Refused:
            continue
        document = split(found, str(path), of_new_state(MAX_CHARS))
        count = counts[reader.name]
        count.update({"files": 1, "bytes": len(data), "us": int((time.process_time() - begun) * 1e6)})
        count.update(found.left_out)
        if found.text.isascii() and not found.left_out:
            fit, lost = cut(reader, found, document)
            count.update({"fit": fit, "cut": lost})
    for name, count in counts.items():
        speed = count["bytes"] / max(1, count["us"])
        print(f"{name}: {count['files']:,} files, {speed:.1f} MB per CPU second", end="; ")
        print(
            f"{count['cut']} of {count['fit']:,} functions that fit are cut, {count['unparsed']} files not parsed"
        )


if __name__ == "__main__":
    main()
