"""Texts that a program hands over: each is a file in a folder of the data folder, and thereby a document as any other.

So scans, moves, budgets, the guard against mass deletes and publishing hold for them unchanged. What a scan cannot see
is why a file has gone: `remove` leaves a note of it, which the scan reads (`folder.py`).
"""

from voyage_jobs.items.folder import ItemFolder, removals
from voyage_jobs.items.item import Item
from voyage_jobs.splitting.frontmatter import ITEM_KEY

__all__ = ["ITEM_KEY", "Item", "ItemFolder", "removals"]
