"""How rows are read out of files, by the ending of their names."""

from voyage_jobs.records.formats.registry import rows_of, suffixes, takes

__all__ = ["rows_of", "suffixes", "takes"]
