"""Base64 where the provider takes it, JSON numbers where it does not: nothing is lost or paid twice for finding out."""

import json

import pytest
from small_world import Small, quick
from step_doors import all_batches, until

from voyage_jobs.core.states import Batch
from voyage_jobs.steps.acts import perform

TEXTS = {f"d{number}.md": f"text number {number}" for number in range(5)}
REJECTING = ["rejected", "rejected_in_job", "rejected_by_line"]


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


def small_of(tmp_path, options=None, faults=None, wished="auto", **sections):
    sections["voyage"] = {"encoding_format": wished}
    small = Small(tmp_path, options=options, faults=faults, **sections)
    for path, text in TEXTS.items():
        small.write(path, text)
    return small


def asked(small):
    """Per job, in their order, whether it asked for base64."""
    with small.worker() as context:
        return ["base64" in json.loads(each.request_params).values() for each in all_batches(context)]


def all_is_served(small):
    assert small.served() == {path.name: [path.read_text()] for path in small.docs.iterdir()}
    assert small.ledger.billed_more_than_once() == {}


def now_reads(small, how):
    """The provider changes its mind."""
    object.__setattr__(small.sim.options, "encoding_format", how)


def add(small, path):
    small.write(path, f"text of {path}")


@pytest.mark.parametrize("taken", ["honoured", "ignored"])
def test_base64_is_asked_for_as_long_as_it_is_not_refused(tmp_path, taken):
    small = small_of(tmp_path, {"encoding_format": taken})
    small.run()
    add(small, "more.md")
    small.run()
    all_is_served(small)
    assert asked(small) == [True, True]
    assert len(small.log.named("encoding.accepted")) == 1


@pytest.mark.parametrize("how", REJECTING)
def test_a_refusal_is_found_out_once_and_costs_nothing(tmp_path, how):
    small = small_of(tmp_path, {"encoding_format": how})
    small.run()
    all_is_served(small)
    before = len(asked(small))
    add(small, "more.md")
    small.run()
    all_is_served(small)
    assert asked(small)[-1] is False
    assert len(asked(small)) == before + 1
    assert len(small.log.named("encoding.refused")) == 1


@pytest.mark.parametrize("how", REJECTING)
def test_a_refusal_after_base64_was_taken_is_known_by_its_words(tmp_path, how):
    small = small_of(tmp_path)
    small.run()
    now_reads(small, how)
    add(small, "more.md")
    small.run()
    all_is_served(small)
    assert asked(small)[-1] is False
    assert len(small.log.named("encoding.refused")) == 1


def test_one_job_alone_tries_until_its_results_are_read(tmp_path):
    small = small_of(tmp_path, batching={"max_inputs": 2})
    small.run()
    all_is_served(small)
    assert asked(small) == [True, False, False]
    add(small, "more.md")
    small.run()
    assert asked(small)[-1] is True


def test_a_refusal_that_has_another_reason_does_not_end_base64(tmp_path):
    small = small_of(tmp_path, faults={"create_refused": {"nth": 1, "message": "no"}})
    with small.worker() as context:
        batch = until(small, context, Batch.PARKED)
        perform(context, "retry", {"ref": batch.ref}, "me")
    small.run()
    all_is_served(small)
    assert asked(small)[-1] is True


def test_texts_that_are_refused_are_refused_in_either_encoding(tmp_path):
    faults = {"line_refused": {"contains": "text", "message": "too long"}}
    small = small_of(tmp_path, faults=faults)
    small.run()
    assert small.served() == {}
    assert asked(small) == [True, False]


def test_answers_that_cannot_be_read_are_asked_for_as_numbers(tmp_path):
    small = small_of(tmp_path, faults={"job_unusable": {"nth": 1}})
    with small.worker() as context:
        batch = until(small, context, Batch.PARKED)
        perform(context, "retry", {"ref": batch.ref}, "me")
    small.run()
    assert small.served() == {path: [text] for path, text in TEXTS.items()}
    assert asked(small) == [True, False]


@pytest.mark.parametrize("wished", ["auto", ""])
def test_results_in_the_encoding_that_was_not_asked_for_are_read(tmp_path, wished):
    small = small_of(tmp_path, faults={"job_encoding": {}}, wished=wished)
    small.run()
    all_is_served(small)


@pytest.mark.parametrize("point", ["create.answered", "collect.before_commit", "collect.committed"])
@pytest.mark.parametrize("how", ["honoured", "rejected_by_line"])
def test_dying_while_it_is_found_out_costs_nothing(tmp_path, how, point):
    small = small_of(tmp_path, {"encoding_format": how})
    small.dies_at(point)
    small.later(2000)
    all_is_served(small)


def test_the_setting_has_the_last_word(tmp_path):
    small = small_of(tmp_path, wished="")
    small.run()
    assert asked(small) == [False]
