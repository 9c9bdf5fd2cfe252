"""The whole job as users run it: from a folder to a table, against a script of a guide and against the floor.

    python -m benchmarks.bench_whole [--kind ordinary small] [--files N] [--docs DIR] [--no-index] [--quick]

Each of the three is a process of its own that walks, splits, uploads, waits, downloads, adds and indexes the words; the
provider is the simulator in another process, over HTTP. What counts is the processor time of the process, starting
included (our bytecode is there, as after an installation), since waiting is the provider's. The naive way is what
guides show: the same splitting library, `json`, LanceDB's `add` of dicts. The floor does the same work with orjson,
simdjson and Lance on Arrow data; neither keeps a record of anything. With `--no-index` nobody indexes the words.

`ordinary`: Markdown of 16 chunks a document. `small`: 300 characters, one chunk, as catalogues and tickets are.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import voyage_jobs
from benchmarks.harness import header, row

DIMENSION = 1024
MAX_CHARS = 2_000
PER_FOLDER = 500
KEY = "pa-simulated"
FILES = {"ordinary": (1_000, 150), "small": (12_000, 3_000)}
"""Documents of each kind, and with `--quick`."""
_WORDS = "configure install the service with a table of vectors and search documents by meaning not by word".split()


class Used(NamedTuple):
    """What a process took: seconds of the processor, and MiB at its peak."""

    cpu_s: float
    mib: float


# --- documents ---


def ordinary(chance: random.Random, number: int) -> str:
    """Eight sections of prose, a list and code, each of two chunks: about 25 KB."""
    parts = [f"# Document {number}\n"]
    for section in range(8):
        parts.append(f"## Section {section} of {number}\n")
        for _ in range(2):
            parts.append(_prose(chance, 90) + "\n")
        parts.append("".join(f"- {_prose(chance, 9)}\n" for _ in range(6)))
        parts.append(f"```python\n{_prose(chance, 50)}\n```\n")
        parts.append(_prose(chance, 90) + "\n")
    return "\n".join(parts)


def small(chance: random.Random, number: int) -> str:
    """A name and a description: 300 characters."""
    return f"# Article {number}\n\n{_prose(chance, 60)}"[:300] + "\n"


def _prose(chance: random.Random, words: int) -> str:
    return " ".join(f"{word}{chance.randrange(1_000)}" for word in chance.choices(_WORDS, k=words)) + "."


MAKERS: dict[str, Callable[[random.Random, int], str]] = {"ordinary": ordinary, "small": small}


def write_docs(folder: Path, kind: str, files: int) -> None:
    chance = random.Random(7)
    for number in range(files):
        place = folder / f"part{number // PER_FOLDER}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"doc{number}.md").write_text(MAKERS[kind](chance, number), encoding="utf-8")


# --- the provider ---


@contextlib.contextmanager
def provider(folder: Path) -> Iterator[str]:
    """The simulator in a process of its own; its address."""
    command = [
        sys.executable,
        "-m",
        "voyage_jobs",
        "simulate",
        "--port",
        "0",
        "--batch-seconds",
        "0",
        "--json",
    ]
    process = subprocess.Popen(
        [*command, "--storage", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield _address(process.stdout or ())
    finally:
        process.kill()
        process.wait()


def _address(said: Iterable[str]) -> str:
    """What the simulator says once it listens."""
    heard = ""
    for line in said:
        heard += line
        with contextlib.suppress(ValueError):
            return str(json.loads(heard)["base_url"])
    raise RuntimeError(f"the simulator did not start: {heard}")


# --- the three ---


def ours(docs: Path, work: Path, url: str, *, indexed: bool, profile: str | None = None) -> list[str]:
    """The command that a user types."""
    work.mkdir(exist_ok=True)
    config = work / "config.toml"
    config.write_text(
        f'data_dir = "{work / "data"}"\n'
        f'[voyage]\nbase_url = "{url}"\nmodel = "voyage-4"\noutput_dimension = {DIMENSION}\n'
        f"[splitting]\nmax_chars = {MAX_CHARS}\n[polling]\ninterval_s = 1\n"
        f"[lancedb]\nupkeep = {json.dumps(indexed)}\n"
        f'[[sources]]\nname = "docs"\npath = "{docs}"\n',
        encoding="utf-8",
    )
    profiled = ["-m", "cProfile", "-o", profile] if profile else []
    return [sys.executable, *profiled, "-m", "voyage_jobs", "--config", str(config), "sync"]


def script(name: str, docs: Path, work: Path, url: str, *, indexed: bool) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.bench_whole", "--script", name, str(docs), str(work), url]
    return command if indexed else [*command, "--no-index"]


def guide(docs: Path, work: Path, url: str, *, indexed: bool) -> None:
    """What guides show."""
    import httpx
    import lancedb
    from semantic_text_splitter import MarkdownSplitter

    splitter = MarkdownSplitter(MAX_CHARS)
    records = []
    for path in sorted(docs.rglob("*.md")):
        for ordinal, text in enumerate(splitter.chunks(path.read_text(encoding="utf-8"))):
            records.append({"id": f"{path.relative_to(docs)}#{ordinal}", "path": str(path), "text": text})
    work.mkdir()
    with (work / "input.jsonl").open("w", encoding="utf-8") as out:
        for at, record in enumerate(records):
            out.write(json.dumps({"custom_id": str(at), "body": {"input": [record["text"]]}}) + "\n")
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=600) as client:
        (work / "output.jsonl").write_bytes(asked(client, work / "input.jsonl"))
    with (work / "output.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            answer = json.loads(line)
            body = answer["response"]["body"]
            records[int(answer["custom_id"])]["vector"] = body["data"][0]["embedding"]
    table = lancedb.connect(work / "lancedb").create_table("chunks", data=records)
    if indexed:
        table.create_fts_index("text")


def floor(docs: Path, work: Path, url: str, *, indexed: bool) -> None:
    """The least work that does it: nothing is kept, compared, checked or synced."""
    import httpx
    import lance
    import numpy as np
    import orjson
    import pyarrow as pa
    import simdjson
    from semantic_text_splitter import MarkdownSplitter

    splitter = MarkdownSplitter(MAX_CHARS)
    ids: list[str] = []
    texts: list[str] = []
    work.mkdir()
    with (work / "input.jsonl").open("wb") as out:
        for folder, _, names in os.walk(docs):
            for name in names:
                with open(f"{folder}/{name}", encoding="utf-8") as file:
                    for ordinal, text in enumerate(splitter.chunks(file.read())):
                        line = {"custom_id": str(len(ids)), "body": {"input": [text]}}
                        out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                        ids.append(f"{folder}/{name}#{ordinal}")
                        texts.append(text)
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=600) as client:
        asked(client, work / "input.jsonl", into=work / "output.jsonl")
    vectors = np.empty((len(ids), DIMENSION), np.float32)
    parser = simdjson.Parser()
    with (work / "output.jsonl").open("rb") as lines:
        for line in lines:
            answer: Any = parser.parse(line)
            found = answer.at_pointer("/response/body/data/0/embedding").as_buffer(of_type="d")
            vectors[int(answer["custom_id"])] = np.frombuffer(found)
            del answer, found
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSION)
    rows = pa.table({"id": ids, "text": texts, "vector": flat})
    table = lance.write_dataset(rows, str(work / "chunks.lance"))
    if indexed:
        table.create_scalar_index("text", "INVERTED")


def asked(client: Any, path: Path, into: Path | None = None) -> bytes:
    """Upload, create, wait, download: the results, or nothing where they go `into` a file."""
    with path.open("rb") as file:
        sent = client.post("/files", data={"purpose": "batch"}, files={"file": (path.name, file)}).json()
    params = {"model": "voyage-4", "input_type": "document", "output_dimension": DIMENSION}
    job = client.post(
        "/batches",
        json={
            "endpoint": "/v1/embeddings",
            "input_file_id": sent["id"],
            "completion_window": "12h",
            "request_params": params,
        },
    ).json()
    while job["output_file_id"] is None:
        time.sleep(1)
        job = client.get(f"/batches/{job['id']}").json()
    address = f"/files/{job['output_file_id']}/content"
    if into is None:
        return bytes(client.get(address).content)
    with client.stream("GET", address) as answer, into.open("wb") as out:
        for block in answer.iter_bytes():
            out.write(block)
    return b""


# --- running ---


def used(command: list[str]) -> Used:
    """Run a command to its end, and what it took."""
    environment = {**os.environ, "VOYAGE_API_KEY": KEY}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{command} ended with {process.returncode}:\n{said.read().decode()}")
    return Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def rows_of(table: Path) -> int:
    """Counted by a process of its own: ours stays small, so that the memory of its children is theirs."""
    count = "import sys, lance; print(lance.dataset(sys.argv[1]).count_rows())"
    return int(subprocess.check_output([sys.executable, "-c", count, str(table)]))


def compare(kind: str, files: int, options: argparse.Namespace) -> None:
    given: Path | None = options.docs
    indexed = not options.no_index
    with tempfile.TemporaryDirectory(prefix="bench-whole-") as folder:
        root = Path(folder)
        docs = given or root / "docs"
        if given is None:
            write_docs(docs, kind, files)
        compileall.compile_dir(Path(voyage_jobs.__file__).parent, quiet=2)
        took: dict[str, Used] = {}
        commands = {
            "guide": lambda url: script("guide", docs, root / "guide", url, indexed=indexed),
            "ours": lambda url: ours(docs, root / "ours", url, indexed=indexed, profile=options.profile),
            "floor": lambda url: script("floor", docs, root / "floor", url, indexed=indexed),
        }
        for name, command in commands.items():
            (root / "vendor").mkdir()
            with provider(root / "vendor") as url:
                took[name] = used(command(url))
            shutil.rmtree(root / "vendor")
        rows = rows_of(root / "ours" / "data" / "lancedb" / "chunks.lance")
        theirs = rows_of(root / "guide" / "lancedb" / "chunks.lance")
        again = used(ours(docs, root / "ours", "http://127.0.0.1:9/v1", indexed=indexed))
    told(f"{rows:,} chunks of {kind} documents", took)
    if rows != theirs:  # ours end where the text says so, and may be more
        told_by_chunk({"ours": rows, "guide": theirs, "floor": theirs}, took)
    row("  unchanged second run", again.cpu_s, ratio="-")


def told(path: str, took: dict[str, Used]) -> None:
    mine, naive, least = took["ours"], took["guide"], took["floor"]
    ratio = f"{mine.cpu_s / naive.cpu_s:.2f} of the guide's, {mine.cpu_s / least.cpu_s:.2f} of the floor"
    row(path, mine.cpu_s, naive.cpu_s, least.cpu_s, ratio)
    row("  peak memory", *(f"{each.mib:,.0f} MiB" for each in (mine, naive, least)), ratio="-")


def told_by_chunk(chunks: dict[str, int], took: dict[str, Used]) -> None:
    mine, naive, least = (took[name].cpu_s / chunks[name] * 1e6 for name in ("ours", "guide", "floor"))
    ratio = f"{mine / naive:.2f} of the guide's, {mine / least:.2f} of the floor"
    row(
        f"  a chunk; theirs are {chunks['guide']:,}",
        *(f"{each:,.0f} us" for each in (mine, naive, least)),
        ratio=ratio,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", nargs="*", choices=FILES, default=list(FILES))
    parser.add_argument("--files", type=int, help="documents of each kind")
    parser.add_argument("--docs", type=Path, help="a folder of your own, in place of what is made up")
    parser.add_argument("--no-index", action="store_true", help="leave the words without an index")
    parser.add_argument("--quick", action="store_true", help="small sizes: most of it is starting")
    parser.add_argument("--profile", help="write a profile of ours into this file")
    parser.add_argument("--script", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.script:
        name, docs, work, url = options.script
        {"guide": guide, "floor": floor}[name](Path(docs), Path(work), url, indexed=not options.no_index)
        return
    header()
    for kind in ["given"] if options.docs else options.kind:
        files = options.files or (0 if options.docs else FILES[kind][options.quick])
        compare(kind, files, options)


if __name__ == "__main__":
    main()
