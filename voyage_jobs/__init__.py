"""Keeps a LanceDB table in step with source folders through Voyage AI's Batch API.

The public face is what `__all__` names: docs/api.md tells of each. Everything else in this package is private and may
change in any release. Nothing heavy is imported before it is used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voyage_jobs import errors
    from voyage_jobs.api.items import Items
    from voyage_jobs.api.project import Project, open, project  # noqa: A004 - it is called as voyage_jobs.open
    from voyage_jobs.api.results import (
        Batch,
        Chunks,
        Cost,
        CostRow,
        Hit,
        Plan,
        Problem,
        SourcePlan,
        SourceStatus,
        Status,
        SyncResult,
        Why,
    )
    from voyage_jobs.items import Item
    from voyage_jobs.readers.reader import Heading, Place, Reader, Refused, Text
    from voyage_jobs.readers.registry import register_reader

from voyage_jobs.version import __version__

__all__ = [
    "Batch",
    "Chunks",
    "Cost",
    "CostRow",
    "Heading",
    "Hit",
    "Item",
    "Items",
    "Place",
    "Plan",
    "Problem",
    "Project",
    "Reader",
    "Refused",
    "SourcePlan",
    "SourceStatus",
    "Status",
    "SyncResult",
    "Text",
    "Why",
    "__version__",
    "errors",
    "open",
    "project",
    "register_reader",
]

if not TYPE_CHECKING:
    _HOMES = {
        "Item": "items.item",
        "Items": "api.items",
        "Project": "api.project",
        "open": "api.project",
        "project": "api.project",
        "register_reader": "readers.registry",
        **dict.fromkeys(("Heading", "Place", "Reader", "Refused", "Text"), "readers.reader"),
    }

    def __getattr__(name):
        """A public name, loaded when it is first asked for."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "errors":
            return importlib.import_module("voyage_jobs.errors")
        home = importlib.import_module(f"voyage_jobs.{_HOMES.get(name, 'api.results')}")
        globals()[name] = getattr(home, name)
        return globals()[name]

    def __dir__():
        return sorted({*globals(), *__all__})
