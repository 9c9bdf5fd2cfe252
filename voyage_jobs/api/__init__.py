"""The Python API. Import its names from `voyage_jobs`, where they are listed; docs/api.md tells of each."""
