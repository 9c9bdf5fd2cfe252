"""Where the configuration file and the data folder are by convention."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from voyage_jobs.core.durable import is_there
from voyage_jobs.errors import ConfigError

VARIABLE = "VOYAGE_JOBS_CONFIG"
LOCAL_NAME = "voyage-jobs.toml"


def find_config(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read, absolute, or None: the one given, the variable's, the local one, the user's.

    A file that was named but is not there is an error; the two conventional places are only looked at.
    """
    named = given or (Path(environ[VARIABLE]) if environ.get(VARIABLE) else None)
    if named is not None:
        path = Path(os.path.abspath(os.path.expanduser(named)))
        by = "--config" if given else VARIABLE
        if not is_there(path):  # `/dev/null` is an empty one
            raise ConfigError(
                f"{path}: no such file (named by {by}).",
                hint=f"`voyage-jobs init --path {shlex.quote(str(named))}` writes a configuration there.",
            )
        if path.is_dir():
            raise ConfigError(
                f"{path}: is a folder, not a file (named by {by}).", hint="Name the file in it."
            )
        return path
    return next((path for path in usual_places(environ) if path.is_file()), None)


def usual_places(environ: Mapping[str, str]) -> list[Path]:
    """The places looked at when nothing is named, in order."""
    user = _xdg(environ, "XDG_CONFIG_HOME", ".config")
    return [Path.cwd() / LOCAL_NAME, user / "voyage-jobs" / "config.toml"]


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """systemd's state folder, else the user's data folder."""
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state)
    return _xdg(environ, "XDG_DATA_HOME", ".local/share") / "voyage-jobs"


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> Path:
    value = environ.get(variable, "")
    if os.path.isabs(value):  # the XDG standard: relative values are to be ignored
        return Path(value)
    return Path(environ.get("HOME") or os.path.expanduser("~")) / default
