"""Shared by all tests; that it is here also puts this folder on the path, for `from world import World`."""

import signal

import fuzzing  # noqa: F401 - chooses how much property tests try, before any of them is read
import pytest
from world import World

from voyage_jobs import redact

# A shell that starts the suite in the background hands SIGINT down as ignored, to us and to every command we start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch):
    """What one test made known as a secret is not masked in the next."""
    monkeypatch.setattr(redact, "_remembered", set())
