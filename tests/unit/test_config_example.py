"""The example file is documentation that must not lie: every key, its default, a comment, and it loads."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from voyage_jobs.config import Settings, parse_settings
from voyage_jobs.config.example import example_text, example_with
from voyage_jobs.config.problems import section_of
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.errors import ConfigError

ORIGIN = Path("/etc/voyage-jobs.toml")
ENVIRON = {"HOME": "/home/me"}
NO_DEFAULT = {
    "data_dir",  # depends on the machine
    "lancedb.uri",  # follows data_dir
    "sources.name",
    "sources.path",
    "prices",  # by model
    "sources.gitignore",  # on where the source is new
    "sources.default_exclude",
    "sources.skip_data",
    "sources.fresh_within_s",
    "sources.daily_usd",
    "sources.daily_tokens",
    "sources.monthly_usd",
    "sources.monthly_tokens",
    "budget.run_usd",
    "budget.run_tokens",
    "budget.daily_usd",  # no limit cannot be written as a value
    "budget.daily_tokens",
    "budget.monthly_usd",
    "budget.monthly_tokens",
}


def uncommented() -> str:
    return re.sub(r"^#(\w+ = )", r"\1", example_text(), flags=re.MULTILINE)


def all_keys() -> dict[str, object]:
    keys: dict[str, object] = {}
    for name, field in Settings.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            keys[name] = None
            continue
        for key, inner in section.model_fields.items():
            table = isinstance(inner.default, BaseModel)
            keys[f"{name}.{key}"] = inner.default.model_dump(mode="json") if table else inner.default
    return keys


def listed() -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in tomllib.loads(uncommented()).items():
        section = value[0] if isinstance(value, list) else value
        if name == "prices":
            values[name] = section
        elif isinstance(section, dict):
            values |= {f"{name}.{key}": inner for key, inner in section.items()}
        else:
            values[name] = value
    return values


def test_it_lists_exactly_the_keys_there_are():
    assert sorted(listed()) == sorted(all_keys())


@pytest.mark.parametrize("key", sorted(set(all_keys()) - NO_DEFAULT))
def test_each_value_is_the_true_default(key):
    written, default = listed()[key], all_keys()[key]
    assert written == (list(default) if isinstance(default, tuple) else default)


def test_each_key_has_an_explanation_above_it():
    above = ""
    for line in example_text().splitlines():
        if re.match(r"#?\w+ = ", line):
            assert above.startswith(("# ", "#run", "#daily", "#monthly")), line
        above = line


def test_it_loads_as_it_is_and_with_every_line_in_force():
    plain = parse_settings(example_text(), ORIGIN, ENVIRON)
    full = parse_settings(uncommented(), ORIGIN, ENVIRON)
    assert plain.sources[0].path == Path("/etc/docs")
    assert plain.warnings == full.warnings == ()
    assert plain.voyage == full.voyage
    assert plain.batching == full.batching
    without = {name.removeprefix("sources."): None for name in NO_DEFAULT if name.startswith("sources.")}
    left_open = {name: value for name, value in without.items() if name not in ("name", "path")}
    assert plain.sources == tuple(source.model_copy(update=left_open) for source in full.sources)
    assert full.budget.monthly_tokens == 500_000_000


def test_other_sources_take_the_place_of_its_own():
    odd = 'with "quotes" and ünïcode \\ and a\ttab'
    text = example_with([("a", "."), ("b", odd)])
    settings = parse_settings(text, ORIGIN, ENVIRON)
    assert [source.name for source in settings.sources] == ["a", "b"]
    assert settings.sources[0] == SourceSettings(name="a", path=Path("/etc"))
    assert settings.sources[1].path == Path("/etc") / odd
    assert text.count("How often the folder is looked at") == 1


@pytest.mark.parametrize("section", ["voyage", "openai"])
def test_the_keys_of_a_provider_are_named_in_the_order_of_the_example(section):
    keys = list(tomllib.loads(uncommented())[section])
    with pytest.raises(ConfigError, match=f"known here: {', '.join(keys)}"):
        parse_settings(f"[{section}]\nzzz = 1\n", ORIGIN, ENVIRON)
