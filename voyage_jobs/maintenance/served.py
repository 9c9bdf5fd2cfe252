"""The settings by which the present table is to be read, whatever the configuration asks for."""

from __future__ import annotations

from voyage_jobs.config.profile import with_profile
from voyage_jobs.config.settings import Settings
from voyage_jobs.errors import StateError
from voyage_jobs.state import rebuild
from voyage_jobs.state.door import open_state


def settings_of_table(settings: Settings) -> Settings:
    """The settings with the profile of the table; unchanged where there is no state that tells."""
    if not open_state(settings).exists():
        return settings
    try:
        with open_state(settings).read() as connection:
            served = rebuild.served(connection)
    except StateError:
        return settings
    return settings if served is None else with_profile(settings, served)
