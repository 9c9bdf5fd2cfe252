"""The log of the library: the standard module's logger `voyage_jobs`, silent until the program says who is to hear it.

The command line logs through structlog (`telemetry/logs.py`), which configures it for the whole process; a library must
not. Events, fields and levels are the same, and what must not be written is masked in the same way.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from voyage_jobs.core.observe import current_ref
from voyage_jobs.core.redact import clean_fields

NAME = "voyage_jobs"
logging.getLogger(NAME).addHandler(logging.NullHandler())


class LibraryLog:
    """Takes `info("batch.submitted", ref=..., inputs=3)` as the steps say it.

    The record's message is `batch.submitted ref=... inputs=3`; its attributes `event` and `fields` have the parts.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger(NAME)

    def debug(self, event: str, **fields: Any) -> None:
        """What helps to find a fault."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """What was done."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """What passes, or may need a look."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """What an operator should know."""
        self._log(logging.ERROR, event, fields)

    def _log(self, level: int, event: str, fields: dict[str, Any]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        ref = current_ref()
        clean = clean_fields(fields if ref is None else {"ref": ref, **fields})
        message = " ".join([event, *(f"{key}={_shown(value)}" for key, value in clean.items())])
        self._logger.log(level, "%s", message, extra={"event": event, "fields": clean}, stacklevel=3)


def _shown(value: Any) -> str:
    """As it is where that is one word; else as JSON, which has no control characters."""
    if isinstance(value, str) and value.isprintable() and value and not set(value) & set(' "='):
        return value
    return json.dumps(value)
