"""The values that a setting can be: numbers with bounds, durations, names and paths, and how they may be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from voyage_jobs.core.bounds import LONGEST_S, MOST, MOST_USD

_NAME_BYTES = 255
_PATH_BYTES = 3_800  # 4,095 less what we put below it


def as_number(value: Any) -> Any:
    """What is to be a number: `true` is none, although Python says so."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic turns ValueError into a finding
    return value


def none_word(value: Any) -> Any:
    """The environment has no null, so the word stands for it."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def nameable(path: Any) -> Any:
    """A path that a disk can have; whether it does is seen later."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("must not hold a zero byte")
    if b"://" not in name and (len(name) > _PATH_BYTES or max(map(len, name.split(b"/"))) > _NAME_BYTES):
        raise ValueError(f"is too long: a name has at most {_NAME_BYTES} bytes, a path {_PATH_BYTES:,}")
    return path


def given(path: Any) -> Any:
    """A path that says something: an empty one would be wherever the process was started."""
    if path == "":
        raise ValueError("must not be empty")
    return path


def absolute(path: Path) -> Path:
    """A folder as seen from the root, `~` filled in."""
    return Path(os.path.abspath(os.path.expanduser(path)))


Count = Annotated[int, BeforeValidator(as_number), Field(ge=1, le=MOST)]
Size = Annotated[int, BeforeValidator(as_number), Field(ge=0, le=MOST)]
Finite = Annotated[float, BeforeValidator(as_number), Field(allow_inf_nan=False)]
Duration = Annotated[Finite, Field(ge=0, le=LONGEST_S)]
Interval = Annotated[Finite, Field(ge=0.1, le=LONGEST_S)]
Usd = Annotated[Finite, Field(ge=0, le=MOST_USD)]
Limit = Annotated[Usd | None, BeforeValidator(none_word)]
TokenLimit = Annotated[Size | None, BeforeValidator(none_word)]
Place = Annotated[str, AfterValidator(nameable)]
Folder = Annotated[Path, BeforeValidator(given), AfterValidator(nameable), AfterValidator(absolute)]


class Section(BaseModel):
    """A table of the file: unknown keys are errors, values do not change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")
