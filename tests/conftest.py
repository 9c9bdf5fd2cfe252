"""Shared by all tests; that it is here also puts this folder on the path, for `from world import World`."""

import pytest
from world import World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)
