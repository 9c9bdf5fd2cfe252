"""The power goes at every crash point: what was not synced is lost, and nothing else is."""

from __future__ import annotations

import contextlib

import pytest
from world import Post

from voyage_jobs.core import crash
from voyage_jobs.errors import ConfigError
from voyage_jobs.report.status import status

from .machine import Machine, live
from .points import (
    OF_A_CANCELLATION,
    OF_A_NOTICE,
    OF_A_PROMISE,
    OF_A_READING,
    OF_A_REMOVAL,
    OF_AN_EXPEDITE,
    OF_OTHER_VECTORS,
    THE_WAY_OF_A_BATCH,
)

ON_THE_WAY = sorted({*THE_WAY_OF_A_BATCH, *OF_A_REMOVAL})
# By these seeds the life of each point has documents enough to come by it.
SEEDS = {point: seed for seed, point in enumerate(sorted({*ON_THE_WAY, *OF_A_CANCELLATION}))}
OTHERS = crash.POINTS - {*OF_A_PROMISE}
SEEDS |= {point: seed for seed, point in enumerate(sorted(OTHERS)) if point not in SEEDS}
SEEDS |= {point: seed for seed, point in enumerate(OF_A_PROMISE)}
OTHER = {"voyage": {"output_dimension": 16}}


def test_every_point_is_tried():
    tried = {*ON_THE_WAY, *OF_A_CANCELLATION, *OF_A_NOTICE, *OF_AN_EXPEDITE, *OF_OTHER_VECTORS, *OF_A_PROMISE}
    # Reading a file writes nothing: what was written before is what the next point of the scan loses.
    assert tried | {*OF_A_READING} == crash.POINTS


def filled(tmp_path, point: str) -> Machine:
    machine = Machine(tmp_path, seed=SEEDS[point])
    machine.author.begin(4)
    machine.run()
    return machine


def lose_power(machine: Machine, point: str, work=None) -> None:
    lost = machine.run_until_power_fails(point, 1, work)
    print(f"lost at {point}: {lost}")
    assert lost is not None


@pytest.mark.parametrize("point", ON_THE_WAY)
def test_after_a_power_loss_everything_is_done_once(tmp_path, point):
    machine = filled(tmp_path, point)
    machine.author.every_act(new=2)
    lose_power(machine, point)
    machine.run()
    machine.everything_is_right()


def test_after_the_first_publication_a_power_loss_cannot_take_the_folder_of_the_table(tmp_path):
    machine = filled(tmp_path, "publish.committed")
    place = machine.world.data_dir / "lancedb"
    assert machine.disk.is_durable(place / "chunks.lance")
    assert machine.disk.is_durable(place), "it was new, too"


@pytest.mark.parametrize("point", OF_OTHER_VECTORS)
def test_after_a_power_loss_on_the_way_to_other_vectors(tmp_path, point):
    machine = filled(tmp_path, point)
    machine.ask_for(**OTHER, lancedb={"keep_previous_s": 0 if point == "previous.released" else 86_400})
    begin, back, abandon = (
        lambda what=what: machine.reprofile(what) for what in ("begin", "switch_back", "abandon")
    )
    if point == "reprofile.committed":
        lose_power(machine, point, begin)
    begin()
    machine.author.every_act(new=2)
    if point == "abandon.committed":
        lose_power(machine, point, abandon)
        with contextlib.suppress(ConfigError):  # it may have been done
            abandon()
        machine.ask_for()
    elif point.startswith("switch_back."):
        machine.run()
        machine.author.every_act(new=2)
        machine.run()
        lose_power(machine, point, back)
        with contextlib.suppress(ConfigError):
            back()
        machine.ask_for()
    elif point != "reprofile.committed":
        lose_power(machine, point)
    machine.run()
    machine.everything_is_right()


@pytest.mark.parametrize(
    ("point", "killed_at"), [("cancel.sent", "create.committed"), ("cancel.committed", "attempt.committed")]
)
def test_after_a_power_loss_while_a_batch_is_cancelled(tmp_path, point, killed_at):
    machine = filled(tmp_path, point)
    machine.write("new.md", "# New\n\nNot seen before.\n")
    machine.run_until_killed(killed_at)
    (batch,) = status(machine.world.settings(), machine.world.clock)["open_batches"]
    machine.act("cancel", ref=batch["ref"])
    lose_power(machine, point)
    machine.run()
    machine.act("retry")
    machine.run()
    machine.everything_is_right()


@pytest.mark.parametrize("point", OF_AN_EXPEDITE)
def test_after_a_power_loss_while_a_document_is_expedited(tmp_path, point):
    machine = filled(tmp_path, point)
    machine.write("now.md", "# Now\n\nWanted at once.\n")
    lose_power(
        machine, point, lambda: machine.act("expedite", order="an order", source="docs", path="now.md")
    )
    machine.run()
    machine.everything_is_right()  # a lost answer is in the books as maybe paid


@pytest.mark.parametrize("point", OF_A_PROMISE)
def test_after_a_power_loss_in_the_fresh_lane(tmp_path, point):
    faults = {"server_error": {"on": "embeddings", "nth": 1}}
    machine = Machine(tmp_path, seed=SEEDS[point], faults=faults)
    machine.author.begin(4)
    machine.run()
    docs = {"name": "docs", "path": str(machine.world.docs), "delete_grace_s": 0, "fresh_within_s": 60}
    machine.ask_for(sources=[docs])
    machine.author.every_act(new=2)
    if point == "promise.begun":
        lose_power(machine, point)
    machine.run()
    machine.write("now.md", "# Now\n\nSaved now.\n")
    if point == "promise.deferred":
        lose_power(machine, point)
    machine.run()
    machine.everything_is_right()  # the answer that was lost is in the books as maybe paid


@pytest.mark.parametrize("point", OF_A_NOTICE)
def test_after_a_power_loss_while_somebody_is_told(tmp_path, point):
    machine = Machine(tmp_path, seed=SEEDS[point])
    machine.world.post = Post()
    machine.ask_for(notify={"command": ["true"]})
    machine.author.begin(4)
    machine.run()
    machine.author.every_act(new=2)
    lose_power(machine, point)
    machine.run()
    machine.everything_is_right()
    told = [body["id"] for name, body in machine.world.post.sent if name == "command"]
    assert len(told) - len(set(told)) <= (1 if point == "notice.delivered" else 0), "told twice with one id"
    assert "finished" in machine.world.post.told(), "what was noted before is told after it"


@pytest.mark.parametrize("seed", range(3))
def test_power_losses_one_after_the_other(tmp_path, seed):
    live(tmp_path, seed)
