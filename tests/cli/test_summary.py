"""`status --markdown`: plan, run, cost and failures as Markdown that shows hostile names as they are and obeys none."""

import json

import pytest
from click.testing import CliRunner

from tests.world import KEY, World
from voyage_jobs.cli.main import cli
from voyage_jobs.report.markdown import escaped, verdict

WIDE = {"voyage": {"output_dimension": 256}}


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    world = World(tmp_path, dimension=256)
    world.write("a.md", "# A\n\nThe first.\n")
    world.write("b.md", "# B\n\nThe second.\n")
    return world


def call(world, *arguments):
    return CliRunner().invoke(cli, ["--config", str(world.config_file()), *arguments])


def written(world, name, text):
    path = world.root / name
    path.write_text(text)
    return str(path)


def section(page, heading):
    return page.split(f"### {heading}\n", 1)[1].split("\n###", 1)[0]


def test_before_the_first_run_nothing_is_known(world):
    plan = written(world, "plan.json", call(world, "plan", "--json").stdout)
    result = call(world, "status", "--markdown", "--plan", plan)
    assert result.exit_code == 0
    assert result.stdout.startswith("## voyage-jobs: nothing is known yet\n")
    assert "**2 embeddings**" in section(result.stdout, "Plan")
    assert "| docs | 2 |" in section(result.stdout, "Plan")
    assert "no\\_state" in section(result.stdout, "Problems")
    assert "`voyage-jobs sync`" in section(result.stdout, "Problems")


def test_after_a_run_it_tells_run_sources_and_cost(world):
    world.run()
    sync = {
        "result": "done",
        "exit_code": 0,
        "documents": {"published": 2, "removed": 0},
        "chunks_published": 2,
        "embeddings_sent": 2,
        "batches": {"sent": 1, "collected": 1},
        "tokens": {"settled": 1200, "saved": 0},
        "cost_usd": {"settled": 0.5, "saved": None},
        "problems": [],
        "elapsed_s": 61.0,
    }
    result = call(world, "status", "--markdown", "--sync", written(world, "sync.json", json.dumps(sync)))
    page = result.stdout
    assert page.startswith("## voyage-jobs: the table shows everything\n")
    assert "| paid | 1,200 tokens, $0.5000 |" in section(page, "This run")
    assert "| reused | 0 tokens, ? |" in section(page, "This run"), "not known is never 0"
    assert "| docs | 2 | 2 | 0 | 0 | - |" in section(page, "Sources")
    assert "Problems" not in page
    assert KEY not in page


def test_batches_under_way_and_problems_are_named(world):
    world.run(4, quiet=False)
    (world.docs / "a.md").unlink()
    (world.docs / "b.md").unlink()
    with world.worker() as context:
        world.take_turns(context, 3, quiet=False)
    page = call(world, "status", "--markdown").stdout
    assert "on the way" in page.splitlines()[0] or "attention" in page.splitlines()[0]
    assert section(page, "Open batches").count("| `") == 1
    assert "**frozen**" in section(page, "Problems")
    assert "docs (frozen)" in section(page, "Sources")


def test_a_run_that_failed_is_no_success():
    healthy = {
        "chunks": {"waiting": 0, "packed": 0, "submitted": 0, "held": 0, "published": 1},
        "healthy": True,
    }
    assert verdict(healthy, {"exit_code": 5}) == "the run did not come to its end"
    assert verdict(healthy, {"exit_code": 0}) == "the table shows everything"
    assert verdict({**healthy, "healthy": False}, None) == "something needs attention"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert\\(1\\)&lt;/script&gt;"),
        ("[x](http://evil)", "\\[x\\]\\(http://evil\\)"),
        ("two\nlines\x1b[31m", "two lines\\[31m"),
        ("`code` *bold* _it_", "\\`code\\` \\*bold\\* \\_it\\_"),
        ("\udcff", ""),
    ],
)
def test_nothing_in_a_name_is_obeyed(text, shown):
    assert escaped(text) == shown


@pytest.mark.parametrize("text", ["no json", "[]", '{"error": {}}'])
def test_a_file_that_holds_something_else_is_refused(world, text):
    result = call(world, "status", "--markdown", "--sync", written(world, "sync.json", text))
    assert result.exit_code == 2
    assert "sync --json" in result.stderr


def test_an_empty_file_is_left_out(world):
    result = call(world, "status", "--markdown", "--plan", written(world, "plan.json", ""))
    assert result.exit_code == 0
    assert "### Plan" not in result.stdout
