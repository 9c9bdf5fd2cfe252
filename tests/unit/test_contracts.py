"""The import contracts in pyproject.toml: they report what they are there for, and the table in the docs is theirs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import layers

PACKAGE = layers.ROOT / "voyage_jobs"

PLANTED = {
    "service/worker.py": "import sqlalchemy\n",
    "state/engine.py": "import voyage_jobs.cli.main\n",
    "state/costs.py": "def late() -> None:\n    import voyage_jobs.table\n",
    "core/clock.py": "from voyage_jobs import __version__\n",
    "newcomer.py": "",
    "newcomers/__init__.py": "",
    "server/views.py": "import requests\n",
    "steps/tidy.py": "from voyage_jobs import simulator\n",
    "steps/texts.py": "def late() -> None:\n    from voyage_jobs.vendors.voyage import models\n",
    "segments/reader.py": "import voyage_jobs.segments.store\n",
    "service/watching/file_events.py": None,
}
"""By file: what is written at its end; None empties it."""

REPORTED = {
    "an import that goes upwards": "voyage_jobs.state is not allowed to import voyage_jobs.cli:",
    "an import of a sibling, inside a function": "voyage_jobs.state is not allowed to import voyage_jobs.table:",
    "a module without a place": "- voyage_jobs.newcomer\n",
    "a folder without a place": "- voyage_jobs.newcomers\n",
    "a circle between modules": "No cycles are allowed in voyage_jobs.segments.",
    "a library outside its home": "voyage_jobs.service.worker imports sqlalchemy, whose home is state",
    "a library without a rule": "voyage_jobs.server.views imports requests, which has no rule",
    "a home that needs its library no more": "watchfiles is not imported in its home service.watching.file_events",
    "the simulator in production": "Illegal imports of protected package voyage_jobs.simulator:",
    "a provider past the port": "Illegal imports of protected package voyage_jobs.vendors.voyage.models",
    "the public face from inside": "Illegal imports of protected package voyage_jobs:",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, the contracts and their own kind of contract."""
    folder = tmp_path_factory.mktemp("contracts")
    shutil.copytree(PACKAGE, folder / "voyage_jobs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(layers.PYPROJECT, folder)
    (folder / "tests").mkdir()
    shutil.copy(layers.ROOT / "tests/contracts.py", folder / "tests")
    return folder


@pytest.fixture(scope="module")
def report(copy: Path) -> str:
    """What is said of the copy once everything is planted; before that, there is nothing to be said."""
    clean = lint(copy)
    assert clean.returncode == 0, clean.stdout
    for name, code in PLANTED.items():
        path = copy / "voyage_jobs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("" if code is None else path.read_text() + code if path.exists() else code)
    planted = lint(copy)
    assert planted.returncode == 1, planted.stdout + planted.stderr
    return planted.stdout


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache", "--no-logo"],
        cwd=folder,
        env={"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kind", REPORTED)
def test_is_reported(report: str, kind: str):
    assert REPORTED[kind] in report


def test_nothing_is_ignored():
    text = layers.PYPROJECT.read_text()
    assert "ignore_imports" not in text
    assert "exhaustive_ignores" not in text


def test_the_table_of_layers_is_made_out_of_the_contract():
    page = layers.DESIGN.read_text()
    made = layers.table(layers.PYPROJECT.read_text())
    assert page == layers.written(page, made), "run: .venv/bin/python -m tests.layers --write"


def test_the_table_has_every_line_of_the_contract():
    text = layers.PYPROJECT.read_text()
    lines = [" | ".join(line) for layer in layers.layers(text) for line in layer.lines]
    assert lines == layers.contract(text, "layers")["layers"]
