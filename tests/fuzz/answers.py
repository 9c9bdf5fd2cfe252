"""Answers of a provider that keeps its promises badly, or not at all."""

from __future__ import annotations

import json
import math

from hypothesis import strategies as st


def nested(opening: str, depth: int) -> bytes:
    """JSON as deep as a parser will still read."""
    closing = "".join({"[": "]", "{": "}"}.get(sign, "") for sign in reversed(opening))
    return (opening * depth + "0" + closing * depth).encode()


BIG = st.sampled_from(
    [
        0,
        1,
        -1,
        2**31,
        2**53,
        2**63 - 1,
        2**63,
        2**64 - 1,
        -(2**63),
        2**70,
        10**30,
        math.inf,
        -math.inf,
        math.nan,
    ]
)
NUMBERS = BIG | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
DEEP = st.builds(
    nested,
    st.sampled_from(["[", '{"detail":', '{"detail":[', '{"data":[']),
    st.sampled_from([60, 400, 500, 900, 1020]),
)
BODIES = st.one_of(
    VALUES.map(lambda value: json.dumps(value).encode("utf-8", "replace")),
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"",
            b"NaN",
            b"-Infinity",
            b"<!doctype html><title>502</title>",
            b"null",
            b"\xef\xbb\xbf{}",
            b'{"id":"a"',
            b"9" * 5000,
        ]
    ),
    DEEP,
)
TIMES = st.sampled_from(
    [
        "2026-08-01T12:00:00Z",
        "2026-08-01 12:00:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        1e10,
        0,
        "",
    ]
)
