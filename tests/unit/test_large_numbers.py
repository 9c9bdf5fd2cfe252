"""Numbers that no store can hold, wherever they come from: none ends the work, and none is counted."""

from __future__ import annotations

import contextlib
import json
import math
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from fuzz.vendor import Changed, rewritten
from pydantic import BaseModel
from small_world import Small, quick
from world import KEY, World

from voyage_jobs.cli.main import cli
from voyage_jobs.config.problems import section_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.bounds import LONGEST_S, MOST, MOST_USD
from voyage_jobs.vendors.base import most_tokens
from voyage_jobs.vendors.voyage.models import find

LARGE = [2**53, 2**63 - 1, 2**63, 2**70, 10**30, 10**400, -1, math.inf, math.nan, 1e308]
FIELDS = ("bytes", "expires_at", "created_at", "request_counts")


@pytest.fixture(autouse=True)
def _quick(request):
    """Worlds of tests without a command have an empty state to begin with."""
    with contextlib.nullcontext() if "monkeypatch" in request.fixturenames else quick():
        yield


# --- in answers ---


@pytest.mark.parametrize("value", LARGE)
def test_a_job_or_file_with_such_numbers_is_brought_home(tmp_path, value):
    def change(path, body):
        return None if path.endswith("/content") else rewritten(body, large)

    def large(said):
        for item in said.get("data", [said]):
            item["request_counts"] = {"total": value, "completed": value, "failed": value}
            item.update(dict.fromkeys(("expires_at", "created_at"), value))
            if value != 2**53:  # a size that a file can have is believed
                item["bytes"] = value

    small = Small(tmp_path)
    small.transport = Changed(small.sim, change)
    small.write("a.md", "Some text.")
    small.run()
    assert small.served() == {"a.md": ["Some text."]}
    assert small.ledger.units() == 1


def with_tokens(small, value, lines):
    """Each line of a result names `value` as its tokens, and no file its size."""

    def change(path, body):
        if path.endswith("/content"):
            return re.sub(rb'"total_tokens": ?\d+', b'"total_tokens": ' + json.dumps(value).encode(), body)
        return rewritten(body, lambda said: said.update(bytes=None)) if path.startswith("/files/") else None

    small.transport = Changed(small.sim, change)
    for number in range(lines):
        small.write(f"{number}.md", f"Text {number}.")
    small.run()
    assert len(small.served()) == lines
    with small.worker() as context, context.store.read() as connection:
        return connection.exec_driver_sql("SELECT SUM(tokens) FROM spend WHERE kind = 'settled'").scalar()


@pytest.mark.parametrize(("value", "lines"), [(2**53, 1_100), (2**63, 2), (10**30, 2), (math.inf, 2)])
def test_so_many_tokens_are_not_counted(tmp_path, value, lines):
    """1,100 times 2**53 would not fit into 64 bits: what was reserved is booked in their place."""
    assert 0 < with_tokens(Small(tmp_path), value, lines) < 20 * lines


def test_so_many_tokens_as_a_line_may_have_are(tmp_path):
    most = most_tokens(find("voyage-4"))
    assert with_tokens(Small(tmp_path), most, 3) == 3 * most


@pytest.mark.parametrize("span", ["bytes 10-19/" + "9" * 5_000, "bytes " + "9" * 5_000 + "-1/*"])
def test_a_range_of_such_numbers_begins_the_download_again(tmp_path, span):
    class Ranged(Changed):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = super().handle_request(request)
            if request.url.path.endswith("/content"):
                answer.headers["content-range"] = span
            return answer

    small = Small(tmp_path, faults={"body_cut": {"nth": 1}})
    small.transport = Ranged(small.sim, lambda _path, _body: None)
    small.write("a.md", "Some text.")
    small.run()
    assert small.served() == {"a.md": ["Some text."]}


# --- on the command line ---


@pytest.mark.parametrize(
    "args",
    [
        ("batches", "--all", "--limit", 10**30),
        ("batches", "--all", "--limit", MOST),
        ("history", "--acts", "--limit", 10**30),
        ("pause", "--for", f"{10**30}d"),
        ("pause", "--for", "9" * 400 + "d"),
        ("pause", "--for", "\u0663d"),
        ("sync", "--max-usd", "nan"),
        ("sync", "--max-usd", "inf"),
        ("sync", "--max-tokens", 10**30),
        ("sync", "--max-inputs", 10**30),
        ("sync", "--timeout", "nan"),
        ("sync", "--timeout", "1e300"),
        ("plan", "--max-inputs", 10**30),
        ("status", "--watch", "--interval", "nan"),
        ("status", "--watch", "--interval", "1e300"),
        ("cost", "--since", "\u0663d"),
    ],
)
def test_such_an_option_is_a_usage_error(tmp_path, monkeypatch, args):
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    world = World(tmp_path, dimension=256)
    world.run(1, quiet=False)
    command = ["--config", str(world.config_file()), *map(str, args)]
    result = CliRunner().invoke(cli, command, prog_name="voyage-jobs")
    assert result.exit_code == 2, result.output
    assert str(args[-2]) in result.stderr


# --- in the configuration ---


def numbers(model: type[BaseModel]) -> dict[str, list[float]]:
    """Key -> the largest number that may stand there, for keys that hold one."""
    found = {}
    for name, field in model.model_fields.items():
        bounds = re.findall(r"(?:Le\(le|'le'|le)[=:] ?([0-9.]+)", repr(field))
        if bounds:
            found[name] = min(float(each) if "." in each else int(each) for each in bounds)
    return found


SECTIONS = {name: section_of(field.annotation) for name, field in Settings.model_fields.items()}
LARGEST: dict[str, dict[str, Any]] = {
    name: found for name, model in SECTIONS.items() if model is not None and (found := numbers(model))
}


VECTORS = {"output_dimension", "max_chars", "overlap_chars"}
OF_USE_BELOW = {*VECTORS, "min_free_bytes", "linger_s", "min_inputs", "max_bytes"}
"""With the largest numbers for these it waits, for room or for more texts, as it should."""


def test_the_largest_numbers_of_a_configuration_can_be_worked_with(tmp_path):
    assert LARGEST["sources"]["scan_interval_s"] == LONGEST_S
    assert LARGEST["budget"]["daily_tokens"] == MOST
    assert LARGEST["budget"]["daily_usd"] == MOST_USD
    sections = {
        name: {key: value for key, value in values.items() if key not in OF_USE_BELOW}
        for name, values in LARGEST.items()
        if name not in ("sources", "prices", "polling")
    }
    source = {"name": "docs", "path": str(tmp_path / "docs"), **LARGEST["sources"]}
    small = Small(tmp_path, sources=[source], **sections)
    small.write("a.md", "Some text.")
    small.run()
    assert small.served() == {"a.md": ["Some text."]}
    small.remove("a.md")
    small.later()
    assert small.served() == {"a.md": ["Some text."]}  # its grace period is a hundred years


@pytest.mark.parametrize(
    ("section", "key"), [(section, key) for section, keys in LARGEST.items() for key in keys]
)
@pytest.mark.parametrize("value", [10**30, "1e300"])
def test_a_larger_number_names_its_key(tmp_path, monkeypatch, section, key, value):
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    head = "" if section == "sources" else "[[sources]]\nname = 'docs'\npath = '.'\n"
    heads = {"sources": "[[sources]]\nname = 'docs'\npath = '.'", "prices": "[prices.voyage-4]"}
    name = heads.get(section, f"[{section}]")
    path = Path(tmp_path / "voyage-jobs.toml")
    path.write_text(f"{head}{name}\n{key} = {value}\n")
    result = CliRunner().invoke(cli, ["--config", str(path), "status"], prog_name="voyage-jobs")
    assert result.exit_code == 2, result.output
    assert key in result.stderr
