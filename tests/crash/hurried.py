"""`voyage-jobs` as it is, but that no wait after a failure is longer than two seconds.

python -m crash.hurried --config FILE sync

A life on the real port meets a lost answer several times, and waits of a minute that double prove nothing there: they
have their own tests, on the virtual clock.
"""

from __future__ import annotations

from dataclasses import replace

from voyage_jobs.cli.main import main
from voyage_jobs.core import retry

_FIRST_S, _CAP_S = 1.0, 2.0


def hurry() -> None:
    """Shorten every wait of this process."""
    retry.POLICIES = {
        name: replace(rule, first_s=min(rule.first_s, _FIRST_S), cap_s=min(rule.cap_s, _CAP_S))
        for name, rule in retry.POLICIES.items()
    }


if __name__ == "__main__":
    hurry()
    main()
