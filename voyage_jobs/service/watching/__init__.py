"""Watching source folders: a hint that a scan is worth it now, beside the periodic scans that find everything
anyway.
"""
