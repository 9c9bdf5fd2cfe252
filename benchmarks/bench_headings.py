"""Where the headings of Markdown are: our scanner against the events of a whole parser, on real files.

pyromark gives the events of pulldown-cmark with their offsets in bytes. It is no dependency: `pip install pyromark`.
"""

from __future__ import annotations

import argparse

import pyromark

from benchmarks.bench_split import DEFAULT_FOLDERS, Texts, load, markdown_files
from benchmarks.harness import header, measure_together, row
from voyage_jobs.readers.reader import Heading, Text
from voyage_jobs.splitting import markdown
from voyage_jobs.splitting.frontmatter import front_matter
from voyage_jobs.splitting.headings import plain_line
from voyage_jobs.splitting.split import SplitOptions, split

_CONTAINERS = ("BlockQuote", "List", "Item", "FootnoteDefinition")


def parsed(text: str, start: int) -> list[Heading]:
    """The top-level headings, as the parser has them."""
    body = text[start:].encode()
    found: list[Heading] = []
    depth, at, chars, heading = 0, 0, start, None
    for event, where in pyromark.events_with_range(body.decode(), options=pyromark.Options.ENABLE_GFM):
        kind, what = (event, None) if isinstance(event, str) else next(iter(event.items()))
        name = what if isinstance(what, str) else next(iter(what)) if isinstance(what, dict) else None
        if kind in ("Start", "End") and name in _CONTAINERS:
            depth += 1 if kind == "Start" else -1
        elif kind == "Start" and name == "Heading" and not depth:
            heading, parts = what["Heading"], []
        elif kind == "End" and name == "Heading" and heading is not None:
            first = chars + len(body[at : where["start"]].decode())
            at, chars = where["end"], first + len(body[where["start"] : where["end"]].decode())
            found.append(Heading(first, chars, int(heading["level"][1]), plain_line("".join(parts))))
            heading = None
        elif heading is not None and kind in ("Text", "Code"):
            parts.append(what)
        elif heading is not None and kind in ("SoftBreak", "HardBreak"):
            parts.append(" ")
    return found


def chunks(text: str, found: list[Heading]) -> list[tuple[int, int, tuple[str, ...]]]:
    """What a document is cut into, given its headings."""
    document = split(Text(text, "markdown", headings=found), "a.md", SplitOptions())
    return [(chunk.start, chunk.end, document.sections[chunk.section]) for chunk in document.chunks]


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="append", help="a folder with Markdown; may be given more than once")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    texts: Texts = load(sorted(markdown_files(options.docs or list(DEFAULT_FOLDERS))))
    bodies = [(text, front_matter(text).end) for _, text in texts]
    took = measure_together(
        {
            "ours": lambda: sum(len(markdown.headings(*each)) for each in bodies),
            "parser": lambda: sum(len(parsed(*each)) for each in bodies),
        },
        options.runs,
    )
    pairs = [(text, markdown.headings(text, start), parsed(text, start)) for text, start in bodies]
    others = sum(
        [each.start for each in ours] != [each.start for each in theirs] for _, ours, theirs in pairs
    )
    recut = sum(chunks(text, ours) != chunks(text, theirs) for text, ours, theirs in pairs)
    print(f"{len(texts):,} files, {sum(len(text) for text, _ in bodies) / 1e6:.1f} M characters")
    print(f"{others} files with other headings, {recut} that would be cut or called otherwise")
    header()
    times = took["parser"] / took["ours"]
    row("find headings", took["ours"], took["parser"], None, f"the parser takes {times:.1f} times as long")


if __name__ == "__main__":
    main()
