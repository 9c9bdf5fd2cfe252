"""How much the property tests try.

Every run of the suite tries the same examples, so that a change alone can break it. With `FUZZ=20` in the environment
(`make fuzz`) it is twenty times as many, and others each time; a failure prints what repeats it, and is remembered in
`.hypothesis`.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("FUZZ", "0"))
_EXAMPLES = 100

settings.register_profile(
    "same",
    derandomize=True,
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "others",
    derandomize=False,
    max_examples=_EXAMPLES * max(1, FACTOR),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("others" if FACTOR else "same")


def examples(count: int) -> settings:
    """As many examples as this in a short run; a decorator."""
    return settings(max_examples=count * max(1, FACTOR))
