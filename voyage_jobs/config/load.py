"""From file and environment to `Settings`, or to one error that names everything that is wrong.

All findings come at once: where a value is unusable, the checks between keys still run with its default in
its place, and only those that rest on that value are left out.
"""

from __future__ import annotations

import copy
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from voyage_jobs.config import checks
from voyage_jobs.config.environment import read_environment, variable_of
from voyage_jobs.config.find import default_data_dir, find_config, usual_places
from voyage_jobs.config.item_sources import with_item_sources
from voyage_jobs.config.key import KeySource, key_of
from voyage_jobs.config.page_token import PageToken
from voyage_jobs.config.problems import Loc, Problem, from_pydantic
from voyage_jobs.config.secret import SecretSource
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.redact import remember
from voyage_jobs.core.toml_text import has_longer_keys
from voyage_jobs.errors import ConfigError
from voyage_jobs.vendors.registry import VENDORS

_MOST_KEY_PARTS = 32


def load_settings(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    key: KeySource | None = None,
    may_lack_sources: bool = False,
) -> Settings:
    """The active settings. `path` is what `--config` names, if anything; `key` gives the API key in place of the
    environment.

    Raises `ConfigError` whose message has one line per problem. A missing API key is none yet: see `api_key`.
    """
    origin = find_config(path, environ)
    text = "" if origin is None else _read(origin)
    return parse_settings(text, origin, environ, key=key, may_lack_sources=may_lack_sources)


def parse_settings(
    text: str,
    origin: Path | None,
    environ: Mapping[str, str],
    *,
    key: KeySource | None = None,
    may_lack_sources: bool = False,
) -> Settings:
    """The same for a file's text that is at hand; relative paths are relative to `origin`'s folder."""
    keys = _masked_keys(
        environ, key
    )  # one may stand in the wrong place, which is told with what stands there
    inputs, lines = _Inputs.read(text, origin, environ)
    settings, problems = _build(inputs.merged, may_lack_sources)
    lines += [problem.line(inputs.where(problem.loc)) for problem in problems]
    if lines or settings is None:
        raise _refusal(lines, None if origin else _no_file_hint(environ))
    return _attached(settings, origin, environ, key, keys)


def settings_of_values(
    values: Mapping[str, Any], environ: Mapping[str, str], key: KeySource | None = None
) -> Settings:
    """The settings that a program gives itself, named as in the file; the environment has no say in them.

    Relative paths are relative to the working directory. A program may have no sources yet. Raises `ConfigError`.
    """
    keys = _masked_keys(environ, key)
    merged = {"data_dir": str(default_data_dir(environ)), **copy.deepcopy(dict(values))}
    _anchor(merged, Path.cwd())
    settings, problems = _build(merged, may_lack_sources=True)
    if problems or settings is None:
        raise _refusal([problem.line("project") for problem in problems], None)
    return _attached(settings, None, environ, key, keys)


def _masked_keys(environ: Mapping[str, str], given: KeySource | None) -> dict[str, KeySource]:
    """Where the key of each provider is looked for, by type. None of them is shown from now on, nor is `given`."""
    keys = {name: key_of(name, environ) for name in VENDORS}
    for key in (*keys.values(), *([given] if given else [])):
        key.mask()
    return keys


def _refusal(lines: list[str], hint: str | None) -> ConfigError:
    head = [f"{len(lines)} problems in the configuration:"] if len(lines) > 1 else []
    return ConfigError("\n".join(head + lines), hint=hint)


def _attached(
    settings: Settings,
    origin: Path | None,
    environ: Mapping[str, str],
    key: KeySource | None,
    keys: Mapping[str, KeySource],
) -> Settings:
    """The settings with what is no configuration itself. `key` comes before that of the environment."""
    for address in (settings.notify.webhook, settings.notify.ping):
        remember(address)  # whoever knows it can speak there
    return settings.attach(
        origin=origin,
        warnings=tuple(checks.warnings(settings)),
        api_key=key or keys[settings.provider.type],
        other_keys=keys,
        page_token=PageToken(environ),
        notify_secret=SecretSource(environ, "notify_secret"),
    )


def _no_file_hint(environ: Mapping[str, str]) -> str:
    places = " and ".join(map(str, usual_places(environ)))
    return f"Looked for {places}. `voyage-jobs init` writes a configuration; or set VOYAGE_JOBS_SOURCES."


@dataclass(frozen=True)
class _Inputs:
    """What was given, and by whom."""

    origin: Path | None
    environ_values: dict[str, Any]
    merged: dict[str, Any]
    environ: Mapping[str, str]

    @classmethod
    def read(cls, text: str, origin: Path | None, environ: Mapping[str, str]) -> tuple[_Inputs, list[str]]:
        from_file = _parse(text, origin) if origin else {}
        from_environ, lines = read_environment(environ)
        if origin is not None:
            _anchor(from_file, origin.parent)
        _anchor(from_environ, Path.cwd())
        merged: dict[str, Any] = {"data_dir": str(default_data_dir(environ))}
        for layer in (from_file, from_environ):
            for key, value in layer.items():
                both = isinstance(value, dict) and isinstance(merged.get(key), dict)
                merged[key] = {**merged[key], **value} if both else value
        return cls(origin, from_environ, merged, environ), lines

    def where(self, loc: Loc) -> str:
        """Who gave the value at `loc`: the variable's name, the file, or nobody."""
        section = self.environ_values.get(str(loc[0])) if loc else None
        if section is not None and (not isinstance(section, dict) or len(loc) < 2 or loc[1] in section):
            name = variable_of(loc[:2])
            return f"environment: {name if self.environ.get(name) else variable_of(loc[:1])}"
        if self.origin is not None:
            return str(self.origin)
        return "no configuration file"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {exc.start}).", hint="Save it as UTF-8.") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}.") from exc


def _parse(text: str, origin: Path) -> dict[str, Any]:
    too_deep = f"{origin}: its lists or tables are nested too deeply."
    if has_longer_keys(text, _MOST_KEY_PARTS):
        raise ConfigError(too_deep)
    try:
        return tomllib.loads(text)
    except RecursionError as exc:
        raise ConfigError(too_deep) from exc
    except ValueError as exc:  # a TOMLDecodeError, or a number of thousands of digits
        at = re.search(r"\(at line (\d+), column (\d+)\)", str(exc))
        end = (text.count("\n") + 1, len(text.rpartition("\n")[2]) + 1)
        line, column = (int(at[1]), int(at[2])) if at else end
        what = re.sub(r" \(at .*\)$", "", str(exc))
        raise ConfigError(
            f"{origin}: line {line}, column {column}: {what}.",
            hint="Texts and paths stand in quotes, lists in [ ], and a key stands only once.",
        ) from exc


def _anchor(values: dict[str, Any], base: Path) -> None:
    """Make relative paths absolute, in place, before it is forgotten who gave them."""

    def anchored(path: Any) -> Any:
        given = os.fspath(path) if isinstance(path, os.PathLike) else path
        return os.path.join(base, os.path.expanduser(given)) if isinstance(given, str) and given else path

    if "data_dir" in values:
        values["data_dir"] = anchored(values["data_dir"])
    sources = values.get("sources")
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, dict) and "path" in source:
            source["path"] = anchored(source["path"])
    for section in values.values():
        if isinstance(section, dict):
            section.update(
                {key: anchored(section[key]) for key in ("tokenizer", "model_dir") if key in section}
            )
    table = values.get("lancedb")
    if isinstance(table, dict) and isinstance(uri := table.get("uri"), str) and "://" not in uri:
        table["uri"] = anchored(uri)


def _build(values: dict[str, Any], may_lack_sources: bool) -> tuple[Settings | None, list[Problem]]:
    try:
        settings = with_item_sources(Settings(**values))
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        problems = [from_pydantic(error, Settings) for error in errors]
        bad = [error["loc"] for error in errors]
        return None, problems + _checked_without(values, bad)
    return settings, list(checks.problems(settings, may_lack_sources=may_lack_sources))


def _checked_without(values: dict[str, Any], bad: list[Loc]) -> list[Problem]:
    """What the checks between keys find when the unusable values are taken out."""
    rest = copy.deepcopy(values)
    for loc in bad:
        _prune(rest, loc)
    rest.setdefault("data_dir", os.devnull)  # must be there; what rests on it is left out below
    try:
        settings = Settings(**rest)
    except ValidationError:  # a source lacks what it cannot do without
        bad = [*bad, ("sources",)]
        settings = Settings(**{**rest, "sources": ()})
    found = checks.problems(settings)
    return [problem for problem in found if not any(_touches(problem, loc) for loc in bad)]


def _touches(problem: Problem, loc: Loc) -> bool:
    return any(key[: len(loc)] == loc or loc[: len(key)] == key for key in (problem.loc, *problem.involves))


def _prune(values: Any, loc: Loc) -> None:
    """Take out the value at `loc`; an item of a list takes the whole list along."""
    holder: tuple[dict[Any, Any], Any] | None = None
    for part in loc:
        if isinstance(values, dict):
            holder = (values, part)
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            break
    if holder is not None:
        holder[0].pop(holder[1], None)
