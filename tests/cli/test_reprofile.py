"""`reprofile` as an operator and a script meet it, here and with a daemon at work that is killed half-way."""

from __future__ import annotations

import json
import threading

import pytest
from click.testing import CliRunner
from crash.stage import Stage, end
from looking import WIDTH
from world import KEY, World

from voyage_jobs.cli.main import cli
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.service import worker
from voyage_jobs.table import PublishedTable

OLD, NEW = 256, 512
OTHER = {"output_dimension": NEW}


class Commands:
    """A world of three documents, and commands in its time with the simulator for a network."""

    def __init__(self, root, monkeypatch):
        self.world = World(root, dimension=OLD)
        for name in ("a", "b", "c"):
            self.world.write(f"{name}.md", f"# {name}\n\nAbout {name}.\n\n## More\n\nMore about {name}.\n")
        monkeypatch.setenv("VOYAGE_API_KEY", KEY)
        monkeypatch.setattr("voyage_jobs.cli.output._PLAIN_WIDTH", WIDTH)
        monkeypatch.setattr("voyage_jobs.core.clock.SystemClock", lambda: self.world.clock)
        client, transport = worker.connect, self.world.transport
        monkeypatch.setattr(
            worker,
            "connect",
            lambda settings, clock, _, *more: client(settings, clock, transport, *more),
        )

    def __call__(self, *args, code=0, voyage=OTHER, answer=None):
        config = str(self.world.config_file(voyage=voyage))
        result = CliRunner().invoke(cli, ["--config", config, *args], input=answer)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.stderr
        if "--json" not in args:
            wide = [line for line in result.stdout.splitlines() if len(line.rstrip()) > WIDTH]
            assert all(str(self.world.root) in line for line in wide), wide
        return result

    def json(self, *args, **how):
        return json.loads(self(*args, "--json", **how).stdout)

    def profile(self):
        return self.json("status")["profile"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    return Commands(tmp_path, monkeypatch)


@pytest.fixture
def filled(run):
    run("sync", voyage={})
    return run


# --- what makes no sense, or needs a yes ---


def test_before_anything_was_embedded_there_is_nothing_to_embed_anew(run):
    result = run("reprofile", code=2)
    assert "There is no state yet" in result.stderr
    assert "sync" in result.stderr


@pytest.mark.parametrize(
    "options", [("--abandon", "--switch-back"), ("--status", "--abandon"), ("--yes", "--status")]
)
def test_one_thing_at_a_time(filled, options):
    assert "Give one of" in filled("reprofile", *options, code=2).stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--abandon", "nothing to abandon"),
        ("--accept-failures", "nothing to accept"),
        ("--switch-back", "nothing to switch back to"),
    ],
)
def test_what_is_not_there_cannot_be_given_up_accepted_or_brought_back(filled, option, said):
    assert said in filled("reprofile", option, code=2).stderr


def test_without_a_yes_the_price_is_said_and_nothing_is_begun(filled):
    told = filled("reprofile", code=6).stdout
    assert "to build        voyage-4, 512 x float" in told
    assert "6 embeddings" in told
    assert "by batch" in told
    assert "Nothing was started" in told
    assert "this is what it costs" not in told.lower(), "that is what the command is for"
    report = filled.json("reprofile", code=6)
    assert (report["done"], report["state"]) == (False, "to be confirmed")
    assert report["plan"]["embeddings"]["to_send"] == 6
    assert report["profile"]["asked"]["dimension"] == NEW
    assert filled.profile()["building"] is None


def test_somebody_at_the_terminal_is_asked(filled, monkeypatch):
    monkeypatch.setattr("voyage_jobs.cli.reprofile.at_a_terminal", lambda: True)
    assert "Nothing was started." in filled("reprofile", code=6, answer="n\n").stdout
    assert filled.profile()["building"] is None
    assert "Begun: a table for voyage-4, 512 x float" in filled("reprofile", answer="y\n").stdout
    assert filled.profile()["building"]["profile"]["dimension"] == NEW


def test_with_the_same_vectors_there_is_nothing_to_do(filled):
    assert "The table has what the configuration asks for" in filled("reprofile", "--yes", voyage={}).stdout


def test_until_then_every_command_says_so_or_goes_by_the_table(filled, tmp_path):
    report = filled.json("status")
    (problem,) = [each for each in report["problems"] if each["severity"] == "problem"]
    assert problem["code"] == "profile_changed"
    assert "tokens, <$0.0001 by batch" in problem["message"]
    assert report["profile"]["sending"] is False
    assert report["profile"]["change"]["tokens"] > 0
    filled("status", "--check", code=6)
    synced = filled.json("sync", code=6)
    assert [each["code"] for each in synced["problems"]] == ["profile_changed"]
    assert "`voyage-jobs reprofile`" in " ".join(filled.json("plan")["warnings"])
    assert filled.json("plan")["embeddings"]["to_send"] == 6
    plan = tmp_path / "plan"
    filled("plan", "--out", str(plan))
    assert "Nothing is sent" in filled("sync", "--plan", str(plan), code=2).stderr
    filled("verify")
    filled("export", str(tmp_path / "rows.parquet"))
    filled("expedite", "a.md", "--yes")  # all of it is embedded: nothing to send


def test_a_document_is_not_expedited_for_vectors_that_are_in_question(filled):
    filled.world.write("d.md", "# d\n\nNew.\n")
    assert "Nothing is sent" in filled("expedite", "d.md", "--yes", code=2).stderr
    filled("reprofile", "--yes")
    assert "is being built" in filled("expedite", "d.md", "--yes", code=2).stderr


# --- the way there and back ---


def test_a_table_is_built_shown_and_switched_back(filled):
    begun = filled.json("reprofile", "--yes")
    assert (begun["done"], begun["by"], begun["state"]) == (True, "this call", "begun")
    assert "to be read      docs" in filled("reprofile", "--status").stdout
    report = filled.json("status")
    assert {"reprofiling", "daemon_not_running"} == {each["code"] for each in report["problems"]}
    assert report["headline"]["text"].startswith("building a table for other vectors")
    filled("status", "--check", code=3)
    assert "is being built" in filled("reprofile").stdout or "being built" in filled("reprofile").stdout

    waiting = filled.json("sync", "--no-wait", code=3)
    assert {each["code"] for each in waiting["problems"]} == {"in_flight", "reprofiling"}
    building = filled.json("reprofile", "--status")["building"]
    assert building["documents"] == {"read": 3, "ready": 0, "failed": 0, "unread": 0}
    assert building["chunks"] == {"total": 6, "open": 6, "failed": 0}
    assert building["tokens"]["reserved"] > 0
    assert building["likely_at"] is not None, "a batch has ended here before"
    assert "chunks          0 of 6 have their vectors" in filled("reprofile", "--status").stdout

    filled("sync")
    profile = filled.profile()
    assert (profile["table"]["dimension"], profile["building"]) == (NEW, None)
    assert profile["previous"]["profile"]["dimension"] == OLD
    assert "(--switch-back)" in filled("reprofile", "--status").stdout
    filled("status", "--check")

    back = " ".join(filled("reprofile", "--switch-back").stdout.split())
    assert "as it was before the switch" in back
    assert filled.profile()["table"]["dimension"] == OLD
    filled("sync", voyage={})
    filled("status", "--check", voyage={})
    assert filled.world.ledger.units() == 12
    assert filled.world.ledger.billed_more_than_once() == {}


def test_a_build_is_given_up(filled):
    filled("reprofile", "--yes")
    filled("sync", "--no-wait", code=3)
    told = filled("reprofile", "--abandon").stdout
    assert "Being cancelled: 1 job" in told
    assert "Set" in told or "set" in told
    assert filled.json("sync", voyage={})["result"] == "done"


def test_what_cannot_be_read_is_named_and_left_out_by_a_word(filled):
    filled("reprofile", "--yes")
    (filled.world.docs / "a.md").chmod(0o000)
    filled.world.remove("a.md")
    filled.world.write("b.md", b"\x00\x01binary now")
    away = filled.world.root / "away"
    filled.world.docs.rename(away)
    synced = filled.json("sync", code=6)
    assert {"frozen", "reprofile_blocked"} <= {each["code"] for each in synced["problems"]}
    told = filled("reprofile", "--status").stdout
    assert "frozen          docs" in told
    assert "cannot be read: docs:c.md" in told
    assert "waits for you" in told
    blocked = [each for each in filled.json("status")["problems"] if each["code"] == "reprofile_blocked"]
    assert "--accept-failures" in blocked[0]["hint"]
    assert "3 documents" in filled("reprofile", "--accept-failures").stdout
    filled("sync", code=6)  # still frozen; but the table is switched
    assert filled.profile()["table"]["dimension"] == NEW
    away.rename(filled.world.docs)


# --- a daemon at work ---


def test_a_daemon_that_knows_nothing_of_it_builds_it_dies_and_builds_on(tmp_path):
    with Stage(tmp_path, batch_seconds=0.5, max_inputs=8) as stage:
        for number in range(12):
            stage.write(f"{number}.md", f"# {number}\n\nOf number {number}.\n\n## And\n\nMore of {number}.\n")
        assert stage.sync().code == 0
        daemon = stage.start("run")
        wait(lambda: stage.status()["daemon"]["running"], daemon)
        stage.ask_for(NEW)
        begun = stage.run("reprofile", "--yes", "--json").json()
        assert (begun["done"], begun["by"], begun["state"]) == (True, "running process", "begun")
        with Reader(stage) as reader:
            wait(lambda: has_some(stage), daemon)
            end(daemon)
            daemon = stage.start("run")
            wait(lambda: stage.status()["profile"]["table"]["dimension"] == NEW, daemon)
            wait(lambda: NEW in reader.widths, daemon)
        assert reader.seen == {(OLD, 12), (NEW, 12)}, "all of the old or all of the new"
        back = stage.run("reprofile", "--switch-back", "--json").json()
        assert (back["by"], back["state"]) == ("running process", "switched back")
        assert stage.status()["profile"]["table"]["dimension"] == OLD
        stage.sim.settle()
        assert stage.sim.ledger.units() == 24
        assert stage.sim.ledger.billed_more_than_once() == {}


def has_some(stage):
    """Whether new vectors are in flight, or here."""
    building = stage.status()["profile"]["building"]
    return building is None or (building["chunks"]["total"] == 24 and building["tokens"]["reserved"] > 0)


def wait(true, daemon, patience_s=60.0):
    clock = SystemClock()
    until = clock.mono() + patience_s
    while not true():
        assert daemon.poll() is None, "the daemon has ended"
        assert clock.mono() < until, "it takes too long"
        clock.wait(0.1)


class Reader:
    """Opens the table again and again, as a program does that knows nothing of profiles."""

    def __init__(self, stage):
        self._lance = stage.settings.lancedb
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.seen = set()

    @property
    def widths(self):
        return {width for width, _ in self.seen}

    def _look(self):
        while not self._over.is_set():
            table = PublishedTable.open(self._lance.uri, self._lance.table, None)
            vectors = [v for part in table.keys(None, ("vector",)) for v in part.column("vector").to_pylist()]
            (width,) = {len(vector) for vector in vectors}
            self.seen.add((width, len(vectors)))
            self._over.wait(0.02)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def test_a_table_that_is_held_back_is_shown_by_a_word(filled):
    assert "Begun" in filled("reprofile", "--yes", "--hold").stdout
    synced = filled.json("sync", code=6)
    assert [each["code"] for each in synced["problems"]] == ["reprofile_held"]
    assert filled.profile()["building"]["held"]
    assert "waits for --switch" in filled("reprofile", "--status").stdout
    told = filled("reprofile", "--hold").stdout
    assert "not switched to before --switch" in " ".join(told.split())
    assert "Give one of" in filled("reprofile", "--hold", "--switch", code=2).stderr
    assert "once everything is there" in " ".join(filled("reprofile", "--switch").stdout.split())
    assert filled.json("sync")["result"] == "done"
    assert filled.profile()["table"]["dimension"] == NEW
