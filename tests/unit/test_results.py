"""Reading results files: every kind of line, and what nothing in a file may ever do."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from voyage_jobs.core.profile import CONTEXTUALIZED, EMBEDDINGS, Profile
from voyage_jobs.vendors.rest.careful_reader import CarefulReader
from voyage_jobs.vendors.rest.quick_reader import QuickReader
from voyage_jobs.vendors.rest.results import read_results
from voyage_jobs.vendors.result_block import (
    BlockBuilder,
    Expectation,
    GoodLine,
    LineOutcome,
    ResultBlock,
)

WIDTH = 8
VECTOR = [0.5, -0.5, 0.25, 0.0, 0.125, 1e-7, -0.75, 0.0625]
ONE, TWO, THREE, STRANGE = ("01" * 20, "02" * 20, "03" * 20, "ff" * 20)
COUNTS = {ONE: 1, TWO: 2, THREE: 3}


def profile(dtype="float", endpoint=EMBEDDINGS, dimension=WIDTH, model="voyage-4"):
    return Profile(endpoint=endpoint, model=model, dimension=dimension, dtype=dtype, input_type="document")


def expectation(**kwargs):
    return Expectation(profile(**kwargs), COUNTS.get)


def rows(*embeddings):
    return [{"object": "embedding", "embedding": e, "index": i} for i, e in enumerate(embeddings)]


def body(data, tokens=7):
    return {"object": "list", "data": data, "model": "voyage-4", "usage": {"total_tokens": tokens}}


def window(data):
    return [{"object": "list", "index": 0, "data": data}]


def line(custom_id=ONE, data=None, *, response=None, error=None, status=200):
    if response is None and error is None:
        response = {"status_code": status, "body": body(rows(VECTOR) if data is None else data)}
    return {"batch_id": "batch-1", "custom_id": custom_id, "response": response, "error": error}


def encode(vector, dtype="<f4"):
    return base64.b64encode(np.array(vector, dtype).tobytes()).decode()


def as_file(*lines):
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in lines]
    return io.BytesIO(b"\n".join(parts) + b"\n")


def read(*lines, expected=None, **options):
    return list(read_results(as_file(*lines), expected or expectation(), **options))


def only_problem(*lines, expected=None):
    (block,) = read(*lines, expected=expected)
    assert block.custom_ids == []
    assert len(block.vectors) == 0
    (problem,) = block.problems
    return problem


# Lines that are no success


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"<html><body>502 Bad Gateway</body></html>", "not_json"),
        (b'{"custom_id": "' + ONE.encode() + b'", "response": {"status_code": 200, "bo', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"a":' * 100_000, "not_json"),
        (b'{"custom_id": "\xff\xfe"}', "not_utf8"),
        (b"12", "not_an_object"),
        (b"null", "not_an_object"),
        (b"[]", "not_an_object"),
        (b"{}", "no_custom_id"),
        (b'{"custom_id": 5}', "no_custom_id"),
        (b'{"custom_id": null, "error": {"code": "batch_expired"}}', "no_custom_id"),
        (b"1" * 10_000, "not_json"),
        (b"\0\0\0\0", "not_json"),
    ],
)
def test_rubbish_is_malformed_and_named(raw, code):
    problem = only_problem(raw)

    assert (problem.outcome, problem.code, problem.custom_id) == (LineOutcome.MALFORMED, code, None)
    assert problem.line_number == 1


@pytest.mark.parametrize(
    ("said", "outcome", "code", "status", "message"),
    [
        (
            line(error={"code": "batch_expired", "message": "not in time"}),
            LineOutcome.TRANSIENT,
            "batch_expired",
            None,
            "not in time",
        ),
        (line(error={"code": "new_word"}), LineOutcome.TRANSIENT, "new_word", None, ""),
        (line(error="just text"), LineOutcome.TRANSIENT, "error", None, "just text"),
        (line(error={"code": "400", "message": "no"}), LineOutcome.REFUSED, "http_400", 400, "no"),
        (line(error={"code": 503}), LineOutcome.TRANSIENT, "http_503", 503, ""),
        (
            line(response={"status_code": 500, "message": "oops"}),
            LineOutcome.TRANSIENT,
            "http_500",
            500,
            "oops",
        ),
        (line(response={"status_code": 429}), LineOutcome.TRANSIENT, "http_429", 429, ""),
        (line(response={"status_code": 408}), LineOutcome.TRANSIENT, "http_408", 408, ""),
        (line(response={"status_code": 403}), LineOutcome.TRANSIENT, "http_403", 403, ""),
        (
            line(response={"status_code": 400, "message": "too long"}),
            LineOutcome.REFUSED,
            "http_400",
            400,
            "too long",
        ),
        (
            line(response={"status_code": 422, "body": {"detail": [{"loc": ["input"], "msg": "bad"}]}}),
            LineOutcome.REFUSED,
            "http_422",
            422,
            '[{"loc": ["input"], "msg": "bad"}]',
        ),
        (line(response={"status_code": 302}), LineOutcome.MALFORMED, "no_vectors", 302, ""),
        (line(response={"status_code": 200}), LineOutcome.MALFORMED, "no_vectors", 200, ""),
        (line(response={"status_code": True}), LineOutcome.MALFORMED, "no_vectors", None, ""),
        (line(response="text"), LineOutcome.MALFORMED, "no_vectors", None, ""),
        ({"custom_id": ONE, "response": None, "error": None}, LineOutcome.MALFORMED, "no_vectors", None, ""),
        ({"custom_id": ONE}, LineOutcome.MALFORMED, "no_vectors", None, ""),
        (line(data=rows(VECTOR), status=500), LineOutcome.TRANSIENT, "http_500", 500, ""),
    ],
)
def test_failures_are_classified_by_what_the_line_says(said, outcome, code, status, message):
    problem = only_problem(said)

    assert problem.custom_id == ONE
    assert (problem.outcome, problem.code, problem.status, problem.message) == (
        outcome,
        code,
        status,
        message,
    )


@pytest.mark.parametrize(
    ("custom_id", "data", "code"),
    [
        (ONE, [], "wrong_count"),
        (ONE, rows(VECTOR, VECTOR), "wrong_count"),
        (TWO, rows(VECTOR), "wrong_count"),
        (ONE, {"a": 1}, "no_vectors"),
        (ONE, [None], "bad_index"),
        (ONE, [{"embedding": VECTOR}], "bad_index"),
        (ONE, [{"embedding": VECTOR, "index": 1}], "bad_index"),
        (ONE, [{"embedding": VECTOR, "index": False}], "bad_index"),
        (TWO, [rows(VECTOR)[0], rows(VECTOR)[0]], "bad_index"),
        (ONE, rows(None), "no_vectors"),
        (ONE, rows({}), "no_vectors"),
        (ONE, rows(VECTOR[:-1]), "wrong_dimension"),
        (ONE, rows([*VECTOR, 0.5]), "wrong_dimension"),
        (ONE, rows([[x] for x in VECTOR]), "not_numbers"),
        (ONE, rows([*VECTOR[:-1], [0.5]]), "not_numbers"),
        (ONE, rows([VECTOR, *[[]] * (WIDTH - 1)]), "not_numbers"),
        (ONE, rows([*VECTOR[:-1], "0.5"]), "not_numbers"),
        (ONE, rows([*VECTOR[:-1], True]), "not_numbers"),
        (ONE, rows([*VECTOR[:-1], None]), "not_numbers"),
        (ONE, rows([0.0] * WIDTH), "all_zero"),
        (ONE, rows([1e-300] * WIDTH), "all_zero"),
        (TWO, rows(VECTOR, [0] * WIDTH), "all_zero"),
        (ONE, rows([*VECTOR[:-1], float("nan")]), "not_finite"),
        (ONE, rows([*VECTOR[:-1], float("inf")]), "not_finite"),
        (ONE, rows([*VECTOR[:-1], 1e39]), "not_finite"),
        (ONE, rows([*VECTOR[:-1], 10**400]), "out_of_range"),
        (ONE, rows(encode(VECTOR)[:-4]), "wrong_dimension"),
        (ONE, rows(encode([0.5])), "wrong_dimension"),
        (TWO, rows(encode(VECTOR), encode([0.5])), "wrong_dimension"),
        (ONE, rows(encode(VECTOR)[:-1]), "bad_base64"),
        (ONE, rows("not base64 at all!"), "bad_base64"),
        (ONE, rows("é" * 44), "bad_base64"),
        (ONE, rows(encode([float("nan")] * WIDTH)), "not_finite"),
        (ONE, rows(encode([float("-inf"), *VECTOR[1:]])), "not_finite"),
        (ONE, rows(encode([0.0] * WIDTH)), "all_zero"),
    ],
)
def test_vectors_that_do_not_check_out_are_malformed_and_their_tokens_kept(custom_id, data, code):
    problem = only_problem(line(custom_id, data))

    assert (problem.custom_id, problem.outcome, problem.code) == (custom_id, LineOutcome.MALFORMED, code)
    assert problem.tokens == 7


@pytest.mark.parametrize(
    ("dtype", "data", "code"),
    [
        ("int8", [128, *[1] * 7], "out_of_range"),
        ("int8", [-129, *[1] * 7], "out_of_range"),
        ("int8", [2**63, *[1] * 7], "out_of_range"),
        ("int8", [0] * 8, "all_zero"),
        ("int8", [0.5, *[1] * 7], "not_integers"),
        ("int8", [float("nan"), *[1] * 7], "not_finite"),
        ("uint8", [256, *[1] * 7], "out_of_range"),
        ("uint8", [-1, *[1] * 7], "out_of_range"),
        ("uint8", encode([1] * 7, "u1"), "wrong_dimension"),
    ],
)
def test_integer_vectors_that_do_not_check_out(dtype, data, code):
    problem = only_problem(line(data=rows(data)), expected=expectation(dtype=dtype))

    assert (problem.outcome, problem.code) == (LineOutcome.MALFORMED, code)


def test_an_id_that_was_not_asked_for_is_foreign_even_with_good_vectors():
    problem = only_problem(line(STRANGE))

    assert (problem.custom_id, problem.outcome, problem.code) == (STRANGE, LineOutcome.FOREIGN, "unknown_id")


def test_what_is_kept_of_a_line_is_bounded_printable_and_without_secrets():
    key = "pa-" + "Ab1" * 12
    problem = only_problem(
        line(response={"status_code": 400, "message": f"key {key}\n\ud800\0" + "x" * 9999})
    )

    assert len(problem.message) == 500
    assert key not in problem.message
    assert problem.message.isprintable()
    strange = only_problem(line("\ud800" + "z" * 9999))
    assert strange.custom_id is not None
    assert len(strange.custom_id.encode()) <= 200


def test_a_line_longer_than_allowed_is_read_over():
    huge = b'{"custom_id": "' + b"x" * 5_000_000 + b'"}'
    (block,) = read(line(), huge, line(TWO, rows(VECTOR, VECTOR)), max_line_bytes=100_000)

    assert block.custom_ids == [ONE, TWO]
    assert [(p.line_number, p.code) for p in block.problems] == [(2, "too_long")]
    assert block.lines == 3


def test_a_line_cut_by_the_end_of_the_file_is_malformed():
    data = json.dumps(line()).encode()
    for cut in range(1, len(data), 7):
        (block,) = read_results(io.BytesIO(data[:cut]), expectation())
        assert block.custom_ids == []
        assert block.problems[0].outcome is LineOutcome.MALFORMED


# Lines that are


@pytest.mark.parametrize("how", ["numbers", "base64"])
@pytest.mark.parametrize(
    ("dtype", "dimension", "values", "storage"),
    [
        ("float", 8, VECTOR, "<f4"),
        ("int8", 8, [-128, 127, 0, 1, 2, 3, 4, 5], "i1"),
        ("uint8", 8, [0, 255, 0, 1, 2, 3, 4, 5], "u1"),
        ("binary", 64, [-128, 127, 0, 1, 2, 3, 4, 5], "i1"),
        ("ubinary", 64, [0, 255, 0, 1, 2, 3, 4, 5], "u1"),
    ],
)
def test_all_dtypes_and_encodings_bring_the_storage_type(how, dtype, dimension, values, storage):
    data = rows(values if how == "numbers" else encode(values, storage))
    (block,) = read(line(data=data), expected=expectation(dtype=dtype, dimension=dimension))

    assert block.vectors.dtype == np.dtype(storage)
    assert block.vectors.tolist() == np.array([values], storage).tolist()
    assert (block.custom_ids, block.counts, block.tokens, block.problems) == ([ONE], [1], [7], [])


@pytest.mark.parametrize(
    "said",
    [
        line(data=rows([1, 0, 0, 0, 0, 0, 0, 0])),
        {**line(), "error": {"code": "contradiction"}},
        {**line(), "error": {}},
        line(response={"body": body(rows(VECTOR))}),
        line(response={"status_code": 201, "body": body(rows(VECTOR))}),
        line(response={"status_code": "200", "body": body(rows(VECTOR))}),
        line(response={"status_code": 200, "body": {"data": rows(VECTOR)}}),
        b"\xef\xbb\xbf" + json.dumps(line()).encode(),
        json.dumps(line()).encode() + b"\r",
        {**line(), "extra": ["[[[["]},
    ],
)
def test_good_vectors_win_over_an_unusual_line(said):
    (block,) = read(said)

    assert (block.custom_ids, block.problems) == ([ONE], [])


@pytest.mark.parametrize("number", [1e25, 1e-25, 1e-42, 1.0, 0.34, 0.01])
@pytest.mark.parametrize("how", [list, encode])
def test_a_length_is_demanded_of_models_that_are_known_to_keep_it(number, how):
    """0.34 is the one of these with which eight numbers come to a length of about 1."""
    said = line(TWO, rows(VECTOR, how([number] * WIDTH)))
    (block,) = read(said, expected=expectation(model="voyage-99"))
    assert block.custom_ids == [TWO]

    (block,) = read(said)
    assert [problem.code for problem in block.problems] == ([] if number == 0.34 else ["wrong_length"])
    assert [problem.outcome for problem in block.problems] == [LineOutcome.MALFORMED] * len(block.problems)


@pytest.mark.parametrize("length", [0.91, 0.95, 1.0, 1.05, 1.09])
@pytest.mark.parametrize("width", [256, 2048])
def test_rounding_is_no_damage(length, width):
    random = np.random.default_rng(width)
    vector = random.standard_normal(width)
    vector *= length / np.linalg.norm(vector)
    expected = expectation(dimension=width)
    for said in ([round(number, 4) for number in vector], encode(vector), encode(vector.astype(np.float16))):
        assert quickly(expected, json.dumps(line(data=rows(said))).encode()) is not None


def test_whole_numbers_have_no_length():
    for dtype, values in (("int8", [100] * 8), ("uint8", [255] * 8)):
        (block,) = read(line(data=rows(values)), expected=expectation(dtype=dtype))
        assert block.problems == []


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("1e400", "not_finite"),
        ("-1e400", "not_finite"),
        ("1e308", "not_finite"),
        ("-0.0", "all_zero"),
        ("5e-324", "all_zero"),
        ("1e-45", "wrong_length"),
        ("1e-42", "wrong_length"),
        ("1" + "0" * 308, "not_finite"),
        ("1" + "0" * 400, "out_of_range"),
        ("18446744073709551616", "wrong_length"),
        ("9223372036854775807", "wrong_length"),
    ],
)
def test_numbers_at_the_edges_of_what_json_can_write(written, code):
    raw = json.dumps(line(data=rows(["X"] * WIDTH))).replace('"X"', written).encode()
    assert only_problem(raw).code == code


def test_small_and_negative_zeros_within_a_vector_are_numbers_like_others():
    vector = [1.0, -0.0, 5e-324, 1e-42, 0, 0, 0, 0]
    (block,) = read(line(data=rows(vector)))
    assert np.array_equal(block.vectors[0], np.array(vector, np.float32))


def test_integers_may_be_written_as_whole_floats():
    (block,) = read(line(data=rows([1.0, -2.0, 3, 4, 5, 6, 7, 8])), expected=expectation(dtype="int8"))

    assert block.vectors.tolist() == [[1, -2, 3, 4, 5, 6, 7, 8]]


def test_vectors_are_ordered_by_index_not_by_place():
    other, third = VECTOR[::-1], [0.0, 1.0] + [0.0] * (WIDTH - 2)
    data = rows(VECTOR, other, third)
    (block,) = read(line(THREE, [data[2], data[0], data[1]]), line(TWO, rows(encode(other), VECTOR)))

    expected = [VECTOR, other, third, other, VECTOR]
    assert np.array_equal(block.vectors, np.array(expected, np.float32))
    assert block.counts == [3, 2]
    assert block.slots().tolist() == [0, 1, 2, 0, 1]
    keys = block.keys()
    assert [bytes(key).hex() for key in keys] == [THREE] * 3 + [TWO] * 2


def test_contextualized_results_are_nested_one_window_per_line():
    expected = expectation(endpoint=CONTEXTUALIZED)
    good = line(TWO, window(rows(VECTOR, VECTOR[::-1])))
    flat, double = line(TWO, rows(VECTOR, VECTOR)), line(TWO, window(rows(VECTOR)) * 2)
    (block,) = read(good, flat, double, line(ONE, window(None)), line(ONE, "x"), expected=expected)

    assert block.custom_ids == [TWO]
    assert np.array_equal(block.vectors, np.array([VECTOR, VECTOR[::-1]], np.float32))
    codes = ["wrong_count", "wrong_count", "no_vectors", "no_vectors"]
    assert [problem.code for problem in block.problems] == codes


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        *((number, number) for number in (1, 5, 320_000)),
        (5.0, 5),
        *((number, None) for number in (0, -1, 1.5, "9", True, None, [], {}, float("nan"), float("inf"))),
        *((number, None) for number in (320_001, 1e300, 2**53, 2**63 - 1, 2**64, 10**400)),
    ],
)
def test_tokens_are_a_count_that_can_be_or_unknown(tokens, kept):
    """What the model takes in one request (320,000 tokens) is the most that it can have billed."""
    (block,) = read(line(response={"status_code": 200, "body": body(rows(VECTOR), tokens)}))

    assert block.tokens == [kept]
    assert only_problem(line(response={"status_code": 200, "body": body([], tokens)})).tokens == kept


@pytest.mark.parametrize(
    ("model", "most"), [("voyage-4-large", 120_000), ("voyage-4-lite", 1_000_000), ("voyage-99", 1_000_000)]
)
def test_the_most_tokens_are_those_of_the_model(model, most):
    for tokens, kept in ((most, most), (most + 1, None)):
        said = line(response={"status_code": 200, "body": body(rows(VECTOR), tokens)})
        (block,) = read(said, expected=expectation(model=model))
        assert block.tokens == [kept]


# Blocks


def test_an_empty_file_and_blank_lines():
    assert list(read_results(io.BytesIO(b""), expectation())) == []
    (block,) = read(b"", line(), b"   ", b"\r")
    assert (block.custom_ids, block.lines) == ([ONE], 4)


def test_blocks_are_bounded_and_nothing_is_lost_between_them(tmp_path):
    lines = []
    for number in range(100):
        lines += [line(), line(THREE, rows(VECTOR, VECTOR, VECTOR)), line(error={"code": "batch_expired"})]
        lines += [b""] * (number % 2)
    path = tmp_path / "results.jsonl"
    path.write_bytes(as_file(*lines).getvalue())
    blocks = list(read_results(path, expectation(), block_rows=16))

    assert max(len(block.vectors) for block in blocks) <= 16
    assert sum(len(block.vectors) for block in blocks) == 400
    assert sum(block.lines for block in blocks) == len(lines)
    numbers = [problem.line_number for block in blocks for problem in block.problems]
    assert numbers == [i for i, said in enumerate(lines, 1) if said != b"" and said.get("error")]


def test_a_window_larger_than_a_block_gets_a_block_of_its_size():
    blocks = read(line(), line(THREE, rows(VECTOR, VECTOR, VECTOR)), line(), block_rows=2)

    assert [block.counts for block in blocks] == [[1], [3], [1]]


def test_an_error_file_without_end_comes_in_bounded_blocks():
    blocks = read(*[line(error={"code": "batch_expired"})] * 50, block_rows=8)

    assert [len(block.problems) for block in blocks] == [8] * 6 + [2]


def test_keep_drops_successes_and_their_rows():
    (block,) = read(
        line(), line(THREE, rows(VECTOR, VECTOR, VECTOR)), line(error="x"), line(TWO, rows(VECTOR, VECTOR))
    )
    kept = block.keep([True, False, True])

    assert (kept.custom_ids, kept.counts, kept.tokens) == ([ONE, TWO], [1, 2], [7, 7])
    assert kept.vectors.shape == (3, WIDTH)
    assert kept.slots().tolist() == [0, 0, 1]
    assert len(kept.problems) == 1
    assert block.keep([True] * 3) is block
    assert kept.keep([False, False]).keys().shape == (0, 20)


def test_vectors_of_an_earlier_block_stay_as_they_were():
    said = [line(data=rows([float(i + 1)] * WIDTH)) for i in range(40)]
    blocks = read(*said, expected=expectation(model="voyage-99"), block_rows=4)

    values = np.concatenate([block.vectors for block in blocks])[:, 0]
    assert values.tolist() == [float(i + 1) for i in range(40)]


# Nothing in a file makes the reader raise or return another shape

numbers = st.one_of(
    st.floats(width=32), st.integers(-300, 300), st.sampled_from([0, 0.0, 1e39, 10**30, float("nan")])
)
vectors = st.one_of(
    st.just(VECTOR),
    st.just(encode(VECTOR)),
    st.lists(numbers, min_size=WIDTH - 1, max_size=WIDTH + 1),
    st.binary(max_size=40).map(lambda raw: base64.b64encode(raw).decode()),
    st.recursive(
        st.none() | st.booleans() | numbers | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=12,
    ),
)
data_rows = st.lists(
    st.fixed_dictionaries({"embedding": vectors}, optional={"index": st.integers(-1, 3) | st.none()}),
    max_size=4,
) | st.lists(st.just(VECTOR), min_size=1, max_size=3).map(lambda found: rows(*found))
responses = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "status_code": st.sampled_from([200, 200, 200, "200", 400, 429, 500, None, [], 1.5]),
        "message": st.text(max_size=9) | st.integers(),
        "body": st.fixed_dictionaries(
            {},
            optional={
                "data": data_rows | data_rows.map(window) | vectors,
                "usage": st.fixed_dictionaries({}, optional={"total_tokens": numbers | st.none()}),
                "detail": st.lists(st.text(max_size=3), max_size=2),
            },
        )
        | st.text(max_size=3),
    },
)
said_lines = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": st.sampled_from([ONE, TWO, THREE, STRANGE, "", None, 7]),
        "response": responses,
        "error": st.none()
        | st.text(max_size=5)
        | st.dictionaries(st.sampled_from(["code", "message"]), st.text()),
    },
)
raw_lines = st.one_of(
    said_lines.map(lambda said: json.dumps(said).encode()),
    st.tuples(said_lines, st.integers(0, 300)).map(lambda pair: json.dumps(pair[0]).encode()[: pair[1]]),
    st.binary(max_size=30),
    st.just(b"<html>"),
)


@examples(300)
@given(
    st.lists(raw_lines, max_size=8),
    st.sampled_from(["float", "int8", "ubinary"]),
    st.sampled_from([EMBEDDINGS, CONTEXTUALIZED]),
)
def test_fuzz_every_success_has_the_shape_that_was_asked_for(lines, dtype, endpoint):
    expected = expectation(dtype=dtype, endpoint=endpoint, dimension=64 if dtype == "ubinary" else WIDTH)
    blocks = list(read_results(io.BytesIO(b"\n".join(lines)), expected, block_rows=3, max_line_bytes=2000))

    for block in blocks:
        check_shape(block, expected)


def check_shape(block: ResultBlock, expected: Expectation) -> None:
    assert block.vectors.dtype == expected.profile.storage_dtype
    assert block.vectors.shape == (sum(block.counts), WIDTH)
    assert block.counts == [COUNTS[custom_id] for custom_id in block.custom_ids]
    assert np.isfinite(block.vectors).all()
    assert block.vectors.any(axis=1).all()
    assert len(block.keys()) == len(block.slots()) == len(block.vectors)
    for problem in block.problems:
        assert isinstance(problem.outcome, LineOutcome)
        assert problem.code
        assert len(problem.message.encode()) <= 2000


@examples(500)
@given(
    said_lines,
    st.sampled_from(["float", "int8"]),
    st.sampled_from([EMBEDDINGS, CONTEXTUALIZED]),
    st.sampled_from(["voyage-4", "voyage-99"]),
)
def test_fuzz_what_the_quick_way_takes_the_careful_way_takes_too(said, dtype, endpoint, model):
    expected = expectation(dtype=dtype, endpoint=endpoint, model=model)
    raw = json.dumps(said).encode()
    quick = quickly(expected, raw)

    if quick is not None:
        careful = CarefulReader(expected).read(raw, 1)
        assert isinstance(careful, GoodLine)
        assert (quick.custom_ids, quick.tokens) == ([careful.custom_id], [careful.tokens])
        assert np.array_equal(quick.vectors, careful.vectors)


@examples(500)
@given(
    st.lists(st.floats(0.25, 0.4375, width=32), min_size=WIDTH, max_size=WIDTH),
    st.sampled_from([list, encode]),
)
def test_fuzz_the_quick_way_takes_no_length_that_the_careful_way_refuses(vector, how):
    raw = json.dumps(line(data=rows(how(vector)))).encode()
    careful = CarefulReader(expectation()).read(raw, 1)
    if quickly(expectation(), raw) is not None:
        assert isinstance(careful, GoodLine)
    assert isinstance(careful, GoodLine) == (
        0.9 <= float(np.linalg.norm(np.float32(vector).astype(float))) <= 1.1
    )


def quickly(expected: Expectation, raw: bytes) -> ResultBlock | None:
    """What the quick way makes of one line; None if it leaves the line to the careful way."""
    block = BlockBuilder(expected, 4)
    left = QuickReader(expected).fill(iter([(1, raw)]), block)
    assert left in (None, (1, raw))
    return block.done() if left is None else None


def test_documented_lines_take_the_quick_way():
    nested = expectation(endpoint=CONTEXTUALIZED)
    for expected, said in [
        (expectation(), line()),
        (expectation(), line(data=rows(encode(VECTOR)))),
        (expectation(), line(THREE, rows(VECTOR, encode(VECTOR), VECTOR))),
        (nested, line(TWO, window(rows(VECTOR, VECTOR)))),
        (expectation(dtype="int8"), line(data=rows([1, 2, 3, 4, 5, 6, 7, -8]))),
    ]:
        assert quickly(expected, json.dumps(said).encode()) is not None


def test_a_big_line_does_not_spoil_the_lines_after_it():
    padded = {**line(), "padding": "x" * 2_000_000}
    (block,) = read(line(), padded, line(), b"{", line())

    assert block.custom_ids == [ONE] * 4
    assert len(block.problems) == 1
