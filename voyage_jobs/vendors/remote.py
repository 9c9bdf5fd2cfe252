"""Files and jobs as they are at a provider, in words that are the same for all of them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

METADATA_REF = "voyage_jobs_ref"
"""Our mark: the key under which a job carries the ref of its batch."""
UPLOAD_NAME = "voyage-jobs-{ref}.jsonl"
"""The name of an input file of ours: it carries the ref, too."""


class Phase(enum.Enum):
    """What a job's status word means for us."""

    OPEN = "open"
    STOPPING = "stopping"  # asked to stop, and not over yet
    ENDED_OK = "ended_ok"  # over, and what was finished can be collected
    FAILED = "failed"  # refused in validation: nothing ran
    CANCELLED = "cancelled"  # over; what was finished before is there and is billed
    UNKNOWN = "unknown"  # a word we do not know: record it and keep polling


ENDS = frozenset({Phase.ENDED_OK, Phase.FAILED, Phase.CANCELLED})
"""What a job that is over may be."""
STOPPED = frozenset({Phase.STOPPING, Phase.CANCELLED})
"""What a job may be that was asked to stop."""
LIVING = frozenset({Phase.OPEN, Phase.UNKNOWN})
"""What a job may be that goes on until it is stopped."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at the provider. `bytes` is None if the answer does not name a size.

    One that is `pending` is still read there: Azure takes no job of it before that is over.
    """

    id: str
    bytes: int | None
    filename: str | None
    created_at_us: int | None
    pending: bool = False


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job to be created: the parameters on record for its batch, the uploaded file with its lines, our marks.

    `token` is the same whenever the job of one batch is asked for.
    """

    endpoint: str
    input_file_id: str
    params: Mapping[str, Any]
    metadata: Mapping[str, str]
    token: str


@dataclass(frozen=True, slots=True)
class JobError:
    """One complaint of a job's validation. `line` is as the provider counts; no page says from where."""

    code: str | None
    line: int | None
    message: str


@dataclass(frozen=True, slots=True)
class RemoteBatch:
    """A job at the provider. `status` is its own word; counts are of lines and None if not named.

    `server_date_us` is the provider's clock when it said so, the one to judge `created_at_us` by. A list may name a job
    and not say how it stands (`is_bare`): ask for it by its id.
    """

    id: str
    status: str
    phase: Phase
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    total: int | None = None
    completed: int | None = None
    failed: int | None = None
    created_at_us: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    errors: list[JobError] = field(default_factory=list)
    server_date_us: int | None = None

    @property
    def is_bare(self) -> bool:
        """Whether its status is not said: an entry of a list that is not whole."""
        return not self.status


class Blame(enum.Enum):
    """Whose fault it is that a job failed before anything of it ran."""

    LINES = "lines"  # some of its lines are refused: the others go again, and the bad ones are looked for
    NOBODY = "nobody"  # there was no room for it: the same lines go again, later
    MODEL = "model"  # there is no such model: no job for it would fare better, and the same lines go once there is
    JOB = "job"  # its parameters or the account: no other job would fare better, so an operator has to look


class Verdict(NamedTuple):
    """Why a job failed. `wait_s` is for how long no other job is created where the blame is nobody's.

    `most_tokens` is given where it would have brought more tokens in flight than the account may have there: the limit,
    or, if that is not told, any number beyond all limits.
    """

    blame: Blame
    wait_s: float = 0.0
    most_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file on disk: its size, its SHA-256 in hex, and its lines (a last one without newline counts)."""

    bytes: int
    sha256: str
    lines: int


def ref_of(file: RemoteFile) -> str | None:
    """The ref in the name of an input file of ours; None for any other file."""
    before, after = UPLOAD_NAME.split("{ref}")
    name = file.filename or ""
    if not name.startswith(before) or not name.endswith(after):
        return None
    return name[len(before) : len(name) - len(after)]
