"""Settings from the environment.

`VOYAGE_JOBS_<SECTION>__<KEY>` sets one key, `VOYAGE_JOBS_DATA_DIR` the data folder, `VOYAGE_JOBS_SOURCES` the
list of sources as JSON. An empty variable counts as not set, which is what Compose files and unit files mean
by it; the word `none` unsets a key that may be absent. A variable with our prefix that is no setting is an
error, because a misspelt one would otherwise be silently without effect.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_settings import EnvSettingsSource, SettingsError

from voyage_jobs.config import find, page_token
from voyage_jobs.config.problems import Loc, is_secret_name, section_by_name, section_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.object_uri import OPTION_PREFIXES, is_secret_option
from voyage_jobs.core.redact import redact
from voyage_jobs.errors import ConfigError
from voyage_jobs.vendors.registry import VENDORS, by_type

ENV_PREFIX = "VOYAGE_JOBS_"
ENV_DELIMITER = "__"
# Read elsewhere: by the command line, by exits.py, by crash.py, by page_token.py, by secret.py.
_NO_SETTINGS = {
    find.VARIABLE,
    "VOYAGE_JOBS_DEBUG",
    "VOYAGE_JOBS_CRASH_AT",
    page_token.VARIABLE,
    page_token.FILE_VARIABLE,
    "VOYAGE_JOBS_NOTIFY_SECRET",
    "VOYAGE_JOBS_NOTIFY_SECRET_FILE",
}
# The address of a webhook or of a health check is a secret; what sends spans reads the headers for its service.
_SECRETS = {
    page_token.VARIABLE,
    "VOYAGE_JOBS_NOTIFY_SECRET",
    "VOYAGE_JOBS_NOTIFY",
    "VOYAGE_JOBS_NOTIFY__WEBHOOK",
    "VOYAGE_JOBS_NOTIFY__PING",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
}
# Kubernetes adds these to every container when there is a service named voyage-jobs.
_SERVICE_LINK = re.compile(r"VOYAGE_JOBS_(SERVICE_(HOST|PORT).*|PORT(_\d+_(TCP|UDP).*)?)")


def variable_of(loc: Loc) -> str:
    """The variable that sets the key at `loc`."""
    return ENV_PREFIX + ENV_DELIMITER.join(str(part) for part in loc).upper()


def read_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The values that the environment sets, nested like the file, and the lines about what is wrong there."""
    known = set(_known_variables())
    values, wrong = {}, []
    for name, value in environ.items():
        if not name.startswith(ENV_PREFIX) or name in _NO_SETTINGS or _SERVICE_LINK.fullmatch(name):
            continue
        if name not in known:
            wrong.append(f"environment: {name}: {_unknown(name, known)}")
        elif value and (flaw := _bad_json(name, value)):
            wrong.append(redact(f"environment: {name}: {flaw}"))
        elif value:
            values[name.lower()] = value
    for name in [name for name, value in values.items() if not _is_readable(name, value)]:
        wrong.append(f'environment: {name.upper()}: is a list; write it as JSON, such as ["a", "b"].')
        del values[name]
    return _nested(values), wrong


def _nested(values: Mapping[str, str]) -> dict[str, Any]:
    model: Any = Settings  # no BaseSettings, but it is asked for nothing but its fields
    source = EnvSettingsSource(model, env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER)
    source.env_vars = values  # as handed in, not those of this process
    return source()


def _is_readable(name: str, value: str) -> bool:
    try:
        _nested({name: value})
    except (SettingsError, RecursionError):  # lists in lists in lists
        return False
    return True


def setting_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that set something, as they stand: for whoever starts another process with these settings.

    Raises ConfigError for one that is secret: what starts processes shows their variables to everybody.
    """
    known = set(_known_variables())
    given = {name: value for name, value in sorted(environ.items()) if name in known and value}
    if secret := next((name for name in given if name in _SECRETS), None):
        raise ConfigError(
            f"{secret} may hold a secret address, and everybody can read the variables of a service.",
            hint="Write [notify] into the configuration, and unset the variable.",
        )
    return given


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """For a program that is started beside us: all but our secrets, and those of our providers and object stores.

    A variable that ends with `_FILE` names a place, and stays.
    """
    secrets = _SECRETS | {by_type(name).traits.key_variable for name in VENDORS}
    return {
        name: value
        for name, value in environ.items()
        if not (name in secrets or _opens_a_store(name.lower()))
    }


def _opens_a_store(name: str) -> bool:
    return name.startswith(OPTION_PREFIXES) and is_secret_option(name)


def _known_variables() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        yield variable_of((name,))
        section = section_of(field.annotation)
        if section is not None and name != "sources":
            yield from (variable_of((name, key)) for key in section.model_fields)


def _unknown(name: str, known: set[str]) -> str:
    if is_secret_name(name.removeprefix(ENV_PREFIX).rpartition(ENV_DELIMITER)[2]):
        return "the API key is read from VOYAGE_API_KEY or from the file named by VOYAGE_API_KEY_FILE."
    key = name.removeprefix(ENV_PREFIX)
    near = [each for each in _known_variables() if each.endswith(f"{ENV_DELIMITER}{key}")]
    near = near or difflib.get_close_matches(name, sorted(known), n=1)
    meant = f"did you mean {near[0]}?" if near else f"write {ENV_PREFIX}<SECTION>{ENV_DELIMITER}<KEY>."
    return f"no such setting; {meant}"


def _bad_json(name: str, value: str) -> str | None:
    """Whole sections and the list of sources are JSON; say so before anything tries to read them."""
    key = name.removeprefix(ENV_PREFIX).lower()
    if key not in Settings.model_fields:
        return None
    annotation = Settings.model_fields[key].annotation
    if section_of(annotation) is None and section_by_name(annotation) is None:
        return None
    example = '[{"name": "docs", "path": "/docs"}]' if key == "sources" else "an object of its keys"
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError) as exc:
        return f"is not JSON ({exc}); write {example}."
    wanted = list if key == "sources" else dict
    return None if isinstance(parsed, wanted) else f"has the wrong shape; write {example}."
