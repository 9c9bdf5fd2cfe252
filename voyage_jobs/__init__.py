"""Keeps a LanceDB table in step with source folders through Voyage AI's Batch API."""

from voyage_jobs.version import __version__

__all__ = ["__version__"]
