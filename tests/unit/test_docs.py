"""The documentation says what the program does: links, commands, options, settings, codes, columns."""

import re
from pathlib import Path

import click
import pytest
from log_events import documented as documented_events

from voyage_jobs.cli import main
from voyage_jobs.cli.eval import OrMake
from voyage_jobs.cli.eval_make import make
from voyage_jobs.cli.exits import MEANINGS
from voyage_jobs.config import parse_settings
from voyage_jobs.config.environment import _NO_SETTINGS, _known_variables
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.profile import Profile
from voyage_jobs.diagnosis import sending
from voyage_jobs.diagnosis.causes import CODES
from voyage_jobs.evaluation.collection import load
from voyage_jobs.evaluation.places import Place, missing
from voyage_jobs.readers.reader import Text
from voyage_jobs.splitting.split import SplitOptions, split
from voyage_jobs.table import schema

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
EVENTS = documented_events()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
# Variables that are no settings and are read by the parts that the documents speak of.
OTHER_VARIABLES = {"VOYAGE_API_KEY", "VOYAGE_API_KEY_FILE"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def codes_in(text, language=None):
    """Fenced blocks and spans of code; of one language only the blocks."""
    blocks = [body for name, body in FENCE.findall(text) if language in (None, name)]
    return blocks if language else [*blocks, *SPAN.findall(FENCE.sub("", text))]


def rows_below(heading, text):
    """Cells of the first table after a heading."""
    lines = text.split(f"{heading}\n", 1)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    table = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def slugs(page):
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in slugs(file), target


@each_page
def test_commands_and_their_options_exist(page):
    for code in codes_in(page.read_text()):
        for line in code.replace("\\\n", " ").splitlines():
            for call in re.split(r"&&|\||;|#", line):
                words = call.split()
                if "voyage-jobs" in words:
                    demand_known(words[words.index("voyage-jobs") + 1 :], call)


def demand_known(words, call):
    if words[:1] == ["voyage-jobs"]:  # a container of that name
        words = words[1:]
    if words[:1] == ["--config"]:
        words = words[2:]
    if not words or not re.fullmatch(r"[a-z][a-z-]*", words[0]):
        return
    assert words[0] in main.COMMANDS, call
    command = main.cli.get_command(click.Context(main.cli), words[0])
    if isinstance(command, OrMake) and words[1:2] == ["make"]:
        command = make
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)} <= options, call


def test_the_readme_names_every_command_once_in_its_group():
    groups = {}
    for first, _ in rows_below("## Commands", README):
        if heading := re.fullmatch(r"\*\*(\w+)\*\*", first):
            groups[heading[1]] = named = []
        else:
            named += re.findall(r"`([a-z-]+)[^`]*`", first)
    assert groups == {group: list(entries) for group, entries in main.GROUPS.items()}


def test_the_readme_knows_the_exit_codes():
    assert rows_below("### Exit codes", README) == [
        [str(int(code)), meaning] for code, meaning in MEANINGS.items()
    ]


def test_the_readme_and_the_page_know_the_columns():
    profile = Profile("/v1/embeddings", "voyage-4", 1024, "float", "document")
    names = schema(profile).names
    paragraph = README.split("## The table\n", 1)[1].split("Types, meaning", 1)[0]
    assert SPAN.findall(paragraph) == names
    page = (ROOT / "docs" / "table.md").read_text()
    assert [name for row in rows_below("## Columns", page) for name in SPAN.findall(row[0])] == names


@each_page
def test_settings_exist(page):
    text = page.read_text()
    for section, key in re.findall(r"`(\w+)\.(\w+)`", text):
        if f"{section}.{key}" in EVENTS:
            continue
        if section in Settings.model_fields and section != "sources":
            assert key in Settings.model_fields[section].annotation.model_fields, f"{section}.{key}"
    known = {*_known_variables(), *_NO_SETTINGS, *OTHER_VARIABLES}
    for name in re.findall(r"\bVOYAGE_\w+(?![<\w])", text):
        assert name in known or text.count(f"{name}<") == text.count(name), name


@each_page
def test_limits_that_are_named_without_their_section_exist(page):
    program = "\n".join(file.read_text() for file in (ROOT / "voyage_jobs").rglob("*.py"))
    for name in re.findall(r"`((?:max|min)_\w+)`", page.read_text()):
        assert re.search(rf"\b{name}\b", program), name


@each_page
def test_configurations_load(page):
    for text in codes_in(page.read_text(), "toml"):
        assert parse_settings(text, ROOT / "voyage-jobs.toml", {}).sources


@each_page
def test_targets_of_make_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for code in codes_in(page.read_text()):
        assert set(re.findall(r"^\s*make ([a-z-]+)", code, re.MULTILINE)) <= targets, code


def documented(text):
    tables = [line for line in text.splitlines() if line.startswith("| `")]
    return {code for line in tables for code in SPAN.findall(line.split("|")[1])}


def test_every_reason_is_explained():
    before, after = OPERATIONS.split("## What else `sync` and `why` may say")
    explained = documented(before.split("## What `status` may say")[1]) | documented(after.split("\n## ")[0])
    assert explained == CODES | {"no_state", "state_unreadable"}
    page = (ROOT / "docs" / "status.md").read_text()
    told = set(SPAN.findall(page.split("`reason` is one of", 1)[1].split("\n## ")[0]))
    of_a_run = {
        "max_inputs",
        "not_planned",
        "process_failed",
        "daemon_died",
        "reprofile_blocked",
        "reprofile_held",
    }
    assert {code for entry in sending.CAUSES for code in entry.codes} - of_a_run <= told


def test_the_questions_about_these_pages_have_their_answers_in_them():
    """A heading that changed is changed in docs/questions.yaml, too; a page that is new deserves a question."""
    there = [
        Place("docs", page.name, document.sections[chunk.section])
        for page in (ROOT / "docs").glob("*.md")
        for document in (split(Text(page.read_text(), "markdown"), page.name, SplitOptions()),)
        for chunk in document.chunks
    ]
    collection = load(ROOT / "docs" / "questions.yaml", None, [])
    assert len(collection.questions) >= 60
    assert not collection.left_out
    assert [place.told for place in missing(collection.targets, there)] == []
