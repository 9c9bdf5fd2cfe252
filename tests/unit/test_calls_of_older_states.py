"""What older releases had asked for at once, in tables of its own, is batches of mode `sync` after the upgrade."""

from __future__ import annotations

import json

import numpy as np
import pytest
from older_state import as_of
from step_doors import embeddings_by_state, money, prose, query, scan, settle, shown
from verify_doors import found, sql
from world import World

from voyage_jobs.config.profile import profile_of
from voyage_jobs.explain.history import history
from voyage_jobs.report.cost import cost, recompute
from voyage_jobs.segments import Billed, SegmentStore
from voyage_jobs.simulator.vectors import Embedder
from voyage_jobs.state import orders, sources
from voyage_jobs.steps.acts import perform

SENT, ENDED = 1_780_000_000_000_000, 1_780_000_000_500_000
PRICE = 0.06


@pytest.fixture
def older(tmp_path):
    """Six texts that wait, and one document that is published; the state is one of the schema before."""
    world = World(tmp_path).by_rules(1)
    world.write("b.md", prose("b"))
    world.run()
    world.write("a.md", prose("a", 6))
    with world.worker() as context:
        scan(context)
    as_of(world, "0010")
    return world


def segment(world, ref, rows, billed):
    """Write the pack of a call: the vectors of these embeddings."""
    profile = profile_of(world.settings())
    texts = prose("a", 6).split("\n\n# ")
    texts = [texts[0], *("# " + text for text in texts[1:])]
    keys = sql(world, "SELECT id, key FROM embeddings WHERE state = 0 ORDER BY id")
    chosen = [(key, texts[at].strip()) for at, (row_id, key) in enumerate(keys) if row_id in rows]
    with SegmentStore(world.data_dir / "vectors").writer(profile, ref) as writer:
        writer.append(
            np.frombuffer(b"".join(key for key, _ in chosen), np.uint8).reshape(len(chosen), 20),
            np.zeros(len(chosen), np.int32),
            Embedder(profile.model, profile.dimension).embed([text for _, text in chosen]).astype("float32"),
        )
        return writer.close(Billed(billed, ENDED))


def call(world, number, state, rows, *, billed=None, outcomes=None, assumed=0):
    """A call as the release before put it on record, with its lines, its money and its history."""
    closed = None if state == "open" else ENDED
    (tokens,) = sql(world, f"SELECT SUM(tokens) FROM embeddings WHERE id IN ({', '.join(map(str, rows))})")[0]
    ((document, source, profile),) = sql(
        world,
        "SELECT d.id, d.source_id, p.id FROM documents d, profiles p WHERE d.name = 'a.md'",
    )
    values = (
        number,
        f"{number:020}",
        f"order {number}",
        state,
        profile,
        document,
        source,
        len(rows),
        tokens,
        PRICE,
    )
    outcomes = outcomes or [0 if state == "open" else 6] * len(rows)
    booked = {"reserved": tokens}
    if state != "open":
        booked["released"] = tokens
        booked |= {"answered": {"expedited": billed}, "unknown": {"maybe_paid": tokens}}.get(state, {})
    connection_of(
        world,
        "INSERT INTO calls (id, ref, order_ref, who, state, profile_id, document_id, source_id, inputs,"
        " tokens_estimated, usd_per_million, sent_at, epoch, closed_at, tokens_billed, detail, assumed)"
        " VALUES (?, ?, ?, 'anna', ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)",
        [(*values, SENT, closed, billed, None if closed is None else "why", assumed)],
    )
    connection_of(
        world,
        "INSERT INTO call_lines (call_id, line, embedding_id, outcome) VALUES (?, ?, ?, ?)",
        [
            (number, line, row, outcome)
            for line, (row, outcome) in enumerate(zip(rows, outcomes, strict=True))
        ],
    )
    connection_of(
        world,
        "INSERT INTO spend (at, kind, tokens, usd, source_id, call_id, assumed) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (SENT, kind, n, n * PRICE / 1e6, source, number, n if kind == "expedited" and assumed else 0)
            for kind, n in booked.items()
        ],
    )
    moves = [(None, "open")] + ([] if closed is None else [("open", state)])
    connection_of(
        world,
        "INSERT INTO transitions (kind, subject, origin, target, at, epoch, cause)"
        " VALUES ('call', ?, ?, ?, ?, 1, 'why')",
        [(number, origin, target, SENT) for origin, target in moves],
    )


def connection_of(world, statement, rows):
    from voyage_jobs.state.engine import sqlite_module

    raw = sqlite_module().connect(str(world.data_dir / "state.db"))
    raw.executemany(statement, rows)
    raw.commit()
    raw.close()


def filled(world):
    """Calls with every outcome, two of them open: the pack of one was written. The ids of the six embeddings."""
    rows = [row for (row,) in sql(world, "SELECT id FROM embeddings WHERE state = 0 ORDER BY id")]
    written = segment(world, f"{1:020}", rows[:1], 31)
    call(world, 1, "answered", rows[:2], billed=31, outcomes=[1, 5])
    call(world, 2, "not_happened", rows[2:3])
    call(world, 3, "unknown", rows[1:4])
    call(world, 4, "open", rows[3:5])
    call(world, 5, "open", rows[5:])
    segment(world, f"{5:020}", rows[5:], 17)
    sql(
        world,
        "INSERT INTO packs (name, profile_id, rows, bytes, sha256, created_at)"
        f" VALUES ('{written.name}', 1, {written.rows}, {written.bytes}, '{written.sha256}', 1)",
        f"UPDATE embeddings SET state = 2, pack_id = (SELECT MAX(id) FROM packs), pack_row = 0 WHERE id = {rows[0]}",
        "UPDATE versions SET open_chunks = 5 WHERE state = 'waiting'",
    )
    return rows


def test_every_call_is_a_batch_with_one_attempt_and_its_money(older):
    filled(older)
    before = sql(
        older, "SELECT kind, SUM(tokens), TOTAL(usd), COUNT(*) FROM spend GROUP BY kind ORDER BY kind"
    )
    (estimate,) = sql(older, "SELECT SUM(tokens_estimated) FROM calls WHERE state = 'unknown'")[0]
    with older.worker() as context:
        found_now = dict(query(context, "SELECT kind, SUM(tokens) FROM spend GROUP BY kind"))
        assert query(context, "SELECT COUNT(*) FROM spend WHERE batch_id IS NULL") == [(0,)]
        lost = query(context, "SELECT tokens_estimated FROM batches WHERE order_ref = 'order 4'")[0][0]
        told = {kind: tokens for kind, tokens, *_ in before}
        assert found_now["expedited"] == told["expedited"] + 17  # the pack of the call that was open says so
        assert found_now["maybe_paid"] == told["maybe_paid"] + lost
        assert (found_now["settled"], found_now["reserved"]) == (told["settled"], told["reserved"])
        assert money(context).reserved_tokens == 0
        made = query(
            context,
            "SELECT b.id, b.mode, b.order_ref, b.asked_by, b.state, a.state, b.tokens_settled FROM batches b"
            " JOIN attempts a ON a.batch_id = b.id WHERE b.mode = 'sync' ORDER BY b.id",
        )
        assert made == [
            (-5, "sync", "order 1", "anna", "closed", "created", 31),
            (-4, "sync", "order 2", "anna", "closed", "not_happened", None),
            (-3, "sync", "order 3", "anna", "closed", "lost", None),
            (-2, "sync", "order 4", "anna", "cancelled", "lost", None),
            (-1, "sync", "order 5", "anna", "collected", "created", 17),
        ]
        outcomes = query(
            context, "SELECT batch_id, outcome FROM lines WHERE batch_id < 0 ORDER BY batch_id, line"
        )
        assert outcomes == [(-5, 1), (-5, 5), (-4, 6), (-3, 6), (-3, 6), (-3, 6), (-2, 6), (-2, 6), (-1, 1)]
        assert query(context, "SELECT SUM(tokens) FROM lines WHERE batch_id = -5") == [(31,)]
        assert embeddings_by_state(context) == {"held": 3, "wanted": 4}
        with context.store.read() as connection:
            unknown = orders.never_known(connection)
            assert (unknown.calls, unknown.inputs, unknown.tokens) == (2, 5, estimate + lost)
            assert sources.by_name(connection, "docs") is not None
        settle(older, context)
    assert len(shown(older)["a.md"]) == 6
    assert found(older) == {}
    assert older.sim.calls["embeddings"] == 0


def test_reports_go_on_telling_of_them(older):
    filled(older)
    older.run()
    settings = older.settings()
    rows = {row["name"]: row for row in cost(settings, older.clock, "batch", 0)["rows"]}
    assert rows[f"{1:020}"]["expedited_tokens"] == 31
    assert rows[f"{3:020}"]["maybe_paid_tokens"] > 0
    # What a pack says of a whole batch is not told line by line.
    assert [each["ref"] for each in recompute(settings, older.clock)["differences"]] == [f"{5:020}"]
    told = json.dumps(history(settings, older.clock, "a.md").as_dict())
    assert "sent at once, asked for by anna" in told
    assert history(settings, older.clock, f"{3:020}").as_dict()["facts"]["mode"] == "sync"


def test_an_order_of_before_is_not_carried_out_again(older):
    filled(older)
    with older.worker() as context:
        asked = {"order": "order 1", "source": "docs", "path": "a.md", "also_in_flight": False}
        answer = perform(context, "expedite", asked, "anna")
        assert (answer["interrupted"], answer["calls"], answer["expedited"]["tokens"]) == (True, 1, 31)
    assert older.sim.calls["embeddings"] == 0


def test_numbers_that_cannot_be_do_not_keep_a_state_from_its_upgrade(older):
    rows = filled(older)
    huge = 2**63 - 1
    sql(
        older,
        f"UPDATE embeddings SET tokens = {huge} WHERE id IN ({rows[0]}, {rows[1]})",
        f"UPDATE calls SET tokens_billed = {huge} WHERE id = 1",
        f"UPDATE spend SET tokens = {huge} WHERE kind = 'expedited'",
    )
