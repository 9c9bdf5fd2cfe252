"""collect: every line is judged by what is in it, what was paid is kept, what is missing is asked for again."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from step_doors import (
    all_batches,
    embeddings_by_state,
    money,
    newest,
    prose,
    query,
    scan,
    settle,
    shown,
    turns,
    until,
)
from world import World, is_quiet

from voyage_jobs.core import crash
from voyage_jobs.core.retry import POLICIES
from voyage_jobs.core.states import Batch
from voyage_jobs.state import batches, provider_files
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.collect import collect
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.steps.poll import poll
from voyage_jobs.steps.submit import submit

DIMENSION = 8
UNIT = [0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0]
GONE_TRIES = POLICIES["results_refused"].tries


def world_of(tmp_path, faults=None, documents=5, **sections):
    world = World(tmp_path, faults=faults, **sections)
    for number in range(documents):
        world.write(f"{number}.md", prose(f"number {number}"))
    return world


def outcomes(context, batch):
    """How each line of a batch ended, in the words of the store."""
    from voyage_jobs.state.outcomes import OUTCOME_WORDS

    rows = query(context, "SELECT outcome FROM lines WHERE batch_id = :b ORDER BY line", b=batch.id)
    return [OUTCOME_WORDS[code] for (code,) in rows]


def details(context):
    return [
        row[0]
        for row in query(context, "SELECT detail FROM lines WHERE detail IS NOT NULL ORDER BY batch_id")
    ]


# Lines that the provider spoils.


@pytest.mark.parametrize(("fault", "twice"), [
    ({"line_missing": {"contains": "number 2,", "jobs": 1}}, False),
    ({"line_expired": {"contains": "number 2,", "jobs": 1}}, False),
    ({"line_server_error": {"contains": "number 2,", "jobs": 1}}, False),
    ({"line_server_error": {"contains": "number 2,", "jobs": 1, "status": 429}}, False),
    ({"line_error_in_output": {"contains": "number 2,", "jobs": 1}}, False),
    ({"line_without_data": {"contains": "number 2,", "jobs": 1}}, True),
    ({"line_not_json": {"contains": "number 2,", "jobs": 1}}, True),
    ({"line_wrong_dimension": {"contains": "number 2,", "jobs": 1}}, True),
    ({"line_nan": {"contains": "number 2,", "jobs": 1}}, True),
    ({"line_nan": {"contains": "number 2,", "jobs": 1, "literal": "Infinity"}}, True),
    ({"line_all_zero": {"contains": "number 2,", "jobs": 1}}, True),
])  # fmt: skip
def test_a_line_without_good_vectors_is_sent_again_and_only_that_line(tmp_path, fault, twice):
    world = world_of(tmp_path, fault)
    with world.worker() as context:
        settle(world, context)
        first, second = all_batches(context)
        assert outcomes(context, first).count("success") == 4
        assert (second.inputs, outcomes(context, second)) == (1, ["success"])
        billed = world.ledger.batch_tokens + world.ledger.spoilt_tokens
        unread = "line_not_json" in fault  # a line that cannot be read does not say what it cost
        assert money(context).settled_tokens == (world.ledger.batch_tokens if unread else billed)
    assert bool(world.ledger.spoilt_tokens) is twice
    assert not world.ledger.billed_more_than_once()
    assert len(shown(world)) == 5


@pytest.mark.parametrize("fault", [
    {"line_duplicate": {"contains": "number 2,"}},
    {"line_foreign_id": {"contains": "number 2,"}},
])  # fmt: skip
def test_lines_too_many_are_counted_and_nothing_else(tmp_path, fault):
    world = world_of(tmp_path, fault)
    with world.worker() as context:
        settle(world, context)
        assert len(all_batches(context)) == 1
        assert money(context).settled_tokens == world.ledger.batch_tokens
    (done,) = world.log.named("batch.collected")
    assert done["held"] == 5
    assert done["repeated"] + done["unknown"] == 1
    assert len(shown(world)) == 5
    assert len(world.table_rows()) == 5


@pytest.mark.parametrize("fault", ["line_refused", "line_error_in_output"])
def test_a_refused_line_fails_for_good_with_the_vendors_reason(tmp_path, fault):
    rule = {"contains": "number 2,", "status": 400, "message": "This text is not acceptable."}
    world = world_of(tmp_path, {fault: rule})
    with world.worker() as context:
        settle(world, context)
        assert len(all_batches(context)) == 1
        assert embeddings_by_state(context) == {"held": 4, "failed": 1}
        assert "This text is not acceptable." in details(context)[0]
    assert len(shown(world)) == 4


def test_attempts_are_counted_and_capped_and_the_reason_kept(tmp_path):
    world = world_of(tmp_path, {"line_expired": {"contains": "number 2,"}})
    with world.worker(batching={"max_attempts": 3}) as context:
        settle(world, context)
        assert [batch.inputs for batch in all_batches(context)] == [5, 1, 1]
        assert embeddings_by_state(context) == {"held": 4, "failed": 1}
        assert all("batch_expired" in detail for detail in details(context))
        world.sim.faults.rules = ()
        perform(context, "retry", {}, "me")
        settle(world, context)
        assert embeddings_by_state(context) == {"held": 5}
    assert len(shown(world)) == 5
    assert not world.ledger.billed_more_than_once()


def test_a_job_that_ran_over_its_window_gives_what_it_has(tmp_path):
    world = world_of(tmp_path, {"job_slow": {"nth": 1, "done_share": 0.4}})
    with world.worker() as context:
        settle(world, context, idle_s=600)
        assert len(all_batches(context)) == 2
        assert outcomes(context, all_batches(context)[0]).count("success") == 2
    assert len(shown(world)) == 5
    assert not world.ledger.billed_more_than_once()


@pytest.mark.parametrize("empty", [True, False])
def test_a_completed_job_without_a_single_success(tmp_path, empty):
    """`completed` with no output file is real; so is one with an empty file."""
    world = world_of(tmp_path, {"job_all_failed": {"nth": 1}}, options={"empty_output_file": empty})
    with world.worker() as context:
        settle(world, context)
        first, second = all_batches(context)
        assert first.remote_status == "completed"
        assert (first.output_file_id is not None) is empty
        assert first.tokens_settled == 0
        assert outcomes(context, second) == ["success"] * 5
    assert len(shown(world)) == 5


def test_a_completed_job_without_any_file(tmp_path):
    world = world_of(tmp_path, {"line_missing": {"jobs": 1}})
    with world.worker() as context:
        settle(world, context)
        assert all_batches(context)[0].error_file_id is None
        assert set(outcomes(context, all_batches(context)[0])) == {"missing from the results"}
    assert len(shown(world)) == 5


# Files as they come, written by hand.


def line(key, *, status=200, vector=None, error=None, body=None):
    vector = UNIT if vector is None else vector
    if body is None and status == 200:
        data = [{"object": "embedding", "embedding": vector, "index": 0}]
        body = {"object": "list", "data": data, "model": "voyage-4", "usage": {"total_tokens": 7}}
    response = None if status is None else {"status_code": status, **({"body": body} if body else {})}
    return json.dumps({"batch_id": "b", "custom_id": key, "response": response, "error": error}).encode()


def give(context, batch, *, output=(), error=()):
    """Let these be the downloaded files of an ended batch."""
    with context.store.write() as tx:
        for kind, lines in (("output", output), ("error", error)):
            data = b"".join(each + b"\n" for each in lines)
            context.result_path(batch.ref, kind).write_bytes(data)
            provider_files.note_download(tx, batch.id, kind, len(data), hashlib.sha256(data).hexdigest())
        batches.note(tx, batch.id, output_file_id="file-o", error_file_id="file-e")


def ended(world, context):
    batch = until(world, context, Batch.RUNNING)
    with context.store.write() as tx:
        batches.move(tx, batch, Batch.ENDED, "completed")
    keys = query(
        context,
        "SELECT hex(e.key) FROM lines l JOIN embeddings e ON e.id = l.embedding_id"
        " WHERE l.batch_id = :b ORDER BY l.line",
        b=batch.id,
    )
    return newest(context), [key.lower() for (key,) in keys]


def test_lines_count_by_what_is_in_them_whichever_file_they_stand_in(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        batch, keys = ended(world, context)
        give(
            context,
            batch,
            output=[line(keys[0]), line(keys[1], status=400, body={"detail": "too bad"}), b"", b"not json"],
            error=[
                line(keys[2]),
                line(keys[3], status=None, error={"code": "batch_expired", "message": "x"}),
            ],
        )
        collect(context)
        assert outcomes(context, batch) == [
            "success",
            "refused",
            "success",
            "failed for a passing reason",
            "missing from the results",
        ]
        assert newest(context).tokens_settled == 14
        assert embeddings_by_state(context) == {"held": 2, "failed": 1, "wanted": 2}


def test_a_success_counts_whatever_else_is_said_of_the_line(tmp_path):
    world = world_of(tmp_path, documents=2)
    with world.worker() as context:
        batch, keys = ended(world, context)
        bad = line(keys[0], status=500, body={"detail": "x"})
        good = line(keys[0])
        also = line(keys[1])
        give(context, batch, output=[bad, good, also], error=[bad, line(keys[1], vector=UNIT[::-1])])
        collect(context)
        assert outcomes(context, batch) == ["success", "success"]
        assert newest(context).tokens_settled == 14
        (name,) = query(context, "SELECT name FROM packs")[0]
        vectors = context.segments.open(name).take(np.array([0, 1]))
        assert (vectors == np.array(UNIT, np.float32)).all()  # the first success, not the second


def test_the_ids_of_others_and_nonsense_are_ignored(tmp_path):
    world = world_of(tmp_path, documents=1)
    with world.worker() as context:
        batch, keys = ended(world, context)
        foreign = line("f" * 40)
        give(context, batch, output=[b"\x00\xff", b"[]", b"{}", foreign, line(keys[0]), b'{"custom_id": 7}'])
        collect(context)
        assert outcomes(context, batch) == ["success"]
        assert query(context, "SELECT SUM(rows) FROM packs") == [(1,)]


@pytest.mark.parametrize("vector", [
    [0.0] * DIMENSION,
    [0.5] * (DIMENSION - 1),
    [0.5] * (DIMENSION + 1),
    [],
    [float("nan")] * DIMENSION,
    [1e39] * DIMENSION,
    [1e30] * DIMENSION,
    [1e-42] * DIMENSION,
    [1.0] * DIMENSION,
    ["0.5"] * DIMENSION,
    "AAAA",
    None,
    {},
])  # fmt: skip
def test_what_is_not_a_vector_never_reaches_a_pack(tmp_path, vector):
    world = world_of(tmp_path, documents=2)
    with world.worker() as context:
        batch, keys = ended(world, context)
        data = [{"object": "embedding", "embedding": vector, "index": 0}]
        body = {"object": "list", "data": data, "model": "m", "usage": {"total_tokens": 7}}
        give(context, batch, output=[line(keys[0], body=body), line(keys[1])])
        collect(context)
        assert outcomes(context, batch) == ["answered with something that is not a vector", "success"]
        assert embeddings_by_state(context) == {"wanted": 1, "held": 1}
        assert query(context, "SELECT SUM(rows) FROM packs") == [(1,)]
        assert newest(context).tokens_settled == 14


def test_nothing_is_recorded_until_everything_is(tmp_path, monkeypatch):
    world = world_of(tmp_path)
    with world.worker() as context:
        batch = until(world, context, Batch.RUNNING)
        world.clock.advance(500)
        poll(context)
        assert newest(context).state is Batch.ENDED

        def fails(*_args, **_kwargs):
            raise RuntimeError("the process dies here")

        with monkeypatch.context() as patched:
            patched.setattr("voyage_jobs.steps.collect.versions.recount_batch", fails)
            with pytest.raises(RuntimeError):
                collect(context)
        assert newest(context).state is Batch.ENDED
        assert embeddings_by_state(context) == {"packed": 5}
        assert money(context).settled_tokens == 0
        assert collect(context)
        assert outcomes(context, batch) == ["success"] * 5
        assert query(context, "SELECT COUNT(*) FROM packs") == [(1,)]


# Downloads.


@pytest.mark.parametrize("options", [{}, {"ranges": True}])
def test_a_body_that_is_cut_is_taken_up_again(tmp_path, options):
    faults = {"body_cut": {"on": "file_content", "times": 2, "keep_share": 0.5}}
    world = world_of(tmp_path, faults, options=options)
    world.run()
    assert world.sim.faults.fired["body_cut"] == 2
    assert len(shown(world)) == 5
    assert not world.ledger.billed_more_than_once()


def test_a_result_file_whose_bytes_change_on_the_disk_is_fetched_again(tmp_path):
    """Of its size, so that only its hash tells: a line would be paid again, or a wrong vector shown."""
    world = world_of(tmp_path)

    def dies(point):
        if point == "download.committed":
            raise InterruptedError

    crash.arm(dies)
    with pytest.raises(InterruptedError), world.worker() as context:
        settle(world, context)
    crash.arm(None)
    (file,) = (world.data_dir / "spool").glob("*output*")
    written = file.read_bytes()
    file.write_bytes(written[:300] + b"0000" + written[304:-900] + bytes(600) + written[-300:])
    world.run()
    assert world.sim.calls["file_content"] == 2
    assert len(shown(world)) == 5
    assert not world.ledger.billed_more_than_once()


def test_a_redirect_to_another_host_never_sees_the_key(tmp_path):
    world = world_of(tmp_path, options={"redirect_to": "https://storage.example"})
    world.run()
    assert len(shown(world)) == 5
    elsewhere = [request for request in world.transport.requests if request.host == "storage.example"]
    assert elsewhere
    assert not [request for request in elsewhere if "authorization" in request.headers]


@pytest.mark.parametrize("fault", [
    {"request_lost": {"on": ["retrieve_file", "file_content"], "times": 3}},
    {"answer_lost": {"on": ["retrieve_file", "file_content"], "times": 3}},
    {"server_error": {"on": ["retrieve_file", "file_content"], "times": 3}},
    {"rate_limited": {"on": "file_content", "times": 2, "retry_after_s": 100}},
    {"auth_outage": {"on": "file_content", "times": 2}},
])  # fmt: skip
def test_a_download_that_fails_is_made_again(tmp_path, fault):
    world = world_of(tmp_path, fault)
    with world.worker() as context:
        settle(world, context)
        assert len(all_batches(context)) == 1
    assert len(shown(world)) == 5


def test_a_result_file_that_is_gone_is_waited_for_and_then_done_without(tmp_path):
    world = world_of(tmp_path, {"server_error": {"on": "retrieve_file", "status": 404, "times": GONE_TRIES}})
    with world.worker() as context:
        settle(world, context)
        first, second = all_batches(context)
        assert set(outcomes(context, first)) == {"missing from the results"}
        assert outcomes(context, second) == ["success"] * 5
    assert len(world.log.named("results.not_found")) == GONE_TRIES - 1
    assert len(shown(world)) == 5


def test_a_result_file_that_is_gone_for_a_moment_costs_nothing(tmp_path):
    world = world_of(
        tmp_path, {"server_error": {"on": "file_content", "status": 404, "times": GONE_TRIES - 1}}
    )
    with world.worker() as context:
        settle(world, context)
        assert len(all_batches(context)) == 1
    assert not world.ledger.billed_more_than_once()


@pytest.mark.parametrize("status", [400, 404])
def test_results_that_are_refused_are_not_bought_again_without_a_person(tmp_path, status):
    """Unlike a file that the provider does not list any more, one that is refused is still there, and paid for."""
    world = world_of(tmp_path, {"server_error": {"on": "file_content", "status": status}})
    with world.worker() as context:
        batch = until(world, context, Batch.PARKED, idle_s=60)
        assert "output file" in batch.reason
        assert "paid again" in batch.hint
        turns(world, context, 10, idle_s=60)
        assert len(all_batches(context)) == 1
        assert embeddings_by_state(context) == {"packed": 5}


# Forms of vectors.


@pytest.mark.parametrize("encoding", ["", "base64"])
@pytest.mark.parametrize(("dtype", "width", "storage"), [
    ("float", 8, "float"),
    ("int8", 8, "int8"),
    ("uint8", 8, "uint8"),
    ("binary", 1, "int8"),
    ("ubinary", 1, "uint8"),
])  # fmt: skip
def test_every_type_and_encoding_reaches_the_table(tmp_path, dtype, width, storage, encoding):
    world = world_of(tmp_path, documents=2, voyage={"output_dtype": dtype, "encoding_format": encoding})
    world.run()
    rows = world.table_rows("path", "vector")
    assert len(rows) == 2
    assert all(len(row["vector"]) == width for row in rows)
    assert len({tuple(row["vector"]) for row in rows}) == 2 or width == 1
    assert storage in str(vector_type(world))


def vector_type(world):
    import lance

    return lance.dataset(f"{world.settings().lancedb.uri}/chunks.lance").schema.field("vector").type


@pytest.mark.parametrize("encoding", ["", "base64"])
def test_float_vectors_are_the_vendors_to_the_last_bit(tmp_path, encoding):
    world = world_of(tmp_path, documents=1, voyage={"encoding_format": encoding})
    world.run()
    (row,) = world.table_rows("vector", "text")
    with world.worker() as context:
        at_once = context.client.embed([row["text"]], context.profile)
    assert np.asarray(row["vector"], np.float32).tobytes() == at_once.vectors[0].tobytes()


# Jobs that fail validation.


class BadTexts:
    """A provider that fails every job in which one of these texts stands."""

    def __init__(self, world, texts, base):
        self.world, self.texts, self.base = world, texts, base
        real = world.sim.jobs._invalid
        world.sim.jobs._invalid = self.invalid
        self.real = real

    def invalid(self, lines, hits):
        from voyage_jobs.simulator.scan import LineError

        with self.world_context.store.read() as connection:
            batch = next(b for b in batches.newest(connection, 1))
        path = self.world_context.input_path(batch.ref)
        texts = path.read_text().splitlines()
        bad = [i for i, text in enumerate(texts) if any(word in text for word in self.texts)]
        if not bad:
            return self.real(lines, hits)
        number = None if self.base is None else bad[0] + self.base
        return [LineError("invalid", "this line is bad", line=number)]


@pytest.mark.parametrize("base", [0, 1, None])
def test_a_job_that_fails_validation_is_taken_apart_until_the_bad_line_is_alone(tmp_path, base):
    world = world_of(tmp_path, documents=12)
    vendor = BadTexts(world, ["About number 7,"], base)
    with world.worker(batching={"max_inputs": 20}) as context:
        vendor.world_context = context
        settle(world, context)
        assert embeddings_by_state(context) == {"held": 11, "failed": 1}
        refused = [batch for batch in all_batches(context) if batch.reason]
        assert refused[-1].inputs == 1
        assert "this line is bad" in refused[-1].reason
        assert all(batch.state is Batch.CLOSED for batch in all_batches(context))
        assert len(all_batches(context)) < 20
        assert money(context).reserved_tokens == 0
    assert len(shown(world)) == 11
    assert not world.ledger.billed_more_than_once()


def test_a_job_that_fails_validation_for_no_reason_at_all_ends_somewhere(tmp_path):
    world = world_of(tmp_path, {"job_invalid": {"line": 1, "times": 3}}, documents=4)
    with world.worker(batching={"max_inputs": 10}) as context:
        settle(world, context)
        assert embeddings_by_state(context)["held"] >= 3
    assert not world.ledger.billed_more_than_once()


def test_jobs_that_are_all_refused_in_the_same_words_are_not_taken_apart_for_ever(tmp_path):
    world = world_of(tmp_path, documents=300)
    vendor = BadTexts(world, [""], None)  # whatever stands in it
    with world.worker(batching={"max_inputs": 200}) as context:
        vendor.world_context = context
        until(world, context, Batch.PARKED)
        turns(world, context, 60)
        parked = [batch for batch in all_batches(context) if batch.state is Batch.PARKED]
        assert "this line is bad" in parked[0].reason
        assert "no single text is the cause" in parked[0].hint
        assert len(all_batches(context)) < 100  # else each of the 300 would end in a job of its own
        vendor.texts = []
        perform(context, "retry", {}, "me")
        settle(world, context)
        assert embeddings_by_state(context) == {"held": 300}
        assert money(context).reserved_tokens == 0
    assert len(shown(world)) == 300
    assert not world.ledger.billed_more_than_once()


# Windows of contextualized embeddings.

CONTEXTUALIZED = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}


def test_contextualized_documents_travel_as_windows(tmp_path):
    world = World(tmp_path, voyage=CONTEXTUALIZED)
    world.write("a.md", prose("a", 4))
    world.write("b.md", prose("b", 1))
    with world.worker() as context:
        settle(world, context)
        assert query(context, "SELECT vectors FROM embeddings ORDER BY vectors") == [(1,), (4,)]
        assert newest(context).inputs == 5
    rows = world.table_rows("path", "embedding_key", "vector")
    assert [row["embedding_key"].split("/")[1] for row in rows] == ["0", "1", "2", "3", "0"]
    assert len({tuple(row["vector"]) for row in rows}) == 5
    assert not world.ledger.billed_more_than_once()


def test_an_edit_asks_for_the_whole_window_again_since_its_context_changed(tmp_path):
    world = World(tmp_path, voyage=CONTEXTUALIZED)
    world.write("a.md", prose("a", 3))
    world.run()
    world.write("a.md", prose("a", 3) + "\n\n# news\n\nmore")
    world.run()
    assert world.ledger.units() == 2
    assert len(shown(world)["a.md"]) == 4


def test_a_refused_window_is_cut_in_two_until_the_bad_chunk_is_alone(tmp_path):
    world = World(tmp_path, faults={"line_refused": {"contains": "part 2."}}, voyage=CONTEXTUALIZED)
    world.write("a.md", prose("a", 5))
    with world.worker() as context:
        settle(world, context)
        assert query(context, "SELECT failed_chunks, open_chunks FROM versions") == [(1, 0)]
    texts = shown(world)["a.md"]
    assert len(texts) == 4
    assert not any("part 2." in text for text in texts)


def test_a_window_that_fails_validation_alone_is_cut_in_two_as_well(tmp_path):
    world = World(tmp_path, voyage=CONTEXTUALIZED)
    world.write("a.md", prose("a", 5))
    vendor = BadTexts(world, ["part 2."], None)
    with world.worker(batching={"max_inputs": 1}) as context:
        vendor.world_context = context
        settle(world, context)
        assert query(context, "SELECT failed_chunks, open_chunks FROM versions") == [(1, 0)]
    assert len(shown(world)["a.md"]) == 4


# What changed meanwhile.


def test_a_result_nobody_needs_any_more_is_kept_and_never_published(world):
    world.write("a.md", prose("first"))
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        world.write("a.md", prose("second"))
        scan(context)
        steps, seen = Pipeline(context, eager=True), set()
        while not seen or not is_quiet(context):
            if not steps.turn():
                world.clock.advance(max(60.0, steps.idle_s()))
            seen |= {text.split()[1] for texts in shown(world).values() for text in texts} or {"nothing"}
        assert seen == {"nothing", "second"}  # what a reader saw after every turn
        assert embeddings_by_state(context) == {"held": 2}
        world.write("a.md", prose("first"))
        scan(context)
        turns(world, context, 3)
        assert "first" in shown(world)["a.md"][0]
        assert not submit(context)
    assert not world.ledger.billed_more_than_once()
