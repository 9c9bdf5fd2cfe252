"""What a parser of reStructuredText would take: docutils, against splitting as we do, on real files.

docutils is no dependency: `pip install docutils`, then `python -m benchmarks.bench_rst --docs DIR`.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from docutils import frontend, nodes, utils
from docutils.parsers.rst import Parser

from benchmarks.bench_split import Texts, load, ours
from benchmarks.harness import header, measure_together, row
from tests.splits import of_new_state
from voyage_jobs.splitting import rst


def parsed(text: str) -> nodes.document:
    """The tree of a text, without what it includes."""
    settings = frontend.get_default_settings(Parser())
    settings.report_level, settings.halt_level = 5, 6
    settings.warning_stream, settings.file_insertion_enabled = io.StringIO(), False
    document = utils.new_document("text", settings)
    Parser().parse(text, document)
    return document


def titles(document: nodes.document) -> int:
    """How many section titles a tree has."""
    return sum(
        isinstance(each.parent, nodes.section | nodes.document) for each in document.findall(nodes.title)
    )


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", required=True, help="a folder with .rst files")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    texts: Texts = load(sorted(str(path) for path in Path(options.docs).rglob("*.rst")))
    took = measure_together(
        {
            "ours": lambda: ours(texts, of_new_state()),
            "docutils": lambda: sum(len(parsed(text).children) for _, text in texts),
        },
        options.runs,
    )
    trees = [parsed(text) for _, text in texts]
    other = sum(titles(tree) != len(rst.headings(text)) for tree, (_, text) in zip(trees, texts, strict=True))
    lost = sum(len(list(tree.findall(nodes.system_message))) for tree in trees)
    print(f"{len(texts):,} files, {sum(len(text) for _, text in texts) / 1e6:.2f} M characters,", end=" ")
    print(
        f"{sum(map(titles, trees)):,} titles; {other} files with another number of titles; {lost:,} complaints"
    )
    header()
    times = took["docutils"] / took["ours"]
    row(
        "split reStructuredText",
        took["ours"],
        took["docutils"],
        None,
        f"docutils takes {times:.0f} times as long",
    )


if __name__ == "__main__":
    main()
