"""Result files as bytes through the whole of collecting: nothing is lost, doubled, or published wrongly."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from small_world import Small, quick
from step_doors import all_batches, embeddings_by_state, money, prose, query

from fuzz.vendor import Changed, rewritten
from voyage_jobs.core.states import Batch
from voyage_jobs.state.batches import UNUSABLE
from voyage_jobs.steps.acts import perform

SECTIONS = 3  # in each document; under a contextualized model they travel as one line
DOCUMENTS = 4
PLAIN: dict[str, Any] = {}
WINDOWS = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}
NUMBERS = st.integers(0, DOCUMENTS * SECTIONS - 1)
SPOILT = ["short", "nan", "zero", "index", "twice", "none", "text"]
LINES = st.one_of(
    st.tuples(st.just("line"), NUMBERS),
    st.tuples(st.just("line"), NUMBERS),
    st.tuples(st.just("cut"), NUMBERS, st.integers(0, 60)),
    st.tuples(st.just("error"), NUMBERS, st.sampled_from([400, 408, 422, 429, 500, "503", None])),
    st.tuples(st.just("spoilt"), NUMBERS, st.sampled_from(SPOILT)),
    st.tuples(
        st.just("stranger"), NUMBERS, st.sampled_from(["", "ab" * 20, "zz", None, 7, "\x1b[0m", "AB" * 20])
    ),
    st.tuples(
        st.just("noise"),
        st.sampled_from([b"", b"\0\0\0", b"null", b"[]", b"\xff\xfe", b"{}" * 50, b"{" * 3000]),
    ),
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \n", b"\n\xef\xbb\xbf"])


class Given(NamedTuple):
    """What the first job's result file is made into: pieces, how lines end, whether as the job's error file."""

    pieces: list[tuple[Any, ...]]
    end: bytes
    as_errors: bool


def mixed(
    order: list[int], dropped: set[int], more: list[tuple[int, tuple[Any, ...]]]
) -> list[tuple[Any, ...]]:
    """All lines in some order but for some, with others between them."""
    pieces: list[tuple[Any, ...]] = [("line", number) for number in order if number not in dropped]
    for place, piece in more:
        pieces.insert(place % (len(pieces) + 1), piece)
    return pieces


FILES = st.builds(
    Given,
    st.builds(
        mixed,
        st.permutations(range(DOCUMENTS * SECTIONS)),
        st.sets(NUMBERS, max_size=5),
        st.lists(st.tuples(st.integers(0, 30), LINES), min_size=2, max_size=12),
    ),
    ENDS,
    st.booleans(),
)


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


class Spoiler:
    """Replaces the content of the first job's result file by what `make` makes of it."""

    def __init__(self, small: Small, make: Callable[[bytes], bytes], *, as_errors: bool) -> None:
        self.small, self.make, self.as_errors = small, make, as_errors
        self.job = self.file = None
        self.content = b""
        small.transport = Changed(small.sim, self)

    def __call__(self, path: str, body: bytes) -> bytes | None:
        if path == f"/files/{self.file}/content":
            return self.content
        if path == f"/files/{self.file}":
            return rewritten(body, lambda said: said.update(bytes=len(self.content)))
        return rewritten(body, self._look) if path.startswith("/batches") else None

    def _look(self, said: dict[str, Any]) -> None:
        for job in said.get("data", [said]):
            if self.job is None and job["output_file_id"] is not None:
                self.job, self.file = job["id"], job["output_file_id"]
                blob = self.small.sim.files.find(self.file).blob
                self.content = self.make(blob.read(0, blob.size))
            if job["id"] == self.job and self.as_errors:
                job["error_file_id"], job["output_file_id"] = self.file, None
                job["request_counts"]["completed"] = 0


def world(root: Path, voyage: dict[str, Any]) -> Small:
    made = Small(root, voyage=voyage, dimension=256 if voyage else 8)
    for number in range(DOCUMENTS):
        made.write(f"{number}.md", prose(f"number {number}", SECTIONS))
    return made


@functools.cache
def as_it_should_be(contextualized: bool) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    """path -> texts and vectors, of a life in which nothing is spoilt."""
    with tempfile.TemporaryDirectory() as folder, quick():
        small = world(Path(folder), WINDOWS if contextualized else PLAIN)
        small.run()
        return shown(small)


def shown(small: Small) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    documents = small.documents()
    return {
        path: [(row["text"], tuple(row["vector"])) for row in rows] for (_, path), rows in documents.items()
    }


def run_to_the_end(small: Small, turns: int = 5_000) -> bool:
    """Take turns until nothing is left to do. Whether the results were mostly unusable, so that `retry` was needed."""
    small.run(turns)
    with small.worker() as context:
        stopped = [batch for batch in all_batches(context) if batch.state is Batch.PARKED]
        assert all((batch.code, batch.tokens_settled is None) == (UNUSABLE, False) for batch in stopped)
        assert len(stopped) <= 1
        assert money(context).reserved_tokens == 0
        for batch in stopped:
            perform(context, "retry", {"ref": batch.ref}, "me")
    small.run(turns)
    return bool(stopped)


def rest_of(small: Small, texts: int) -> None:
    """At rest: nothing is open, every request has come to one end, what is reserved is free again."""
    with small.worker() as context:
        states = embeddings_by_state(context)
        assert sum(states.values()) == texts
        assert states.keys() <= {"held", "failed"}
        assert {batch.state for batch in all_batches(context)} == {Batch.CLOSED}
        assert query(context, "SELECT COUNT(*) FROM lines WHERE outcome = 0") == [(0,)]
        assert money(context).reserved_tokens == 0


class Piece:
    """One line of the changed file, and what it must count for."""

    def __init__(self, lines: list[bytes], what: str, number: Any, detail: Any = None) -> None:
        self.number, self.outcome, self.tokens = None, "nothing", 0
        self.raw = number
        if what == "noise":
            return
        self.number = number % len(lines)
        line = lines[self.number]
        said = json.loads(line)
        self.outcome = what
        if what == "line":
            self.raw, self.tokens = line, said["response"]["body"]["usage"]["total_tokens"]
        elif what == "cut":
            self.raw, self.outcome = line[: 1 + len(line) * detail // 61], "nothing"
        elif what == "stranger":
            self.raw, self.outcome = json.dumps({**said, "custom_id": detail}).encode(), "nothing"
        elif what == "error":
            refused = detail in (400, 422)
            self.outcome = "refused" if refused else "again"
            said |= {
                "response": {"status_code": detail, "body": {}},
                "error": {"code": "odd", "message": "\x1b[31m" * 99},
            }
            self.raw = json.dumps(said).encode()
        else:
            self.outcome, self.tokens = "again", said["response"]["body"]["usage"]["total_tokens"]
            spoil(said["response"]["body"], detail)
            self.raw = json.dumps(said).encode()


def spoil(body: dict[str, Any], how: str) -> None:
    rows = body["data"][0]["data"] if body["data"][0]["object"] == "list" else body["data"]
    last = rows[-1]
    match how:
        case "short":
            last["embedding"] = last["embedding"][:-1]
        case "nan":
            last["embedding"][3] = float("nan")
        case "zero":
            last["embedding"] = [0.0] * len(last["embedding"])
        case "index":
            last["index"] = len(rows)
        case "twice":
            rows.append(dict(last))
        case "none":
            del rows[-1]
        case "text":
            last["embedding"] = "AAAA"


@examples(10)
@given(FILES, st.booleans())
def test_each_line_counts_for_what_it_says(file, contextualized):
    wanted = as_it_should_be(contextualized)
    found: list[Piece] = []
    count = 0

    def make(original: bytes) -> bytes:
        nonlocal count
        lines = original.splitlines()
        count = len(lines)
        found.extend(Piece(lines, *piece) for piece in file.pieces)
        return file.end.join(piece.raw for piece in found)

    with tempfile.TemporaryDirectory() as folder:
        small = world(Path(folder), WINDOWS if contextualized else PLAIN)
        Spoiler(small, make, as_errors=file.as_errors)
        stopped = run_to_the_end(small)

        said: dict[int, str] = {}
        for piece in found:
            if piece.outcome != "nothing" and (piece.outcome == "line" or piece.number not in said):
                said[piece.number] = piece.outcome
        refused = [number for number, outcome in said.items() if outcome == "refused" and not stopped]
        once = [number for number, outcome in said.items() if outcome == "line"]
        rows = {each for rows in shown(small).values() for each in rows}
        right = {each for rows in wanted.values() for each in rows}
        if contextualized and refused:  # a refused window is cut in two: other windows, other vectors
            assert {text for text, _ in rows} == {text for text, _ in right}
        elif contextualized:
            assert rows == right
        else:
            assert rows <= right
            assert len(rows) == DOCUMENTS * SECTIONS - len(refused)
            assert small.ledger.units() == count
            assert len(small.ledger.billed_more_than_once()) == count - len(once) - len(refused)
            rest_of(small, count)
        assert sum(map(len, shown(small).values())) == len(rows)


@examples(10)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255), st.integers(0, 2)), max_size=12), st.booleans()
)
def test_single_bytes_that_are_not_what_they_were(changes, as_errors):
    """Digits may change unseen; so a vector must be that of the file, or the right one when it was asked for again."""
    wanted = as_it_should_be(False)

    def make(original: bytes) -> bytes:
        made = bytearray(original)
        for place, byte, kind in changes:
            at = int(place * (len(made) - 1))
            made[at : at + (kind != 1)] = b"" if kind == 2 else bytes([byte])
        return bytes(made)

    with tempfile.TemporaryDirectory() as folder:
        small = world(Path(folder), PLAIN)
        spoiler = Spoiler(small, make, as_errors=as_errors)
        run_to_the_end(small)

        rest_of(small, DOCUMENTS * SECTIONS)
        true = {text: vector for rows in wanted.values() for text, vector in rows}
        vectors = [vector for rows in shown(small).values() for text, vector in rows if vector != true[text]]
        assert vectors_in(spoiler.content).issuperset(vectors)
        assert set(true).issuperset(text for rows in shown(small).values() for text, _ in rows)
        assert sum(map(len, shown(small).values())) == len(
            {text for rows in shown(small).values() for text, _ in rows}
        )


def vectors_in(content: bytes) -> set[tuple[float, ...]]:
    """Every vector that a plain reading of the file finds."""
    found = set()
    for line in content.split(b"\n"):
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
            for row in json.loads(line)["response"]["body"]["data"]:
                found.add(tuple(np.array(row["embedding"], np.float32).tolist()))
    return found
