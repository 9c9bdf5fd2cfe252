"""The sources that nobody configured: sets of items in the data folder, which programs put there (`voyage_jobs.items`).

Every command and every program that works on the data folder sees them, so a daemon keeps them in step, too. A source
of the configuration with such a folder as its path is that set, by its own settings.
"""

from __future__ import annotations

import os

from pydantic import ValidationError

from voyage_jobs.config.settings import Settings
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.errors import ConfigError

# What is removed through the API is no loss, so a loss is an accident; one file may be the operator's doing.
_MAX_LOST = 1


def with_item_sources(settings: Settings) -> Settings:
    """The settings with a source for each set of items that is there and that they do not name themselves."""
    names = {source.name for source in settings.sources}
    paths = {source.path for source in settings.sources}
    fresh = [
        source
        for source in (_source(settings, name) for name in _folders(settings))
        if source is not None and source.name not in names and source.path not in paths
    ]
    return settings.model_copy(update={"sources": (*settings.sources, *fresh)}) if fresh else settings


def names_of(settings: Settings) -> list[str]:
    """The names of its sources, of the sets of items that there are now, too."""
    return [source.name for source in with_item_sources(settings).sources]


def item_source(settings: Settings, name: str) -> SourceSettings:
    """The source of a set of items, whether it is there yet or not. Raises ConfigError for a name that cannot be."""
    source = _source(settings, name)
    if source is None:
        raise ConfigError(
            f"A set of items cannot be called {name!r}.",
            hint="Use 1 to 64 letters, digits, dots, dashes or underscores, with no dot at the beginning.",
        )
    named = next((each for each in settings.sources if each.name == name), source)
    if named.path != source.path:
        raise ConfigError(f"{name} is the name of a source in {named.path}; choose another for the items.")
    return named


def is_item_source(settings: Settings, source: SourceSettings) -> bool:
    """Whether a source is a set of items."""
    return source.path.parent == settings.paths.items


def _source(settings: Settings, name: str) -> SourceSettings | None:
    if name.startswith("."):
        return None
    try:
        return SourceSettings(name=name, path=settings.paths.items / name, max_delete_count=_MAX_LOST)
    except ValidationError:
        return None


def _folders(settings: Settings) -> list[str]:
    try:
        with os.scandir(settings.paths.items) as entries:
            return sorted(each.name for each in entries if each.is_dir(follow_symlinks=False))
    except OSError:  # none, or not ours to see
        return []
