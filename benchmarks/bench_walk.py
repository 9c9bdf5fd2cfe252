"""Rescan of an unchanged tree, against a bare `os.scandir` + `stat` walk and against the naive way.

What is known comes from dictionaries here: the look-up in `state.db` is measured with the scan step.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import header, measure_together, peak_rss_mib, row
from voyage_jobs.sources.rules import PathRules
from voyage_jobs.sources.source import Known
from voyage_jobs.sources.walk import walk

Tree = dict[str, Known]


def make_tree(root: Path, files: int, folders: int) -> None:
    """`files` small Markdown files, spread over `folders` in two levels."""
    per_folder = files // folders
    for number in range(folders):
        folder = root / f"part-{number // 32:03d}" / f"topic-{number:04d}"
        folder.mkdir(parents=True)
        for n in range(per_folder):
            (folder / f"{n:04d}-some-title.md").write_bytes(b"# Title\n\ntext\n")


def bare(root: bytes) -> int:
    """The floor: list everything, stat every file, keep nothing."""
    count, waiting = 0, [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    count += 1
    return count


def naive(root: bytes, known: Tree) -> int:
    """What one writes first: `Path.rglob`, `stat`, and a dictionary of relative paths."""
    flat = {f"{folder}/{name}": stat[:3] for folder, names in known.items() for name, stat in names.items()}
    base = Path(os.fsdecode(root))
    count = 0
    for path in base.rglob("*.md"):
        found = path.stat()
        key = (found.st_size, found.st_mtime_ns, found.st_ino)
        count += flat.get(path.relative_to(base).as_posix()) == key
    return count


def ours(root: bytes, known: Tree, rules: PathRules) -> int:
    """The walk as the scan step uses it."""
    scans = walk(root, rules, follow_symlinks=False, known=lambda folder: known.get(folder, {}))
    return sum(scan.unchanged for scan in scans)


def first_scan(root: bytes) -> int:
    """The walk of a tree of which nothing is known; what it finds is counted and dropped."""
    scans = walk(root, PathRules([], []), follow_symlinks=False, known=lambda _: {})
    return sum(len(scan.changed) for scan in scans)


def remembered(root: bytes) -> Iterator[tuple[str, Known]]:
    """What a state would remember of the tree."""
    for scan in walk(root, PathRules([], []), follow_symlinks=False, known=lambda _: {}):
        yield scan.path, {each.name: each.key for each in scan.changed}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folders", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        make_tree(Path(made), options.files, options.folders)
        root = os.fsencode(made)
        known = dict(remembered(root))
        globs = PathRules(["docs/**/*.md", "**/*-title.md"], ["node_modules/", "*.bak", "a?c*"])
        if not bare(root) == ours(root, known, PathRules([], [])) == naive(root, known):
            raise SystemExit("the ways do not agree")
        took = measure_together(
            {
                "bare": lambda: bare(root),
                "naive": lambda: naive(root, known),
                "ours": lambda: ours(root, known, PathRules([], [])),
                "globs": lambda: ours(root, known, globs),
                "first": lambda: first_scan(root),
            },
            options.runs,
        )
        mib, _ = peak_rss_mib(first_scan, root)
    what = f"{options.files:,} files in {options.folders:,} folders"
    header()
    row(f"rescan, nothing changed, {what}", took["ours"], took["naive"], took["bare"])
    row("the same, rules with globs", took["globs"], took["naive"], took["bare"])
    row(f"first walk, nothing known (peak {mib:.0f} MiB)", took["first"], None, took["bare"])


if __name__ == "__main__":
    main()
