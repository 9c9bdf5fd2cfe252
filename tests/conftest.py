"""Shared by all tests; that it is here also puts this folder on the path, for `from world import World`."""

import gc
import importlib
import os
import shutil
import signal
import sys

import fuzzing  # noqa: F401 - chooses how much property tests try, before any of them is read
import log_events
import object_store
import pytest
from world import KEY, World

from voyage_jobs.cli.main import COMMANDS
from voyage_jobs.core import memory, redact
from voyage_jobs.telemetry import logs

memory.collect_seldom()  # what is loaded and collected here stays: there is nothing to find in it

# Loaded before any test puts another clock in the place of the system's: a module that is first loaded then keeps it.
for _entry in COMMANDS.values():
    importlib.import_module(f"voyage_jobs.cli.{_entry.target.partition(':')[0]}")

# Folders of tests are in memory where there is room: worlds commit and sync all the time, and waiting for a disk proves
# nothing, since no test takes the power away. `--basetemp=FOLDER` has them elsewhere.
_MEMORY, _ROOM = "/dev/shm", 4 << 30
if os.path.isdir(_MEMORY) and shutil.disk_usage(_MEMORY).free >= _ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)

# A shell that starts the suite in the background hands SIGINT down as ignored, to us and to every command we start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Nine thousand tests, and all that they import, stay to the end: no search for garbage goes through them."""
    gc.freeze()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch):
    """What one test made known as a secret is not masked in the next."""
    monkeypatch.setattr(redact, "_remembered", set())


OWN_EVENTS = ("test_logs",)  # modules that log what no code logs


@pytest.fixture(autouse=True)
def logs_are_as_documented(request, monkeypatch):
    """Whatever a test has logged is in the catalogue, and holds neither the key nor a text that the test wrote."""
    worlds = [sys.modules[name] for name in ("world", "tests.world") if name in sys.modules]
    for module in worlds:
        module.LOGS.clear()
        module.WRITTEN.clear()
    written = []
    write = logs._Stream.write

    def keep(stream, text):
        written.append(text)
        write(stream, text)

    monkeypatch.setattr(logs._Stream, "write", keep)
    yield
    if request.module.__name__.rpartition(".")[2] in OWN_EVENTS:
        return
    kept = [event for module in worlds for log in module.LOGS for event in log.events]
    texts = [text for module in worlds for text in module.WRITTEN]
    logged = "".join(written) + repr(kept)
    told = [*log_events.faults([*kept, *log_events.parsed("".join(written))])]
    told += log_events.leaks(logged, [KEY], texts)
    assert not told, told


@pytest.fixture(params=["local", "s3"])
def home(request, tmp_path, monkeypatch):
    """Where a table is to be: a folder, and once more an address in object storage."""
    return object_store.home(request.param, tmp_path, monkeypatch)
