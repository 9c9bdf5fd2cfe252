"""`demo` as a real process: every claim holds, nothing is left behind, and it is loud when something is not true."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from voyage_jobs.cli.main import cli
from voyage_jobs.config.provider import is_installed
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.demo import documents
from voyage_jobs.demo.acts import Play
from voyage_jobs.demo.narrator import COLUMNS, DemoError, Narrator
from voyage_jobs.demo.vendor import Bill

SECRET = "pa-NotARealKey0123456789abcdefghijklmnop"
ROOT = Path(__file__).resolve().parents[2]


def start(tmp_path, *args):
    """Start the demo in an empty folder, under an environment that would lead it astray if it looked."""
    here, scratch = tmp_path / "here", tmp_path / "scratch"
    here.mkdir()
    scratch.mkdir()
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(scratch),
        "VOYAGE_API_KEY": SECRET,
        "VOYAGE_JOBS_DATA_DIR": str(tmp_path / "precious"),
        "VOYAGE_JOBS_NO_SUCH_SETTING": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "voyage_jobs", "demo", "--fast", *args],
        cwd=here,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def nothing_is_left(tmp_path):
    assert list((tmp_path / "here").iterdir()) == []
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / "precious").exists()
    assert processes_in(tmp_path) == []


def processes_in(folder):
    """Processes that work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            cwd = os.readlink(entry / "cwd")
        except OSError:
            continue
        if entry.name.isdigit() and cwd.startswith(str(folder)):
            found.append(entry.name)
    return found


def test_it_plays_to_the_end_and_all_claims_hold(tmp_path):
    out, _ = start(tmp_path).communicate(timeout=300)
    titles = re.findall(r"^--- (\d)\. (.+?) -+$", out, re.MULTILINE)
    assert [title for _, title in titles] == [
        "What would it cost?",
        "Send it, and die at the worst moment",
        "Start again",
        "Ask",
        "Add a catalogue and a PDF",
        *(["Ask by meaning, on this machine"] if is_installed("local") else []),
        "Edit one document",
        "Move a document",
        "The bill",
    ], out
    assert out.count("\n[ok] ") == 13 + is_installed("local"), out
    assert "found at the provider" in out
    assert "[ok] The provider has seen one job, not two." in out
    assert "[ok] Every text was paid once." in out
    assert re.search(r"\[ok\] (\d+) of \d+ chunks were reused; paid: 1\.", out)
    assert "Where to look next" in out
    assert "\x1b" not in out
    assert "\r" not in out
    assert SECRET not in out
    nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("group", "number", "code"), [(True, signal.SIGINT, 130), (False, signal.SIGTERM, 143)]
)
def test_it_takes_everything_down_when_it_is_stopped(tmp_path, group, number, code):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# A\n\nOne two three.\n")
    process = start(tmp_path, "--docs", str(docs))
    seen = ""
    while "create.unknown" not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    assert len(processes_in(tmp_path / "scratch")) >= 1
    (os.killpg if group else os.kill)(process.pid, number)  # a terminal's Ctrl-C goes to the whole group
    process.communicate(timeout=60)
    assert process.returncode == code
    assert (docs / "a.md").read_text() == "# A\n\nOne two three.\n"
    nothing_is_left(tmp_path)


def test_a_folder_that_is_not_empty_is_not_used(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    result = CliRunner().invoke(cli, ["demo", "--keep", str(tmp_path)])
    assert result.exit_code == 2
    assert "is not empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_folder_without_documents_is_a_usage_error(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    empty = tmp_path / "empty"
    empty.mkdir()
    result = CliRunner().invoke(cli, ["demo", "--docs", str(empty)])
    assert result.exit_code == 2
    assert "no Markdown" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


class Screen:
    """A stream that is a terminal, or not."""

    def __init__(self, terminal=False):
        self.text, self.terminal = "", terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize("bill", [Bill(10, 11, 1, 100), Bill(0, 0, 0, 0)])
def test_a_bill_that_does_not_add_up_ends_it(bill, tmp_path):
    vendor = SimpleNamespace(bill=lambda: bill, jobs=lambda: [{}])
    stage = SimpleNamespace(vendor=vendor, folder=tmp_path, docs=tmp_path)
    play = Play(stage, Narrator(Screen()), VirtualClock(), own=True)
    with pytest.raises(DemoError, match="not true, and it should be: Every text was paid once") as error:
        play.bill()
    assert error.value.exit_code == 1


def test_on_a_terminal_one_line_is_overwritten_while_one_waits():
    screen = Screen(terminal=True)
    tell = Narrator(screen)
    tell.wait("x" * 200)
    tell.wait("short")
    tell.line("next")
    waits = screen.text.split("\r")
    assert all(len(wait) <= COLUMNS for wait in waits)
    assert screen.text.endswith("\rnext\n")
    assert waits[-2].isspace()
    plain = Screen()
    Narrator(plain).wait("x")
    assert plain.text == ""


def test_documents_are_copied_and_nothing_else(tmp_path):
    docs, target = tmp_path / "docs", tmp_path / "target"
    (docs / "sub").mkdir(parents=True)
    (docs / ".hidden").mkdir()
    for name in ("a.md", "sub/b.rst", "c.txt", "d.png", ".e.md", ".hidden/f.md"):
        (docs / name).write_text(name)
    (docs / "link.md").symlink_to(docs / "a.md")
    assert documents.stage_copies(docs, target) == 3
    copied = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert copied == ["a.md", "c.txt", "sub/b.rst"]


def test_a_section_goes_into_the_middle_of_the_document_with_the_most(tmp_path):
    (tmp_path / "few.md").write_text("# F\n\n## One\n\nx\n")
    many = tmp_path / "many.md"
    many.write_text("# M\n\n## One\n\n```\n## no heading\n```\n\n## Two\n\ny\n\n## Three\n\nz\n")
    edit = documents.add_section(tmp_path)
    assert edit.path == many
    lines = many.read_text().splitlines()
    assert lines[edit.number - 1] == edit.lines[0] == "## A section that was not here before"
    assert [line for line in lines if line.startswith("## ")] == [
        "## One",
        "## no heading",
        "## A section that was not here before",
        "## Two",
        "## Three",
    ]


def test_a_text_without_headings_gets_a_paragraph_at_its_end(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"One.\r\n\r\nTwo.\r\n")
    (tmp_path / "latin.txt").write_bytes(b"\xe4")
    edit = documents.add_section(tmp_path)
    text = (tmp_path / "notes.txt").read_bytes().decode()
    assert text.startswith("One.\r\n\r\nTwo.\r\n\n")
    assert text.rstrip().endswith(edit.lines[-1])


def test_the_question_is_a_heading_with_some_words(tmp_path):
    assert documents.a_question(tmp_path) is None
    (tmp_path / "a.md").write_text("# A\n\n## Short\n\n## How to renew a certificate\n")
    assert documents.a_question(tmp_path) == ("How to renew a certificate", tmp_path / "a.md")


def test_the_projects_own_documents_are_there():
    names = {path.name for path in documents.own_documents()}
    assert {"README.md", "design.md", "simulator.md", "table.md"} <= names
