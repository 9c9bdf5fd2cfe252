"""Configuration: found, read, checked, explained. `load_settings` is the door to `Settings`."""

from voyage_jobs.config.key import KeySource
from voyage_jobs.config.load import load_settings, parse_settings, settings_of_values
from voyage_jobs.config.settings import Paths, Settings

__all__ = ["KeySource", "Paths", "Settings", "load_settings", "parse_settings", "settings_of_values"]
