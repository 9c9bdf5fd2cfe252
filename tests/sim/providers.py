"""The providers that a life may have: what its settings say, and what its simulator is."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voyage_jobs.simulator import Options

from . import faults

HOUR_S = 3600


@dataclass(frozen=True)
class Provider:
    """`name` is its type in the settings, `vendor` that of the simulator, `sleep_s` longer than a job's window."""

    name: str
    vendor: str
    sleep_s: float = 25 * HOUR_S
    at_once: bool = False

    def section(self, kind: Mapping[str, Any], dimension: int) -> dict[str, Any]:
        """The section of its settings; what is made out of a dimension is another model, or asked for."""
        common = {
            "output_dimension": dimension,
            "base_url": "http://simulator.test/v1",
            "timeout_s": faults.TIMEOUT_S,
        }
        if self.at_once:
            return {**common, "model": f"tiny-{dimension}", "texts_per_request": 4}
        return {**kind, **common, "quarantine_s": faults.QUARANTINE_S}

    def kind(self, seed: int) -> dict[str, Any]:
        """The model, and the endpoint where it has a choice."""
        if self.vendor == "openai":
            return {"model": "text-embedding-3-small"}
        if seed % 5 == 4:
            return {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}
        return {"model": "voyage-4"}

    def readings(self, rng: random.Random) -> Options:
        """One reading of what its pages leave open."""
        if self.vendor == "voyage":
            return faults.readings(rng)
        return Options.of(
            self.vendor,
            small_dimensions=True,
            list_shows_cursor=rng.random() < 0.8,
            batches_order=rng.choice(("desc", "asc")),
            ranges=rng.random() < 0.5,
            bad_line_fails=rng.choice(("job", "line")),
            cancelled_lines_in_error_file=rng.random() < 0.5,
            empty_output_file=rng.random() < 0.3,
            max_in_flight_tokens=rng.choice((250, 600, 1_000_000)),
        )


PROVIDERS = {
    each.name: each
    for each in (
        Provider("voyage", "voyage", sleep_s=13 * HOUR_S),
        Provider("openai", "openai"),
        Provider("openai-sync", "openai", at_once=True),
    )
}
ALL = "all"
"""Each seed has one of them."""


def of_seed(name: str, seed: int) -> str:
    """The provider of a life: that of the name, or one of all."""
    return name if name != ALL else sorted(PROVIDERS)[seed % len(PROVIDERS)]
