"""How many of the nearest rows the vector index finds, and what that takes, by the number of rows.

    python -m benchmarks.bench_recall --rows 100000 500000 1000000

The table is filled and tended as the product does it, and asked by the product's own search; the truth is numpy's, over
all vectors. Vectors are made up, of length 1: all have something in common, as those of texts do; subtopics lie around
topics, and texts around subtopics, in `_DIRECTIONS` directions of their own. So of the ten nearest rows a third are of
the subtopic of the query and the others of its topic or near it (cosine about 0.45; 0.2 of any two rows). Queries are
further points of the same kind, in no table. It fails below the bar.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.bench_search import documents
from benchmarks.harness import peak_rss_mib
from voyage_jobs.core.profile import EMBEDDINGS, Profile, document_key
from voyage_jobs.table import PublishedTable, Upkeep
from voyage_jobs.table.batch import make_batch
from voyage_jobs.table.columns import Facts
from voyage_jobs.table.search import probes
from voyage_jobs.table.view import view_of

BAR = 0.98
_TOPICS, _SUBTOPICS, _DIRECTIONS = 500, 20, 48
_PER_DOCUMENT = 100
_KS = (10, 50)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="recall", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 500_000, 1_000_000])
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args(argv)
    below = []
    for rows in [60_000] if args.quick else args.rows:
        with tempfile.TemporaryDirectory() as folder:
            recall = report(folder, rows, args.dimension, args.queries)
        if recall < BAR:
            below.append(f"{rows:,} rows: {recall:.4f} is below {BAR}")
    if below:
        raise SystemExit("; ".join(below))


def report(uri: str, rows: int, dimension: int, queries: int) -> float:
    """Print what one size has; recall@10."""
    made = Points(dimension)
    peak, built_s = peak_rss_mib(build, uri, rows, dimension)
    asked = made.vectors(queries, seed=-1)
    truth = nearest(made, rows, asked, max(_KS))
    view = view_of(uri, "chunks")
    print(
        f"{rows:,} rows x {dimension}: filled and indexed in {built_s:.0f} CPU s, peak {peak:.0f} MiB;"
        f" {probes(rows)} partitions are looked into"
    )
    found = {}
    for k in _KS:
        began = time.process_time()
        answers = [view.by_vector(query, k, None).rows for query in asked]
        cpu_ms = (time.process_time() - began) / queries * 1_000
        names = [{row["path"] + "#" + str(row["ordinal"]) for row in answer} for answer in answers]
        right = [{_name(int(row)) for row in row_numbers[:k]} for row_numbers in truth]
        found[k] = sum(len(a & b) for a, b in zip(names, right, strict=True)) / k / queries
        print(f"  recall@{k} {found[k]:.4f}, {cpu_ms:.1f} CPU ms a query", flush=True)
    return found[_KS[0]]


class Points:
    """Made-up vectors of one length, the same for the same seed."""

    def __init__(self, dimension: int) -> None:
        dice = np.random.default_rng(7)
        topics = _unit(dice.standard_normal((_TOPICS, 1, dimension), dtype=np.float32))
        near = _unit(dice.standard_normal((_TOPICS, _SUBTOPICS, dimension), dtype=np.float32))
        common = _unit(dice.standard_normal(dimension, dtype=np.float32))
        self._centres = (0.6 * common + 0.5 * topics + 0.4 * near).reshape(-1, dimension)
        self._basis = _unit(
            dice.standard_normal((_TOPICS * _SUBTOPICS, _DIRECTIONS, dimension), dtype=np.float32)
        )
        self._dimension = dimension

    def vectors(self, count: int, seed: int) -> np.ndarray:
        """So many points around subtopics that are drawn, more often the first ones."""
        dice = np.random.default_rng(abs(seed) * 2 + (seed < 0))
        which = (dice.random(count) ** 1.5 * len(self._centres)).astype(int)
        weights = dice.standard_normal((count, _DIRECTIONS), dtype=np.float32) * (1.0 / _DIRECTIONS**0.5)
        noise = dice.standard_normal((count, self._dimension), dtype=np.float32) * (
            0.2 / self._dimension**0.5
        )
        moved = np.einsum("nd,ndk->nk", weights, self._basis[which])
        return _unit(self._centres[which] + moved + noise)


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def build(uri: str, rows: int, dimension: int) -> float:
    """Fill a table and have it tended as after a first run; the processor seconds that it took."""
    profile = Profile(EMBEDDINGS, "voyage-4", dimension, "float", "document")
    table = PublishedTable.open(uri, "chunks", profile, create=True)
    began = time.process_time()
    table.flip(documents(rows), _batches(profile, rows))
    table.tend(Upkeep())
    return time.process_time() - began


def _batches(profile: Profile, rows: int) -> Iterator[Any]:
    made = Points(profile.dimension)
    for document in range(-(-rows // _PER_DOCUMENT)):
        count = min(_PER_DOCUMENT, rows - document * _PER_DOCUMENT)
        facts = [_facts(f"d{document}.md", ordinal) for ordinal in range(count)]
        yield make_batch(profile, facts, made.vectors(count, document))


def nearest(made: Points, rows: int, asked: np.ndarray, k: int) -> np.ndarray:
    """The numbers of the `k` nearest rows to each query, best first."""
    best = np.full((len(asked), k), -np.inf, np.float32)
    numbers = np.zeros((len(asked), k), np.int64)
    at = np.arange(len(asked))[:, None]
    for document in range(-(-rows // _PER_DOCUMENT)):
        count = min(_PER_DOCUMENT, rows - document * _PER_DOCUMENT)
        scores = np.concatenate([best, asked @ made.vectors(count, document).T], axis=1)
        mine = np.broadcast_to(np.arange(count) + document * _PER_DOCUMENT, (len(asked), count))
        both = np.concatenate([numbers, mine], axis=1)
        first = np.argpartition(-scores, k, axis=1)[:, :k]
        best, numbers = scores[at, first], both[at, first]
    order = np.argsort(-best, axis=1, kind="stable")
    ordered: np.ndarray = numbers[at, order]
    return ordered


def _name(row: int) -> str:
    return f"d{row // _PER_DOCUMENT}.md#{row % _PER_DOCUMENT}"


def _facts(path: str, ordinal: int) -> Facts:
    return Facts(
        source="docs", path=path, doc_key=document_key("docs", path), ordinal=ordinal, text=f"{path} {ordinal}",
        title="T", section=["S"], start=0, end=1, tokens=1, content_hash=b"\0", modified_at=1_780_000_000_000_000,
        embedding_key=f"{path}{ordinal}", model="voyage-4", published_at=1_780_000_000_000_001, front_matter="{}",
    )  # fmt: skip


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
