"""`plan --out`, `sync --plan`, `cost`, `fetch-tokenizer` from the command line: what people and programs get."""

import csv
import io
import json

import httpx
import pytest
from click.testing import CliRunner

from tests.silent import Silent
from tests.tokenizer_file import make_tokenizer
from tests.world import KEY, World
from voyage_jobs.cli.main import cli
from voyage_jobs.core.clock import now_us
from voyage_jobs.service import worker
from voyage_jobs.state.store import Store
from voyage_jobs.vendors.rest import hub

DIMENSION = 256  # the smallest that a configuration file may name


class Commands:
    """A world, and `voyage-jobs` commands in its time, in 80 columns, with the simulator for a network."""

    def __init__(self, root, monkeypatch, **world):
        self.world = World(root, dimension=DIMENSION, **world)
        for number in range(3):
            self.world.write(f"{number}.md", f"# Document {number}\n\nAbout the number {number}.\n")
        monkeypatch.setenv("VOYAGE_API_KEY", KEY)
        monkeypatch.setenv("COLUMNS", "80")
        for module in ("core.clock", "cli.plan", "cli.cost"):
            monkeypatch.setattr(f"voyage_jobs.{module}.SystemClock", lambda: self.world.clock)
        client = worker.connect
        monkeypatch.setattr(
            worker,
            "connect",
            lambda settings, clock, _, *more: client(settings, clock, self.world.transport, *more),
        )

    def __call__(self, *args, code=0, **sections):
        result = CliRunner().invoke(
            cli, ["--config", str(self.world.config_file(**sections)), *map(str, args)]
        )
        assert result.exit_code == code, result.output
        lines = [line for line in result.stdout.splitlines() if str(self.world.root) not in line]
        assert "--json" in args or "--csv" in args or max(map(len, lines), default=0) <= 80, result.stdout
        return result

    def json(self, *args, code=0, **sections):
        return json.loads(self(*args, "--json", code=code, **sections).stdout)


@pytest.fixture
def run(tmp_path, monkeypatch):
    return Commands(tmp_path, monkeypatch)


def tamper(run, sql):
    store = Store.open(run.world.data_dir / "state.db", run.world.clock)
    with store.write() as tx:
        tx.connection.exec_driver_sql(sql)
    store.close()


# --- the plan ---


def test_a_plan_that_holds_no_more_ends_with_2_and_names_why(run, tmp_path):
    run("plan", "--out", tmp_path / "plan.json")
    run.world.write("1.md", "# Another\n\nthing")
    result = run("sync", "--plan", tmp_path / "plan.json", code=2)
    assert "docs:1.md was changed again" in result.stderr
    assert "nothing was sent" in result.stderr
    assert run.world.ledger.batch_tokens == 0
    error = json.loads(
        run("sync", "--plan", tmp_path / "plan.json", "--json", code=2).stderr.splitlines()[-1]
    )
    assert error["error"]["code"] == "config"


def test_a_plan_and_a_small_try_are_not_mixed(run, tmp_path):
    run("plan", "--out", tmp_path / "plan.json")
    assert (
        "belongs to `plan --out`"
        in run("sync", "--plan", tmp_path / "plan.json", "--max-inputs", "1", code=2).stderr
    )


def test_a_missing_plan_is_a_usage_error(run, tmp_path):
    assert "cannot be read" in run("sync", "--plan", tmp_path / "none.json", code=2).stderr


def test_a_plan_is_written_told_and_carried_out(run, tmp_path):
    text = run("plan", "--out", tmp_path / "the plan.json").stdout
    assert f"`voyage-jobs sync --plan '{tmp_path}/the plan.json'` carries it out." in text
    assert "(estimated)" in text
    assert "fetch-tokenizer" in text
    assert "finish          unknown" in text
    run("sync", "--plan", tmp_path / "the plan.json")
    assert run.world.ledger.units() == 3
    run.world.write("new.md", "# New\n\nA new one.\n")
    assert "finish          likely in 2 m" in run("plan").stdout


def test_limits_of_one_call(run):
    told = " ".join(run("sync", "--max-usd", "0", code=3).stderr.split())
    assert "--max-usd is used up, the limit of one run" in told
    assert "or when --max-usd is raised" in told
    assert "budget." not in told
    set_ = run("sync", "--max-usd", "1", "--max-tokens", "10", code=3, budget={"run_usd": 0.0}).stderr
    assert "budget.run_usd is used up" in set_
    assert "--max-tokens is used up" in set_
    report = run.json("sync", "--max-tokens", "20", code=3)
    assert report["problems"][0]["code"] == "budget_reached"
    assert run.world.ledger.units() == 1
    run("sync")
    assert run.world.ledger.units() == 3


def test_a_price_from_the_environment(run, monkeypatch):
    monkeypatch.setenv("VOYAGE_JOBS_PRICES", '{"voyage-4": {"batch_usd_per_million": 1000}}')
    price = run.json("plan")["price_usd"]
    assert (price["batch_per_million"], price["as_of"]) == (1000, "configuration")
    assert price["synchronous_per_million"] == 0.06
    run("sync")
    assert run.json("cost")["total"]["paid_usd"] == pytest.approx(run.world.ledger.batch_tokens / 1000)


@pytest.mark.parametrize(("value", "told"), [
    ("[]", "wrong shape"),
    ("{", "is not JSON"),
    ('{"voyage-4": {"batch_usd_per_m": 1}}', "unknown key; did you mean prices.voyage-4.batch_usd_per_million?"),
    ('{"voyage-4": {"batch_usd_per_million": -1}}', "must be at least 0"),
])  # fmt: skip
def test_a_wrong_price_is_told(run, monkeypatch, value, told):
    monkeypatch.setenv("VOYAGE_JOBS_PRICES", value)
    assert told in run("plan", code=2).stderr


# --- the bill ---


def test_without_a_state_there_is_no_bill(run):
    assert "There is no state yet" in run("cost", code=2).stderr


def test_nothing_spent_is_said(run):
    run("sync", "--max-usd", "0", code=3)
    assert run("cost").stdout == "Nothing was spent yet.\n"
    run("sync")
    run.world.clock.advance(40 * 86_400)
    assert run("cost", "--since", "30d").stdout == "Nothing was spent since then.\n"


@pytest.mark.parametrize("by", ["day", "source", "model", "batch"])
def test_the_bill_is_the_vendors_by_whatever_it_is_split(run, by):
    run("sync")
    run.world.write("more.md", "# Document 1\n\nAbout the number 1.\n\n# More\n\nthings\n")
    run.world.clock.advance(3 * 86_400)
    run("sync")
    report = run.json("cost", "--by", by)
    billed = run.world.ledger.batch_tokens
    assert report["total"]["paid_tokens"] == sum(row["paid_tokens"] for row in report["rows"]) == billed
    assert report["total"]["paid_usd"] == pytest.approx(billed * 0.0402 / 1e6)
    assert report["total"]["reserved_tokens"] == 0
    assert report["total"]["saved_tokens"] > 0
    names = [row["name"] for row in report["rows"]]
    assert len(names) == {"day": 2, "source": 1, "model": 1, "batch": 3}[by]
    assert names[0] == {"source": "docs", "model": "voyage-4"}.get(by, names[0])
    text = run("cost", "--by", by).stdout
    assert "█" in text
    assert text.splitlines()[0].split() == [by, "tokens", "paid", "reserved", "saved"]
    rows = list(csv.DictReader(io.StringIO(run("cost", "--by", by, "--csv").stdout)))
    assert [row[by] for row in rows] == [name or "" for name in names]
    assert sum(int(row["paid_tokens"]) for row in rows) == billed


def test_what_is_under_way_is_reserved(run):
    run("sync", "--no-wait", code=3)
    total = run.json("cost", "--by", "source")["total"]
    assert total["paid_tokens"] == 0
    assert total["reserved_tokens"] > 0
    run("sync")
    assert run.json("cost")["total"]["reserved_tokens"] == 0


def test_a_bill_of_some_days(run):
    run("sync")
    first = now_us(run.world.clock)
    run.world.clock.advance(3 * 86_400)
    run.world.write("new.md", "# New\n\nA new one.\n")
    run("sync")
    late = run.json("cost", "--since", "2d")
    assert len(late["rows"]) == 1
    day = late["rows"][0]["name"]
    assert run.json("cost", "--since", day)["rows"] == late["rows"]
    assert first > 0
    assert "neither a day" in run("cost", "--since", "yesterday", code=2).stderr


def test_what_no_answer_reports_is_said_to_be_assumed(run):
    run("sync")
    assert "assumed" not in run("cost").stdout
    run.world.write("new.md", "# New\n\nA new one, of which nothing is said.\n")
    before = run.json("cost")["total"]["paid_tokens"]
    run.world.clock.advance(86_400)
    run.world.transport = Silent(run.world.sim)
    run("sync")
    found = run.json("cost", "--by", "day")
    first, second = found["rows"]
    assert (first["assumed_tokens"], first["assumed_usd"]) == (0, 0)
    assert second["assumed_tokens"] == second["paid_tokens"] == found["total"]["assumed_tokens"] > 0
    assert second["assumed_usd"] == pytest.approx(second["paid_usd"])
    assert found["total"]["paid_tokens"] == before + second["paid_tokens"]
    told = " ".join(run("cost").stdout.split())
    assert (
        f"for {second['assumed_tokens']} tokens is assumed: the provider reported no usage for that." in told
    )
    rows = list(csv.DictReader(io.StringIO(run("cost", "--csv").stdout)))
    assert [int(row["assumed_tokens"]) for row in rows] == [0, second["assumed_tokens"]]
    assert run.json("cost", "--recompute")["equal"]
    assert run.json("status")["tokens"]["assumed"] == second["assumed_tokens"]
    assert "tokens assumed: the provider reported no usage" in run("status").stdout


def test_the_books_agree_with_the_lines_or_say_so(run):
    run("sync")
    found = run.json("cost", "--recompute")
    assert found["equal"]
    assert found["line_tokens"] == found["booked_tokens"] == run.world.ledger.batch_tokens
    assert "The books agree" in run("cost", "--recompute").stdout
    tamper(run, "UPDATE spend SET tokens = tokens + 7, usd = usd * 2 WHERE kind = 'settled'")
    found = run.json("cost", "--recompute", code=3)
    assert (found["differing"], found["booked_tokens"] - found["line_tokens"]) == (1, 7)
    assert found["differences"][0]["source"] == "docs"
    assert "tokens booked" in run("cost", "--recompute", code=3).stdout


def test_money_that_went_to_the_wrong_source_is_found(run):
    run("sync")
    tamper(run, "UPDATE spend SET source_id = NULL WHERE kind = 'settled'")
    assert run.json("cost", "--recompute", code=3)["differing"] == 2


def test_options_that_exclude_each_other(run):
    assert "Choose --json or --csv" in run("cost", "--json", "--csv", code=2).stderr
    assert "--recompute" in run("cost", "--recompute", "--csv", code=2).stderr


# --- the tokenizer ---


def test_a_tokenizer_is_fetched_and_counted_by(run, tmp_path, monkeypatch):
    content = make_tokenizer(tmp_path / "source.json").read_bytes()
    asked = []

    def get(request):
        asked.append(str(request.url))
        return httpx.Response(200, content=content)

    fetch = hub.fetch_tokenizer
    monkeypatch.setattr(
        hub, "fetch_tokenizer", lambda *a, **k: fetch(*a, **k, transport=httpx.MockTransport(get))
    )
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.test")
    found = run.json("fetch-tokenizer")
    assert found["bytes"] == len(content)
    assert asked == ["https://mirror.test/voyageai/voyage-4/resolve/main/tokenizer.json"]
    assert run.json("plan")["tokens_counted_by"].startswith("tokenizer ")
    assert "(estimated)" not in run("plan").stdout
    assert "SIGHUP" in run("fetch-tokenizer", "--hub", "https://other.test").stdout
    assert asked[-1].startswith("https://other.test/")


def test_a_tokenizer_that_cannot_be_had_stops_nothing(run, monkeypatch):
    fetch = hub.fetch_tokenizer
    gone = httpx.MockTransport(lambda request: httpx.Response(401))
    monkeypatch.setattr(hub, "fetch_tokenizer", lambda *a, **k: fetch(*a, **k, transport=gone))
    result = run("fetch-tokenizer", code=1)
    assert "answers 401" in result.stderr
    assert "estimated" in result.stderr
    run("sync")


def test_a_file_of_ones_own_is_not_overwritten(run, tmp_path):
    own = {"voyage": {"tokenizer": str(make_tokenizer(tmp_path / "own.json"))}}
    assert "nothing is fetched" in run("fetch-tokenizer", code=2, **own).stderr


def test_a_file_of_ones_own_that_is_not_there_is_named(run, tmp_path):
    run("sync")
    run.world.write("new.md", "# New\n\nA new one.\n")
    own = {"tokenizer": str(tmp_path / "none.json")}
    planned = run("plan", voyage=own).stdout
    asked = run("reprofile", code=6, voyage={**own, "model": "voyage-3.5"}).stdout
    for told in (planned, asked):
        assert "[voyage] tokenizer names, is not there" in " ".join(told.split())
        assert "fetch-tokenizer" not in told, "it fetches nothing in place of a file of one's own"


def test_simulate_bills_by_a_tokenizer_or_says_why_not(tmp_path):
    (tmp_path / "bad.json").write_text("{}")
    result = CliRunner().invoke(cli, ["simulate", "--port", "0", "--tokenizer", str(tmp_path / "bad.json")])
    assert result.exit_code == 2
    assert "cannot be used as a tokenizer" in result.stderr
