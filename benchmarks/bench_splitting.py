"""What chunks are like: ours by the rules of new data folders, ours by rules 1, and two splitting libraries.

`python -m benchmarks splitting --docs DIR` reads the Markdown and reStructuredText below a folder, each text once.
Counted are sizes, blocks that would have fitted and were cut, chunks that end in an opening fence, are only headings,
or end in what opens the next; headings that a CommonMark parser finds and we do not; chunks that hold no word of their
title (with what is sent beside them), and the tokens of chunks without a word.
"""

from __future__ import annotations

import argparse
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from semantic_text_splitter import MarkdownSplitter, TextSplitter

from tests.splits import of_new_state, split
from voyage_jobs.core.tokens import estimate_each
from voyage_jobs.splitting import markdown
from voyage_jobs.splitting.blocks import Lines
from voyage_jobs.splitting.forms import RULES
from voyage_jobs.splitting.split import SplitOptions

SIZE = SplitOptions().max_chars
MARKDOWN = (".md", ".mdx", ".markdown")
RST = (".rst", ".rst.txt")
_WORD = re.compile(r"[^\W\d_]{2,}")
_HEADING = re.compile(r"#{1,6}(?:[ \t]|$)")
_FENCE = re.compile(r"(?:`{3,}|~{3,})")
_DIRECTIVE = re.compile(r"\.\. [\w:+.-]+::|.*::$")

Piece = tuple[int, int, str]
"""Start, end, and what goes with it where it is embedded."""
Cut = Callable[[str, str], list[Piece]]


@dataclass(frozen=True)
class Document:
    """One text, with the title that ours has for it and the blocks that a chunk has room for."""

    path: str
    text: str
    title: str
    blocks: dict[str, list[tuple[int, int]]]
    headings: int
    missing: int


def read(folder: str) -> Iterator[Document]:
    """The documents below a folder, each text once."""
    seen: set[str] = set()
    for path in sorted(Path(folder).rglob("*")):
        if not path.name.endswith((*MARKDOWN, *RST)) or not path.is_file():
            continue
        text = path.read_bytes().decode(errors="replace").replace("\r\n", "\n").replace("\0", " ")
        if text.strip() and text not in seen:
            seen.add(text)
            yield document_of(path.name, text)


def document_of(name: str, text: str) -> Document:
    """A document as the parsers see it."""
    ours = split(text, name, of_new_state())
    if name.endswith(RST):
        return Document(name, text, ours.title, {"literals": literals(text)}, 0, 0)
    starts = Lines.of(text, 0, len(text)).starts
    blocks: dict[str, list[tuple[int, int]]] = {"fences": [], "tables": []}
    titles: list[str] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(body_of(text))
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        kind = {"fence": "fences", "table_open": "tables"}.get(token.type)
        if kind and token.map and token.level == 0:
            blocks[kind].append((starts[token.map[0]], starts[min(token.map[1], len(starts) - 1)]))
        elif (
            token.type == "heading_open" and token.level == 0 and after is not None and after.content.strip()
        ):
            titles.append(after.content)
    known = {word for heading in markdown.headings(body_of(text)) for word in _WORD.findall(heading.text)}
    missing = sum(
        not set(_WORD.findall(title)) <= known for title in titles if not re.search(r"[\[<{`&_*]", title)
    )
    return Document(name, text, ours.title, blocks, len(titles), missing)


def body_of(text: str) -> str:
    """The text with blank lines in place of its front matter."""
    if not text.startswith("---\n") or "\n---\n" not in text[3:]:
        return text
    end = text.index("\n---\n", 3) + 5
    return "\n" * text[:end].count("\n") + text[end:]


def literals(text: str) -> list[tuple[int, int]]:
    """What is indented below a line that ends in `::`, with that line."""
    lines, found, at = Lines.of(text, 0, len(text)), [], 0
    while at < len(lines):
        last = at
        if lines.bare[at].endswith("::"):
            for index in range(at + 1, len(lines)):
                if lines.bare[index] and lines.indent(index) <= lines.indent(at):
                    break
                last = index if lines.bare[index] else last
        if last > at:
            found.append((lines.starts[at], lines.starts[last + 1]))
        at = last + 1
    return found


def ours(options: SplitOptions) -> Cut:
    """Ours, under these options."""

    def cut(name: str, text: str) -> list[Piece]:
        document = split(text, name, options)
        return [(chunk.start, chunk.end, document.headers[chunk.section]) for chunk in document.chunks]

    return cut


def semantic(name: str, text: str) -> list[Piece]:
    """semantic-text-splitter alone."""
    splitter = TextSplitter(SIZE) if name.endswith(RST) else MarkdownSplitter(SIZE)
    return [(at, at + len(part), "") for at, part in splitter.chunk_indices(text)]


def langchain() -> Cut | None:
    """langchain-text-splitters, if it is installed."""
    try:
        from langchain_text_splitters import Language, RecursiveCharacterTextSplitter
    except ImportError:
        return None
    by_form = {
        form: RecursiveCharacterTextSplitter.from_language(
            form, chunk_size=SIZE, chunk_overlap=0, add_start_index=True
        )
        for form in (Language.MARKDOWN, Language.RST)
    }

    def cut(name: str, text: str) -> list[Piece]:
        splitter = by_form[Language.RST if name.endswith(RST) else Language.MARKDOWN]
        parts = [
            (each.metadata["start_index"], each.page_content) for each in splitter.create_documents([text])
        ]
        return [(at, at + len(part), "") for at, part in parts if at >= 0]

    return cut


def measured(cut: Cut, documents: list[Document]) -> dict[str, str]:
    """The line of the table for one way of cutting."""
    sizes: list[int] = []
    counts = dict.fromkeys(
        ("fences", "tables", "literals", "of", "opening", "heading", "ends", "nameless"), 0
    )
    tokens = wordless = 0
    began = time.process_time()
    cuts = [cut(document.path, document.text) for document in documents]
    took = time.process_time() - began
    for document, found in zip(documents, cuts, strict=True):
        starts = [start for start, _, _ in found]
        for kind, blocks in document.blocks.items():
            fitting = [(start, end) for start, end in blocks if end - start <= SIZE * 3 // 4]
            counts[kind] += sum(_is_cut(starts, document.text, start, end) for start, end in fitting)
        counts["opening"] += sum(
            _is_bare(found, document.text, start) for start, _ in document.blocks.get("fences", ())
        )
        title = {word.lower() for word in _WORD.findall(document.title)}
        for start, end, header in found:
            piece = document.text[start:end]
            sizes.append(len(piece))
            lines = [line.strip() for line in piece.splitlines() if line.strip()] or [""]
            counts["heading"] += all(_HEADING.match(line) for line in lines)
            counts["ends"] += _ends_in_what_opens(document.path, lines) and (start, end, header) != found[-1]
            counts["nameless"] += bool(title) and not title & {
                word.lower() for word in _WORD.findall(header + piece)
            }
            [count] = estimate_each([header + piece])
            tokens += count
            wordless += 0 if _WORD.search(piece) else count
    sizes.sort()
    chars = sum(len(document.text) for document in documents)
    at = [sizes[min(len(sizes) - 1, int(share * len(sizes)))] for share in (0.1, 0.5, 0.9)]
    return {
        "chunks": f"{len(sizes):,}",
        "p10 / p50 / p90": " / ".join(f"{size:,}" for size in at),
        "< 150": f"{sum(size < 150 for size in sizes) / len(sizes):.0%}",
        "cut fences / tables / literals": f"{counts['fences']} / {counts['tables']} / {counts['literals']}",
        "bare fence": str(counts["opening"]),
        "bare heading": str(counts["heading"]),
        "ends in what opens": str(counts["ends"]),
        "without its title": f"{counts['nameless'] / len(sizes):.0%}",
        "tokens without words": f"{wordless / max(1, tokens):.1%}",
        "MB per CPU s": f"{chars / 1e6 / max(took, 1e-9):.1f}",
    }


def _is_cut(starts: list[int], text: str, start: int, end: int) -> bool:
    at = bisect_right(starts, start)
    return at < len(starts) and starts[at] < start + len(text[start:end].rstrip())


def _is_bare(found: list[Piece], text: str, fence: int) -> bool:
    """Whether the piece in which a fence opens has none of its code."""
    at = bisect_right(found, fence, key=lambda piece: piece[0]) - 1
    opened = text.find("\n", fence)
    return at >= 0 and opened >= 0 and fence < found[at][1] <= opened + 1


def _ends_in_what_opens(path: str, lines: list[str]) -> bool:
    """Whether the last line is a heading, or the directive of what comes next."""
    if path.endswith(RST):
        return bool(_DIRECTIVE.match(lines[-1]))
    fenced = sum(bool(_FENCE.match(line)) for line in lines) % 2
    return bool(_HEADING.match(lines[-1])) and not fenced and len(lines) > 1


def main() -> None:
    """Measure and print the tables, one for each folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="append", default=[], help="a folder; may be given more than once")
    for folder in parser.parse_args().docs or ["docs"]:
        documents = list(read(folder))
        if not documents:
            print(f"{folder}: no Markdown or reStructuredText\n")
            continue
        chars = sum(len(document.text) for document in documents)
        blocks = [
            sum(len(d.blocks.get(kind, ())) for d in documents) for kind in ("fences", "tables", "literals")
        ]
        print(
            f"{folder}: {len(documents):,} documents, {chars / 1e6:.2f} M characters, {blocks[0]:,} fences,",
            end=" ",
        )
        print(
            f"{blocks[1]:,} tables, {blocks[2]:,} literal blocks; of {sum(d.headings for d in documents):,} headings",
            end=" ",
        )
        print(f"not found {sum(d.missing for d in documents):,}\n")
        ways: dict[str, Cut | None] = {
            f"rules {RULES}": ours(of_new_state()),
            "rules 1": ours(SplitOptions()),
            "semantic-text-splitter": semantic,
            "langchain-text-splitters": langchain(),
        }
        rows = {name: measured(cut, documents) for name, cut in ways.items() if cut is not None}
        names = list(rows[f"rules {RULES}"])
        print("| |", " | ".join(names), "|\n|---|" + "---|" * len(names))
        for name, row in rows.items():
            print(f"| {name} |", " | ".join(row[each] for each in names), "|")
        print()


if __name__ == "__main__":
    main()
