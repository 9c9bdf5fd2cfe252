"""`status`: one glance for people, exit codes for monitors, JSON for programs, and it never disturbs."""

import io
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from looking import Looking
from rich.console import Console

from voyage_jobs.cli import status_view
from voyage_jobs.report.status import status

DOCS = Path(__file__).resolve().parents[2] / "docs" / "status.md"


@pytest.fixture
def run(tmp_path, monkeypatch):
    looking = Looking(tmp_path, monkeypatch)
    for i in range(3):
        looking.world.write(f"{i}.md", f"# Document {i}\n\nText of {i}.")
    return looking


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--watch", "--json"), "--json and --watch do not go together"),
        (("--watch", "--check"), "--watch and --check do not go together"),
        (("--alive", "--markdown"), "--alive and --markdown do not go together"),
        (("--metrics", "--check"), "--metrics and --check do not go together"),
        (("--plan", __file__), "--plan and --sync need --markdown"),
        (("--json", "--sync", __file__), "--plan and --sync need --markdown"),
        (("--out", "x"), "--out needs --metrics"),
        (("--watch",), "needs a terminal"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_together_are_refused(run, options, said):
    assert said in run("status", *options, code=2).stderr


def test_before_the_first_run_it_says_what_to_do_and_makes_nothing(run):
    shown = run.text("status")
    assert shown.startswith("Nothing yet")
    assert "voyage-jobs sync" in shown
    assert "?" not in shown
    assert " ".join(shown.split()) == (
        "Nothing yet: voyage-jobs has not worked with this configuration."
        " Run `voyage-jobs sync` or `voyage-jobs run` first."
    )
    assert not run.world.data_dir.exists()
    run("status", "--check", code=3)


def test_when_all_is_done_the_headline_says_so(run):
    run.world.run()
    shown = run.text("status")
    assert (
        shown.splitlines()[0]
        == "up to date (checked 2 m ago): 3 chunks published, nothing waits; not running."
    )
    assert "docs" in shown
    assert "paid for" in shown
    assert "!" not in shown
    run("status", "--check")


def test_while_a_batch_is_under_way_it_shows_progress_and_the_time_left(run):
    with run.world.worker(mode="run") as context:
        run.world.take_turns(context, 12, quiet=False)
        run.world.clock.advance(100)
        shown = run.text("status")
        assert run("status", "--check", code=3)
    assert shown.startswith("working: 0 chunks published, 3 at Voyage.")
    assert "(run)" in shown
    assert "3 at Voyage" in shown
    assert re.search(r"batch-\S+ +\w+ +3 +\S+ +11 h", shown), shown
    assert run.text("status").startswith("idle:")


def test_check_tells_refusals_from_persons_from_remaining_work(tmp_path, monkeypatch):
    refused = Looking(tmp_path / "auth", monkeypatch, faults={"auth_outage": {}})
    refused.world.write("a.md", "text")
    refused.world.run(6, quiet=False)
    refused("status", "--check", code=5)
    assert refused.text("status").startswith("1 problem: Voyage")

    parked = Looking(tmp_path / "parked", monkeypatch, options={"retired_models": {"voyage-4": "voyage-5"}})
    parked.world.write("a.md", "text")
    parked.world.run(12, quiet=False)
    parked("status", "--check", code=6)

    failed = Looking(tmp_path / "failed", monkeypatch, faults={"line_refused": {}})
    failed.world.write("a.md", "text")
    failed.world.run()
    failed("status", "--check", code=3)

    (failed.world.data_dir / "state.db").write_bytes(b"nonsense" * 999)
    failed("status", "--check", code=1)
    assert "cannot be read" in failed.text("status") or "damaged" in failed.text("status")


def test_the_last_errors_and_what_is_held_up_have_a_line_each(tmp_path, monkeypatch):
    run = Looking(tmp_path, monkeypatch, faults={"request_lost": {"on": "upload_file"}})
    run.world.write("sub/a.md", "text")
    run.world.write("sub/b.md", "other")
    with run.world.worker(mode="run", batching={"max_inputs": 1}) as context:
        run.world.take_turns(context, 6, quiet=False)
        run.world.clock.advance(2 * 3600)
        run.world.take_turns(context, 2, quiet=False)
        shown = run.text("status")
    assert shown.startswith("held up: 0 chunks published, 2 not sent yet. Calls to Voyage are deferred:")
    assert re.search(r"^docs .* 2 h  ", shown, re.MULTILINE)
    assert re.search(r"^  submit, \d+ s ago x\d: Voyage", shown, re.MULTILINE)
    assert "  More: `voyage-jobs doctor --probe`\n" in shown
    assert re.search(
        r"^Held up\n  batch \w{10} \w+ for 2 h: step submit waits \(unreachable\)", shown, re.MULTILINE
    )
    assert "ETA     unknown: held up (unreachable)." in shown
    assert "Totals  0 texts sent in 0 batches" in shown
    assert run.json("status")["sources"][0]["oldest_unpublished"] == "sub/a.md"


def test_json_is_the_report_and_every_key_is_documented(run):
    run.world.run()
    found = run.json("status")
    assert found == status(run.world.settings(), run.world.clock)
    page = DOCS.read_text()
    keys = [
        *found,
        *found["daemon"],
        *found["sources"][0],
        *found["chunks"],
        *found["tokens"],
        *found["table"],
    ]
    assert [key for key in keys if f'"{key}"' not in page] == []
    listed = run.json("batches", "--all")["batches"][0]
    assert [key for key in listed if f"`{key}`" not in page] == []


def test_hostile_names_cannot_write_to_the_terminal(tmp_path, monkeypatch):
    run = Looking(tmp_path, monkeypatch)
    odd = tmp_path / "a\x1b[31m\u202eb"
    odd.mkdir()
    sources = [{"name": "odd", "path": str(odd)}]
    run.world.run(3, quiet=False, sources=sources)
    odd.rmdir()
    run.world.clock.advance(400)
    run.world.run(3, quiet=False, sources=sources)
    shown = run("status", sources=sources).stdout
    assert "frozen" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_it_is_the_same_without_colour_and_with(run):
    run.world.run(12, quiet=False)
    report = status(run.world.settings(), run.world.clock)

    def drawn(**options):
        console = Console(file=io.StringIO(), width=80, **options)
        console.print(status_view.view(report))
        return console.file.getvalue()

    plain, coloured = drawn(), drawn(force_terminal=True, color_system="truecolor")
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_watching_ends_with_q_and_leaves_the_terminal_as_it_was(run):
    run.world.run(2, quiet=False)
    outer, inner = pty.openpty()
    before = termios.tcgetattr(inner)
    config = str(run.world.config_file())
    command = [
        sys.executable,
        "-m",
        "voyage_jobs",
        "--config",
        config,
        "status",
        "--watch",
        "--interval",
        "30",
    ]
    watching = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner)
    shown = b""
    while b"Chunks" not in shown:
        shown += os.read(outer, 4096)
    os.write(outer, b"q")
    assert watching.wait(timeout=20) == 0
    assert termios.tcgetattr(inner) == before
    os.close(outer)
    os.close(inner)


def test_neither_lancedb_nor_the_migrations_are_loaded(run):
    run.world.run()
    heavy = ("lancedb", "lance", "pyarrow", "numpy", "alembic", "httpx")
    script = (
        "import sys, voyage_jobs.cli.main as m\n"
        f"try: m.cli(['--config', {str(run.world.config_file())!r}, 'status', '--json'])\n"
        "except SystemExit as exc: assert exc.code == 0\n"
        f"print([n for n in {heavy!r} if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
