"""Keeps a LanceDB table in step with source folders through Voyage AI's Batch API."""

__version__ = "0.1.0"
