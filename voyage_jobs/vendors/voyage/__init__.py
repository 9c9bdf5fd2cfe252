"""Voyage AI: building requests, reading answers, and a thin HTTP client."""
