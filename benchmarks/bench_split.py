"""Splitting real Markdown, against the splitting library alone on the same texts.

The naive way is what one writes first: the library's own splitter over the whole text, chunks found again
in the text with `str.find`, front matter by the slow YAML loader. The floor is the library alone, which
finds no sections, titles or front matter. Times are those of the processor, taken in turns: other work on the machine
must not decide.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml
from semantic_text_splitter import MarkdownSplitter

from benchmarks.harness import header, measure_together, peak_rss_mib, row
from tests.splits import of_new_state, split
from voyage_jobs.splitting.split import SplitOptions

ENOUGH_FILES = 100
DEFAULT_FOLDERS = (sys.prefix, sys.base_prefix, "/usr/share", "/usr/lib", "/usr/local/lib")

Texts = list[tuple[str, str]]


def markdown_files(folders: list[str]) -> Iterator[str]:
    """Paths of the Markdown files below the folders."""
    for top in folders:
        for folder, _, names in os.walk(top):
            yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".md"))


def load(paths: list[str]) -> Texts:
    """(path, text) of what is UTF-8 and not blank; every text once."""
    found: dict[str, str] = {}
    for path in paths:
        try:
            text = Path(path).read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            continue
        if text.strip():
            found.setdefault(text, path)
    return [(path, text) for text, path in found.items()]


def generated(files: int = 1_000) -> Texts:
    """Markdown made up of headings, prose, lists, fences and tables; for machines without any."""
    chance = random.Random(1)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda"]

    def prose(count: int) -> str:
        return " ".join(chance.choice(words) for _ in range(count)) + "."

    def block() -> str:
        kind = chance.random()
        if kind < 0.6:
            return prose(chance.randint(10, 120))
        if kind < 0.75:
            return "\n".join(f"- {prose(8)}" for _ in range(chance.randint(2, 9)))
        if kind < 0.9:
            return "```python\n" + "\n".join(f"x = '{prose(5)}'" for _ in range(12)) + "\n```"
        return "| a | b |\n|---|---|\n" + "\n".join(f"| {prose(2)} | {prose(3)} |" for _ in range(8))

    def document() -> str:
        sections = range(chance.randint(3, 25))
        parts = [[f"{'#' * chance.randint(1, 4)} {prose(3)}", *(block() for _ in range(4))] for _ in sections]
        return "\n\n".join("\n\n".join(part) for part in parts)

    return [(f"generated-{n}.md", document()) for n in range(files)]


def ours(texts: Texts, options: SplitOptions) -> int:
    """Everything that the scan step asks for."""
    return sum(len(split(text, path, options).chunks) for path, text in texts)


def naive(texts: Texts, size: int) -> int:
    """The library, with offsets and front matter added by hand."""
    count = 0
    for _, text in texts:
        if text.startswith("---\n") and "\n---" in text[4:]:
            with contextlib.suppress(yaml.YAMLError, ValueError):
                yaml.load(text[4 : text.index("\n---", 4)], yaml.SafeLoader)
        at = 0
        for chunk in MarkdownSplitter(size).chunks(text):
            at = text.find(chunk, at)
            count += 1
    return count


def library(texts: Texts, size: int) -> int:
    """The library alone."""
    splitter = MarkdownSplitter(size)
    return sum(len(splitter.chunk_indices(text)) for _, text in texts)


def one_large(megabytes: int) -> int:
    """A file of one line: the worst case for the library."""
    return len(split("word " * (megabytes * 200_000), "large.md", of_new_state()).chunks)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="append", help="a folder with Markdown; may be given more than once")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    texts = load(sorted(markdown_files(options.docs or list(DEFAULT_FOLDERS))))
    what = "real Markdown"
    if not options.docs and len(texts) < ENOUGH_FILES:
        print(f"only {len(texts)} Markdown files found on this machine: measuring generated ones instead")
        texts, what = generated(), "generated Markdown"
    size = SplitOptions().max_chars
    chars = sum(len(text) for _, text in texts)
    chunks = ours(texts, of_new_state())
    took = measure_together(
        {
            "ours": lambda: ours(texts, of_new_state()),
            "overlap": lambda: ours(texts, replace(of_new_state(), overlap_chars=200)),
            "naive": lambda: naive(texts, size),
            "library": lambda: library(texts, size),
        },
        options.runs,
        time.process_time,
    )
    large_mib, _ = peak_rss_mib(one_large, 10)
    print(f"{len(texts):,} files, {chars / 1e6:.1f} M characters, {chunks:,} chunks of at most {size:,}")
    header()
    times = took["library"] / took["ours"]
    ratio = f"{times:.2f}x as fast as the library alone ({chars / took['ours'] / 1e6:.0f} M characters/s)"
    row(f"split {what}", took["ours"], took["naive"], took["library"], ratio)
    row("the same, overlap 200", took["overlap"], took["naive"], took["library"])
    row("one file of 10 MB in one line, peak memory", f"{large_mib:.0f} MiB")


if __name__ == "__main__":
    main()
