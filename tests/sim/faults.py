"""Which faults a life meets, drawn from its seed, and which readings of the API its vendor has."""

from __future__ import annotations

import random
from typing import Any

from voyage_jobs.simulator import FaultScript, Options
from voyage_jobs.simulator.fault_catalog import CATALOG

# A create call is on its way for up to MOST_DELAY_S, and its job is out of sight for up to MOST_HIDDEN_S after that:
# together with the client's timeout they stay below the quarantine, which is what the quarantine is for.
TIMEOUT_S = 60.0
MOST_DELAY_S = 300.0
MOST_HIDDEN_S = 300.0
QUARANTINE_S = 900.0

# There are no bulk deletions or storage redirects to strike in these lives.
KINDS = tuple(sorted(CATALOG))


def draw(
    rng: random.Random, only: frozenset[str] | None = None, surely: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The `faults` of a fault script: a third of all kinds and those of `surely`, each at a rate of its own.

    `only` names the kinds instead.
    """
    rates = (0.05, 0.15, 0.4)
    chosen = (
        sorted(only) if only is not None else [kind for kind in KINDS if rng.random() < 0.3 or kind in surely]
    )
    script: dict[str, Any] = {}
    for kind in chosen:
        rule = {"probability": rng.choice(rates), **_params(kind, rng)}
        if CATALOG[kind].scope == "job":
            rule["probability"] = rng.choice((0.1, 0.4))
        script[kind] = rule
    return script


def _params(kind: str, rng: random.Random) -> dict[str, Any]:
    match kind:
        case "request_lost" | "answer_lost":
            return {
                "as": rng.choice(("connect_error", "read_error", "read_timeout")[kind == "answer_lost" :])
            }
        case "effect_delayed":
            return {"seconds": rng.uniform(1, MOST_DELAY_S)}
        case "server_error":
            return {"status": rng.choice((500, 502, 503)), "after_effect": rng.random() < 0.5}
        case "rate_limited":
            return {"retry_after_s": rng.choice((None, 5.0, 120.0))}
        case "auth_outage":
            return {"status": rng.choice((401, 403))}
        case "answer_spoilt":
            return {"how": rng.choice(("nan", "all_zero", "wrong_dimension", "without_data", "not_json"))}
        case "body_cut":
            return {"keep_share": rng.uniform(0.0, 0.95)}
        case "job_slow":
            return {"done_share": rng.choice((0.0, 0.5))}
        case "job_invalid":
            return {"line": rng.randint(0, 3)}
        case "job_hidden":
            return {"seconds": rng.uniform(1, MOST_HIDDEN_S), "retrieve": rng.random() < 0.5}
        case "job_status":
            word, stage = rng.choice(
                (
                    ("expired", "completed"),
                    ("partially_completed", "completed"),
                    ("reticulating", "in_progress"),
                    ("archived", "completed"),
                )
            )
            return {"instead_of": stage, "word": word}
    return {}


def script(faults: dict[str, Any], seed: int) -> FaultScript:
    """A fault script of these faults."""
    return FaultScript.from_dict({"faults": faults, "seed": seed})


def readings(rng: random.Random) -> Options:
    """One reading of what the vendor's pages leave open."""
    return Options(
        small_dimensions=True,
        timestamps=rng.choice(("rfc3339", "zoneless")),
        legacy_batch_keys=rng.random() < 0.2,
        list_shows_cursor=rng.random() < 0.8,
        batches_order=rng.choice(("desc", "asc")),
        ranges=rng.random() < 0.5,
        bad_line_fails=rng.choice(("job", "line")),
        overrun_status=rng.choice(("completed", "expired", "partially_completed")),
        cancelled_lines_in_error_file=rng.random() < 0.5,
        empty_output_file=rng.random() < 0.3,
        wrong_key_status=rng.choice((401, 403)),
        max_in_flight_jobs=rng.choice((1, 2, 100)),
    )
