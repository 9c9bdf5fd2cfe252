"""The settings by which the present table is to be read, whatever the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable

from voyage_jobs.config.profile import with_profile
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import DiskFullError, StateError
from voyage_jobs.state import rebuild
from voyage_jobs.state.door import open_state
from voyage_jobs.state.history import View


def settings_of_table(settings: Settings) -> Settings:
    """The settings with the profile of the table; unchanged where there is no state that tells."""
    return _with(settings, rebuild.served)


def settings_in_force(settings: Settings) -> Settings:
    """The settings with the profile that is worked under: of the table in the making, else of the table."""
    return _with(settings, rebuild.active)


def _with(settings: Settings, which: Callable[[View], Profile | None]) -> Settings:
    if not open_state(settings).exists():
        return settings
    try:
        with open_state(settings).read() as connection:
            found = which(connection)
    except (StateError, DiskFullError):
        return settings
    return settings if found is None else with_profile(settings, found)
