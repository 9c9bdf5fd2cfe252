"""docs/api.md: every public name stands in it, and its examples run, in order, against the simulator over HTTP."""

import contextlib
import inspect
import io
import logging
import re
from pathlib import Path

import pytest
from readers_in_use import use

import voyage_jobs
from tests.world import KEY
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.simulator import Simulator
from voyage_jobs.simulator.server import HttpServer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
CONFIG = 'data_dir = "data"\n[[sources]]\nname = "docs"\npath = "docs"\n'


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with documents and a configuration, and a simulated Voyage that the environment names."""
    use(monkeypatch)
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "film.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello there.\n")
    for name in ("docs/guide.md", "wiki/page.md"):
        file = tmp_path / name
        file.parent.mkdir()
        file.write_text(f"# {file.stem}\n\nHow to renew a certificate, in {name}.\n")
    (tmp_path / "voyage-jobs.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    with HttpServer(Simulator(SystemClock(), api_key=KEY, batch_seconds=0)) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        monkeypatch.setenv("VOYAGE_API_KEY", KEY)
        monkeypatch.setenv("VOYAGE_JOBS_VOYAGE__BASE_URL", url)
        monkeypatch.setenv("VOYAGE_JOBS_POLLING__INTERVAL_S", "0.1")
        monkeypatch.setenv("VOYAGE_JOBS_POLLING__MAX_INTERVAL_S", "0.1")
        yield url


@pytest.fixture
def quiet_logging():
    """What an example does to the log of its program is undone."""
    root, ours = logging.getLogger(), logging.getLogger("voyage_jobs")
    before = list(root.handlers), ours.level
    yield
    root.handlers[:], level = before
    ours.setLevel(level)


def run(blocks, url):
    """What the blocks print, one after the other in one program, which asks the simulator at `url`."""
    added = f'polling={{"interval_s": 0.1, "max_interval_s": 0.1}}, voyage={{"base_url": "{url}"}}, data_dir='
    names, said = {"__name__": "example"}, io.StringIO()
    with contextlib.redirect_stdout(said):
        for block in blocks:
            exec(compile(block.replace("data_dir=", added), "docs/api.md", "exec"), names)
    return said.getvalue()


@pytest.mark.usefixtures("quiet_logging")
def test_the_examples_of_the_page_run(place):
    said = run(BLOCK.findall(PAGE), place)
    assert "1 texts" in said
    assert "done 1" in said
    assert "published" in said
    assert "ticket/17 {'open': True, 'team': 'it'}" in said
    assert "['ticket/17']" in said
    assert "done Hello there." in said
    assert "max_inputs is 0" in said


def test_the_example_of_the_readme_runs(place):
    blocks = [block for block in BLOCK.findall(README) if "import voyage_jobs" in block]
    assert len(blocks) == 1
    said = run(blocks, place)
    assert "done" in said
    assert "guide.md" in said


def test_every_public_name_stands_in_the_page():
    spans = set(re.findall(r"`([A-Za-z_]+)", PAGE)) | set(re.findall(r"voyage_jobs\.([A-Za-z_]+)", PAGE))
    assert set(voyage_jobs.__all__) - {"__version__"} <= spans


@pytest.mark.parametrize("kind", [voyage_jobs.Project, voyage_jobs.Items])
def test_every_method_stands_in_the_page_and_says_what_it_is(kind):
    for name, member in inspect.getmembers(kind):
        if not name.startswith("_"):
            assert re.search(rf"\b{name}\b", PAGE), name
            assert inspect.getdoc(member), name
