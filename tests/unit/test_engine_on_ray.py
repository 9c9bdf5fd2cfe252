"""Tasks on Ray, by a stand-in for it: the outcome is that of doing it here, also when there is no cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hostile_readers import Hostile
from readers_in_use import use
from step_doors import scan
from test_engine import fill, scanned

from voyage_jobs.engine import children
from voyage_jobs.engine.child import GATEWAY
from voyage_jobs.engine.engine import engine_of
from voyage_jobs.errors import ConfigError
from voyage_jobs.readers.registry import BUILT_IN
from voyage_jobs.steps import ahead

STAND_IN = Path(__file__).parents[1] / "ray_stand_in"


@pytest.fixture(autouse=True)
def ray(monkeypatch):
    """Whatever is scanned is worth an engine, and Ray is there."""
    monkeypatch.setattr(ahead, "WORTH_BYTES", 0)
    monkeypatch.setattr(ahead, "LEAST_BYTES", 0)
    monkeypatch.syspath_prepend(str(STAND_IN))
    engine_of.cache_clear()
    children.rest()
    yield
    children.rest()
    engine_of.cache_clear()


@pytest.fixture
def begun(monkeypatch):
    """The tasks of the children that were started."""
    found, real = [], children.Child.__init__
    monkeypatch.setattr(
        children.Child, "__init__", lambda child, task: (real(child, task), found.append(task))[0]
    )
    return found


def test_the_state_is_the_same_as_by_one_process(world, monkeypatch, begun):
    use(monkeypatch, Hostile(), *BUILT_IN)
    fill(world)
    expected = scanned(world, "local")
    begun.clear()
    assert scanned(world, "ray") == expected
    assert set(begun) == {GATEWAY}
    assert not world.log.named("engine.lost")


def test_without_a_cluster_files_are_read_here_and_nothing_is_refused(world, monkeypatch):
    monkeypatch.setenv("RAY_STAND_IN_IS_DOWN", "1")
    use(monkeypatch, Hostile(), *BUILT_IN)
    fill(world)
    expected = scanned(world, "local")
    assert scanned(world, "ray") == expected
    assert "Ray at auto carries out no task" in world.log.named("engine.lost")[0]["error"]


def test_the_driver_knows_no_key(monkeypatch):
    monkeypatch.setenv("VOYAGE_API_KEY", "pa-secret")
    monkeypatch.setenv("RAY_ADDRESS", "here:1")
    told = children._environment(GATEWAY)
    assert told["RAY_ADDRESS"] == "here:1"
    assert "VOYAGE_API_KEY" not in told
    assert "RAY_ADDRESS" not in children._environment(ahead.CUT)


def test_one_that_is_not_installed_is_told_at_the_start(world, monkeypatch):
    monkeypatch.setattr("voyage_jobs.engine.on_ray.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="Ray is not installed"), world.worker(engine={"kind": "ray"}):
        pass


def test_it_is_never_imported_by_the_process_at_work(world):
    world.write("a.md", "# A\n\nWords.")
    with world.worker(engine={"kind": "ray"}) as context:
        assert scan(context).changed == 1
    assert "ray" not in sys.modules
