"""How long a search takes over a table of random vectors and made-up texts: served by one process, and as a command.

    python -m benchmarks.bench_search --rows 100000

The provider's call is left out: the query's vector is at hand. The process that serves is another than the one that
built the table, and has what a page loads, so its memory is its own. The command is run by words, which asks nobody,
against a script of bare LanceDB that opens the same table and asks the same index.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import peak_of_this_process_mib
from voyage_jobs.config.load import settings_of_values
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.core.profile import EMBEDDINGS, Profile, document_key
from voyage_jobs.retrieval.result import Query
from voyage_jobs.retrieval.retriever import Retriever
from voyage_jobs.table import PublishedTable
from voyage_jobs.table.batch import make_batch
from voyage_jobs.table.columns import Facts

PROFILE = Profile(EMBEDDINGS, "voyage-4", 1024, "float", "document")
WORDS = [f"w{number:05d}" for number in range(20_000)]
_PER_DOCUMENT = 100
_THREADS = 4
_BARE = """
import lancedb
table = lancedb.connect({uri!r}).open_table("chunks")
print(len(table.search({query!r}, query_type="fts", fts_columns="text").limit(5).to_list()))
"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="search", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.serve:
        serve(args.serve, args.queries)
        return
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder), args.rows, args.queries)


def report(folder: Path, rows: int, queries: int) -> None:
    uri = str(folder / "lancedb")
    table = PublishedTable.open(uri, "chunks", PROFILE, create=True)
    table.flip(documents(rows), batches(rows, WORDS))
    began = time.process_time()
    print(f"upkeep: {table.tend()}; {time.process_time() - began:.1f} CPU s")
    (folder / "docs").mkdir()
    child = ["-m", "benchmarks.bench_search", "--serve", str(folder), "--queries", str(queries)]
    subprocess.run([sys.executable, *child], check=True)
    values = _values(folder)
    config = folder / "voyage-jobs.toml"
    config.write_text(
        f"data_dir = {json.dumps(values['data_dir'])}\n[lancedb]\nuri = {json.dumps(uri)}\ntable = 'chunks'\n"
        f"[[sources]]\nname = 'docs'\npath = {json.dumps(str(folder / 'docs'))}\n"
    )
    query = " ".join(WORDS[:3])
    command = [
        sys.executable,
        "-m",
        "voyage_jobs",
        "--config",
        str(config),
        "search",
        query,
        "--mode",
        "words",
    ]
    bare = [sys.executable, "-c", _BARE.format(uri=uri, query=query)]
    for name, each in (("voyage-jobs search", command), ("bare LanceDB", bare)):
        print(f"{name}, cold process: {_processes(each)}")


def serve(folder: Path, queries: int) -> None:
    """Search as a serving process does, and tell its time and memory."""
    for name in ("voyage_jobs.server.app", "voyage_jobs.server.door", "uvicorn"):
        importlib.import_module(name)
    dice = random.Random(1)
    retriever = _Given(settings_of_values(_values(folder), {}, None), SystemClock())
    print(f"before the first search: {round(peak_of_this_process_mib())} MiB")
    for mode in ("words", "vector", "hybrid"):
        asked = [Query(" ".join(dice.sample(WORDS, 3)), 10, mode) for _ in range(queries)]  # type: ignore[arg-type]
        print(f"{mode}: {_timed(retriever, asked)}; peak {round(peak_of_this_process_mib())} MiB")
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(retriever.search, asked))
    print(f"hybrid by {_THREADS} threads at once: peak {round(peak_of_this_process_mib())} MiB")


def _values(folder: Path) -> dict[str, Any]:
    return {
        "data_dir": str(folder / "data"),
        "sources": [{"name": "docs", "path": str(folder / "docs")}],
        "lancedb": {"uri": str(folder / "lancedb"), "table": "chunks"},
    }


class _Given(Retriever):
    """With the vector of a query at hand."""

    def _embedded(self, *_: Any) -> Any:
        return np.random.default_rng().standard_normal(PROFILE.width, dtype=np.float32)


def _timed(retriever: Retriever, asked: list[Query]) -> str:
    retriever.search(asked[0])
    took, cpu = [], time.process_time()
    for each in asked:
        began = time.perf_counter()
        found = retriever.search(each)
        took.append((time.perf_counter() - began) * 1_000)
        assert found.hits
        assert not found.warnings
    cpu_ms = (time.process_time() - cpu) / len(asked) * 1_000
    return f"p50 {statistics.median(took):.1f} ms, p95 {sorted(took)[-len(took) // 20]:.1f} ms, {cpu_ms:.1f} CPU ms"


def documents(rows: int) -> list[tuple[str, str]]:
    return [("docs", f"d{number}.md") for number in range(-(-rows // _PER_DOCUMENT))]


def batches(rows: int, words: list[str]) -> Iterator[Any]:
    dice, numbers = random.Random(2), np.random.default_rng(2)
    for document in range(-(-rows // _PER_DOCUMENT)):
        texts = [" ".join(dice.choices(words, k=150)) for _ in range(_PER_DOCUMENT)]
        facts = [_facts(f"d{document}.md", ordinal, text) for ordinal, text in enumerate(texts)]
        yield make_batch(PROFILE, facts, numbers.standard_normal((_PER_DOCUMENT, 1024), dtype=np.float32))


def _facts(path: str, ordinal: int, text: str) -> Facts:
    return Facts(
        source="docs", path=path, doc_key=document_key("docs", path), ordinal=ordinal, text=text, title="T",
        section=["S"], start=0, end=len(text), tokens=1, content_hash=b"\0", modified_at=1_780_000_000_000_000,
        embedding_key=f"{path}{ordinal}", model="voyage-4", published_at=1_780_000_000_000_001, front_matter="{}",
    )  # fmt: skip


def _processes(command: list[str]) -> str:
    took = []
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - began)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) / len(took)
    return f"median {statistics.median(took):.2f} s, {cpu:.2f} CPU s"


if __name__ == "__main__":
    main(sys.argv[1:])
