"""The fresh lane: small changes are sent at once, within an allowance, and whatever goes wrong goes by batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_world import Death, Small, quick
from step_doors import all_batches, prose, tripped

from voyage_jobs.config.checks import warnings
from voyage_jobs.core import crash
from voyage_jobs.core.clock import now_us
from voyage_jobs.core.states import Batch, Mode
from voyage_jobs.diagnosis import fresh as choosing
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.fresh import Call, choose
from voyage_jobs.diagnosis.rooms import fresh_rooms
from voyage_jobs.diagnosis.snapshot import gather
from voyage_jobs.planning.plan import plan
from voyage_jobs.report.cost import cost
from voyage_jobs.report.expedite import preview
from voyage_jobs.report.status import status
from voyage_jobs.report.why import why
from voyage_jobs.service.reload import apply
from voyage_jobs.state.fresh import Change
from voyage_jobs.steps import fresh as lane
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.telemetry.metrics.state import StateCollector

DAY_S = 86_400.0


@pytest.fixture(autouse=True)
def fast():
    with quick():
        yield
    crash.arm(None)


class Fresh(Small):
    """A world whose source promises to be fresh within a minute, and whose first document is published."""

    def __init__(self, root, *, first="a.md", fresh=None, **options):
        docs = {"name": "docs", "path": str(root / "docs"), "delete_grace_s": 0, "fresh_within_s": 60}
        options.setdefault("sources", [docs])
        options.setdefault("batching", {"min_inputs": 1000, "linger_s": 300})
        super().__init__(root, fresh=fresh or {}, **options)
        if first is not None:
            self.write(first, prose("first", 3))
            self.run()

    def lives(self, context, seconds=60.0):
        """A daemon works for so long; through a long time in longer strides, since nobody asks anything."""
        pipeline, until = Pipeline(context), self.clock.mono() + seconds
        pipeline.hint("docs")
        while self.clock.mono() < until:
            if not pipeline.turn():
                self.clock.advance(min(pipeline.idle_s(), max(15.0, seconds / 50)))

    def live(self, seconds=60.0, **sections):
        """The same, from a start of its own."""
        with self.worker(mode="run", **sections) as context:
            self.lives(context, seconds)

    def calls(self):
        return self.sim.calls["embeddings"]

    def fresh_batches(self):
        with self.worker() as context:
            return [each for each in all_batches(context) if each.is_fresh]

    def codes(self):
        return {each.code for each in blockers(gather(self.settings(), self.clock))}

    def paid_once(self):
        return not self.ledger.billed_more_than_once() and not self.ledger.billed_at_both_prices()


@pytest.fixture
def world(tmp_path):
    return Fresh(tmp_path)


def report(world):
    return status(world.settings(), world.clock)


# --- what goes at once ---


def test_the_first_scan_goes_by_batch_and_an_edit_at_once(world):
    assert world.calls() == 0
    world.write("a.md", prose("second", 2))
    world.live()

    assert "second" in world.served()["a.md"][0]
    assert world.calls() == 1
    [batch] = world.fresh_batches()
    assert (batch.mode, batch.fresh_documents, batch.order_ref) == (Mode.SYNC, 1, None)
    assert world.paid_once()


def test_several_documents_share_a_call_and_new_ones_go_too(world):
    world.write("a.md", prose("second"))
    for name in "bcd":
        world.write(f"{name}.md", prose(name))
    world.live()

    assert sorted(world.served()) == ["a.md", "b.md", "c.md", "d.md"]
    assert world.calls() == 1
    assert [each.fresh_documents for each in world.fresh_batches()] == [4]


def test_a_source_that_promises_nothing_goes_by_batch(tmp_path):
    world = Fresh(tmp_path, sources=[{"name": "docs", "path": str(tmp_path / "docs")}])
    world.write("a.md", prose("second"))
    world.live(3_000)
    assert world.calls() == 0
    assert "second" in world.served()["a.md"][0]
    assert report(world)["fresh"] is None


def test_what_waits_when_the_promise_begins_is_backlog(tmp_path):
    world = Fresh(tmp_path, first=None, batch_seconds=600.0)
    world.write("a.md", prose("a"))
    world.live(3_000)
    assert world.calls() == 0
    assert list(world.served()) == ["a.md"]


def test_more_than_a_few_documents_are_backlog_but_an_edit_among_them_is_not(tmp_path):
    world = Fresh(tmp_path, fresh={"max_documents": 2})
    for name in "bcd":
        world.write(f"{name}.md", prose(name))
    world.write("a.md", prose("second"))
    world.live()
    assert list(world.served()) == ["a.md"]
    assert "second" in world.served()["a.md"][0]
    assert world.calls() == 1
    world.live(3_000)
    assert sorted(world.served()) == ["a.md", "b.md", "c.md", "d.md"]
    assert world.calls() == 1


def test_a_batch_that_is_due_while_the_change_is_scanned_leaves_it_alone(tmp_path):
    more = {"name": "more", "path": str(tmp_path / "more"), "daily_tokens": 30}
    docs = {"name": "docs", "path": str(tmp_path / "docs"), "fresh_within_s": 60}
    (tmp_path / "more").mkdir()
    world = Fresh(tmp_path, sources=[docs, more])
    for name in "bcd":
        world.write(f"{name}.md", prose(name, 8), folder=tmp_path / "more")
    world.live(3_000)  # what is over that limit waits for tomorrow, and has for longer than linger_s
    world.write("a.md", prose("second"))
    world.live()

    assert "second" in world.served()["a.md"][0]
    assert world.calls() == 1
    assert world.paid_once()


def test_what_is_in_a_batch_is_not_bought_beside_it(tmp_path):
    world = Fresh(tmp_path, batch_seconds=4_000.0, fresh={"max_documents": 1})
    for name in "bc":
        world.write(f"{name}.md", prose(name))
    world.live(400)  # both travel in a job
    world.write("d.md", (world.docs / "b.md").read_text())
    world.live(60)
    assert world.calls() == 0
    assert "in a batch already" in told(world, "d.md") or "Batch" in told(world, "d.md")
    world.live(6_000)
    assert sorted(world.served()) == ["a.md", "b.md", "c.md", "d.md"]
    assert world.paid_once()


def put_off(world, context):
    """Two changes in a call of the lane that the provider has put off; its ref."""
    world.write("a.md", prose("second"))
    world.write("b.md", prose("b"))
    pipeline = Pipeline(context)
    pipeline.hint("docs")
    while world.calls() == 0:
        pipeline.turn()
    [batch] = [each for each in all_batches(context) if each.is_fresh]
    assert (batch.state, batch.code, batch.fresh_documents) == (Batch.SPOOLED, "fresh_call", 2)
    return batch.ref


def order(world, context, **more):
    asked = {"order": world.clock.token(), "source": "docs", "path": "a.md", "also_in_flight": False}
    return perform(context, "expedite", {**asked, **more}, "anna")


def test_who_insists_takes_a_text_out_of_a_call_that_was_not_made_yet(tmp_path):
    world = Fresh(tmp_path, faults={"rate_limited": {"on": "embeddings", "times": 1}})
    with world.worker(mode="run") as context:
        ref = put_off(world, context)
        said = preview(world.settings(), world.clock, "a.md", also_in_flight=True)
        assert (said["send"]["texts"], said["paid_twice"]["texts"]) == (1, 0)
        assert preview(world.settings(), world.clock, "a.md")["in_batches"] == {ref: 1}

        answer = order(world, context, also_in_flight=True, most_tokens=said["send"]["tokens"])
        assert (answer["calls"], answer["expedited"]["texts"], answer["state"]) == (1, 1, "published")
        world.lives(context, 3_000)
    assert sorted(world.served()) == ["a.md", "b.md"]  # the other went by batch
    assert world.paid_once()


def test_who_does_not_insist_leaves_it_to_the_call(tmp_path):
    world = Fresh(tmp_path, faults={"rate_limited": {"on": "embeddings", "times": 1}})
    with world.worker(mode="run") as context:
        ref = put_off(world, context)
        answer = order(world, context)
        assert (answer["calls"], answer["left"]["in_batches"]) == (0, {ref: 1})
        world.lives(context)
        assert [each.state for each in all_batches(context) if each.is_fresh] == [Batch.CLOSED]
    assert sorted(world.served()) == ["a.md", "b.md"]
    assert world.paid_once()


def test_a_build_of_another_table_sends_nothing_at_once(world):
    world.write("a.md", prose("second"))
    with world.worker(voyage={"output_dimension": 16}) as context:
        perform(context, "reprofile", {"do": "begin", "target": context.asked.to_json()}, "me")
        world.lives(context, 120)
    assert world.calls() == 0


def test_a_paused_source_sends_nothing_at_once(world):
    world.write("a.md", prose("second"))
    with world.worker(mode="run") as context:
        perform(context, "pause", {"sending": True}, "me")
        world.lives(context)
        assert world.calls() == 0
        perform(context, "resume", {}, "me")
        world.lives(context)
    assert world.calls() == 1


# --- the allowance ---


@pytest.mark.parametrize(
    "limit", [{"daily_tokens": 300}, {"daily_documents": 2}, {"daily_usd": 300 * 0.06 / 1e6}]
)
def test_the_allowance_of_a_day_is_never_exceeded_and_the_rest_goes_by_batch(tmp_path, limit):
    world = Fresh(tmp_path, fresh=limit)
    for number in range(6):
        world.write("a.md", prose(f"edit {number}"))
        world.live(60)
    billed, calls = world.sim.ledger.sync_tokens, world.calls()
    assert 0 < billed <= 300
    assert 2 <= calls <= 4
    assert ("fresh_spent" in world.codes()) == ("daily_documents" in limit)
    with world.worker(mode="run"):
        why_not = told(world, "a.md")
    assert "used up" in why_not or "left of the day's allowance" in why_not
    world.live(3_000)
    assert "edit 5" in world.served()["a.md"][0]
    assert world.sim.ledger.sync_tokens == billed

    world.clock.advance(DAY_S)
    world.write("a.md", prose("tomorrow"))
    world.live(60)
    assert "tomorrow" in world.served()["a.md"][0]
    assert world.calls() == calls + 1
    assert world.paid_once()


def test_what_went_while_the_clock_was_ahead_uses_up_no_other_day(tmp_path):
    world = Fresh(tmp_path, fresh={"daily_tokens": 10_000, "daily_documents": 5})
    world.clock.step(400 * DAY_S)
    world.write("a.md", prose("edit"))
    world.live(60)
    with world.worker(mode="run") as context, context.store.read() as connection:

        def used():
            rooms = fresh_rooms(connection, context.settings, context.sync_price, now_us(world.clock))
            return [room.used > 0 for room in rooms]

        assert all(used())
        world.clock.step(-400 * DAY_S)
        assert not any(used())


@pytest.mark.parametrize("limit", [{"fresh": {"daily_tokens": 0}}, {"budget": {"daily_tokens": 0}}])
def test_what_was_spent_since_a_call_was_chosen_is_seen_before_it_is_reserved(world, monkeypatch, limit):
    """A search beside may have taken it."""
    members = lane._members

    def and_spend(context, *chosen):
        found = members(context, *chosen)
        apply(context, world.settings(**limit))
        return found

    monkeypatch.setattr(lane, "_members", and_spend)
    world.write("a.md", prose("edit"))
    world.live(60)
    assert world.calls() == 0


def test_calls_that_were_refused_use_up_no_documents_of_the_day(tmp_path):
    world = Fresh(tmp_path, fresh={"daily_documents": 2}, faults={"rate_limited": {"on": "embeddings"}})
    for number in range(3):
        world.write(f"{number}.md", prose(f"refused {number}"))
        world.live(1_200)
    assert world.sim.calls["embeddings"] >= 3
    assert world.sim.ledger.sync_tokens == 0
    world.sim.faults.rules.clear()
    world.write("4.md", prose("now it goes"))
    world.live(60)
    assert world.sim.ledger.sync_tokens > 0
    assert "fresh_spent" not in world.codes()


def test_without_a_price_an_allowance_in_dollars_allows_nothing_and_says_so(world):
    settings = world.settings()
    with world.worker() as context, context.store.read() as connection:
        rooms = list(fresh_rooms(connection, settings, None, now_us(world.clock)))
        facts = gather(settings, world.clock)
    [told] = [each for each in blockers(replace(facts, fresh_rooms=rooms)) if each.code == "fresh_spent"]
    assert "No price is known for voyage-4" in told.text
    assert "sync_usd_per_million" in told.next


def test_budgets_hold_for_the_lane(tmp_path):
    world = Fresh(tmp_path)
    spent = world.ledger.batch_tokens
    world.write("a.md", prose("second"))
    world.live(budget={"daily_tokens": spent + 10})
    assert world.calls() == 0


# --- trouble ---


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        ({"answer_lost": {"on": "embeddings"}}, 1),
        ({"server_error": {"on": "embeddings"}}, 1),
        ({"answer_spoilt": {"on": "embeddings", "how": "not_json"}}, 1),
        ({"rate_limited": {"on": "embeddings"}}, 3),
        ({"rate_limited": {"on": "embeddings", "retry_after_s": 600.0}}, 1),
    ],
)
def test_a_call_that_fails_sends_its_texts_by_batch_and_opens_the_circuit(tmp_path, fault, times):
    world = Fresh(tmp_path, faults=fault)
    world.write("a.md", prose("second"))
    world.live(30)
    assert world.calls() == times
    assert "fresh_deferred" in world.codes()
    world.write("b.md", prose("b"))  # goes by batch, too: nobody knocks again meanwhile
    world.live(15)
    assert world.calls() == times
    with world.worker() as context:
        assert set(tripped(context)) <= {"fresh"}
    world.live(3_000)
    assert "second" in world.served()["a.md"][0]
    assert "b.md" in world.served()


def test_a_call_that_did_not_happen_is_made_again_in_time(tmp_path):
    world = Fresh(tmp_path, faults={"rate_limited": {"on": "embeddings", "times": 1}})
    world.write("a.md", prose("second"))
    world.live(60)
    assert world.calls() == 2
    assert "second" in world.served()["a.md"][0]
    assert "fresh_deferred" not in world.codes()


def test_a_lost_answer_is_maybe_paid_once_and_the_batch_brings_the_rest(tmp_path):
    world = Fresh(tmp_path, faults={"answer_lost": {"on": "embeddings", "times": 1}})
    world.write("a.md", prose("second"))
    world.live(3_000)
    assert world.calls() == 1
    assert cost(world.settings(), world.clock, "day", 0)["maybe_paid"]["calls"] == 1
    world.write("a.md", prose("third"))
    world.live(60)
    assert "third" in world.served()["a.md"][0]
    assert world.calls() == 2


def test_a_refusal_parks_nothing(tmp_path):
    world = Fresh(tmp_path)
    world.write("a.md", prose("second"))
    with world.worker(mode="run") as context:
        refuse_calls(context)
        world.lives(context, 30)
        assert [each.state for each in all_batches(context) if each.is_fresh] == [Batch.CLOSED]
        assert not [each for each in all_batches(context) if each.state is Batch.PARKED]
    assert "fresh_deferred" in world.codes()


def refuse_calls(context):
    from voyage_jobs.errors import RefusedError

    def embed_now(*_args):
        raise RefusedError("It will not do that (400).", status=400)

    context.client.embed_now = embed_now


@pytest.mark.parametrize(
    "point",
    [
        "promise.begun",
        "assemble.before_commit",
        "assemble.committed",
        "spool.written",
        "spool.committed",
        "sync.attempt.committed",
        "sync.answered",
        "sync.spooled",
        "sync.committed",
        "collect.before_commit",
        "collect.committed",
        "publish.committed",
    ],
)
def test_a_death_anywhere_buys_nothing_twice(tmp_path, point):
    world = Fresh(tmp_path, first="a.md" if point != "promise.begun" else None)
    world.write("a.md", prose("second"))

    def hook(name):
        if name == point:
            raise Death(name)

    crash.arm(hook)
    with pytest.raises(Death):
        world.live(400)
    crash.arm(None)
    world.live(3_000)
    assert "second" in world.served()["a.md"][0]
    lost = cost(world.settings(), world.clock, "day", 0)["maybe_paid"]["calls"]
    assert lost == (point in ("sync.attempt.committed", "sync.answered"))
    assert world.paid_once() or point == "sync.answered"


def test_a_death_after_a_failed_call_changes_nothing(tmp_path):
    world = Fresh(tmp_path, faults={"server_error": {"on": "embeddings", "times": 1}})
    world.write("a.md", prose("second"))

    def hook(name):
        if name == "promise.deferred":
            raise Death(name)

    crash.arm(hook)
    with pytest.raises(Death):
        world.live(60)
    crash.arm(None)
    world.live(3_000)
    assert "second" in world.served()["a.md"][0]
    assert world.calls() == 1


def test_what_could_not_be_sent_for_an_hour_goes_by_batch(world):
    world.write("a.md", prose("second"))
    with world.worker(mode="run") as context:
        pipeline = Pipeline(context)
        pipeline.hint("docs")
        while not [each for each in all_batches(context) if each.is_fresh and each.state is Batch.SPOOLED]:
            pipeline.turn()
    world.clock.advance(2 * 3_600)
    world.live(3_000)
    assert world.calls() == 0
    assert "second" in world.served()["a.md"][0]


# --- what is told ---


def told(world, path):
    return why(world.settings(), world.clock, path).paragraph


def test_status_says_what_is_promised_and_how_fresh_it_is(world):
    world.write("a.md", prose("second"))
    world.live()
    found = report(world)
    [source] = found["sources"]
    assert source["fresh"]["promised_s"] == 60
    assert source["fresh"]["changes"] == 1
    assert 0 < source["fresh"]["p95_s"] <= 60
    today = found["fresh"]["today"]
    assert today["documents"] == {"limit": 500, "used": 1}
    assert today["tokens"]["used"] == world.ledger.sync_tokens
    assert not [each for each in found["problems"] if each["code"].startswith("fresh")]


def test_metrics_name_the_lane(world):
    world.write("a.md", prose("second"))
    world.live()
    shown = {
        (sample.name.removeprefix("voyage_jobs_"), *sorted(sample.labels.values())): sample.value
        for family in StateCollector(world.settings(), world.clock).collect()
        for sample in family.samples
    }
    assert shown["tokens_billed_total", "fresh"] == world.ledger.sync_tokens
    assert shown["tokens_billed_total", "batch"] == world.ledger.batch_tokens
    assert shown["fresh_promised_seconds", "docs"] == 60
    assert 0 < shown["fresh_seconds", "0.95", "docs"] <= 60
    assert (shown["fresh_changes", "docs", "fresh"], shown["fresh_changes", "batch", "docs"]) == (1, 0)
    assert (shown["fresh_used", "documents"], shown["fresh_limit", "documents"]) == (1, 500)


def test_cost_names_what_it_took_to_be_fresh(world):
    world.write("a.md", prose("second"))
    world.live()
    total = cost(world.settings(), world.clock, "source", 0)["total"]
    assert total["fresh_tokens"] == total["expedited_tokens"] == world.ledger.sync_tokens > 0


def test_plan_says_what_goes_at_once_and_prices_it_so(world):
    world.write("a.md", prose("second"))
    found = plan(world.settings(), world.clock)
    assert found["fresh"]["documents"] == 1
    assert found["batches"]["count"] == 0
    assert found["price_usd"]["batch"] == found["fresh"]["usd"] == found["price_usd"]["synchronous"] > 0


def test_why_says_how_a_change_goes(tmp_path):
    world = Fresh(tmp_path, fresh={"daily_documents": 1})
    world.write("a.md", prose("second"))
    with world.worker(mode="run") as context:
        pipeline = Pipeline(context, only=frozenset({"scan"}))
        pipeline.hint("docs")
        while pipeline.turn():
            pass
        assert "goes at once" in told(world, "a.md")
    world.live()
    world.write("a.md", prose("third"))
    world.live(30)
    assert "fresh.daily_documents is used up" in told(world, "a.md")


def test_a_promise_that_cannot_be_kept_is_warned_of(world):
    docs = {"name": "docs", "path": str(world.docs), "fresh_within_s": 60, "watch": False}
    assert any("fresh_within_s" in each for each in warnings(world.settings(sources=[docs])))
    assert not [each for each in warnings(world.settings()) if "fresh_within_s" in each]


# --- choosing ---


def change(version, *, served=True, tokens=10, texts=1, source=1, **more):
    return Change(version, version, source, served, tokens, texts, **{"elsewhere": 0, "tried": 0, **more})


def test_edits_go_before_what_is_new_and_the_smallest_first():
    found = [change(1, served=False, tokens=1), change(2, tokens=30), change(3, tokens=20)]
    choice = choose(found, Call(128, 1000, 50))
    assert [each.version_id for each in choice.now] == [3, 2, 1]


def test_what_does_not_fit_one_call_waits_for_the_next_and_is_kept_from_batches():
    choice = choose([change(1, texts=3), change(2, texts=3), change(3, texts=1)], Call(4, 1000, 50))
    assert ([each.version_id for each in choice.now], [each.version_id for each in choice.later]) == (
        [1],
        [2, 3],
    )


@pytest.mark.parametrize(
    ("odd", "word"),
    [
        ({"elsewhere": 1}, choosing.IN_BATCH),
        ({"tried": 1}, choosing.TRIED),
        ({"texts": 200}, choosing.LARGE),
        ({"tokens": 2_000}, choosing.LARGE),
        ({"tokens": 600}, choosing.SPENT),
    ],
)
def test_why_a_change_goes_by_batch(odd, word):
    choice = choose([change(1, **odd), change(2)], Call(128, 1000, 50, tokens_left=500))
    assert choice.because == {1: word}
    assert [each.version_id for each in choice.now] == [2]
    assert word in choosing.BECAUSE


def test_a_change_that_lacks_nothing_is_none():
    assert choose([change(1, texts=0, tokens=0)], Call(128, 1000, 50)).now == []


def test_the_number_that_waits_is_counted_source_by_source():
    found = [change(n, source=n % 2) for n in range(1, 6)]
    choice = choose(found, Call(128, 1000, 2))
    assert set(choice.because) == {1, 3, 5}


def test_what_a_source_may_not_spend_waits_at_once_all_the_same():
    """An import is backlog, however little of it the budget of its source would let through."""
    asked = []
    found = [change(n, served=False) for n in range(1, 8)]
    choice = choose(found, Call(128, 1000, 5), lambda each: not asked.append(each) and len(asked) <= 3)
    assert (list(choice.now), set(choice.because.values()), asked) == ([], {choosing.MANY}, [])


def test_what_goes_by_batch_uses_up_nothing_of_what_its_source_may_spend():
    """Nor does one that is dearer keep back what fits."""
    asked = []
    found = [change(1, tokens=5_000), change(2, tokens=50), change(3, tokens=90)]
    choice = choose(found, Call(128, 1000, 5), lambda each: not asked.append(each) and each.tokens <= 60)
    assert [each.version_id for each in choice.now] == [2]
    assert choice.because == {1: choosing.LARGE, 3: choosing.SPENT}
    assert [each.version_id for each in asked] == [2, 3]


def test_an_import_goes_by_batch_whatever_its_source_may_spend(tmp_path):
    world = Fresh(tmp_path, fresh={"max_documents": 5})
    for number in range(12):
        world.write(f"new{number}.md", prose(f"import {number}", 3))
    docs = {**world.settings().sources[0].model_dump(exclude_unset=True), "daily_tokens": 1_200}
    world.live(600, sources=[docs])
    assert world.calls() == 0
    assert world.sim.ledger.sync_tokens == 0
