"""Metrics: every one that is promised is there, in the right form, and nothing speaks of others."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from world import KEY, World

from voyage_jobs.cli.main import cli
from voyage_jobs.core.observe import NOBODY, Several, about, current_ref, together
from voyage_jobs.service.worker import working
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.telemetry.metrics.catalog import METRICS, PREFIX, series_names
from voyage_jobs.telemetry.metrics.recorder import Recorder
from voyage_jobs.telemetry.metrics.state import StateCollector
from voyage_jobs.telemetry.metrics.text import Metrics

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "voyage-jobs.json"
# prometheus-client's own, of the process.
OF_THE_PROCESS = {"process_resident_memory_bytes"}


class Observed:
    """A world at work under a recorder."""

    def __init__(self, root, **world):
        self.world = World(root, **world)
        self.recorder = Recorder(self.world.clock)

    def work(self, turns=2_000, **sections):
        world, settings = self.world, self.world.settings(**sections)
        with working(
            settings,
            world.clock,
            world.log,
            mode="run",
            transport=world.transport,
            observer=self.recorder,
        ) as context:
            world.take_turns(context, turns)

    def read(self, **sections):
        """name and labels -> value, of everything that is shown."""
        state = StateCollector(self.world.settings(**sections), self.world.clock)
        text = Metrics(state, self.recorder).render().decode()
        return {
            (sample.name.removeprefix(PREFIX), *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


def valued(found, name):
    """labels (as values) -> value, of one metric."""
    return {tuple(value for _, value in key[1:]): value for key, value in found.items() if key[0] == name}


# --- trouble first ---


def test_without_a_state_only_that_is_said(tmp_path):
    observed = Observed(tmp_path)
    found = observed.read()
    assert found[("state_readable",)] == 0
    kept = {key[0] for key in found if not key[0].startswith("process_")}
    assert kept == {"build_info", "state_readable", "scrape_seconds"}
    assert not observed.world.data_dir.exists()


def test_a_foreign_file_in_place_of_the_state_is_no_error(tmp_path):
    observed = Observed(tmp_path)
    observed.world.data_dir.mkdir()
    (observed.world.data_dir / "state.db").write_bytes(b"no database" * 500)
    assert observed.read()[("state_readable",)] == 0


def test_a_refused_key_is_seen_in_calls_steps_retries_and_lanes(tmp_path):
    observed = Observed(tmp_path, faults={"auth_outage": {}})
    observed.world.write("a.md", "# A\n\nOne.\n")
    with working(
        observed.world.settings(),
        observed.world.clock,
        observed.world.log,
        mode="run",
        transport=observed.world.transport,
        observer=observed.recorder,
    ) as context:
        observed.world.take_turns(context, 12, quiet=False)
    found = observed.read()
    assert valued(found, "vendor_calls_total") == {("401", "/files", "POST"): 1}
    assert valued(found, "retries_total") == {("auth",): 1}
    assert valued(found, "step_failures_total") == {("submit",): 1}
    assert valued(found, "lane_closed") == {("auth", "vendor"): 1}
    assert valued(found, "problems")[("auth", "problem")] == 1
    assert found[("healthy",)] == 0


def test_a_lost_answer_and_an_unreachable_vendor_have_codes_of_their_own(tmp_path):
    faults = {
        "answer_lost": {"on": ["create_batch"], "times": 1},
        "request_lost": {"on": ["upload_file"], "times": 1},
    }
    observed = Observed(tmp_path, faults=faults)
    observed.world.write("a.md", "# A\n\nOne.\n")
    observed.work()
    codes = {code for code, _, _ in valued(observed.read(), "vendor_calls_total")}
    assert {"200", "lost", "not_sent"} <= codes


def test_a_step_that_breaks_is_a_failure_and_no_success(tmp_path):
    recorder = Recorder(World(tmp_path).clock)
    with pytest.raises(RuntimeError):
        with recorder.step("poll"):
            raise RuntimeError
    samples = {
        s.name: s.value for f in recorder.registry.collect() for s in f.samples if "created" not in s.name
    }
    assert samples[f"{PREFIX}step_failures_total"] == 1
    assert f"{PREFIX}step_last_success_timestamp_seconds" not in samples


# --- what is counted ---


def test_a_run_from_folder_to_table_in_numbers(tmp_path):
    observed = Observed(tmp_path, faults={"line_refused": {"times": 1}}, budget={"daily_tokens": 1_000_000})
    world = observed.world
    for name in "abc":
        world.write(f"{name}.md", f"# {name}\n\nThe text of {name}.\n")
    world.write("odd.md", b"\0\1\2")
    observed.work()
    found = observed.read()
    assert valued(found, "documents") == {
        ("docs", "present"): 3,
        ("docs", "missing"): 0,
        ("docs", "skipped"): 1,
    }
    assert valued(found, "documents_skipped") == {("binary", "docs"): 1}
    assert valued(found, "chunks")[("docs", "published")] == 2
    assert valued(found, "chunks")[("docs", "failed")] == 1
    assert valued(found, "embeddings") == {
        ("wanted",): 0,
        ("packed",): 0,
        ("held",): 2,
        ("failed",): 1,
        ("dropped",): 0,
    }
    assert valued(found, "lines_total") == {("success",): 2, ("refused",): 1}
    assert valued(found, "batches")[("closed",)] == 1
    assert valued(found, "create_attempts_total")[("created",)] == 1
    assert found[("create_in_doubt",)] == found[("duplicate_jobs_total",)] == 0
    assert (
        found[("source_oldest_unpublished_seconds", ("source", "docs"))] > 0
    )  # the refused one is not shown
    assert found[("tokens_settled_total",)] == world.ledger.batch_tokens > 0
    assert valued(found, "budget_used_tokens")[("daily_tokens",)] == found[("tokens_settled_total",)]
    assert valued(found, "budget_limit_tokens") == {("daily_tokens",): 1_000_000}
    assert found[("table_rows",)] == 2
    assert found[("table_fragments",)] >= 1
    assert valued(found, "disk_used_bytes")[("vectors",)] > 0
    calls = valued(found, "vendor_calls_total")
    assert calls[("200", "/batches", "POST")] == 1
    assert calls[("200", "/files/{id}/content", "GET")] == 2
    assert valued(found, "vendor_call_seconds_count")[("/batches", "POST")] == 1
    assert set(valued(found, "step_last_success_timestamp_seconds")) >= {("scan",), ("publish",), ("tidy",)}
    assert valued(found, "step_seconds_count")[("publish",)] >= 1


def test_what_is_under_way_has_an_age_and_a_deadline(tmp_path):
    observed = Observed(tmp_path, batch_seconds=3600.0)
    world = observed.world
    world.write("a.md", "# A\n\nOne.\n")
    with working(world.settings(), world.clock, world.log, mode="run", transport=world.transport) as context:
        world.take_turns(context, 12, quiet=False)
        world.clock.advance(100)
        found = observed.read()
    assert valued(found, "batches")[("running",)] == 1
    assert valued(found, "batch_inputs_open") == {("running",): 1}
    assert found[("batch_oldest_open_seconds",)] == pytest.approx(100, abs=5)
    left_s = found[("batch_next_deadline_timestamp_seconds",)] - world.clock.wall()
    assert 11 * 3600 < left_s <= 12 * 3600
    assert found[("source_oldest_unpublished_seconds", ("source", "docs"))] >= 100
    assert found[("worker_running",)] == 1


def test_neither_texts_nor_names_nor_the_key_are_shown(tmp_path):
    observed = Observed(tmp_path)
    observed.world.write("secret-name.md", "# planted heading\n\nplanted words\n")
    observed.work()
    state = StateCollector(observed.world.settings(), observed.world.clock)
    text = Metrics(state, observed.recorder).render().decode()
    assert not re.search(f"secret-name|planted|{KEY}", text)


# --- observers ---


def test_several_observers_hear_the_same(tmp_path):
    clock = World(tmp_path).clock
    one, two = Recorder(clock), Recorder(clock)
    assert together([]) is NOBODY
    assert together([one]) is one
    both = together([one, two])
    assert isinstance(both, Several)
    with both.step("scan") as step:
        step.did = True
        with both.call("GET", "/batches") as call:
            call.code = "503"
    both.put_off("unavailable")
    both.lines("success", 3)
    told = [
        {(s.name, *s.labels.values()): s.value for f in each.registry.collect() for s in f.samples}
        for each in (one, two)
    ]
    assert told[0].keys() == told[1].keys()
    assert (f"{PREFIX}vendor_calls_total", "GET", "/batches", "503") in told[1]
    assert told[1][(f"{PREFIX}step_seconds_count", "scan")] == 1


def test_what_work_is_about_ends_with_the_block():
    with about("one"):
        with about("two"):
            assert current_ref() == "two"
        assert current_ref() == "one"
    assert current_ref() is None


def test_a_step_counts_the_turn_in_which_it_did_something(world):
    recorder = Recorder(world.clock)
    world.write("a.md", "# A\n\nOne.\n")
    with working(
        world.settings(), world.clock, world.log, mode="run", transport=world.transport, observer=recorder
    ) as context:
        pipeline = Pipeline(context)
        while not pipeline.turn():
            world.clock.advance(1)
    found = {
        s.labels["step"]: s.value
        for f in recorder.registry.collect()
        for s in f.samples
        if s.name.endswith("step_seconds_count")
    }
    assert found.get("scan") == 1
    assert "poll" not in found


# --- the command ---


def test_the_command_prints_or_writes_them(tmp_path):
    world = World(tmp_path, dimension=256)
    world.write("a.md", "# A\n\nOne.\n")
    world.run()
    config = str(world.config_file())
    printed = CliRunner().invoke(cli, ["--config", config, "status", "--metrics"])
    assert printed.exit_code == 0
    assert f'{PREFIX}chunks{{source="docs",state="published"}} 1.0' in printed.stdout
    assert f'{PREFIX}source_oldest_unpublished_seconds{{source="docs"}} 0.0' in printed.stdout
    target = tmp_path / "voyage_jobs.prom"
    assert (
        CliRunner().invoke(cli, ["--config", config, "status", "--metrics", "--out", str(target)]).exit_code
        == 0
    )
    assert f"{PREFIX}table_rows 1.0" in target.read_text()
    assert not list(tmp_path.glob("*.tmp"))


def test_the_command_tells_what_it_cannot_do(tmp_path):
    world = World(tmp_path, dimension=256)
    config = str(world.config_file())
    result = CliRunner().invoke(cli, ["--config", config, "status", "--metrics"])
    assert result.exit_code == 1
    assert f"{PREFIX}state_readable 0.0" in result.stdout
    result = CliRunner().invoke(
        cli, ["--config", config, "status", "--metrics", "--out", str(tmp_path / "none" / "x.prom")]
    )
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


# --- names, documents, rules, dashboard ---


def test_names_follow_the_conventions():
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not re.search(r"_(ms|minutes|hours|mib|kb)(_|$)", metric.name)
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert metric.help.endswith(".")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_page_explains_each_metric_and_no_other():
    rows = re.findall(
        r"^\| `(voyage_jobs_\w+)` \| (.*?) \| (.+) \|$", (ROOT / "docs" / "metrics.md").read_text(), re.M
    )
    told = {name: (re.findall(r"`(\w+)`", labels), about) for name, labels, about in rows}
    assert told == {metric.full_name: (list(metric.labels), metric.help) for metric in METRICS}


def used_in(expression):
    """The metrics that a query names."""
    return set(re.findall(r"\b(?:voyage_jobs|process)_[a-z_]+", expression))


def rules():
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def test_alerts_ask_for_metrics_that_exist_and_say_what_to_do():
    found = rules()
    assert len({rule["alert"] for rule in found}) == len(found) > 10
    for rule in found:
        assert used_in(rule["expr"]), rule["alert"]
        assert used_in(rule["expr"]) <= series_names(), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_alerts_ask_for_labels_that_exist():
    by_name = {metric.full_name: set(metric.labels) for metric in METRICS}
    for rule in rules():
        for name, selector in re.findall(r"\b(voyage_jobs_[a-z_]+)\{([^}]*)\}", rule["expr"]):
            asked = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', selector))
            assert asked <= by_name[name], rule["alert"]


def test_promtool_takes_the_rules():
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run([tool, "check", "rules", str(ALERTS)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_what_is_served(tmp_path):
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    observed = Observed(tmp_path)
    observed.world.write("a.md", "# A\n\nOne.\n")
    observed.work()
    state = StateCollector(observed.world.settings(), observed.world.clock)
    text = Metrics(state, observed.recorder, process=False).render()
    done = subprocess.run([tool, "check", "metrics"], input=text, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_asks_for_metrics_that_exist():
    board = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    asked = set().union(*map(used_in, expressions))
    assert asked <= series_names() | OF_THE_PROCESS
    assert all("$instance" in expression for expression in expressions)
    variables = board["templating"]["list"]
    assert used_in(json.dumps(variables)) <= series_names()


def test_panels_do_not_overlap():
    taken = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
