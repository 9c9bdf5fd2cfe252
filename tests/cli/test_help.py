"""`help TOPIC`: the shipped pages in a terminal of 80 columns, and what is no topic."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from voyage_jobs.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["readme", *sorted(path.stem for path in (ROOT / "docs").glob("*.md"))]


def call(*arguments):
    return CliRunner().invoke(cli, ["help", *arguments], prog_name="voyage-jobs", env={"COLUMNS": "80"})


def test_it_lists_every_page_with_its_title():
    told = call().stdout
    assert [line.split()[0] for line in told.splitlines() if line.startswith("  ")] == PAGES
    topics = json.loads(call("--json").stdout)["topics"]
    assert [topic["topic"] for topic in topics] == PAGES
    assert all(topic["title"] for topic in topics)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_fits_80_columns_without_colour(page):
    result = call(page)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_links_lead_on_by_topic():
    assert "voyage-jobs help money" in " ".join(call("operations").stdout.split())
    assert "](" not in call("operations").stdout


def test_the_page_as_it_is_written():
    text = (ROOT / "docs" / "money.md").read_text()
    assert call("money", "--raw").stdout == text
    assert call("Money.md", "--raw").stdout == text
    assert json.loads(call("money", "--json").stdout)["markdown"] == text


def test_a_command_is_a_topic_too():
    told = call("sync").stdout
    assert told.startswith("Usage: voyage-jobs sync [OPTIONS]")
    assert "--no-wait" in told


def test_what_is_no_topic_is_refused_with_the_nearest():
    result = call("statsu")
    assert result.exit_code == 2
    assert "Did you mean 'status'?" in result.stderr
    assert call("../../etc/passwd").exit_code == 2
