import dataclasses

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from voyage_jobs.core.profile import CONTEXTUALIZED, EMBEDDINGS, Profile
from voyage_jobs.errors import BadAnswerError
from voyage_jobs.vendors.remote import METADATA_REF, JobSpec, Phase
from voyage_jobs.vendors.rest import wire
from voyage_jobs.vendors.voyage import requests

NOON_US = 1_785_585_600_000_000  # 2026-08-01T12:00:00Z

BATCH = {
    "id": "batch-1",
    "object": "batch",
    "endpoint": "/v1/embeddings",
    "model": "voyage-4",
    "errors": None,
    "input_file_id": "file-1",
    "output_file_id": "file-2",
    "error_file_id": None,
    "completion_window": "12h",
    "status": "completed",
    "request_counts": {"total": 3, "completed": 2, "failed": 1},
    "metadata": {"ref": "abc"},
    "created_at": "2026-08-01T12:00:00.000000+00:00",
    "completed_at": "2026-08-01T12:00:31.500000+00:00",
}


def batch(**changes):
    return wire.read_batch({**BATCH, **changes})


# --- what must be there ---


@pytest.mark.parametrize("missing", ["id", "status"])
@pytest.mark.parametrize("instead", [None, "", 7, [], {}])
def test_a_batch_without_id_or_status_is_a_bad_answer(missing, instead):
    with pytest.raises(BadAnswerError, match=f"the batch has no {missing}"):
        batch(**{missing: instead})


def test_a_file_without_id_is_a_bad_answer():
    with pytest.raises(BadAnswerError, match="the file has no id"):
        wire.read_file({"object": "file", "bytes": 3})


@pytest.mark.parametrize("answer", [None, [], "batch", 3])
def test_an_answer_that_is_no_object_is_a_bad_answer(answer):
    for read in (wire.read_file, wire.read_batch, lambda raw: wire.read_page(raw, wire.read_file)):
        with pytest.raises(BadAnswerError, match="not a JSON object"):
            read(answer)


@pytest.mark.parametrize("data", [None, {}, "x"])
def test_a_list_without_data_is_a_bad_answer_and_not_an_empty_list(data):
    with pytest.raises(BadAnswerError, match="the list has no data"):
        wire.read_page({"object": "list", "data": data}, wire.read_batch)


@pytest.mark.parametrize(
    "status", [{}, {"status": None}, {"status": ""}, {"status": 7}, {"status": ["completed"]}]
)
def test_an_entry_without_a_status_is_a_bare_job(status):
    entry = {"id": "batch-2", "metadata": {METADATA_REF: "r"}, "request_counts": "odd", **status}

    whole, bare = wire.read_page({"data": [BATCH, entry]}, wire.read_listed_batch).items

    assert (whole.is_bare, bare.is_bare) == (False, True)
    assert (bare.id, bare.status, bare.phase, bare.metadata) == (
        "batch-2",
        "",
        Phase.UNKNOWN,
        {METADATA_REF: "r"},
    )


NAMELESS = [
    None,
    7,
    "batch",
    [],
    {},
    {"id": ""},
    {"id": None},
    {"id": 7, "status": "completed"},
    {"status": "failed"},
]


@pytest.mark.parametrize("entry", [*NAMELESS, {"metadata": {"of": "others"}}, {"metadata": [METADATA_REF]}])
def test_an_entry_that_names_nothing_is_skipped_and_counted(entry):
    for read in (wire.read_listed_batch, wire.read_listed_file):
        page = wire.read_page({"data": [entry, BATCH, entry]}, read)

        assert [item.id for item in page.items] == ["batch-1"]
        assert (page.entries, page.skipped, page.last_id) == (3, 2, "batch-1")


@pytest.mark.parametrize("mark", ["abc", None, 7])
def test_an_entry_without_an_id_that_carries_our_mark_spoils_the_page(mark):
    """It may be the very job that is looked for: a list without it would be a wrong no."""
    entry = {"status": "completed", "metadata": {METADATA_REF: mark}}

    with pytest.raises(BadAnswerError, match="mark of voyage-jobs has no id"):
        wire.read_page({"data": [BATCH, entry]}, wire.read_listed_batch)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"<!DOCTYPE html><p>gateway", "an HTML page"),
        (b"\n<HTML>", "an HTML page"),
        (b'{"id": "batch-1"', "16 bytes of something else"),
        (b"\xff\xfe", "2 bytes of something else"),
    ],
)
def test_a_body_that_is_not_json_is_named_and_not_quoted(body, says):
    with pytest.raises(BadAnswerError, match=says) as caught:
        wire.parse_json(body)

    assert "gateway" not in str(caught.value)


# --- what may be missing or nonsense ---


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400", "-1e999", "9" * 400, "9" * 5000])
def test_a_number_that_nothing_can_hold_is_none_and_hides_nothing_else(number):
    said = wire.parse_json(
        b'{"id": "batch-1", "status": "completed", "request_counts": {"total": %s, "failed": 3}, "created_at": %s}'
        % (number.encode(), number.encode())
    )
    read = wire.read_batch(said)
    assert (read.id, read.total, read.failed, read.created_at_us) == ("batch-1", None, 3, None)


@pytest.mark.parametrize("body", [b'[NaN, "\\ud800"]', b"[NaN," + b"[" * 3000 + b"]" * 3001, b"[NaN, \xff]"])
def test_a_number_that_nothing_can_hold_excuses_nothing_else(body):
    with pytest.raises(BadAnswerError, match="not JSON"):
        wire.parse_json(body)


def test_a_batch_of_id_and_status_alone_is_read():
    read = wire.read_batch({"id": "batch-1", "status": "validating"})

    assert (read.total, read.completed, read.failed) == (None, None, None)
    assert read.metadata == {}
    assert read.errors == []
    assert read.created_at_us is None


def test_unnamed_counts_are_unknown_and_not_zero():
    assert batch(request_counts=None).completed is None
    assert batch(request_counts={"completed": "2"}).completed is None
    assert batch(request_counts={"completed": True}).completed is None
    assert batch(request_counts={"completed": 0}).completed == 0


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("2026-08-01T12:00:00.000000+00:00", NOON_US),
        ("2026-08-01T12:00:00.123456+00:00", NOON_US + 123_456),
        ("2026-08-01T12:00:00Z", NOON_US),
        ("2026-08-01T14:00:00+02:00", NOON_US),
        ("2026-08-01 12:00:00", NOON_US),
        (" 2026-08-01 12:00:00 ", NOON_US),
        (NOON_US // 1_000_000, NOON_US),
        (NOON_US / 1_000_000 + 0.5, NOON_US + 500_000),
    ],
)
def test_times_are_read_in_every_form_seen_and_zoneless_ones_are_utc(text, us):
    assert wire.read_time_us(text) == us


@pytest.mark.parametrize(
    "nonsense",
    [None, "", "soon", True, -1, float("nan"), float("inf"), 1e300, [], {}, "0001-01-01T00:00:00+14:00x"],
)
def test_a_time_that_is_nonsense_is_none(nonsense):
    assert wire.read_time_us(nonsense) is None


def test_the_edges_of_the_calendar_do_not_raise():
    assert wire.read_time_us("0001-01-01T00:00:00+14:00") != NOON_US
    assert wire.read_time_us("9999-12-31T23:59:59-14:00") != NOON_US


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (None, []),
        ({"object": "list", "data": []}, []),
        ({"object": "list", "data": None}, []),
        (
            {
                "object": "list",
                "data": [{"code": "bad_line", "line": 3, "message": "no body", "param": None}],
            },
            [wire.JobError("bad_line", 3, "no body")],
        ),
        ([{"message": "no body"}], [wire.JobError(None, None, "no body")]),
        ("no body", [wire.JobError(None, None, "no body")]),
        (
            ["no body", {"code": 7}],
            [wire.JobError(None, None, "no body"), wire.JobError(None, None, "no message")],
        ),
        (42, []),
    ],
)
def test_job_errors_are_read_as_object_list_text_or_nothing(errors, expected):
    assert batch(errors=errors).errors == expected


def test_metadata_may_be_null_and_only_text_is_kept():
    assert batch(metadata=None).metadata == {}
    assert batch(metadata={"ref": "abc", "n": 1}).metadata == {"ref": "abc"}


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("validating", Phase.OPEN),
        ("in_progress", Phase.OPEN),
        ("finalizing", Phase.OPEN),
        ("cancelling", Phase.STOPPING),
        ("canceling", Phase.STOPPING),
        ("queued", Phase.OPEN),
        ("completed", Phase.ENDED_OK),
        ("Completed", Phase.ENDED_OK),
        ("expired", Phase.ENDED_OK),
        ("partially_completed", Phase.ENDED_OK),
        ("partially-completed", Phase.ENDED_OK),
        ("failed", Phase.FAILED),
        ("cancelled", Phase.CANCELLED),
        ("canceled", Phase.CANCELLED),
        ("hibernating", Phase.UNKNOWN),
    ],
)
def test_status_words_and_an_unknown_one_keeps_polling(word, phase):
    read = batch(status=word)

    assert read.phase is phase
    assert read.status == word


def test_a_page_tells_its_cursor_and_whether_it_knows_of_more():
    read = wire.read_page({"data": [BATCH, {**BATCH, "id": "batch-2"}], "has_more": True}, wire.read_batch)

    assert [item.id for item in read.items] == ["batch-1", "batch-2"]
    assert read.last_id == "batch-2"
    assert read.has_more is True


@pytest.mark.parametrize("has_more", [None, "yes", 1])
def test_an_absent_has_more_is_not_taken_for_false(has_more):
    assert wire.read_page({"data": [], "has_more": has_more}, wire.read_batch).has_more is None
    assert wire.read_page({"data": []}, wire.read_batch).last_id is None


def test_a_file_is_read_with_and_without_its_expiry():
    raw = {
        "id": "file-1",
        "bytes": 12,
        "filename": "a.jsonl",
        "purpose": "batch",
        "created_at": "2026-08-01T12:00:00Z",
    }

    assert wire.read_file(raw) == wire.RemoteFile("file-1", 12, "a.jsonl", NOON_US)
    assert wire.read_file({**raw, "bytes": "12"}).bytes is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@examples(300)
@given(st.dictionaries(st.sampled_from(sorted({*BATCH, "failed_at", "canceled_at"})), json_values))
def test_whatever_the_other_fields_are_a_batch_with_id_and_status_is_read(fields):
    read = wire.read_batch({**BATCH, **fields, "id": "batch-1", "status": "completed"})

    assert read.id == "batch-1"
    assert all(len(error.message) <= wire.MAX_MESSAGE_CHARS for error in read.errors)
    for item in dataclasses.fields(read):
        if item.name.endswith("_us"):
            assert isinstance(getattr(read, item.name), int | None)


# --- requests ---


def test_a_create_body_is_what_the_api_reference_names():
    job = JobSpec("/v1/embeddings", "file-1", {"model": "voyage-4"}, {"ref": "abc"}, "abc")

    assert requests.create_body(job) == {
        "endpoint": "/v1/embeddings",
        "input_file_id": "file-1",
        "completion_window": "12h",
        "request_params": {"model": "voyage-4"},
        "metadata": {"ref": "abc"},
    }


def test_params_carry_everything_that_changes_a_vector():
    params = requests.request_params(Profile(EMBEDDINGS, "voyage-4", 256, "int8", "document"), "base64")

    assert params == {
        "model": "voyage-4",
        "input_type": "document",
        "output_dimension": 256,
        "output_dtype": "int8",
        "encoding_format": "base64",
        "truncation": False,
    }


def test_what_is_not_asked_for_is_left_out():
    params = requests.request_params(Profile(EMBEDDINGS, "voyage-4", 256, "float", None), "")

    assert params == {
        "model": "voyage-4",
        "output_dimension": 256,
        "output_dtype": "float",
        "truncation": False,
    }


def test_contextualized_embeddings_know_no_truncation():
    params = requests.request_params(
        Profile(CONTEXTUALIZED, "voyage-context-3", 256, "float", "document"), ""
    )

    assert "truncation" not in params


@pytest.mark.parametrize(
    "metadata",
    [{str(n): "" for n in range(17)}, {"k" * 65: ""}, {"k": "v" * 513}],
    ids=["pairs", "key", "value"],
)
def test_metadata_beyond_the_limits_never_leaves_the_house(metadata):
    with pytest.raises(ValueError, match="metadata"):
        requests.create_body(JobSpec("/v1/embeddings", "f", {"model": "m"}, metadata, ""))


def test_a_complaint_about_a_job_may_be_nested_deeper_than_python_can_write():
    deep = 0
    for _ in range(100_000):
        deep = [deep]
    (error,) = wire.read_batch({"id": "b", "status": "failed", "errors": [deep]}).errors

    assert error.message == "(a deeply nested value)"


@pytest.mark.parametrize("count", [2**53 + 1, 2**63, -1, 1.5, True, "7"])
def test_a_count_that_cannot_be_one_is_not_known(count):
    read = wire.read_batch({"id": "b", "status": "x", "request_counts": {"total": count, "completed": 2**53}})

    assert (read.total, read.completed) == (None, 2**53)
