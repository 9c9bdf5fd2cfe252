"""Counting tokens while splitting: exactly, by the estimate, and exactly but one text at a time (the naive way).

The tokenizer is byte-level BPE with 30,000 entries, trained on the texts themselves: as published ones are made, and of
their order of size. The floor is splitting without any count.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from benchmarks.bench_split import DEFAULT_FOLDERS, Texts, generated, load, markdown_files
from benchmarks.harness import header, measure_together, peak_rss_mib, row
from tests.splits import split
from voyage_jobs.core.tokens import Count, estimate_each
from voyage_jobs.splitting.split import SplitOptions
from voyage_jobs.vendors.tokenizer import TokenCounter

MOST_CHARS = 30_000_000
VOCABULARY = 30_000


def trained(texts: Texts, folder: Path) -> Path:
    """A tokenizer.json for these texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator((text for _, text in texts[::5]), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def total(texts: Texts, count: Count) -> int:
    """The tokens of all chunks."""
    chunks = (split(text, path, SplitOptions(), count).chunks for path, text in texts)
    return sum(chunk.tokens for found in chunks for chunk in found)


def one_large(file: str, megabytes: int) -> int:
    """A large document in one go."""
    text = "\n\n".join(f"## Part {n}\n\n" + "some words of prose " * 40 for n in range(megabytes * 1200))
    return len(split(text, "large.md", SplitOptions(), TokenCounter(Path(file))).chunks)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="append", help="a folder with Markdown; may be given more than once")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    found = load(sorted(markdown_files(options.docs or list(DEFAULT_FOLDERS)))) or generated()
    texts, chars = [], 0
    for path, text in found:
        if chars > MOST_CHARS:
            break
        texts.append((path, text))
        chars += len(text)
    size = sum(len(text.encode()) for _, text in texts)
    with tempfile.TemporaryDirectory() as folder:
        file = trained(texts, Path(folder))
        count = TokenCounter(file)
        exact, estimated = total(texts, count), total(texts, estimate_each)
        took = measure_together(
            {
                "exact": lambda: total(texts, count),
                "estimate": lambda: total(texts, estimate_each),
                "naive": lambda: total(texts, lambda several: [count([text])[0] for text in several]),
                "none": lambda: total(texts, lambda several: [0] * len(several)),
            },
            options.runs,
        )
        large_mib, _ = peak_rss_mib(one_large, str(file), 20)
    over = estimated / exact
    print(
        f"{len(texts):,} files, {size / 1e6:.1f} MB, {exact:,} tokens; the estimate is {over:.2f} times that"
    )
    header()
    alone = took["exact"] - took["none"]
    told = f"{size / alone / 1e6:.1f} MB/s for counting alone"
    row("split and count by the tokenizer", took["exact"], took["naive"], took["none"], told)
    row("split and estimate", took["estimate"], took["naive"], took["none"])
    row("one document of 20 MB, peak memory", f"{large_mib:.0f} MiB")


if __name__ == "__main__":
    main()
