"""Whether the folders of the sources are there: a wrong path must not pass for a folder that is not mounted. And
whether they are apart from the folders of voyage-jobs itself.
"""

from __future__ import annotations

import os
from pathlib import Path

from voyage_jobs.config.checks import own_data_in_source
from voyage_jobs.config.settings import Settings
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.errors import ConfigError, StateError
from voyage_jobs.sources.source import RootMissing
from voyage_jobs.state import sources
from voyage_jobs.state.door import open_state
from voyage_jobs.steps.context import encoded
from voyage_jobs.steps.reading import source_of


def demand_apart(settings: Settings) -> None:
    """Raise ConfigError where links lead a source to our own files: what is sent would be read, and sent again."""
    for problem in own_data_in_source(settings, lambda path: Path(os.path.realpath(path))):
        raise ConfigError(problem.line(str(settings.origin or "settings")))


def demand_folders(settings: Settings) -> None:
    """Raise ConfigError, naming each, for sources whose folder is not there and was never scanned, and as
    `demand_apart` does.

    One that was scanned before may be unmounted: its source is frozen, and nothing of it deleted.
    """
    demand_apart(settings)
    absent = [(source.name, why) for source in settings.sources if (why := _absent(source)) is not None]
    if not absent:
        return
    seen = _seen(settings)
    never = [f"source {name}: {why}" for name, why in absent if name not in seen]
    if never:
        where = "its `path`" if settings.origin is None else f"its `path` in {settings.origin}"
        raise ConfigError(
            "; ".join([f"S{never[0][1:]}", *never[1:]]),
            hint=f"Correct {where}, or make the folder. To take one file, name its folder, and the file in `include`.",
        )


def _absent(source: SourceSettings) -> str | None:
    try:
        source_of(source).identity()
    except RootMissing as exc:
        return exc.message
    return None


def _seen(settings: Settings) -> frozenset[str]:
    """The sources that were scanned to their end at the place where they are now."""
    state = open_state(settings)
    try:
        if not state.exists():
            return frozenset()
        with state.read() as connection:
            rows = {row.name: row for row in sources.all_sources(connection)}
    except StateError:  # whoever opens it to work says what is wrong with it
        return frozenset(source.name for source in settings.sources)
    return frozenset(
        source.name
        for source in settings.sources
        if (row := rows.get(source.name)) is not None
        and row.path == encoded(source.path)
        and row.device is not None
    )
