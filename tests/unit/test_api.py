"""The Python API: it does what the commands do, answers in types, and touches nothing of the program that uses it."""

import copy
import dataclasses
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone

import pytest
from click.testing import CliRunner

import voyage_jobs
from tests.world import KEY, World
from voyage_jobs import errors
from voyage_jobs.api.project import WAITING, Project
from voyage_jobs.cli.main import cli
from voyage_jobs.core import lock
from voyage_jobs.planning.plan import plan
from voyage_jobs.report.batches import listing
from voyage_jobs.report.cost import cost
from voyage_jobs.report.status import status
from voyage_jobs.report.why import why
from voyage_jobs.retrieval.result import Query
from voyage_jobs.retrieval.retriever import Retriever

HEAVY = ("lancedb", "lance", "pyarrow", "sqlalchemy", "pydantic", "httpx", "structlog", "click", "numpy")


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.write("a.md", "---\nlang: de\n---\n# Zertifikate\n\nWie man ein Zertifikat erneuert.\n")
    world.write("b.md", "# Bread\n\nHow to bake a loaf of bread.\n")
    return world


def project_of(world, **sections):
    return Project(world.settings(**sections), clock=world.clock, transport=world.transport)


def python(code, **environ):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environ or None,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- importing ---


def test_importing_it_imports_nothing_heavy():
    code = "import sys, voyage_jobs; print(*{name.partition('.')[0] for name in sys.modules})"
    assert not set(HEAVY) & set(python(code).split())


def test_every_public_name_is_there_and_no_other():
    for name in voyage_jobs.__all__:
        assert getattr(voyage_jobs, name) is not None
    assert set(voyage_jobs.__all__) <= set(dir(voyage_jobs))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = voyage_jobs.nonsense


def test_every_result_is_frozen_and_documented():
    for name in voyage_jobs.__all__:
        each = getattr(voyage_jobs, name)
        if dataclasses.is_dataclass(each):
            assert each.__dataclass_params__.frozen, name
            assert each.__doc__, name
            assert not each.__doc__.startswith(f"{name}("), name


# --- making a project ---


def test_a_project_from_keywords(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOYAGE_JOBS_VOYAGE__MODEL", "voyage-4-lite")
    (tmp_path / "My docs").mkdir()
    made = voyage_jobs.project(
        data_dir="data",
        sources=[
            "My docs",
            tmp_path / "notes" / "old" / "..",
            {"name": "wiki", "path": "wiki", "exclude": ["drafts/"]},
        ],
        voyage={"model": "voyage-4-large"},
    )
    assert made.data_dir == tmp_path / "data"
    assert made.sources == ("My-docs", "notes", "wiki")
    assert made.table_uri == str(tmp_path / "data" / "lancedb")
    assert made.table_name == "chunks"
    assert made._settings.sources[2].path == tmp_path / "wiki"
    assert made._settings.voyage.model == "voyage-4-large", (
        "the environment has no say in what a program sets"
    )
    assert not (tmp_path / "data").exists(), "looking makes nothing"


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(errors.ConfigError) as caught:
        voyage_jobs.project(voyage={"modell": "x"}, polling={"interval_s": -1})
    assert "voyage.modell" in caught.value.message
    assert "polling.interval_s" in caught.value.message


def test_a_project_from_a_file_is_what_the_commands_see(tmp_path, monkeypatch):
    world = World(tmp_path, dimension=256)
    world.write("a.md", "# A\n\nSomething about A.\n")
    file = world.config_file()
    monkeypatch.setenv("VOYAGE_JOBS_LANCEDB__TABLE", "other")
    opened = voyage_jobs.open(file)
    assert opened.sources == ("docs",)
    assert opened.table_name == "other"
    result = CliRunner().invoke(cli, ["--config", str(file), "plan"])
    assert "1 chunk" in result.stdout
    assert opened.plan().chunks == 1


def test_the_key_is_asked_for_and_kept_nowhere(world, tmp_path):
    asked = []

    def key():
        asked.append(1)
        return KEY

    made = voyage_jobs.project(**world.sections(voyage={"output_dimension": 256}), api_key=key)
    assert made._settings.api_key() == KEY
    assert len(asked) == 1
    assert KEY not in repr(vars(made)) + repr(made) + repr(vars(made._settings.api_key))
    file = tmp_path / "key"
    file.write_text(KEY)
    made = voyage_jobs.project(**world.sections(voyage={"output_dimension": 256}), api_key_file=file)
    assert made._settings.api_key() == KEY
    with pytest.raises(errors.ConfigError, match="must be a function") as caught:
        voyage_jobs.project(api_key="pa-something")
    assert "pa-something" not in caught.value.message
    with pytest.raises(errors.ConfigError, match="not both"):
        voyage_jobs.project(api_key=key, api_key_file=file)


def test_no_key_is_an_error_before_anything_is_done(world, monkeypatch):
    monkeypatch.delenv("VOYAGE_API_KEY", raising=False)
    made = voyage_jobs.project(**world.sections(voyage={"output_dimension": 256}))
    made.plan()
    with pytest.raises(errors.ConfigError, match="no Voyage API key"):
        made.sync()
    assert not world.data_dir.exists()


# --- one life ---


def test_plan_sync_status_why_search_cost(world):
    project = project_of(world)
    settings, clock = world.settings(), world.clock
    planned = project.plan()
    assert planned.as_dict() == plan(settings, clock)
    assert (planned.documents, planned.chunks, planned.texts, planned.batches) == (2, 2, 2, 1)
    assert planned.usd < planned.usd_synchronous
    assert planned.sources[0].new == 2

    said = []
    done = project.sync(progress=lambda what, at, total: said.append((what, at, total)))
    assert done.done
    assert (done.documents_published, done.texts_sent, done.batches_collected) == (2, 2, 1)
    assert done.tokens_settled == world.ledger.batch_tokens
    assert not done.problems
    assert done.as_dict()["result"] == "done"
    assert done.as_dict()["exit_code"] == 0
    assert {"scanning docs", "publishing", WAITING} <= {what for what, _, _ in said}

    now = project.status()
    assert now.as_dict() == status(settings, clock)
    assert (now.healthy, now.level, now.rows, now.chunks.published, now.running) == (
        True,
        "good",
        2,
        2,
        False,
    )
    assert now.sources[0].documents == 2
    answer = project.why("a.md")
    assert answer.as_dict() == why(settings, clock, "a.md").as_dict(int(clock.wall() * 1e6))
    assert (answer.reason, answer.published, answer.expected_at) == ("published", True, None)

    hits = project.search("Wie man ein Zertifikat erneuert.", k=1)
    again = Retriever(settings, clock, world.transport).search(Query("Wie man ein Zertifikat erneuert.", 1))
    assert [hit.as_dict() for hit in hits] == [hit.as_dict() for hit in again.hits]
    assert (hits[0].path, hits[0].section, hits[0].metadata) == ("a.md", ("Zertifikate",), {"lang": "de"})
    assert project.search("bread", source="docs")[0].source == "docs"

    assert project.batches() == []
    (batch,) = project.batches(everything=True)
    assert batch.as_dict() == listing(settings, clock, everything=True, limit=1)["batches"][0]
    assert (batch.state, batch.inputs, batch.completed) == ("closed", 2, 2)
    bill = project.cost(by="source")
    assert bill.as_dict() == cost(settings, clock, "source", 0)
    assert [row.name for row in bill.rows] == ["docs"]
    assert bill.total.paid_tokens == done.tokens_settled


def test_limits_and_not_waiting(world):
    project = project_of(world)
    first = project.sync(wait=False, max_inputs=1)
    assert first.ending == "unfinished"
    assert first.texts_sent == 1
    assert [batch.state for batch in first.in_flight] == ["running"]
    assert {"max_inputs", "in_flight"} <= {problem.code for problem in first.problems}
    assert [batch.ref for batch in project.batches()] == [first.in_flight[0].ref]
    assert project.sync(max_usd=0).ending == "unfinished"
    assert project.sync(timeout_s=0).problems[-1].code in ("timeout", "budget_reached")
    assert project.sync().done


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_inputs": 0},
        {"max_inputs": True},
        {"max_tokens": -1},
        {"max_usd": float("nan")},
        {"timeout_s": "1"},
    ],
)
def test_what_makes_no_sense_is_refused(world, wrong):
    with pytest.raises(errors.ConfigError, match=f"{next(iter(wrong))} is"):
        project_of(world).sync(**wrong)
    assert not world.data_dir.exists()


def test_looking_works_before_the_first_sync(world):
    project = project_of(world)
    assert project.status().problems[0].code == "no_state"
    assert project.status().chunks.published is None
    assert project.why(world.docs / "a.md").reason == "not_scanned"
    for look in (project.batches, project.cost):
        with pytest.raises(errors.StateError):
            look()
    with pytest.raises(errors.ConfigError, match="no table"):
        project.search("bread")
    assert not world.data_dir.exists()


def test_a_project_with_its_key_is_in_no_pickle_and_no_copy(world):
    project = project_of(world)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="open one in each process"):
            leak(project)


# --- what it leaves alone ---


def test_a_process_at_work_is_told_and_looking_goes_on(world):
    project = project_of(world)
    with lock.held(world.settings().paths.lock, world.clock):
        with pytest.raises(errors.LockedError, match="working on"):
            project.sync()
        assert project.plan().texts == 2
        project.status()


def test_it_runs_in_a_thread_and_installs_no_handlers(world):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    during, done = [], []

    def progress(*_):
        during.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)])

    thread = threading.Thread(target=lambda: done.append(project_of(world).sync(progress=progress)))
    thread.start()
    thread.join()
    assert done[0].done
    assert project_of(world).sync(progress=progress).done
    assert all(each == before for each in during)


def test_an_interrupt_loses_nothing(world):
    def interrupt(what, *_):
        if what == WAITING:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project_of(world).sync(progress=interrupt)
    assert project_of(world).sync().done
    assert project_of(world).status().as_dict()["counters"]["deaths"] == 0, "nobody died"
    assert world.ledger.billed_more_than_once() == {}


def test_it_logs_to_the_standard_module_and_is_silent_by_default(world, caplog, capfd):
    world.write("bad.md", b"\xff\xfe\x00")
    project_of(world).sync()
    assert capfd.readouterr() == ("", "")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    world.write("c.md", "# More\n\nSomething more.\n")
    with caplog.at_level(logging.INFO, logger="voyage_jobs"):
        project_of(world).sync()
    named = {record.event: record for record in caplog.records}
    assert named["batch.submitted"].fields["ref"]
    assert named["scan.finished"].getMessage().startswith("scan.finished source=docs")
    assert KEY not in caplog.text
    assert (root.handlers, root.level) == (handlers, level)


def test_structlog_of_the_program_is_left_alone(world, tmp_path):
    code = (
        "import structlog, voyage_jobs\n"
        f"p = voyage_jobs.project(data_dir={str(tmp_path / 'd')!r}, sources=[{str(world.docs)!r}])\n"
        "p.plan(); p.status()\n"
        "try:\n p.sync(timeout_s=0)\nexcept voyage_jobs.errors.ConfigError: pass\n"
        "print(structlog.is_configured())"
    )
    assert python(code, PATH="/usr/bin").split() == ["False"]


# --- called in the wrong way ---


class BytesPath(os.PathLike):
    def __fspath__(self):
        return b"x"


def test_a_path_may_be_one_of_bytes(world):
    with pytest.raises(errors.StateError):
        project_of(world).why(BytesPath())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda _: Project("voyage-jobs.toml"),
            "voyage_jobs.open(PATH) makes one out of a configuration file",
        ),
        (
            lambda _: voyage_jobs.open({"data_dir": "data"}),
            "open takes the path of a configuration file, not a dict",
        ),
        (lambda project: voyage_jobs.open(project.data_dir.parent), "is a folder; open takes the path"),
        (lambda _: voyage_jobs.open("nothing.toml"), "nothing.toml does not exist"),
        (
            lambda _: voyage_jobs.project(sources="docs"),
            "sources is a str; it must be a list, as in sources=['docs']",
        ),
        (lambda _: voyage_jobs.project(sources=[1]), "A source is an int; it must be the path of a folder"),
        (
            lambda _: voyage_jobs.project(sources=["docs"], api_key=1),
            "it must be a function that returns the key",
        ),
        (
            lambda _: voyage_jobs.project(sources=["docs"], api_key_file=5),
            "api_key_file is an int; it must be a text or a path",
        ),
        (
            lambda _: voyage_jobs.project(sources=["docs"], api_key=lambda: None)._settings.api_key(),
            "the program's own function returned no text, but a NoneType",
        ),
        (lambda project: project.search("a", None), "k is None; it must be a whole number from 1"),
        (lambda project: project.search("a", 10**5000), "k is (too long to be shown)"),
        (lambda project: project.search("a", expand=None), "expand is None; it must be a whole number"),
        (lambda project: project.batches(limit=None), "limit is None; it must be a whole number"),
        (lambda project: project.search(5), "query is an int; it must be a text."),
        (lambda project: project.search("a", where=5), "where is an int"),
        (
            lambda project: project.search("a", source=5),
            "source is an int; it must be a text or a list of texts",
        ),
        (lambda project: project.search("a", table=[5]), "one of table is an int"),
        (lambda project: project.search("a", since="30d"), "since is a str; it must be a datetime"),
        (lambda project: project.cost(since="30d"), "since is a str; it must be a datetime"),
        (lambda project: project.why(5), "ref is an int; it must be a text or a path"),
        (
            lambda _: voyage_jobs.open("~nobody-of-that-name/x.toml"),
            "~nobody-of-that-name/x.toml does not exist",
        ),
        (lambda project: project.why("a", source=["docs"]), "source is a list; it must be a text"),
        (lambda project: project.why("a" * 60_000), "A name of 60,000 characters is longer than any can be"),
        (lambda project: project.why("a\ud800b"), "is no text, so it is the name of nothing"),
        (
            lambda project: project.search(
                "a", since=datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))
            ),
            "since is 0001-01-01 00:00:00+05:00, which is no time of UTC",
        ),
        (lambda project: project.batches(everything="x"), "everything is a str; it must be True or False"),
        (lambda project: project.sync(wait="x"), "wait is a str; it must be True or False"),
        (lambda project: project.sync(timeout_s=10**400), "it must be a number from 0 to 9,0"),
        (lambda project: project.plan(progress=5), "progress is an int; it must be a function"),
        (lambda project: project.sync(progress=5), "progress is an int; it must be a function"),
        (lambda project: project.items(5), "name is an int; it must be a text"),
        (
            lambda project: project.items("notes").put(voyage_jobs.Item("a", "b")),
            "items is one Item; it must be a list",
        ),
    ],
)
def test_a_wrong_call_is_told_in_one_sentence_what_it_takes(world, call, said):
    with pytest.raises(errors.ConfigError) as told:
        call(project_of(world))
    assert said in told.value.message
    assert "\n" not in told.value.message
