"""The table of moves, looked at from the outside: what is legal, what is not, and what the schema says of it."""

from __future__ import annotations

import itertools
import re

import pytest

from voyage_jobs.core import states
from voyage_jobs.core.states import (
    AT_THE_VENDOR,
    BEFORE_THE_JOB,
    LIVE_VERSIONS,
    MOVES,
    UNFINISHED,
    Batch,
    Document,
    IllegalMoveError,
    Version,
)
from voyage_jobs.state.schema import EMBEDDING_CODES, metadata

KINDS = (
    states.Source,
    states.Document,
    states.Version,
    states.Embedding,
    states.Batch,
    states.Attempt,
)
CHECKED = {
    "sources": states.Source,
    "documents": states.Document,
    "versions": states.Version,
    "batches": states.Batch,
    "attempts": states.Attempt,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_of_states_is_legal_or_refused(kind):
    for origin, target in itertools.product(kind, kind):
        if target in MOVES[kind][origin] or (origin, target) in states.ONLY_SYNC:
            states.check(origin, target)
        else:
            with pytest.raises(IllegalMoveError, match=f"{origin} -> {target} is not a legal move"):
                states.check(origin, target)


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(KINDS, 2)))
def test_no_move_leads_from_one_kind_to_another(one, other):
    for origin, target in itertools.product(one, other):
        with pytest.raises(IllegalMoveError):
            states.check(origin, target)


def test_every_state_has_its_moves_and_none_leads_to_itself():
    assert set(MOVES) == set(KINDS)
    for kind, table in MOVES.items():
        assert set(table) == set(kind)
        for origin, targets in table.items():
            assert origin not in targets
            assert all(type(state) is kind for state in (origin, *targets))


@pytest.mark.parametrize("kind", KINDS)
def test_every_state_can_be_reached_from_the_first(kind):
    first = next(iter(kind))
    reached, waiting = {first}, [first]
    if kind is states.Document:  # a document may be skipped at first sight
        reached.add(Document.SKIPPED)
    while waiting:
        for target in MOVES[kind][waiting.pop()]:
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    assert reached == set(kind)


@pytest.mark.parametrize("state", [state for state in Batch if state is not Batch.CLOSED])
def test_every_batch_can_be_brought_to_its_end(state):
    reached, waiting = {state}, [state]
    while waiting:
        fresh = MOVES[Batch][waiting.pop()] - reached
        reached |= fresh
        waiting.extend(fresh)
    assert Batch.CLOSED in reached


def test_a_create_call_without_an_outcome_leads_to_another_only_over_uploaded_or_spooled():
    """Nothing but `uploaded` may lead to `creating`: no second create call without a judgement on the first."""
    assert {origin for origin, targets in MOVES[Batch].items() if Batch.CREATING in targets} == {
        Batch.UPLOADED
    }


def test_a_batch_whose_job_may_exist_is_never_called_cancelled():
    for state in (*AT_THE_VENDOR, Batch.ENDED):
        assert Batch.CANCELLED not in MOVES[Batch][state]


def test_the_groups_of_batch_states_are_told_apart():
    assert set(UNFINISHED) == {*BEFORE_THE_JOB, *AT_THE_VENDOR, Batch.ENDED}
    over = set(Batch) - set(UNFINISHED)
    assert over == {Batch.COLLECTED, Batch.CLOSED, Batch.REFUSED, Batch.PARKED, Batch.CANCELLED}


def test_dead_versions_stay_dead():
    for state in set(Version) - set(LIVE_VERSIONS):
        assert not MOVES[Version][state]


@pytest.mark.parametrize("table", CHECKED)
def test_the_schema_allows_exactly_these_words(table):
    (check,) = [c for c in metadata.tables[table].constraints if c.name == f"ck_{table}_state"]
    assert set(re.findall(r"'(\w+)'", str(check.sqltext))) == {str(word) for word in CHECKED[table]}


def test_the_stored_codes_of_embeddings_cover_every_state():
    assert set(EMBEDDING_CODES) == set(states.Embedding) - {states.Embedding.SUBMITTED}
    assert sorted(EMBEDDING_CODES.values()) == [0, 1, 2, 3, 4]


def test_words_that_two_kinds_share_do_not_share_their_moves():
    assert states.Batch.REFUSED == states.Attempt.REFUSED  # the words are equal, the states are not
    states.check(states.Batch.REFUSED, states.Batch.CLOSED)
    states.check(states.Embedding.PACKED, states.Embedding.WANTED)
    with pytest.raises(IllegalMoveError):
        states.check(states.Attempt.REFUSED, states.Attempt.CREATED)


def test_kinds_are_named_as_in_the_history():
    names = [states.kind_of(next(iter(kind))) for kind in KINDS]
    assert names == ["source", "document", "version", "embedding", "batch", "attempt"]


def test_a_batch_with_a_job_makes_no_move_of_one_that_is_sent_at_once():
    for origin, target in states.ONLY_SYNC:
        states.check_batch(states.Mode.SYNC, origin, target)
        with pytest.raises(IllegalMoveError, match="for mode sync alone"):
            states.check_batch(states.Mode.BATCH, origin, target)
    with pytest.raises(IllegalMoveError):
        states.check_batch(states.Mode.SYNC, Batch.CLOSED, Batch.PACKED)
