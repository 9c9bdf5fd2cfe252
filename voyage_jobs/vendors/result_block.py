"""What the lines of a results file say once they are judged: successes side by side, the others one by one."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from voyage_jobs.core.profile import Profile

if TYPE_CHECKING:
    import numpy as np

WRONG_DIMENSION = "wrong_dimension"
"""The code of a line whose vectors are not as wide as they were asked for."""
EXPIRED = "batch_expired"
"""The code of a line that the provider did not come to before its window was over."""
ABOUT_THE_ACCOUNT = (401, 402, 403, 404)
"""Statuses of a line that speak of its key, its means, its project or its model, and of no text."""
NumberedLine = tuple[int, bytes | None]
"""A line with its number, counted from 1; None instead of a line that is too long to be read."""


class LineOutcome(enum.Enum):
    """What a line that brings no usable vectors says about the embedding it names."""

    TRANSIENT = (
        "transient"  # asking again may help: expired, 408, 429, 5xx, of the account, an error without status
    )
    REFUSED = "refused"  # any other 4xx: asking the same again will not help
    MALFORMED = "malformed"  # not JSON, not the documented shape, or vectors that do not check out
    FOREIGN = "foreign"  # an id that was not asked for


@dataclass(frozen=True, slots=True)
class Expectation:
    """What was asked for: vectors of `profile`, and how many under which id.

    `count_of(custom_id)` is the number of vectors a line must bring, None for an id that was not asked for.
    Whether a line brings JSON numbers or base64 is seen from the line.
    """

    profile: Profile
    count_of: Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class LineProblem:
    """A line that brings no usable vectors.

    `code` is a short word for the reason: the provider's own where it gave one, `http_<status>`, or one of
    ours. `message` is the provider's text on one line of at most 500 characters, without secrets. `tokens` is
    the usage the line reports even so, None if it reports none that can be.
    """

    line_number: int
    custom_id: str | None
    outcome: LineOutcome
    code: str
    status: int | None = None
    message: str = ""
    tokens: int | None = None


class GoodLine(NamedTuple):
    """A line whose vectors check out: an array of shape (n, width) in the storage type, ordered by slot.

    `tokens` is None if it does not report its usage, or one that cannot be.
    """

    custom_id: str
    vectors: np.ndarray
    tokens: int | None


@dataclass(frozen=True, slots=True)
class ResultBlock:
    """Consecutive lines of a results file: the successes side by side in one array, the others one by one.

    Success i brings `counts[i]` consecutive rows of `vectors` and reports `tokens[i]`. `lines` counts the
    lines read for this block, blank ones too.
    """

    custom_ids: list[str]
    counts: list[int]
    tokens: list[int | None]
    vectors: np.ndarray
    problems: list[LineProblem]
    lines: int

    def keys(self) -> np.ndarray:
        """The embedding key of each row of `vectors`: (rows, 20) uint8. The ids must be keys in hex."""
        import numpy as np

        keys = np.frombuffer(bytes.fromhex("".join(self.custom_ids)), np.uint8).reshape(-1, 20)
        return np.repeat(keys, self.counts, axis=0)

    def slots(self) -> np.ndarray:
        """The slot of each row of `vectors` within its embedding: int32."""
        import numpy as np

        if len(self.vectors) == len(self.counts):
            return np.zeros(len(self.counts), np.int32)
        return np.concatenate([np.arange(count, dtype=np.int32) for count in self.counts])

    def keep(self, wanted: Sequence[bool]) -> ResultBlock:
        """The block with only those successes for which `wanted` is true; problems stay."""
        import numpy as np

        if all(wanted):
            return self
        rows = np.repeat(np.asarray(wanted, bool), self.counts)
        return ResultBlock(
            custom_ids=list(itertools.compress(self.custom_ids, wanted)),
            counts=list(itertools.compress(self.counts, wanted)),
            tokens=list(itertools.compress(self.tokens, wanted)),
            vectors=self.vectors[rows],
            problems=self.problems,
            lines=self.lines,
        )


class BlockBuilder:
    """A block being filled. `room` is the number of vectors or problems it still takes; `lines` counts lines."""

    def __init__(self, expectation: Expectation, capacity: int) -> None:
        import numpy as np

        self._vectors = np.empty((capacity, expectation.profile.width), expectation.profile.storage_dtype)
        self._rows = 0
        self._custom_ids: list[str] = []
        self._counts: list[int] = []
        self._tokens: list[int | None] = []
        self._problems: list[LineProblem] = []
        self.room = capacity
        self.lines = 0

    def free(self, count: int) -> np.ndarray:
        """Where the next `count` vectors belong. They count only once `keep` is called."""
        return self._vectors[self._rows : self._rows + count]

    def keep(self, custom_id: str, count: int, tokens: int | None) -> None:
        """Count a line whose vectors have been written where `free` said."""
        self._custom_ids.append(custom_id)
        self._counts.append(count)
        self._tokens.append(tokens)
        self._rows += count
        self.room -= count
        self.lines += 1

    def add(self, found: GoodLine | LineProblem | None) -> None:
        """Count a line and keep what it said; None for one that says nothing."""
        if isinstance(found, GoodLine):
            count = len(found.vectors)
            self.free(count)[:] = found.vectors
            self.keep(found.custom_id, count, found.tokens)
            return
        if found is not None:
            self._problems.append(found)
            self.room -= 1
        self.lines += 1

    def done(self) -> ResultBlock:
        """What was gathered."""
        vectors = self._vectors[: self._rows]
        return ResultBlock(self._custom_ids, self._counts, self._tokens, vectors, self._problems, self.lines)
