"""The largest numbers that anything takes from outside: settings, the command line, answers of the provider.

Each is far beyond what makes sense, and small enough to be added up, added to a time in microseconds, and kept in
SQLite, which holds 64 bits.
"""

from __future__ import annotations

MOST = 2**53
"""Of anything that is counted: what every store and every JSON library still counts exactly."""
LONGEST_S = 3_153_600_000
"""A hundred years."""
MOST_USD = 1_000_000_000
