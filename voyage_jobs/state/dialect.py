"""What SQLite says in words of its own, and other engines in theirs: pieces of SQL, each made from a column or two.

Everything else is written so that any engine takes it: named values, `ON CONFLICT`, `FILTER`, `IS DISTINCT FROM`, no
column beside an aggregate that is not grouped by. (Hints to the planner, `CROSS JOIN ... ON` and `INDEXED BY`, stand
where they were measured to be needed.)
"""

from __future__ import annotations


def hexadecimal(column: str) -> str:
    """Bytes as hex digits in lower case."""
    return f"lower(hex({column}))"


def day_of(column: str) -> str:
    """Microseconds UTC as a day, such as 2026-03-01."""
    return f"date({column} / 1000000, 'unixepoch')"


def json_field(column: str, name: str) -> str:
    """One field of a JSON object that is kept as text."""
    return f"json_extract({column}, '$.{name}')"


def json_members(column: str, name: str) -> str:
    """A row (key, value, type) for each member of an object in one field of a JSON object that is kept as text."""
    return f"json_each({column}, '$.{name}')"


def least(one: str, other: str) -> str:
    """The smaller of two numbers."""
    return f"MIN({one}, {other})"


def greatest(one: str, other: str) -> str:
    """The greater of two numbers."""
    return f"MAX({one}, {other})"
