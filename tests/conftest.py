"""Shared by all tests; that it is here also puts this folder on the path, for `from world import World`."""

import pytest
from world import World

from voyage_jobs import redact


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch):
    """What one test made known as a secret is not masked in the next."""
    monkeypatch.setattr(redact, "_remembered", set())
