"""A corpus of 30 million tokens through an OpenAI account of the first usage tier, which may have 3 million enqueued.

    python -m benchmarks.bench_queue [--quick] [--tokens 30_000_000]

On a virtual clock, with the bundled simulator, a job an hour long: once with the limit in
`batching.max_in_flight_tokens`, once without, so that it has to be learnt. What counts is not the time but what the
provider says: the most tokens in flight, jobs that it refused, lines that failed, texts that it billed twice.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from unittest import mock

from tests.world import World
from voyage_jobs.simulator.options import TIERS

SECTIONS, WORDS = 100, 280
TOKENS_A_SECTION = 460
DAY_S = 86_400


def make(world: World, tokens: int) -> None:
    """Documents of a hundred sections, each a chunk of about 460 tokens as the simulator counts them."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 8))) for _ in range(20_000)]
    for number in range(-(-tokens // (SECTIONS * TOKENS_A_SECTION))):
        parts = (f"# Part {n}\n\n" + " ".join(rng.choices(words, k=WORDS)) for n in range(SECTIONS))
        world.write(f"{number:05}.md", "\n\n".join(parts))


def run(tokens: int, limit: int, configured: int | None) -> dict[str, object]:
    """What came of one corpus."""
    batching = {} if configured is None else {"max_in_flight_tokens": configured}
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("voyage_jobs.steps.pipeline.LONGEST_IDLE_S", 600.0),
    ):
        world = World(
            Path(folder),
            vendor="openai",
            batch_seconds=3600,
            options={"max_in_flight_tokens": limit},
            batching=batching,
        )
        make(world, tokens)
        source = {"name": "docs", "path": str(world.docs), "scan_interval_s": DAY_S, "watch": False}
        began, wall = time.process_time(), world.clock.wall()
        world.run(turns=100_000, sources=[source])
        state, ledger = world.sim.state(), world.ledger
        with world.state.read() as connection:
            failed = connection.exec_driver_sql(
                "SELECT COUNT(*) FROM lines WHERE outcome IN (2, 3, 4, 5)"
            ).scalar_one()
        return {
            "million tokens billed": f"{ledger.batch_tokens / 1e6:.2f}",
            "texts": ledger.units(),
            "jobs": len(state["batches"]),
            "refused": sum(job["status"] == "failed" for job in state["batches"]),
            "most in flight": f"{state['most_tokens_in_flight'] / limit:.0%} of the limit",
            "failed lines": failed,
            "paid twice": len(ledger.billed_more_than_once()),
            "hours (virtual)": round((world.clock.wall() - wall) / 3600, 1),
            "CPU s": round(time.process_time() - began),
        }


def _row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=30_000_000)
    parser.add_argument("--only", choices=["configured", "learnt"])
    parser.add_argument("--quick", action="store_true", help="a thirtieth of both")
    given = parser.parse_args()
    share = 30 if given.quick else 1
    tokens, limit = given.tokens // share, TIERS[1] // share
    first = True
    for how, configured in (("configured", limit), ("learnt", None)):
        if given.only not in (None, how):
            continue
        found = run(tokens, limit, configured)
        if first:
            _row("limit", *found)
            _row(*["---"] * (len(found) + 1))
            first = False
        _row(how, *found.values())
        if found["failed lines"] or found["paid twice"]:
            raise SystemExit("a promise is broken")


if __name__ == "__main__":
    main()
