"""The programs in examples/, run as they are, in a project that was published by a simulated Voyage."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import voyage_jobs
from tests.world import KEY
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.simulator import Simulator
from voyage_jobs.simulator.server import HttpServer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NEEDS = {
    "fastapi_search.py": "fastapi",
    "langchain_retriever.py": "langchain_core",
    "llamaindex_retriever.py": "llama_index.core",
    "duckdb_query.py": "duckdb",
}
CONFIG = """
data_dir = "data"
[voyage]
output_dimension = 256
[[sources]]
name = "docs"
path = "docs"
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A configuration, with its documents in place and the variables set; nothing is published yet."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tls.md").write_text(
        "---\ndate: 2024-03-01\n---\n# TLS\n\nHow to renew a certificate.\n"
    )
    (tmp_path / "docs" / "tea.md").write_text(
        "---\ndate: 2024-03-02\n---\n# Tea\n\nHow to brew a pot of tea.\n"
    )
    (tmp_path / "voyage-jobs.toml").write_text(CONFIG)
    with HttpServer(Simulator(SystemClock(), api_key=KEY, batch_seconds=0)) as server:
        monkeypatch.setenv("VOYAGE_API_KEY", KEY)
        monkeypatch.setenv("VOYAGE_JOBS_VOYAGE__BASE_URL", f"http://127.0.0.1:{server.port}/v1")
        monkeypatch.setenv("VOYAGE_JOBS_POLLING__INTERVAL_S", "0.1")
        monkeypatch.setenv("VOYAGE_JOBS_POLLING__MAX_INTERVAL_S", "0.1")
        yield str(tmp_path / "voyage-jobs.toml")


@pytest.fixture
def published(config):
    assert voyage_jobs.open(config).sync().ending == "done"
    return config


def example(name):
    """The module of an example; the test is skipped where the library that it shows is not installed."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), EXAMPLES / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_example_is_in_the_list_and_tested_here():
    listed = (EXAMPLES / "README.md").read_text()
    tested = Path(__file__).read_text()
    for path in EXAMPLES.iterdir():
        if path.suffix in (".py", ".sh"):
            assert f"[{path.name}]({path.name})" in listed
            assert f'"{path.name}"' in tested


def test_cron_is_silent_unless_you_must_act(config, tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "voyage-jobs"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m voyage_jobs "$@"\n')
    program.chmod(0o755)

    def run():
        environ = {
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "LOG": str(tmp_path / "log"),
        }
        command = ["sh", str(EXAMPLES / "cron.sh"), config]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environ, timeout=120)

    assert (run().stdout, run().stdout) == ("", "")
    (tmp_path / "docs").rename(tmp_path / "away")
    told = run()
    assert "frozen" in told.stdout
    assert told.stderr == ""


@pytest.mark.parametrize("name", ["search_service.py", "fastapi_search.py"])
def test_a_service_answers_searches(published, name):
    from starlette.testclient import TestClient

    ask = TestClient(example(name).service(published))
    best, _ = ask.get("/search", params={"q": "renew a certificate"}).json()
    assert best["path"] == "tls.md"
    assert "certificate" in best["text"]
    assert len(ask.get("/search", params={"q": "tea", "k": 1}).json()) == 1
    assert ask.get("/search").status_code in (400, 422)


def test_langchain_gets_documents(published):
    retriever = example("langchain_retriever.py").VoyageJobsRetriever(
        project=voyage_jobs.open(published), k=1
    )
    [best] = retriever.invoke("renew a certificate")
    assert best.metadata["source"] == "tls.md"


def test_llamaindex_gets_nodes(published):
    retriever = example("llamaindex_retriever.py").VoyageJobsRetriever(voyage_jobs.open(published), k=1)
    [best] = retriever.retrieve("renew a certificate")
    assert best.node.metadata["path"] == "tls.md"


def test_duckdb_counts_by_day(published):
    assert example("duckdb_query.py").by_day(published) == [
        ("docs", "2024-03-02", 1, 1),
        ("docs", "2024-03-01", 1, 1),
    ]
