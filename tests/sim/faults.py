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
DAY_S = 86_400.0

# There are no bulk deletions or storage redirects to strike in these lives.
KINDS = tuple(sorted(CATALOG))

# It stops all sending until an operator acts, so few lives can have it.
SELDOM = frozenset({"job_unusable"})


def draw(
    rng: random.Random, only: frozenset[str] | None = None, surely: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The `faults` of a fault script: a third of all kinds and those of `surely`, each at a rate of its own.

    `only` names the kinds instead.
    """
    rates = (0.05, 0.15, 0.4)
    chosen = (
        sorted(only)
        if only is not None
        else [kind for kind in KINDS if rng.random() < (0.02 if kind in SELDOM else 0.3) or kind in surely]
    )
    script: dict[str, Any] = {}
    for kind in chosen:
        rule = {"probability": rng.choice(rates), **_params(kind, rng)}
        if CATALOG[kind].scope == "job":
            rule["probability"] = rng.choice((0.1, 0.4))
        elif CATALOG[kind].scope == "item":
            rule["probability"] = 0.1 if kind in SELDOM else rng.choice((0.1, 0.2, 0.4))
        elif kind == "too_large":
            rule["probability"] = 1.0  # such a limit lets nothing through
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
    return _new_params(kind, rng)


def _new_params(kind: str, rng: random.Random) -> dict[str, Any]:
    """Of calls, lines and items: each word that there is, and what has a measure that fits these lives."""
    words = {key: rng.choice(values) for key, values in sorted(CATALOG[kind].choices.items())}
    html = {"html": rng.random() < 0.5} if "html" in CATALOG[kind].params else {}
    match kind:
        case "too_large":
            return {
                **html,
                "bytes": rng.choice((1000, 1500, 2500)),
            }  # a batch of these lives has 500 to 3,000
        case "head_trickle":
            return {**words, "seconds": rng.uniform(0.1, TIMEOUT_S)}
        case "line_norm":
            return {"factor": rng.choice((1e-42, 1e-30, 1e20, 1e30))}
        case "results_sick":
            share = rng.choice((None, rng.uniform(0.0, 0.95)))
            return {**words, **html, "status": _status(rng), "keep_share": share, "seconds": _sick_s(rng)}
        case "job_sick" if rng.random() < 0.5:
            # A job that no list shows for longer than the quarantine would rightly be sent once more.
            hidden_s = rng.uniform(1, MOST_HIDDEN_S)
            return {**words, **html, "status": _status(rng), "listed": False, "seconds": hidden_s}
        case "job_sick":
            return {**words, **html, "status": _status(rng), "listed": True, "seconds": _sick_s(rng)}
        case "job_deleted":
            # Not while a create call may still be in doubt: what no list shows would rightly be sent once more.
            return {"seconds": rng.choice((2 * QUARANTINE_S, 3600.0, 6 * 3600.0))}
        case "job_unusable":
            return {**words, "share": rng.choice((0.5, 1.0))}
        case "file_size_lies":
            return {"by": rng.choice((1, -1, 100, -100)), "seconds": _sick_s(rng)}
        case "upload_sick":
            return {**words, **html, "seconds": _sick_s(rng)}
        case "job_created_at" | "create_refused":
            return {**words, "seconds": _sick_s(rng)}
    return words


def _status(rng: random.Random) -> int:
    return rng.choice((500, 502, 503))


def _sick_s(rng: random.Random) -> float | None:
    """How long an item stays sick: some recover soon, some within the life, some when its faults end."""
    return rng.choice((None, None, 900.0, 2 * 3600.0, DAY_S))


def script(faults: dict[str, Any], seed: int) -> FaultScript:
    """A fault script of these faults."""
    return FaultScript.from_dict({"faults": faults, "seed": seed})


def readings(rng: random.Random) -> Options:
    """One reading of what the provider's pages leave open."""
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
        encoding_format=rng.choice(
            ("honoured", "ignored", "rejected", "rejected_in_job", "rejected_by_line")
        ),
    )
