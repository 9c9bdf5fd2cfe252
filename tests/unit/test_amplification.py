"""What an insertion sends again where windows are paid as a whole: foretold by `plan` and `why`, and true."""

from __future__ import annotations

from statistics import mean

import pytest
from step_doors import prose
from world import World

from voyage_jobs.planning.plan import plan
from voyage_jobs.report.why import why
from voyage_jobs.splitting.windows import amplification, amplification_of, insertion_told

CONTEXTUALIZED = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}


def test_the_sums_are_those_of_the_windows():
    found = amplification_of([[10, 20], [30]])
    assert found == amplification(2, 60, 30 * 30 + 30 * 30, 100 + 400 + 900)
    assert found == {"count": 2, "asked_tokens": 30, "chunk_tokens": 23, "amplification": 1.3}
    assert insertion_told(found) == "an insertion sends about 30 tokens again, 1.3 times those of its chunk"
    assert amplification_of([]) is None


def test_plan_and_why_foretell_what_an_insertion_sends(tmp_path):
    world = World(tmp_path, voyage=CONTEXTUALIZED, splitting={"window_tokens": 2_000})
    paragraphs = [f"Paragraph {number}. {prose(f'word{number}', 1)}" for number in range(300)]
    world.write("book.md", "\n\n".join(paragraphs))
    foretold = plan(world.settings(), world.clock)["windows"]
    assert foretold["count"] > 5
    assert foretold["amplification"] > 2
    world.run()
    told = why(world.settings(), world.clock, "book.md")
    assert told.facts["chunks"]["windows"] == foretold
    assert insertion_told(foretold) in told.paragraph
    sent = []
    for at in range(10, 300, 40):
        world.write("book.md", "\n\n".join([*paragraphs[:at], "One sentence more.", *paragraphs[at:]]))
        sent.append(plan(world.settings(), world.clock)["tokens"]["to_send"])
    assert mean(sent) == pytest.approx(foretold["asked_tokens"], rel=0.5)


def test_nothing_is_said_of_models_that_see_chunks_alone(world):
    world.write("a.md", prose("a", 3))
    assert plan(world.settings(), world.clock)["windows"] is None
    world.run()
    told = why(world.settings(), world.clock, "a.md")
    assert told.facts["chunks"]["windows"] is None
    assert "insertion" not in told.paragraph
