"""The words of records: a row of a file, and what may be wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

MAX_RECORD_BYTES = 1 << 20
"""No record is larger; one that is, is left out alone."""

NO_FIELD = "no_field"
"""Why a file is not read that has not all fields that the settings ask for."""


NESTED = "values within values within values"
"""What is wrong with a row that is nested too deep to be taken apart."""


class Lack(StrEnum):
    """Why a row is left out, or, for the last, a column of it."""

    BROKEN = "broken"  # another number of fields than the header has, no valid JSON, quotes that do not close
    CUT_SHORT = "cut_short"  # the file ends in the middle of it
    TOO_LARGE = "too_large"
    UNDECODABLE = "undecodable"
    MISSING_ID = "missing_id"
    DUPLICATE_ID = "duplicate_id"  # the first row with an id is the record
    NO_TEXT = "no_text"
    WRONG_TYPE = "wrong_type"  # the record is taken, without this column


LACKS: dict[str, str] = {
    Lack.BROKEN: "broken",
    Lack.CUT_SHORT: "cut short",
    Lack.TOO_LARGE: "too large",
    Lack.UNDECODABLE: "not decodable",
    Lack.MISSING_ID: "without an id",
    Lack.DUPLICATE_ID: "with the id of an earlier one",
    Lack.NO_TEXT: "without text",
    Lack.WRONG_TYPE: "taken without a value of another type",
}
"""How a message goes on after "2 rows"."""

UNREAD = frozenset({Lack.BROKEN, Lack.CUT_SHORT, Lack.TOO_LARGE, Lack.UNDECODABLE, Lack.MISSING_ID})
"""Whose record nobody knows: any that is not found may be this one."""


class Row(NamedTuple):
    """One row. `at` counts lines from 1, or rows where a format has no lines."""

    at: int
    values: Mapping[str, Any]


class Fault(NamedTuple):
    """What is wrong with the row `at`. `detail` never quotes more of it than a name."""

    at: int
    lack: Lack
    detail: str = ""
