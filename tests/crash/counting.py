"""A command that tells at its end, on standard error, how often it passed each crash point.

python -m crash.counting --config FILE sync
"""

from __future__ import annotations

import atexit
import json
import sys
from collections import Counter

from crash.hurried import hurry
from voyage_jobs.cli.main import main
from voyage_jobs.core import crash

passed: Counter[str] = Counter()


def _count(name: str) -> None:
    passed[name] += 1


if __name__ == "__main__":
    hurry()
    crash.arm(_count)
    atexit.register(lambda: print(json.dumps({"passed": passed}), file=sys.stderr))
    main()
