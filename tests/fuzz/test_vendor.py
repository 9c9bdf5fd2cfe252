"""A vendor whose answers are wrong for a while: the worker lives, waits, and in the end all is served and paid once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from small_world import Small, quick

from fuzz.answers import BIG, BODIES, TIMES, VALUES
from fuzz.vendor import Changed, rewritten

TEXTS = {f"d{number}.md": f"text number {number}" for number in range(4)}
UNKNOWN = st.sampled_from(
    ["reticulating", "In Progress!", "", "\x1b[31mred", "x" * 3000, "done\nand done", "\U0001f600", 7, None]
)
HARMLESS = st.one_of(
    st.tuples(
        st.just("request_counts"),
        VALUES | st.fixed_dictionaries({"total": BIG, "completed": st.just(0), "failed": BIG}),
    ),
    st.tuples(
        st.sampled_from(["created_at", "in_progress_at", "expected_completion_at", "expires_at"]),
        TIMES | VALUES,
    ),
    st.tuples(st.sampled_from(["endpoint", "model", "purpose", "errors", "object", "news"]), VALUES),
    st.tuples(st.just("metadata"), VALUES),
    st.tuples(st.just("status"), UNKNOWN),
    st.tuples(st.just("id"), st.sampled_from(["", None, 7, "batch-of-somebody-else"])),
)
"""Fields that may say anything for a while without a job of ours being taken for over, or for lost."""
STRANGERS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(["batch-x", "batch-y", "file-x"]),
            "status": st.sampled_from(["completed", "failed", "odd"]),
        },
        optional={
            "metadata": VALUES | st.fixed_dictionaries({"voyage_jobs_ref": VALUES}),
            "filename": st.sampled_from(
                ["voyage-jobs-.jsonl", "voyage-jobs-../../x.jsonl", "\u202e.jsonl", ""]
            )
            | VALUES,
            "input_file_id": VALUES,
            "output_file_id": VALUES,
        },
    ),
    max_size=3,
)
PLACES = st.sampled_from(["/batches", "/files", "/batches/", "/files/"])


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


def is_at(place: str, path: str) -> bool:
    """Whether a path is this list, or (with a slash behind it) one of its items; the content of files is not."""
    return (
        path == place if not place.endswith("/") else path.startswith(place) and not path.endswith("/content")
    )


def all_is_served(change, faults=None, **sections):
    """A life with this vendor, which is as it should be after the first answers that `change` spoils."""
    with tempfile.TemporaryDirectory() as folder:
        small = Small(Path(folder), faults=faults, **sections)
        small.transport = Changed(small.sim, change)
        for path, text in TEXTS.items():
            small.write(path, text)
        small.run(turns=5000)
        assert small.served() == {path: [text] for path, text in TEXTS.items()}
        assert small.ledger.billed_more_than_once() == {}
        assert small.ledger.units() == len(TEXTS)


LOST = st.sampled_from([None, {"answer_lost": {"on": "create_batch", "times": 1}}])


@examples(6)
@given(st.lists(st.tuples(PLACES, HARMLESS), min_size=1, max_size=4), st.integers(1, 3), STRANGERS, LOST)
def test_fields_that_say_anything(fields, times, strangers, lost):
    left = dict.fromkeys(range(len(fields)), times)

    def change(path, body):
        def spoil(said):
            items = said.get("data", [said]) if path in ("/batches", "/files") else [said]
            for number, (place, (name, value)) in enumerate(fields):
                if left[number] and is_at(place, path):
                    left[number] -= 1
                    for item in items:
                        item[name] = value
            if path in ("/batches", "/files"):
                said["data"] += strangers

        return None if path.endswith("/content") else rewritten(body, spoil)

    all_is_served(change, lost)


@examples(6)
@given(st.lists(st.tuples(PLACES, BODIES), min_size=1, max_size=4), st.integers(1, 3), LOST)
def test_answers_that_are_something_else(bodies, times, lost):
    left = dict.fromkeys(range(len(bodies)), times)

    def change(path, body):
        for number, (place, instead) in enumerate(bodies):
            if left[number] and is_at(place, path):
                left[number] -= 1
                return instead
        return None

    all_is_served(change, lost)


@examples(6)
@given(st.lists(st.booleans(), max_size=24), st.integers(1, 9), LOST)
def test_answers_that_belong_to_another_question(mixed_up, back, lost):
    """As of a cache that mixes up its entries: an answer about one job or file is that about another."""
    before, turns = [], iter(mixed_up)

    def change(path, body):
        if path.endswith("/content") or path in ("/batches", "/files"):
            return None
        others = [said for at, said in before if at != path]
        before.append((path, body))
        return others[-min(back, len(others))] if others and next(turns, False) else None

    all_is_served(change, lost, batching={"max_inputs": 1, "min_inputs": 1})
