"""The workflow for users, its steps carried out as they are written: bash, the real commands, a simulator behind them.

What only GitHub can do is played here: `uses:` steps (the cache is a folder that is moved, artifacts are folders),
`gh`, and `if:` conditions, each of which must be known by its text.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from voyage_jobs.core.clock import SystemClock
from voyage_jobs.simulator import Simulator
from voyage_jobs.simulator.server import HttpServer

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "deploy" / "github-actions" / "embed-docs.yml"
KEY = "a-made-up-key"
CONFIG = """
[voyage]
output_dimension = 256
[[sources]]
name = "docs"
path = "docs"
delete_grace_s = 0
same_device = false
"""


class Repository:
    """A checkout, what GitHub keeps between runs, and the runs."""

    def __init__(self, root, base_url):
        self.root, self.base_url = root, base_url
        self.checkout, self.bin = root / "checkout", root / "bin"
        self.cache, self.artifacts = root / "cache", root / "artifacts"
        (self.checkout / "docs").mkdir(parents=True)
        (self.checkout / "voyage-jobs.toml").write_text(CONFIG)
        self.write("a.md", "# A\n\nThe first document.\n")
        self.bin.mkdir()
        self.program("voyage-jobs", f'exec {sys.executable} -m voyage_jobs "$@"')
        self.program("python", f'exec {sys.executable} "$@"')
        self.program(
            "gh",
            f"[ -d {self.artifacts}/voyage-jobs-backup ] && cp -r {self.artifacts}/voyage-jobs-backup backup",
        )
        workflow = yaml.safe_load(WORKFLOW.read_text())
        self.steps = workflow["jobs"]["embed"]["steps"]
        self.environ = {
            name: re.sub(r"\$\{\{.*\}\}", "played", value) for name, value in workflow["env"].items()
        }

    def program(self, name, line):
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{line}\n")
        path.chmod(0o755)

    def write(self, name, text):
        (self.checkout / "docs" / name).write_text(text)

    def run(self, event="push"):
        """One run on a fresh checkout; what it wrote for the job summary."""
        work = self.root / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.checkout, work)
        summary, outputs = self.root / "summary.md", self.root / "outputs"
        summary.write_text("")
        outputs.write_text("")
        cached = self.cache.exists()
        if cached:
            shutil.copytree(self.cache, work / ".voyage-jobs")
        self.did = []
        for step in self.steps:
            if step.get("name") == "Install" or not self.wanted(step, event, cached, outputs.read_text()):
                continue
            if "uses" in step:
                self.use(step, work)
            else:
                self.shell(step, work, event, summary, outputs)
            self.did.append(step.get("name") or step["uses"])
        return summary.read_text()

    @staticmethod
    def wanted(step, event, cached, outputs):
        collected = re.findall(r"collected=(\d+)", outputs)
        return {
            None: True,
            "always()": True,
            "steps.state.outputs.cache-matched-key == ''": not cached,
            "inputs.confirm != ''": False,
            "github.event_name != 'pull_request'": event != "pull_request",
            "always() && github.event_name != 'pull_request'": event != "pull_request",
            "steps.sync.outputs.collected > 0": bool(collected) and int(collected[0]) > 0,
        }[step.get("if")]

    def use(self, step, work):
        action = step["uses"].split("@")[0]
        if action == "actions/cache/save":
            shutil.rmtree(self.cache, ignore_errors=True)
            shutil.copytree(work / step["with"]["path"], self.cache)
        elif action == "actions/upload-artifact":
            target = self.artifacts / step["with"]["name"]
            shutil.rmtree(target, ignore_errors=True)
            source = work / step["with"]["path"]
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, self.root)
        else:
            assert action in {"actions/checkout", "actions/setup-python", "actions/cache/restore"}

    def shell(self, step, work, event, summary, outputs):
        secret = "VOYAGE_API_KEY" in step.get("env", {}) and event != "pull_request"
        assert "${{" not in step["run"], "expressions in scripts are an injection"
        environ = self.environ | {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.root),
            "VOYAGE_JOBS_DATA_DIR": str(work / ".voyage-jobs"),
            "VOYAGE_JOBS_VOYAGE__BASE_URL": self.base_url,
            "VOYAGE_JOBS_DISK__MIN_FREE_BYTES": "0",
            "VOYAGE_JOBS_POLLING__INTERVAL_S": "0.1",
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_OUTPUT": str(outputs),
            "VOYAGE_API_KEY": KEY if secret else "",
        }
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
            cwd=work,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{step.get('name')}: {done.stdout}{done.stderr}"
        assert KEY not in done.stdout + done.stderr


@pytest.fixture
def repository(tmp_path):
    """A repository with one document, and a simulator whose jobs take no time."""
    with HttpServer(Simulator(SystemClock(), api_key=KEY, batch_seconds=0)) as served:
        yield Repository(tmp_path, f"http://127.0.0.1:{served.port}/v1")


def collected(repository):
    """Runs until the provider's answers are in, at most three; all that was written for their summaries."""
    told = ""
    for _ in range(3):
        told += repository.run("schedule")
        if "the table shows everything" in told:
            return told
    raise AssertionError(told)


def test_a_push_sends_a_scheduled_run_collects_and_a_lost_cache_costs_nothing(repository):
    first = repository.run()
    assert "**1 embeddings**" in first
    assert "Recover" in repository.did
    told = first if "the table shows everything" in first else collected(repository)
    assert "| paid |" in told
    assert (repository.root / "table.parquet").exists()
    assert (repository.artifacts / "voyage-jobs-backup").is_dir()

    shutil.rmtree(repository.cache)
    shutil.rmtree(repository.artifacts)
    repository.write("b.md", "# B\n\nThe second document.\n")
    told = repository.run()
    assert "Recover" in repository.did, "without a backup, what was paid for is claimed from the provider"
    assert "| sent | 1 embeddings in 1 batches |" in told
    collected(repository)

    shutil.rmtree(repository.cache)
    told = repository.run()
    assert {"Download the last backup", "Recover"} <= set(repository.did)
    assert "**0 embeddings**" in told, "all that was ever paid for is here"


def test_a_pull_request_shows_the_price_and_sends_nothing(repository):
    told = repository.run("pull_request")
    assert "**1 embeddings**" in told
    assert not {"Sync", "Keep the state", "Back up"} & set(repository.did)


def test_the_workflow_is_careful():
    text = WORKFLOW.read_text()
    job = yaml.safe_load(text)
    assert job["permissions"] == {"contents": "read", "actions": "read"}
    assert job["concurrency"]["cancel-in-progress"] is False, "a run that is cut off is work done twice"
    with_key = [
        step["name"] for step in job["jobs"]["embed"]["steps"] if "VOYAGE_API_KEY" in step.get("env", {})
    ]
    assert with_key == ["Recover", "Confirm", "Sync"]
    assert "VOYAGE_API_KEY" not in json.dumps(job["env"])
