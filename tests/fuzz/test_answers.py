"""Whatever the provider answers, a call ends in what was asked for or in an error of ours that says so."""

from __future__ import annotations

import contextlib
import dataclasses

import httpx
import numpy as np
import pytest
from client_doubles import KEY, client_of, job_spec
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from fuzz.answers import BIG, BODIES, DEEP, TEXTS, TIMES, VALUES
from voyage_jobs.core.profile import CONTEXTUALIZED, EMBEDDINGS, Profile
from voyage_jobs.errors import VendorError
from voyage_jobs.vendors.rest import wire

STATUS = st.sampled_from(
    [200, 200, 200, 201, 204, 301, 400, 401, 402, 404, 408, 410, 422, 429, 500, 503, 599]
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "request-id", "content-type", "location"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
    | st.sampled_from(
        ["inf", "nan", "1e400", "-5", "Sat, 01 Aug 2026 12:00:00 GMT", "Sat, 01 Aug 0000 12:00:00 +9999"]
    ),
)
INPUT = b'{"custom_id":"a","body":{"input":["x"]}}\n'
QUERY = Profile(EMBEDDINGS, "voyage-4", 4, "float", "query")
CONTEXT = Profile(CONTEXTUALIZED, "voyage-context-3", 4, "float", "query")


@pytest.fixture(scope="module")
def spool(tmp_path_factory):
    path = tmp_path_factory.mktemp("spool") / "input.jsonl"
    path.write_bytes(INPUT)
    return path


@examples(200)
@given(STATUS, HEADERS, BODIES, st.integers(0, 9))
def test_every_call_ends_in_an_answer_or_in_an_error_of_the_vendor(spool, status, headers, body, call):
    client = client_of(httpx.Response(status, headers=headers, content=body))
    calls = (
        lambda: client.create_batch(job_spec()),
        lambda: client.get_batch("batch-1"),
        lambda: client.cancel_batch("batch-1"),
        lambda: next(client.list_batches(), None),
        lambda: client.upload(spool, "ref.jsonl"),
        lambda: client.get_file("file-1"),
        lambda: next(client.list_files(), None),
        lambda: client.delete_file("file-1"),
        lambda: client.embed(["a"], QUERY),
        lambda: client.embed(["a"], CONTEXT),
    )
    error = failure(calls[call])
    if error is not None:
        told = error.message + (error.hint or "")
        assert "\n" not in told
        assert len(told) < 2000
        assert KEY not in told
        assert error.retry_after_s is None or 0 <= error.retry_after_s <= 86_400


def failure(call):
    """The provider's error that a call ends in, or None; any other goes up."""
    try:
        call()
    except VendorError as error:
        return error
    return None


COUNTS = st.fixed_dictionaries({}, optional=dict.fromkeys(("total", "completed", "failed"), BIG | VALUES))
COMPLAINTS = st.lists(
    st.fixed_dictionaries({}, optional={"line": BIG, "message": VALUES, "code": VALUES}) | VALUES
)
FIELDS = {
    "request_counts": COUNTS | VALUES,
    "errors": COMPLAINTS | st.fixed_dictionaries({"data": COMPLAINTS}) | VALUES,
    "metadata": st.dictionaries(TEXTS, VALUES, max_size=3) | VALUES,
    **dict.fromkeys(("created_at", "failed_at", "canceled_at", "expected_completion_at"), TIMES | VALUES),
    **dict.fromkeys(("endpoint", "model", "input_file_id", "output_file_id"), VALUES),
}


@examples(150)
@given(st.fixed_dictionaries({}, optional=FIELDS))
def test_what_is_read_of_a_job_can_be_kept_in_the_state(fields):
    read = wire.read_batch({**fields, "id": "batch-1", "status": "completed"})

    for item in dataclasses.fields(read):
        value = getattr(read, item.name)
        if isinstance(value, int):
            assert -(2**63) <= value < 2**63, item.name
    for error in read.errors:
        assert error.line is None or 0 <= error.line < 2**63
        assert "\n" not in f"{error.code}{error.message}"


@given(DEEP, st.sampled_from([200, 400, 429, 500]))
def test_a_deep_answer_is_an_answer(body, status):
    with contextlib.suppress(VendorError):
        client_of(httpx.Response(status, content=body)).create_batch(job_spec())


@given(BODIES.map(lambda body: b'{"data":[{"index":0,"embedding":[1,2,3,4]}]' + body))
def test_vectors_are_right_or_refused(body):
    with contextlib.suppress(VendorError):
        found = client_of(httpx.Response(200, content=body)).embed(["a"], QUERY)
        assert np.array_equal(found.vectors, [[1, 2, 3, 4]])
