"""Building a batch's input file: exact bytes, refused inputs, durability."""

from __future__ import annotations

import hashlib
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voyage_jobs.core.crash import arm
from voyage_jobs.core.profile import CONTEXTUALIZED, EMBEDDINGS
from voyage_jobs.vendors.input_file import write_input
from voyage_jobs.vendors.rest.lines import input_line

ID = "ab" * 20


def test_a_lone_surrogate_is_refused_and_the_line_named():
    with pytest.raises(ValueError, match=ID):
        input_line(ID, EMBEDDINGS, ["half \ud800 a character"])


@pytest.mark.parametrize(
    ("endpoint", "texts"),
    [(EMBEDDINGS, []), (EMBEDDINGS, ["a", "b"]), (CONTEXTUALIZED, []), ("/v1/rerank", ["a"])],
)
def test_a_line_that_no_result_could_answer_is_refused(endpoint, texts):
    with pytest.raises(ValueError, match="no line for"):
        input_line(ID, endpoint, texts)


def test_an_embeddings_line_has_the_two_keys_and_one_input():
    line = input_line(ID, EMBEDDINGS, ["some text"])

    assert line == b'{"custom_id":"' + ID.encode() + b'","body":{"input":["some text"]}}\n'


def test_a_contextualized_line_holds_one_window():
    line = input_line(ID, CONTEXTUALIZED, ["first", "second"])

    assert json.loads(line) == {"custom_id": ID, "body": {"inputs": [["first", "second"]]}}


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_and_stays_on_one_line_for_every_splitter(text):
    line = input_line(ID, EMBEDDINGS, [text])

    assert json.loads(line)["body"]["input"] == [text]
    assert len(line.decode().splitlines()) == 1


def test_writing_is_deterministic_and_tells_size_lines_and_hash(tmp_path):
    lines = [input_line(ID, EMBEDDINGS, [f"text {i}"]) for i in range(100)]

    first = write_input(tmp_path / "a.jsonl", iter(lines))
    second = write_input(tmp_path / "b.jsonl", iter(lines))

    data = first.path.read_bytes()
    assert data == b"".join(lines) == second.path.read_bytes()
    assert (first.bytes, first.lines) == (len(data), 100)
    assert first.sha256_hex == second.sha256_hex == hashlib.sha256(data).hexdigest()


def test_an_error_while_lines_are_made_leaves_nothing(tmp_path):
    def lines():
        yield input_line(ID, EMBEDDINGS, ["fine"])
        yield input_line(ID, EMBEDDINGS, ["\udfff"])

    with pytest.raises(ValueError, match="cannot be written"):
        write_input(tmp_path / "a.jsonl", lines())

    assert list(tmp_path.iterdir()) == []


def test_the_file_has_its_name_only_after_the_second_crash_point(tmp_path):
    path = tmp_path / "a.jsonl"
    seen = []
    arm(lambda name: seen.append((name, path.exists())))
    try:
        write_input(path, [orjson.dumps({})])
    finally:
        arm(None)

    assert seen == [("spool.written", False), ("spool.renamed", True)]
