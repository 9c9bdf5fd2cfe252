"""State: a million chunks. Bytes a chunk at rest, chunks inserted a second, `status`, `why`, restart to first step.

python -m benchmarks.bench_state [--chunks N]
python -m benchmarks.bench_state --chunks 80000 --times 125

With `--times` the rows of `--chunks`, put in through the doors of the state, held and published, are copied so often by
SQL alone, under other ids, names, hashes and keys: a state of ten million chunks in minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from voyage_jobs.core.clock import SystemClock
from voyage_jobs.core.profile import Profile
from voyage_jobs.state import (
    backlog,
    batch_lines,
    batches,
    documents,
    embeddings,
    outcomes,
    publications,
    segment_rows,
    sources,
    versions,
)
from voyage_jobs.state.documents import Seen
from voyage_jobs.state.store import Store
from voyage_jobs.state.versions import Identity, NewChunk, NewVersion

CHUNKS_PER_DOCUMENT = 8
DOCUMENTS_PER_SLICE = 2_000  # as the scan step does
PROFILE = Profile("/v1/embeddings", "voyage-4", 1024, "float", "document")
WORDS = (
    "the quick brown fox jumps over the lazy dog and writes a paragraph of documentation about it ".split()
)


def document_text(number: int) -> str:
    """About 1.4 KB a chunk of text that no other document has."""
    return " ".join(f"{word}{(number * 31 + i) % 977}" for i, word in enumerate(WORDS * 80))


def short_text(number: int) -> str:
    """Next to nothing: what is left is the rows."""
    return f"{number} short text of a document"


def new_versions(
    first: int, count: int, ids: list[int], make_text: Callable[[int], str] = document_text
) -> list[NewVersion]:
    made = []
    for i in range(count):
        text = make_text(first + i)
        size = len(text) // CHUNKS_PER_DOCUMENT
        chunks = [
            NewChunk(
                hashlib.blake2b(f"{first + i}/{c}".encode(), digest_size=20).digest(),
                0,
                c * size,
                (c + 1) * size,
                c % 4,
                350,
                1,
                350,
            )
            for c in range(CHUNKS_PER_DOCUMENT)
        ]
        content = hashlib.blake2b(text.encode(), digest_size=20).digest()
        sections = '[["Guide"],["Guide","Install"],["Guide","Use"],["Guide","Use","Advanced"]]'
        made.append(
            NewVersion(
                ids[i],
                Identity(content, content, "split-1"),
                1_780_000_000_000_000,
                "Guide",
                sections,
                "{}",
                text,
                chunks,
            )
        )
    return made


def fill(store: Store, chunks: int, make_text: Callable[[int], str] = document_text) -> float:
    """Insert through the store's own doors; seconds spent in it."""
    spent = 0.0
    with store.write() as tx:
        sources.configure(tx, [("docs", "/srv/docs")])
        profile_id = sources.profile_id(tx, PROFILE)
        source = sources.all_sources(tx.connection)[0]
    folders: dict[str, int] = {}
    for first in range(0, chunks // CHUNKS_PER_DOCUMENT, DOCUMENTS_PER_SLICE):
        prepared = new_versions(first, DOCUMENTS_PER_SLICE, [0] * DOCUMENTS_PER_SLICE, make_text)
        began = time.perf_counter()
        with store.write() as tx:
            folder = f"folder{first // 5000}"
            seen = [
                Seen(folder, f"file{first + i}.md", len(v.text), 1, first + i, v.identity.content_hash)
                for i, v in enumerate(prepared)
            ]
            ids = documents.save(tx, source.id, "docs", folders, seen)
            ready = [replace(v, document_id=d) for v, d in zip(prepared, ids, strict=True)]
            versions.add(tx, source.id, profile_id, ready)
        spent += time.perf_counter() - began
    return spent


def settle(store: Store, open_share: float) -> None:
    """Let all but a share of the chunks be held and published, as after a long life."""
    with store.read() as connection:
        profile_id = sources.all_sources(connection)[0].profile_id or 1
        waiting = backlog.measure(connection, profile_id).embeddings
    done = 0
    while done < waiting * (1 - open_share):
        with store.write() as tx:
            ref = SystemClock().token()
            members = list(backlog.wanted(tx.connection, profile_id, 0, 100_000))
            batch_id = batches.create(tx, ref, profile_id, len(members), 1, 0.04, "{}")
            embeddings.take(tx, batch_id, [member.id for member in members])
            segment = segment_rows.add_segment(
                tx, f"abcdefabcdef/{ref}.arrow", profile_id, batch_id, len(members), 1, "0" * 64
            )
            settled = [
                batch_lines.Settled(line, member.id, outcomes.SUCCESS, 350, None, line)
                for line, member in enumerate(members)
            ]
            embeddings.settle(tx, batch_id, segment, settled, 5)
            versions.recount_batch(tx, batch_id)
        done += len(members)
        with store.write() as tx:
            ready = publications.ready(tx.connection, 0, 1_000_000)
            publication = publications.begin(tx, publications.FLIP, len(ready))
            publications.take_up(tx, [version.id for version in ready], publication)
            publications.mark_published(tx, publication)
            publications.finish(tx, publication, 1, 1)
    store.checkpoint()


# Of each table: what is another in a copy. `{n}` is the number of the copy, `{x}` how many ids lie between two.
_SHIFTED = {
    "folders": {"id": "folders", "path": "path || '-{n}'"},
    "documents": {
        "id": "documents",
        "folder_id": "folders",
        "doc_key": "mixed(doc_key, {n})",
        "content_hash": "mixed(content_hash, {n})",
    },
    "batches": {"id": "batches", "ref": "lower(hex(mixed(CAST(ref AS BLOB), {n})))"},
    "packs": {"id": "packs", "batch_id": "batches", "name": "name || '-{n}'"},
    "embeddings": {"id": "embeddings", "key": "mixed(key, {n})", "pack_id": "packs"},
    "publications": {"id": "publications"},
    "versions": {
        "id": "versions",
        "document_id": "documents",
        "publication_id": "publications",
        "content_hash": "mixed(content_hash, {n})",
    },
    "chunks": {"version_id": "versions", "embedding_id": "embeddings"},
    "lines": {"batch_id": "batches", "embedding_id": "embeddings"},
    "transitions": {"id": "transitions", "batch_id": "batches"},
}


def mixed(value: bytes, number: int) -> bytes:
    """Another value of the same length, in no order."""
    return hashlib.blake2b(value, digest_size=len(value), salt=number.to_bytes(8, "little")).digest()


def multiply(path: Path, times: int) -> None:
    """Copy the rows of a state until there are so many times as many of each."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        run = connection.execute
        connection.create_function("mixed", 2, mixed, deterministic=True)
        for pragma in ("cache_size = -1000000", "synchronous = OFF", "foreign_keys = OFF"):
            run(f"PRAGMA {pragma}")
        whole = {name: run(f"SELECT COALESCE(MAX(rowid), 0) FROM {name}").fetchone()[0] for name in _WITH_ID}
        for number in range(1, times):
            run("BEGIN")
            for name, changes in _SHIFTED.items():
                columns = [row[1] for row in run(f"PRAGMA table_info({name})")]
                values = ", ".join(_value(each, changes.get(each), number, whole) for each in columns)
                named = ", ".join(f'"{each}"' for each in columns)
                first = next(iter(changes))
                run(
                    f"INSERT INTO {name} ({named}) SELECT {values} FROM {name}"
                    f" WHERE {first} <= {whole[changes[first]]} ORDER BY {first}"
                )
            run("COMMIT")
        run(
            "UPDATE sources SET documents = (SELECT COUNT(*) FROM documents)"
        )  # triggers count what is published


_WITH_ID = tuple(name for name, changes in _SHIFTED.items() if "id" in changes)


def _value(column: str, change: str | None, number: int, whole: dict[str, int]) -> str:
    if change is None:
        return f'"{column}"'
    return f"{column} + {number * whole[change]}" if change in whole else change.format(n=number)


def at_rest(folder: Path, chunks: int, times: int) -> None:
    """Measure a state that was multiplied."""
    path, began, cpu = folder / "state.db", time.perf_counter(), time.process_time()
    store = Store.open(path, SystemClock())
    fill(store, chunks, short_text)
    settle(store, 0.0)
    store.close()
    looks(folder, chunks, f", at {chunks:,} chunks")
    multiply(path, times)
    spent = f"{time.process_time() - cpu:.0f} s of CPU, {time.perf_counter() - began:.0f} s"
    print(f"{chunks * times:,} chunks made in {spent}", flush=True)
    print(f"state.db at rest: {path.stat().st_size / chunks / times:,.0f} bytes a chunk (bar: 500)")
    began, cpu = time.perf_counter(), time.process_time()
    store = Store.open(path, SystemClock())
    took = f"{time.perf_counter() - began:.2f} s, {time.process_time() - cpu:.2f} s of CPU"
    print(f"opened again in {took}", flush=True)
    with store.read() as connection:
        held = connection.exec_driver_sql("SELECT COUNT(*), MIN(state), MAX(state) FROM embeddings").one()
    store.close()
    assert tuple(held) == (chunks * times, 2, 2), held
    looks(folder, chunks, f", at {chunks * times:,} chunks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=1, help="copy what was inserted so often")
    parser.add_argument("--quick", action="store_true", help="100,000 chunks")
    arguments = parser.parse_args()
    chunks = 100_000 if arguments.quick else arguments.chunks
    if arguments.times > 1:
        with tempfile.TemporaryDirectory() as folder:
            at_rest(Path(folder), chunks, arguments.times)
        return
    with tempfile.TemporaryDirectory() as folder:
        rows_only = Store.open(Path(folder) / "rows.db", SystemClock())
        spent = fill(rows_only, chunks, short_text)
        rows_only.close()
        print(
            f"inserted {chunks:,} chunks, rows alone, in {spent:.1f} s: {chunks / spent:,.0f} chunks/s (bar: 50,000)"
        )
        path = Path(folder) / "state.db"
        store = Store.open(path, SystemClock())
        spent = fill(store, chunks)
        print(f"inserted {chunks:,} chunks with their texts in {spent:.1f} s: {chunks / spent:,.0f} chunks/s")
        print(f"state.db with texts: {path.stat().st_size / chunks:,.0f} bytes a chunk")
        began = time.perf_counter()
        settle(store, 0.1)
        print(f"settled and published nine tenths in {time.perf_counter() - began:.1f} s")
        whys(Path(folder), chunks, ", a tenth waits")
        settle(store, 0.0)
        store.close()
        print(f"state.db at rest: {path.stat().st_size / chunks:,.0f} bytes a chunk (bar: 500)")
        began = time.perf_counter()
        Store.open(path, SystemClock()).close()
        print(f"opened again in {time.perf_counter() - began:.2f} s")
        look(Path(folder), "status", "1 s")
        whys(Path(folder), chunks, ", at rest")


def looks(folder: Path, chunks: int, when: str) -> None:
    """Commands that should cost the same however much is published."""
    for words in ("status", "status --metrics", "documents", "cost"):
        look(folder, words, "1 s", when, 3)
    whys(folder, chunks, when, 3)


def look(folder: Path, words: str, bar: str, when: str = "", runs: int = 5) -> None:
    """A command that looks, as a whole process: the median of some runs."""
    here = str(Path(__file__).resolve().parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": here,
        "VOYAGE_JOBS_DATA_DIR": str(folder),
        "VOYAGE_JOBS_SOURCES": '[{"name":"docs","path":"/srv/docs"}]',
    }
    whole = [*words.split(), *([] if "--metrics" in words else ["--json"])]
    times, used, most = [], [], 0
    for _ in range(runs):
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "voyage_jobs", *whole],
            env=environment,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, whole
        times.append(time.perf_counter() - began)
        used.append(usage.ru_utime + usage.ru_stime)
        most = max(most, usage.ru_maxrss)
    took, cpu = sorted(times)[runs // 2], sorted(used)[runs // 2]
    print(
        f"{' '.join(whole)}{when}: {took:.2f} s, {cpu:.2f} s of CPU, {most / 1024:.0f} MiB,"
        f" median of {runs} (bar: {bar})",
        flush=True,
    )


def whys(folder: Path, chunks: int, when: str, runs: int = 5) -> None:
    """`why` of the last document, which is the last to be sent, and of one of its embeddings by key and by prefix."""
    last = chunks // CHUNKS_PER_DOCUMENT - 1
    key = hashlib.blake2b(f"{last}/3".encode(), digest_size=20).hexdigest()
    first = last // DOCUMENTS_PER_SLICE * DOCUMENTS_PER_SLICE
    look(folder, f"why docs:folder{first // 5000}/file{last}.md", "0.5 s", when, runs)
    look(folder, f"why {key}", "0.5 s", when, runs)
    look(folder, f"why {key[:12]}", "0.5 s", when, runs)
    look(folder, f"history --timeline docs:folder{first // 5000}/file{last}.md", "0.5 s", when, runs)


if __name__ == "__main__":
    main()
