"""How rows are read out of files, by the ending of their names."""

from voyage_jobs.records.formats.log import LogFile
from voyage_jobs.records.formats.registry import (
    ends_with_line,
    has_lines,
    look_for_fields,
    patterns,
    rows_of,
    segments_of,
    takes,
)

__all__ = [
    "LogFile",
    "ends_with_line",
    "has_lines",
    "look_for_fields",
    "patterns",
    "rows_of",
    "segments_of",
    "takes",
]
