"""Expediting: what is lost is booked as maybe paid and never asked for by itself; what is answered is paid once."""

from __future__ import annotations

import pytest
from step_doors import (
    all_batches,
    document,
    embeddings_by_state,
    money,
    newest,
    prose,
    query,
    scan,
    settle,
    shown,
    versions_of,
)
from verify_doors import found, repaired, sql
from world import World

from voyage_jobs.core import crash
from voyage_jobs.core.states import Batch, Mode
from voyage_jobs.errors import ConfigError, DiskFullError, NeedsOperatorError
from voyage_jobs.state import meta, orders
from voyage_jobs.steps import expedite as step
from voyage_jobs.steps import synchronous
from voyage_jobs.steps.acts import carry_out, perform
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.collect import collect
from voyage_jobs.steps.submit import submit

BUDGET_USD = 0.06 / 1e6  # a token of voyage-4 at the full price


class Death(BaseException):
    """The process is gone."""


@pytest.fixture(autouse=True)
def disarmed():
    yield
    crash.arm(None)


def order(world, path="a.md", **more):
    arguments = {"order": world.clock.token(), "source": "docs", "path": path, "also_in_flight": False}
    return {**arguments, **more}


def ask(world, context, path="a.md", **more):
    return perform(context, "expedite", order(world, path, **more), "anna")


def world_of(root, *, sections=3, **options):
    world = World(root, **options)
    world.write("a.md", prose("a", sections))
    return world


def calls(context):
    """Every request that was sent at once: its outcome, what its batch was billed, and why."""
    return query(
        context,
        "SELECT a.state, b.tokens_settled, a.detail FROM attempts a JOIN batches b ON b.id = a.batch_id"
        " WHERE b.mode = 'sync' ORDER BY a.id",
    )


def spent(context, kind):
    rows = query(context, "SELECT COALESCE(SUM(tokens), 0) FROM spend WHERE kind = :kind", kind=kind)
    return rows[0][0]


def nothing_reserved(context):
    return money(context).reserved_tokens == 0


# --- what makes no sense ---


def test_a_document_that_nobody_knows(world):
    with world.worker() as context:
        scan(context)
        with pytest.raises(ConfigError, match="No scan has seen nosuch"):
            ask(world, context, "nosuch.md")


def test_a_source_that_nobody_knows(world):
    with world.worker() as context, pytest.raises(ConfigError, match="no source 'other'"):
        ask(world, context, source="other")


def test_more_than_was_agreed_to_is_not_sent(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        with pytest.raises(ConfigError, match="1 were agreed to"):
            ask(world, context, most_tokens=1)
        assert calls(context) == []
    assert world.ledger.sync_tokens == 0


def test_an_order_of_yesterday_is_void(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        asked_at = int(world.clock.wall() * 1e6)
        world.clock.advance(2 * 3600)
        with pytest.raises(ConfigError, match="too long ago"):
            ask(world, context, asked_at=asked_at)
    assert world.ledger.sync_tokens == 0


def test_nothing_is_sent_before_lost_jobs_are_claimed(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        with context.store.write() as tx:
            meta.put(tx, meta.CLAIM, meta.CLAIM_DUE)
        with pytest.raises(NeedsOperatorError, match="not claimed yet"):
            ask(world, context)


@pytest.mark.parametrize("what", [{}, {"sending": True}, {"source": "docs"}])
def test_nothing_is_sent_while_it_is_to_rest(tmp_path, what):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        perform(context, "pause", what, "ben")
        with pytest.raises(ConfigError, match="is paused by ben") as caught:
            ask(world, context)
        assert "voyage-jobs resume" in caught.value.hint
        perform(context, "resume", what, "ben")
        assert ask(world, context)["state"] == "published"


@pytest.mark.parametrize(
    "limits",
    [
        {"budget": {"daily_usd": 5 * BUDGET_USD}},
        {"budget": {"daily_tokens": 5}},
        {"budget": {"run_tokens": 5}},
    ],
)
def test_a_budget_that_does_not_hold_all_of_it_holds_nothing(tmp_path, limits):
    world = world_of(tmp_path)
    with world.worker(**limits) as context:
        from voyage_jobs.steps.budget import begin_run

        begin_run(context)
        scan(context)
        with pytest.raises(ConfigError, match="budget does not allow"):
            ask(world, context)
        assert nothing_reserved(context)
    assert world.ledger.sync_tokens == 0


def test_the_full_price_counts_in_a_budget_of_dollars(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        tokens = query(context, "SELECT SUM(tokens) FROM embeddings")[0][0]
    between = (tokens - 1) * BUDGET_USD  # enough at the price of a batch
    with world.worker(budget={"daily_usd": between}) as context:
        with pytest.raises(ConfigError, match="budget does not allow"):
            ask(world, context)
    with world.worker(budget={"daily_usd": tokens * BUDGET_USD}) as context:
        assert ask(world, context)["expedited"]["texts"] == 3


def test_without_a_price_a_budget_of_dollars_allows_nothing(tmp_path):
    world = world_of(tmp_path, voyage={"model": "voyage-unheard-of"})
    with world.worker(budget={"daily_usd": 100}) as context:
        scan(context)
        with pytest.raises(ConfigError, match="budget does not allow"):
            ask(world, context)


# --- refused: known not to have happened ---


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ({"auth_outage": {"on": "embeddings"}}, "auth"),
        ({"unpaid_account": {"on": "embeddings"}}, "quota"),
        ({"rate_limited": {"on": "embeddings"}}, "rate_limited"),
        ({"rate_limited": {"on": "embeddings", "retry_after_s": 61}}, "rate_limited"),
        ({"request_lost": {"on": "embeddings", "as": "connect_error"}}, "unreachable"),
    ],
)
def test_what_is_refused_costs_nothing_and_stays_wanted(tmp_path, faults, code):
    world = world_of(tmp_path, faults=faults)
    with world.worker() as context:
        scan(context)
        answer = ask(world, context)
        assert answer["stopped"]["code"] == code
        assert answer["expedited"] == {"texts": 0, "tokens": 0, "usd": 0}
        assert answer["maybe_paid"]["texts"] == 0
        assert (answer["left"]["wanted"], answer["state"]) == (3, "waiting")
        assert [row[0] for row in calls(context)] == ["not_happened"]
        assert embeddings_by_state(context) == {"wanted": 3}
        assert nothing_reserved(context)
        assert (spent(context, "expedited"), spent(context, "maybe_paid")) == (0, 0)
        settle(world, context)  # the batches do it
    assert world.ledger.sync_tokens == 0
    assert world.ledger.billed_more_than_once() == {}
    assert len(shown(world)["a.md"]) == 3


def test_a_wait_that_the_vendor_names_is_kept_if_it_is_short(tmp_path):
    world = world_of(tmp_path, faults={"rate_limited": {"on": "embeddings", "retry_after_s": 20, "times": 2}})
    with world.worker() as context:
        scan(context)
        before = world.clock.mono()
        answer = ask(world, context)
        assert answer["expedited"]["texts"] == 3
        assert 40 <= world.clock.mono() - before < 60
        assert [row[0] for row in calls(context)] == ["not_happened", "not_happened", "created"]
        assert nothing_reserved(context)


def test_waits_are_bounded_all_told(tmp_path):
    world = world_of(tmp_path, faults={"rate_limited": {"on": "embeddings", "retry_after_s": 25}})
    with world.worker() as context:
        scan(context)
        before = world.clock.mono()
        assert ask(world, context)["stopped"]["code"] == "rate_limited"
        assert world.clock.mono() - before <= step.PATIENCE_S


def test_a_stop_ends_the_wait(tmp_path):
    world = world_of(tmp_path, faults={"rate_limited": {"on": "embeddings", "retry_after_s": 20}})
    with world.worker() as context:
        scan(context)
        crash.arm(lambda name: context.stopping.set() if name == "sync.attempt.committed" else None)
        assert ask(world, context)["stopped"]["code"] == "rate_limited"
        assert world.sim.calls["embeddings"] == 1


# --- lost: nobody knows ---

LOST = {
    "answer lost": {"answer_lost": {"on": "embeddings", "times": 1}},
    "connection cut before": {"request_lost": {"on": "embeddings", "times": 1, "as": "read_error"}},
    "503 afterwards": {"server_error": {"on": "embeddings", "times": 1, "status": 503, "after_effect": True}},
    "body cut": {"body_cut": {"on": "embeddings", "times": 1}},
    "no JSON": {"answer_spoilt": {"times": 1, "how": "not_json"}},
    "no data": {"answer_spoilt": {"times": 1, "how": "without_data"}},
}


@pytest.mark.parametrize("name", LOST)
def test_a_lost_answer_is_maybe_paid_and_not_asked_for_again(tmp_path, name):
    world = world_of(tmp_path, faults=LOST[name])
    with world.worker() as context:
        scan(context)
        tokens = query(context, "SELECT SUM(tokens) FROM embeddings")[0][0]
        answer = ask(world, context)
        assert world.sim.calls["embeddings"] == 1
        assert answer["stopped"]["code"] == "unknown"
        assert answer["maybe_paid"] == {
            "texts": 3,
            "tokens": tokens,
            "usd": pytest.approx(tokens * BUDGET_USD),
        }
        assert answer["expedited"]["texts"] == 0
        assert [row[0] for row in calls(context)] == ["lost"]
        assert (spent(context, "maybe_paid"), spent(context, "expedited")) == (tokens, 0)
        assert nothing_reserved(context)
        assert money(context).maybe_paid_tokens == tokens
        assert embeddings_by_state(context) == {"wanted": 3}
        settle(world, context)
    assert world.ledger.billed_more_than_once() == {}
    assert len(shown(world)["a.md"]) == 3


def test_who_asks_again_may_pay_twice_and_sees_it(tmp_path):
    world = world_of(tmp_path, faults=LOST["answer lost"])
    with world.worker() as context:
        scan(context)
        ask(world, context)
        answer = ask(world, context)
        assert (answer["expedited"]["texts"], answer["state"]) == (3, "published")
        assert answer["maybe_paid"]["texts"] == 0  # that was the order before
        assert [row[0] for row in calls(context)] == ["lost", "created"]
    assert set(world.ledger.billed_at_both_prices().values()) == {2}


def test_what_was_maybe_paid_counts_in_the_budgets(tmp_path):
    world = world_of(tmp_path, faults=LOST["answer lost"])
    with world.worker() as context:
        scan(context)
        tokens = query(context, "SELECT SUM(tokens) FROM embeddings")[0][0]
    with world.worker(budget={"daily_tokens": 2 * tokens - 1}) as context:
        ask(world, context)
        with pytest.raises(ConfigError, match="budget does not allow"):
            ask(world, context)


@pytest.mark.parametrize("how", ["nan", "all_zero", "wrong_dimension"])
@pytest.mark.parametrize("encoding", ["", "base64"])
def test_a_bad_vector_is_wanted_again_and_its_neighbours_are_kept(tmp_path, how, encoding):
    world = world_of(
        tmp_path, faults={"answer_spoilt": {"times": 1, "how": how}}, voyage={"encoding_format": encoding}
    )
    with world.worker() as context:
        scan(context)
        answer = ask(world, context)
        assert (answer["expedited"]["texts"], answer["left"]["malformed"]) == (2, 1)
        assert (answer["left"]["wanted"], answer["state"]) == (1, "waiting")
        assert embeddings_by_state(context) == {"held": 2, "wanted": 1}
        assert spent(context, "expedited") == world.ledger.sync_spoilt_tokens
        settle(world, context)
    assert len(shown(world)["a.md"]) == 3


def test_no_further_call_is_made_where_the_results_of_one_cannot_be_used(tmp_path, monkeypatch):
    world = world_of(tmp_path, faults={"answer_spoilt": {"how": "all_zero"}})
    monkeypatch.setattr(synchronous, "MOST_INPUTS", 1)
    with world.worker() as context:
        scan(context)
        answer = ask(world, context)
        assert (answer["calls"], answer["expedited"]["texts"]) == (1, 0)
        assert "cannot be used" in answer["stopped"]["message"]
        assert [(batch.state, batch.code) for batch in all_batches(context)] == [(Batch.PARKED, "unusable")]
    assert world.sim.calls["embeddings"] == 1


# --- done ---


@pytest.mark.parametrize("encoding", ["", "base64"])
@pytest.mark.parametrize("dtype", ["float", "int8", "ubinary"])
def test_what_is_expedited_is_published_and_never_paid_again(tmp_path, encoding, dtype):
    world = world_of(tmp_path, voyage={"encoding_format": encoding, "output_dtype": dtype})
    with world.worker() as context:
        scan(context)
        answer = ask(world, context)
        billed = world.ledger.sync_tokens
        assert answer["expedited"] == {
            "texts": 3,
            "tokens": billed,
            "usd": pytest.approx(billed * BUDGET_USD),
        }
        assert (answer["state"], answer["left"]["total"], answer["stopped"]) == ("published", 0, None)
        assert len(shown(world)["a.md"]) == 3
        assert (spent(context, "expedited"), money(context).settled_tokens) == (billed, billed)
        assert nothing_reserved(context)
        world.take_turns(context)
        assert {batch.mode for batch in all_batches(context)} == {Mode.SYNC}
    world.run()
    assert world.sim.calls["create_batch"] == 0
    assert world.sim.calls["embeddings"] == 1


def test_windows_travel_whole(tmp_path):
    model = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}
    world = world_of(tmp_path, voyage=model)
    with world.worker() as context:
        scan(context)
        answer = ask(world, context)
        assert (answer["expedited"]["texts"], answer["calls"]) == (3, 1)
    assert len(shown(world)["a.md"]) == 3


def test_large_documents_go_in_calls_of_a_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(synchronous, "MOST_INPUTS", 4)
    world = world_of(tmp_path, sections=10)
    with world.worker() as context:
        scan(context)
        answer = ask(world, context)
        assert (answer["calls"], answer["expedited"]["texts"]) == (3, 10)
        assert query(context, "SELECT inputs FROM batches ORDER BY id") == [(4,), (4,), (2,)]
    assert len(shown(world)["a.md"]) == 10


def test_calls_stay_below_the_cap_of_tokens(tmp_path, monkeypatch):
    world = world_of(tmp_path, sections=6)
    with world.worker() as context:
        scan(context)
        each = query(context, "SELECT MAX(tokens) FROM embeddings")[0][0]
        monkeypatch.setattr(synchronous, "MOST_TOKENS", 2 * each)
        ask(world, context)
        assert max(tokens for (tokens,) in query(context, "SELECT tokens_estimated FROM batches")) <= 2 * each
        assert len(calls(context)) >= 3


def test_a_text_longer_than_any_call_still_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(synchronous, "MOST_TOKENS", 1)
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        answer = ask(world, context)
        assert (answer["calls"], answer["expedited"]["texts"]) == (3, 3)


def test_a_loss_in_the_middle_keeps_what_came_before_and_sends_nothing_after(tmp_path, monkeypatch):
    monkeypatch.setattr(synchronous, "MOST_INPUTS", 2)
    world = world_of(tmp_path, sections=6, faults={"answer_lost": {"on": "embeddings", "nth": 2}})
    with world.worker() as context:
        scan(context)
        answer = ask(world, context)
        assert [row[0] for row in calls(context)] == ["created", "lost"]
        assert (answer["expedited"]["texts"], answer["maybe_paid"]["texts"]) == (2, 2)
        assert answer["left"]["wanted"] == 4


def test_the_file_is_read_as_it_is_now(tmp_path):
    world = world_of(tmp_path)
    world.run()
    world.write("a.md", prose("a", 3) + "\n\n# New\n\nAn afterthought.\n")
    with world.worker() as context:
        answer = ask(world, context)
        assert (answer["expedited"]["texts"], answer["state"], answer["file_read"]) == (1, "published", True)
        assert versions_of(context, "a.md") == ["retired", "published"]
        assert "afterthought" in shown(world)["a.md"][-1]
        settle(world, context)
        assert versions_of(context, "a.md") == ["retired", "published"]
    assert world.sim.calls["create_batch"] == 1


def test_a_new_file_in_a_known_folder_needs_no_scan(tmp_path):
    world = world_of(tmp_path)
    world.run()
    world.write("b.md", prose("b"))
    with world.worker() as context:
        assert ask(world, context, "b.md")["state"] == "published"
        settle(world, context)
    assert sorted(shown(world)) == ["a.md", "b.md"]
    assert world.sim.calls["create_batch"] == 1


def test_a_new_folder_is_left_to_the_scan(tmp_path):
    world = world_of(tmp_path)
    world.run()
    world.write("deep/b.md", prose("b"))
    with world.worker() as context, pytest.raises(ConfigError, match="No scan has seen"):
        ask(world, context, "deep/b.md")


def test_a_file_that_is_gone_is_not_embedded(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        world.remove("a.md")
        answer = ask(world, context)  # its text is still here, until a scan says that it has gone
        assert (answer["file_read"], answer["expedited"]["texts"]) == (False, 3)


def test_rules_that_have_changed_are_for_a_scan(tmp_path):
    world = world_of(tmp_path)
    world.run()
    world.write("a.md", "# Another\n\nthing\n")
    source = {"name": "docs", "path": str(world.docs), "exclude": ["x.md"]}
    with world.worker(sources=[source]) as context:
        assert ask(world, context)["file_read"] is False
    assert world.ledger.sync_tokens == 0


# --- beside the batches ---


@pytest.fixture
def travelling(tmp_path):
    """Three texts in a batch that is at the provider, in an open context."""
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        assemble(context, eager=True)
        while newest(context).remote_id is None:
            submit(context)
        yield world, context


def test_what_travels_in_a_batch_is_not_sent_again(travelling):
    world, context = travelling
    answer = ask(world, context)
    assert answer["left"]["in_batches"] == {newest(context).ref: 3}
    assert (answer["calls"], answer["state"]) == (0, "waiting")
    assert world.ledger.sync_tokens == 0


def test_who_insists_pays_twice_and_it_is_counted(travelling):
    world, context = travelling
    answer = ask(world, context, also_in_flight=True)
    assert (answer["expedited"]["texts"], answer["state"]) == (3, "published")
    assert len(shown(world)["a.md"]) == 3
    settle(world, context)
    with context.store.read() as connection:
        twice = orders.paid_twice(connection)
    assert (twice.inputs, twice.tokens) == (3, world.ledger.batch_tokens)
    assert twice.usd == pytest.approx(world.ledger.batch_tokens * 0.0402 / 1e6)
    assert set(world.ledger.billed_at_both_prices().values()) == {2}
    assert embeddings_by_state(context) == {"held": 3}
    assert money(context).settled_tokens == world.ledger.batch_tokens + world.ledger.sync_tokens
    assert versions_of(context, "a.md") == ["published"]


def test_a_pack_that_is_lost_while_the_batch_is_under_way_waits_for_the_batch(travelling):
    world, context = travelling
    ask(world, context, also_in_flight=True)
    (segment_name,) = context.segments.names()
    context.segments.path(segment_name).unlink()
    from voyage_jobs.errors import CorruptionError
    from voyage_jobs.steps.publish import lose_segment

    lose_segment(context, segment_name, CorruptionError("gone"))
    assert embeddings_by_state(context) == {"packed": 3}
    settle(world, context)
    assert embeddings_by_state(context) == {"held": 3}
    assert world.sim.calls["create_batch"] == 1


def test_a_cancelled_batch_takes_nothing_away(travelling):
    world, context = travelling
    travels = newest(context).ref
    ask(world, context, also_in_flight=True)
    perform(context, "cancel", {"ref": travels}, "anna")
    settle(world, context)
    assert embeddings_by_state(context) == {"held": 3}


# --- deaths ---


def dies_at(world, context, point, **more):
    def hook(name):
        if name == point:
            raise Death(name)

    crash.arm(hook)
    with pytest.raises(Death):
        ask(world, context, **more)
    crash.arm(None)


@pytest.mark.parametrize("point", ["assemble.committed", "spool.written", "spool.renamed", "spool.committed"])
def test_dying_before_the_request_costs_nothing_and_sends_nothing(tmp_path, point):
    world = world_of(tmp_path)
    arguments = order(world)
    with pytest.raises(Death), world.worker() as context:
        scan(context)
        dies_at(world, context, point, **arguments)
        raise Death
    with world.worker() as context:
        assert calls(context) == []
        assert embeddings_by_state(context) == {"wanted": 3}
        assert (spent(context, "maybe_paid"), nothing_reserved(context)) == (0, True)
        answer = perform(context, "expedite", arguments, "anna")
        assert (answer["interrupted"], answer["calls"], answer["left"]["wanted"]) == (True, 0, 3)
    assert world.sim.calls["embeddings"] == 0


@pytest.mark.parametrize("point", ["sync.attempt.committed", "sync.answered"])
def test_dying_before_the_answer_is_on_disk_loses_it(tmp_path, point):
    world = world_of(tmp_path)
    with pytest.raises(Death), world.worker() as context:
        scan(context)
        dies_at(world, context, point)
        raise Death
    with world.worker() as context:
        assert [row[0] for row in calls(context)] == ["lost"]
        assert embeddings_by_state(context) == {"wanted": 3}
        assert nothing_reserved(context)
        assert spent(context, "maybe_paid") > 0
        settle(world, context)
    assert world.sim.calls["embeddings"] == (0 if point == "sync.attempt.committed" else 1)
    assert world.ledger.billed_more_than_once() == {}
    assert len(shown(world)["a.md"]) == 3


@pytest.mark.parametrize(
    "point",
    ["sync.spooled", "sync.committed", "segment.written", "segment.renamed", "collect.before_commit"],
)
def test_dying_once_the_answer_is_on_disk_loses_nothing(tmp_path, point):
    world = world_of(tmp_path)
    with pytest.raises(Death), world.worker() as context:
        scan(context)
        dies_at(world, context, point)
        raise Death
    with world.worker() as context:
        assert spent(context, "maybe_paid") == 0
        collect(context)
        ((state, billed, _),) = calls(context)
        assert (state, billed) == ("created", world.ledger.sync_tokens)
        assert embeddings_by_state(context) == {"held": 3}
        assert spent(context, "expedited") == world.ledger.sync_tokens
        assert (spent(context, "maybe_paid"), nothing_reserved(context)) == (0, True)
        world.take_turns(context)
    assert world.ledger.billed_at_both_prices() == {}
    assert world.sim.calls["create_batch"] == 0
    assert len(shown(world)["a.md"]) == 3


@pytest.mark.parametrize(("point", "state"), [("spool.written", "lost"), ("spool.renamed", "created")])
def test_an_answer_is_here_once_its_file_has_its_name(tmp_path, point, state):
    world = world_of(tmp_path)
    with pytest.raises(Death), world.worker() as context:
        scan(context)
        passed = []

        def hook(name):
            passed.append(name)
            if passed.count(point) == 2:  # the first is that of the input file
                raise Death

        crash.arm(hook)
        ask(world, context)
    crash.arm(None)
    with world.worker() as context:
        assert [row[0] for row in calls(context)] == [state]
        settle(world, context)
    assert world.sim.calls["embeddings"] == 1
    assert world.ledger.billed_more_than_once() == {}
    assert len(shown(world)["a.md"]) == 3


def test_an_answer_that_is_damaged_on_disk_counts_as_lost(tmp_path):
    world = world_of(tmp_path)
    with pytest.raises(Death), world.worker() as context:
        scan(context)
        dies_at(world, context, "sync.committed")
        raise Death
    (found,) = (world.data_dir / "spool").glob("*.output.jsonl")
    found.write_bytes(found.read_bytes()[:-40])
    with world.worker() as context:
        collect(context)
        assert [row[0] for row in calls(context)] == ["lost"]
        assert embeddings_by_state(context) == {"wanted": 3}
        assert (spent(context, "maybe_paid") > 0, nothing_reserved(context)) == (True, True)
        assert context.segments.names() == []
        settle(world, context)
    assert world.ledger.billed_more_than_once() == {}


def test_the_next_process_tells_what_came_of_the_order_and_sends_nothing(tmp_path):
    world = world_of(tmp_path, sections=4)
    arguments = order(world)
    with pytest.raises(Death), world.worker() as context:
        scan(context)
        with context.store.write() as tx:
            asked = meta.ask(tx, "anna", "expedite", arguments)
        crash.arm(lambda name: (_ for _ in ()).throw(Death()) if name == "sync.answered" else None)
        carry_out(context)
    crash.arm(None)
    with world.worker() as context:
        assert carry_out(context)
        with context.store.read() as connection:
            answer = meta.result_of(connection, asked)
    assert (answer["interrupted"], answer["maybe_paid"]["texts"], answer["expedited"]["texts"]) == (
        True,
        4,
        0,
    )
    assert answer["stopped"]["code"] == "unknown"
    assert world.sim.calls["embeddings"] == 1


def test_a_request_that_was_left_is_carried_out_once(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        arguments = order(world)
        assert perform(context, "expedite", arguments, "anna")["interrupted"] is False
        again = perform(context, "expedite", arguments, "anna")
        assert (again["interrupted"], again["expedited"]["texts"]) == (True, 3)
    assert world.sim.calls["embeddings"] == 1


def test_a_disk_without_room_sends_nothing(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        context.free_bytes = lambda: 0
        assert "short of room" in ask(world, context)["stopped"]["message"]
        assert calls(context) == []


def test_a_disk_that_fills_up_under_the_answer_counts_it_as_lost(tmp_path, monkeypatch):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)

        def full(*_):
            raise DiskFullError

        monkeypatch.setattr(synchronous, "write_input", full)
        with pytest.raises(DiskFullError):
            ask(world, context)
        assert [row[0] for row in calls(context)] == ["lost"]
        assert nothing_reserved(context)


def test_a_state_that_only_ever_expedited_is_not_taken_for_a_new_one(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        ask(world, context)
    with world.worker() as context:
        assert world.log.named("state.lost") == []
        with context.store.read() as connection:
            assert meta.get(connection, meta.CLAIM) is None


def test_a_lost_state_finds_what_was_expedited(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        ask(world, context)
    for file in world.data_dir.glob("state.db*"):
        file.unlink()
    world.run()
    assert world.sim.calls["create_batch"] == 0
    assert len(shown(world)["a.md"]) == 3


def test_who_and_when_is_on_record(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        ask(world, context)
        assert query(context, "SELECT mode, asked_by, document_id FROM batches") == [
            ("sync", "anna", document(context, "a.md").id)
        ]
        moves = query(
            context, "SELECT origin, target, cause FROM transitions WHERE kind = 'attempt' ORDER BY id"
        )
        assert moves == [(None, "open", "request 1"), ("open", "created", "answered")]
        moves = query(context, "SELECT target, cause FROM transitions WHERE kind = 'batch' ORDER BY id")
        assert [target for target, _ in moves] == ["packed", "spooled", "creating", "ended", "collected"]
        assert moves[0][1] == "3 inputs, sent at once, asked for by anna"


@pytest.mark.parametrize(
    ("faults", "kind", "tamper"),
    [
        ({}, "expedited", "UPDATE spend SET tokens = tokens + 7 WHERE kind = 'expedited'"),
        ({}, "expedited", "UPDATE spend SET usd = usd * 2 WHERE kind = 'expedited'"),
        ({}, "expedited", "DELETE FROM spend WHERE kind = 'released'"),
        (LOST["answer lost"], "maybe_paid", "DELETE FROM spend WHERE kind = 'maybe_paid'"),
    ],
)
def test_verify_finds_money_that_is_not_what_its_batch_says_and_books_it_again(
    tmp_path, faults, kind, tamper
):
    world = world_of(tmp_path, faults=faults)
    with world.worker() as context:
        scan(context)
        ask(world, context)
    world.run()
    booked = (
        "SELECT s.kind, s.tokens, s.usd, s.at FROM spend s JOIN batches b ON b.id = s.batch_id"
        " WHERE b.mode = 'sync' ORDER BY s.kind"
    )
    before = sql(world, booked)
    assert found(world) == {}
    sql(world, tamper)
    assert repaired(world) == ({"spend_wrong": 1}, {})
    assert sql(world, booked) == before
    assert kind in {row[0] for row in before}
