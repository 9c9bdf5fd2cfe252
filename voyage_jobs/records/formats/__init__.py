"""How rows are read out of files, by the ending of their names."""

from voyage_jobs.records.formats.registry import SUFFIXES, rows_of, takes

__all__ = ["SUFFIXES", "rows_of", "takes"]
