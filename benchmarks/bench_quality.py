"""How well a search by the local model finds: Cranfield's 225 questions over 1,400 abstracts, files to `eval`.

    python -m benchmarks.bench_quality --cranfield DIR

DIR has cran_docs.json, cran_queries.json and cran_qrels.json, in which a judgement is 1 (a complete answer) to 4 (of
minimum interest). It needs the extra [local], and fails below the bars.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BARS = {"vector": 0.50, "hybrid": 0.54}
"""nDCG@10."""
_BEST = 5
_CONFIG = """
data_dir = "data"
[provider]
type = "local"
[[sources]]
name = "cranfield"
path = "docs"
[splitting]
{splitting}
[disk]
min_free_bytes = 0
"""


WHOLE = "max_chars = 8000"
"""An abstract is what was judged, so each is one chunk."""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="quality", description=__doc__)
    parser.add_argument("--cranfield", type=Path, default=None)
    folder = parser.parse_args(argv).cranfield
    if folder is None:
        print("left out: name the folder of Cranfield with --cranfield")
        return
    with tempfile.TemporaryDirectory() as here:
        write(folder, Path(here))
        report(Path(here))


def write(folder: Path, here: Path, splitting: str = WHOLE) -> None:
    """The documents as files, the questions and judgements in the format of BEIR; `splitting` is that section."""
    (here / "docs").mkdir()
    (here / "qrels").mkdir()
    (here / "voyage-jobs.toml").write_text(_CONFIG.format(splitting=splitting))
    for document in _read(folder / "cran_docs.json"):
        (here / "docs" / f"{document['id']}.txt").write_text(f"{document['title']}\n\n{document['body']}\n")
    questions = [
        {"_id": str(each["query number"]), "text": each["query"]}
        for each in _read(folder / "cran_queries.json")
    ]
    (here / "queries.jsonl").write_text("".join(json.dumps(each) + "\n" for each in questions))
    judged = {
        (each["query_num"], f"{each['id']}.txt"): max(0, _BEST - each["position"])
        for each in _read(folder / "cran_qrels.json")
        if each["position"] > 0
    }
    rows = [f"{question}\t{document}\t{grade}\n" for (question, document), grade in judged.items()]
    (here / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))


def report(here: Path) -> None:
    began = time.monotonic()
    command(here, "sync", "--json")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"embedded and published in {time.monotonic() - began:.0f} s, {used.ru_utime + used.ru_stime:.0f} CPU s,"
        f" peak {used.ru_maxrss // 1024} MiB"
    )
    below = []
    for run in scored(here):
        value = {name: metric["value"] for name, metric in run["metrics"].items()}
        print(f"{run['run']:<8}" + "".join(f"  {name} {number:.3f}" for name, number in value.items()))
        bar = BARS.get(run["run"])
        if bar is not None and value["ndcg@10"] < bar:
            below.append(f"{run['run']} is below {bar}")
    if below:
        raise SystemExit("; ".join(below))


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def scored(here: Path) -> list[dict[str, Any]]:
    """The runs of `eval` over the table that is here, one for each mode."""
    runs = [option for mode in ("words", "vector", "hybrid") for option in ("--run", mode)]
    told = command(here, "eval", str(here), *runs, "--by", "document", "--json")
    return list(json.loads(told)["runs"])


def command(here: Path, *args: str) -> str:
    """Run voyage-jobs in a folder; what it prints."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [sys.executable, "-m", "voyage_jobs", *args]
    return subprocess.run(command, cwd=here, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main(sys.argv[1:])
