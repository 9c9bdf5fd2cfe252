"""`why` on the command line: the exact reason, and the next command."""

import contextlib
import os

import pytest
from looking import Looking
from step_doors import scan

from voyage_jobs.core import crash
from voyage_jobs.steps.acts import perform


@pytest.fixture
def run(tmp_path, monkeypatch):
    return Looking(tmp_path, monkeypatch)


def flat(shown):
    """The text without its line ends."""
    return " ".join(shown.split())


class Death(BaseException):
    """The process is gone."""


@contextlib.contextmanager
def arming(point):
    """Die at a crash point."""

    def hook(name):
        if name == point:
            raise Death(name)

    crash.arm(hook)
    try:
        yield
    finally:
        crash.arm(None)


def at_the_vendor(run, **sections):
    """A batch is out, and nobody is at work."""
    run.world.run(12, quiet=False, **sections)


# --- what means nothing ---


def test_what_means_nothing_ends_with_usage(run):
    assert "no state yet" in run("why", "nope", code=2).stderr
    run.world.run(3, quiet=False)
    for command in ("why", "history"):
        assert "No document, chunk, batch or key named nope" in run(command, "nope", code=2).stderr
        assert '"code": "config"' in run(command, "nope", "--json", code=2).stderr
        assert run(command, "nope", "--source", "other", code=2).stdout == ""
    assert "Missing argument" in run("why", code=2).stderr
    assert "or key named ''." in run("why", "", code=2).stderr


def test_a_key_is_known_by_its_beginning_unless_that_is_the_beginning_of_others(run):
    for i in range(40):
        run.world.write(f"{i}.md", f"text {i}")
    run.world.run()
    keys = [run.json("history", f"{i}.md")["chunks"][0]["embedding_key"] for i in range(3)]
    assert run.json("why", keys[0][:16])["ref"] == keys[0]
    assert run.json("why", keys[0][:13])["embedding"]["state"] == "held"
    assert run("why", keys[1][:3], code=2).stderr
    assert run.json("history", keys[2][:20])["kind"] == "embedding"


# --- never seen ---


@pytest.mark.parametrize(
    ("name", "content", "reason", "words"),
    [
        ("late.md", "text", "not_scanned", "no scan has seen it yet"),
        ("code.py", "text", "not_included", "not one of the default endings"),
        (".secret.md", "text", "hidden", "begins with a dot"),
        (".git/a.md", "text", "hidden", "name .git begins"),
        ("drafts/deep/a.md", "text", "excluded", "pattern 'drafts/' of source docs fits the folder drafts/"),
        ("x-old.md", "text", "excluded", "pattern '*-old.md' of source docs fits it"),
        ("empty.md", " \n", "empty", "white space"),
        ("binary.md", b"a\0b", "binary", "a zero byte at offset 1"),
        ("latin.md", b"caf\xe9", "undecodable", "not UTF-8"),
        ("large.md", "x" * 2000, "too_large", "2,000 bytes; the limit is 1,000"),
    ],
)
def test_a_file_that_was_never_seen_gets_the_reason(run, name, content, reason, words):
    docs = str(run.world.docs)
    source = {"name": "docs", "path": docs, "exclude": ["drafts/", "*-old.md"], "max_file_bytes": 1000}
    run.world.run(3, quiet=False, sources=[source])
    path = run.world.write(name, content)
    for word in (name, path, f"docs:{name}"):
        found = run.json("why", word, sources=[source])
        assert (found["kind"], found["reason"], found["published"]) == ("file", reason, False)
        assert words in found["paragraph"]
        assert found["next"]
    assert words in flat(run.text("why", name, sources=[source]))


def test_a_link_that_leads_nowhere_is_not_told_to_be_followed(run):
    source = {"name": "docs", "path": str(run.world.docs), "follow_symlinks": True}
    run.world.write("fine.md", "text")
    (run.world.docs / "link.md").symlink_to("nowhere.md")
    run.world.run(3, quiet=False, sources=[source])
    found = run.json("why", "link.md", sources=[source])
    assert (found["reason"], found["next"]) == ("symlink", "Mend the link, or remove it.")


def test_a_log_in_utf_16_without_a_mark_leads_to_the_setting(run):
    source = {"name": "docs", "path": str(run.world.docs), "logs": ["*.log"]}
    run.world.write("app.log", "2026-11-29 INFO it runs\n".encode("utf-16-le"))
    run.world.run(3, quiet=False, sources=[source])
    found = run.json("why", "app.log", sources=[source])
    assert found["reason"] == "records_unread"
    assert "encoding" in found["next"]


def test_links_that_are_not_followed_and_lead_out_are_named(run):
    run.world.run(3, quiet=False)
    outside = run.world.write("a.md", "text", folder=run.world.root / "elsewhere")
    os.symlink(outside, run.world.docs / "link.md")
    os.symlink(outside.parent, run.world.docs / "folder")
    os.symlink(run.world.docs, run.world.docs / "inner")
    for word in ("link.md", "folder/a.md"):
        found = run.json("why", word)
        assert (found["reason"], found["next"]) == ("symlink", "Make the folder it leads to a source.")
        assert "leads out of the source" in found["paragraph"]
    inner = run.json("why", "inner/link.md")
    assert "inner, not followed" in inner["paragraph"]
    run.world.run(3, quiet=False)
    os.symlink("/nowhere/a.md", run.world.docs / "broken.md")
    assert "leads nowhere" in run.json("why", "broken.md")["paragraph"]
    found = run.json("why", "link.md")  # that is on record now
    assert (found["kind"], found["next"]) == ("document", "Make the folder it leads to a source.")
    following = [{"name": "docs", "path": str(run.world.docs), "follow_symlinks": True}]
    assert run.json("why", "link.md", sources=following)["reason"] == "outside"


def test_a_file_outside_every_source_is_told_so_and_a_path_may_start_where_one_stands(run, monkeypatch):
    run.world.write("sub/a.md", "text")
    run.world.run()
    found = run.json("why", "/etc/hostname")
    assert found["reason"] == "outside_sources"
    assert "[[sources]]" in found["next"]
    monkeypatch.chdir(run.world.docs / "sub")
    assert run.json("why", "a.md")["ref"] == "docs:sub/a.md"
    assert run.json("why", "./a.md")["reason"] == "published"
    assert run.json("why", "../sub/a.md")["reason"] == "published"


def test_before_the_first_run_a_file_has_an_answer_too(run):
    path = run.world.write("a.md", "text")
    found = run.json("why", path)
    assert found["reason"] == "not_scanned"
    assert "nothing was scanned" in found["paragraph"]
    assert not run.world.data_dir.exists()


def test_a_folder_is_summed_up(run):
    run.world.write("sub/a.md", "text")
    run.world.write("sub/b.md", b"a\0b")
    run.world.run()
    found = run.json("why", "sub")
    assert (found["kind"], found["reason"], found["published"]) == ("folder", "folder", None)
    assert "of 2 files" in found["paragraph"]
    assert "1 are in the table" in found["paragraph"]
    (run.world.docs / "new").mkdir()
    assert "no file is known yet" in run.json("why", "new")["paragraph"]


# --- known, and not in the table ---


def test_a_document_at_the_vendor_names_batch_line_job_and_when(run):
    run.world.write("a.md", "# a\n\ntext")
    at_the_vendor(run)
    batch = run.json("batches")["batches"][0]
    found = run.json("why", "a.md")
    assert (found["reason"], found["published"], found["expected_at"]) == ("at_voyage", False, None)
    told = found["paragraph"]
    for words in (
        "split into 1 chunk",
        f"batch {batch['ref']} (line 0)",
        batch["batch_id"],
        "end cannot be predicted",
    ):
        assert words in told
    assert "No voyage-jobs process is running" in told
    assert "voyage-jobs sync" in found["next"]
    assert found["chunks"]["by_state"] == [{"state": "submitted", "batch": batch["ref"], "chunks": 1}]
    with run.world.worker(mode="run"):
        found = run.json("why", "a.md")
        assert "No voyage-jobs process" not in found["paragraph"]
        assert f"voyage-jobs history --timeline {batch['ref']}" in found["next"]


def test_what_past_jobs_took_foretells_the_end(run):
    for i in range(3):
        run.world.write(f"{i}.md", f"text {i}")
        run.world.run()
        run.world.clock.advance(400)
    run.world.write("late.md", "late")
    at_the_vendor(run)
    found = run.json("why", "late.md")
    assert found["expected_at"] is not None
    assert "likely to end at about" in found["paragraph"]
    assert run.json("batches")["batches"][0]["ref"] in found["paragraph"]
    run.world.clock.advance(4 * 3600)
    assert "longer than any before" in run.json("why", "late.md")["paragraph"]


def test_reuse_is_told_from_what_was_sent(run):
    part = "# One\n\nfirst\n\n# Two\n\nsecond\n\n"
    run.world.write("a.md", part)
    run.world.run()
    run.world.clock.advance(400)
    run.world.write("a.md", part + "# Three\n\nthird")
    at_the_vendor(run)
    told = run.json("why", "a.md")
    assert "2 reuse vectors that were paid for before" in told["paragraph"]
    assert "1 went into batch" in told["paragraph"]
    assert "Until then the table serves the version of" in told["paragraph"]
    assert told["chunks"]["reused"] == 2
    assert told["document"]["older_version_served"]


def test_a_budget_that_is_used_up_is_the_reason_until_it_is_not(run):
    run.world.write("a.md", "text")
    budget = {"budget": {"daily_tokens": 0}}
    run.world.run(8, quiet=False, **budget)
    found = run.json("why", "a.md", **budget)
    assert found["reason"] == "budget_reached"
    assert "budget.daily_tokens is used up" in found["paragraph"]
    assert found["expected_at"].endswith("T00:00:00Z")
    assert run.json("why", "a.md")["reason"] == "daemon_not_running"


def test_a_refused_key_is_the_reason(tmp_path, monkeypatch):
    run = Looking(tmp_path, monkeypatch, faults={"auth_outage": {}})
    run.world.write("a.md", "text")
    run.world.run(8, quiet=False)
    found = run.json("why", "a.md")
    assert found["reason"] == "auth"
    assert "until" in found["paragraph"]
    assert "key" in found["next"]


def test_a_parked_batch_is_the_reason_of_what_is_in_it_and_of_nothing_else(tmp_path, monkeypatch):
    run = Looking(
        tmp_path, monkeypatch, faults={"server_error": {"on": "create_batch", "nth": 1, "status": 410}}
    )
    run.world.write("a.md", "text")
    run.world.run(8, quiet=False)
    run.world.write("b.md", "other")
    run.world.clock.advance(400)
    run.world.run(6, quiet=False)
    parked = next(each["ref"] for each in run.json("batches")["batches"] if each["state"] == "parked")
    inside, behind = run.json("why", "a.md"), run.json("why", "b.md")
    assert (inside["reason"], behind["reason"]) == ("parked", "at_voyage")
    assert f"Batch {parked} is parked" in inside["paragraph"]
    assert parked not in behind["paragraph"]
    assert "voyage-jobs retry" in inside["next"]
    assert run.json("why", parked)["reason"] == "parked"


def test_a_vendor_that_refuses_every_batch_is_the_reason_of_what_waits_behind_them(tmp_path, monkeypatch):
    run = Looking(tmp_path, monkeypatch, options={"retired_models": {"voyage-4": "voyage-5"}})
    for name in "abcd":
        run.world.write(f"{name}.md", f"text {name}")
    run.world.run(14, quiet=False, batching={"max_inputs": 1})
    behind = run.json("why", "d.md")
    assert behind["reason"] == "send_refused"
    assert "Voyage refuses one batch after another" in behind["paragraph"]
    assert "Model voyage-4 is retired" in behind["paragraph"]
    assert "voyage-jobs retry" in behind["next"]
    assert [run.json("why", f"{name}.md")["reason"] for name in "abc"] == ["parked", "parked", "send_refused"]


def test_results_that_cannot_be_used_are_the_reason_of_what_waits_behind_them(tmp_path, monkeypatch):
    run = Looking(tmp_path, monkeypatch, faults={"line_wrong_dimension": {"jobs": 1}})
    run.world.write("a.md", "text")
    run.world.run()
    run.world.write("b.md", "other")
    run.world.clock.advance(400)
    run.world.run(6, quiet=False)
    inside, behind = run.json("why", "a.md"), run.json("why", "b.md")
    assert (inside["reason"], behind["reason"]) == ("unusable_results", "unusable_results")
    assert "cannot be used" in behind["paragraph"]
    assert "voyage-jobs retry" in behind["next"]


def test_a_failed_chunk_has_the_vendors_words(tmp_path, monkeypatch):
    run = Looking(tmp_path, monkeypatch, faults={"line_refused": {"message": "No poison.", "times": 1}})
    run.world.write("a.md", "# One\n\nfirst\n\n# Two\n\nsecond")
    run.world.run()
    found = run.json("why", "a.md")
    assert (found["reason"], found["published"]) == ("published_without", True)
    assert "1 chunk more could not be embedded" in found["paragraph"]
    assert "No poison." in found["paragraph"]
    assert found["next"].startswith("`voyage-jobs retry`")
    assert "1 chunk failed; `voyage-jobs why docs:a.md`" in " ".join(run("documents").stdout.split())
    failed = next(c for c in run.json("history", "a.md")["chunks"] if c["state"] == "failed")
    told = run.json("why", failed["embedding_key"])
    assert told["reason"] == "failed"
    assert "No poison." in told["paragraph"]
    assert told["embedding"]["lines"][0]["outcome"] == "refused"


def test_a_cancelled_batch_is_told(run):
    run.world.write("a.md", "text")
    with run.world.worker() as context:
        run.world.take_turns(context, 4, quiet=False)
        from voyage_jobs.state import batches

        with context.store.read() as connection:
            ref = batches.newest(connection, 1)[0].ref
        perform(context, "cancel", {"ref": ref}, "me")
        run.world.take_turns(context)
    found = run.json("why", "a.md")
    assert found["reason"] == "cancelled"
    assert "an operator cancelled" in found["paragraph"]
    assert run.json("why", ref)["reason"] == "closed"


def test_what_has_no_process_or_waits_for_company_says_so(run):
    run.world.write("a.md", "text")
    slow = {"batching": {"min_inputs": 100, "linger_s": 5000}}
    run.world.run(4, quiet=False, eager=False, **slow)
    assert run.json("why", "a.md", **slow)["reason"] == "daemon_not_running"
    with run.world.worker(mode="run", **slow):
        found = run.json("why", "a.md", **slow)
    assert found["reason"] == "gathering"
    assert "1 text of at least 100" in found["paragraph"]
    assert found["expected_at"]


# --- in the table, moved, missing, gone, skipped ---


def test_a_published_document_says_as_of_when_and_what_has_changed_since(run):
    path = run.world.write("a.md", "text")
    run.world.run()
    found = run.json("why", "a.md")
    assert (found["reason"], found["published"]) == ("published", True)
    assert found["document"]["published_at"]
    assert "table version" in found["paragraph"]
    assert (
        run.text("why", "a.md")
        .rstrip()
        .endswith("`voyage-jobs history --timeline docs:a.md` shows its history.")
    )
    run.world.write("a.md", "text, and more")
    assert run.json("why", "a.md")["reason"] == "changed_since"
    path.unlink()
    assert run.json("why", "a.md")["reason"] == "file_gone"
    run.world.write("a.md", "text")
    rules = [{"name": "docs", "path": str(run.world.docs), "exclude": ["a.md"]}]
    assert run.json("why", "a.md", sources=rules)["reason"] == "excluded"
    elsewhere = [{"name": "other", "path": str(run.world.root / "other")}]
    assert run.json("why", "docs:a.md", sources=elsewhere)["reason"] == "not_configured"


def test_a_moved_a_missing_a_gone_and_a_skipped_document(run):
    kept = [{"name": "docs", "path": str(run.world.docs), "delete_grace_s": 1000, "max_delete_share": 1}]
    for name in ("move.md", "miss.md", "skip.md"):
        run.world.write(name, f"text of {name}")
    run.world.run(sources=kept)
    (run.world.docs / "move.md").rename(run.world.docs / "moved.md")
    run.world.remove("miss.md")
    run.world.write("skip.md", b"a\0b")
    run.world.clock.advance(400)
    run.world.run(sources=kept)
    moved = run.json("why", "move.md", sources=kept)
    assert (moved["reason"], "docs:moved.md" in moved["next"]) == ("moved", True)
    missing = run.json("why", "miss.md", sources=kept)
    assert missing["reason"] == "missing"
    assert "still serves" in missing["paragraph"]
    assert missing["expected_at"]
    assert run.json("why", "skip.md", sources=kept)["reason"] == "binary"
    run.world.clock.advance(2000)
    run.world.run(sources=kept)
    assert run.json("why", "miss.md", sources=kept)["reason"] == "gone"


def test_a_frozen_source_is_the_reason_of_what_is_missing(run):
    for i in range(4):
        run.world.write(f"{i}.md", f"text {i}")
    run.world.run()
    run.world.docs.rename(run.world.root / "away")
    run.world.clock.advance(400)
    run.world.run(3, quiet=False)
    found = run.json("why", "1.md")
    assert (found["reason"], found["published"]) == ("frozen", True)
    assert "voyage-jobs confirm-deletes docs" in found["next"]


def test_a_chunk_knows_its_vector_and_one_that_is_another_now_says_so(run):
    run.world.write("a.md", "# One\n\nfirst\n\n# Two\n\nsecond")
    run.world.run()
    ids = [row["chunk_id"] for row in run.world.table_rows("chunk_id")]
    found = run.json("why", ids[1])
    assert (found["kind"], found["reason"], found["published"]) == ("chunk", "published", True)
    assert "line 1 of batch" in found["paragraph"]
    assert found["chunk"]["outcome"] == "success"
    run.world.write("a.md", "# One\n\nfirst, but other\n\n# Two\n\nsecond")
    run.world.clock.advance(400)
    run.world.run(3, quiet=False)
    assert run.json("why", ids[1])["reason"] in ("daemon_not_running", "sending", "next")
    run.world.write("a.md", "# One\n\nfirst, but other")
    run.world.clock.advance(400)
    run.world.run()
    assert run.json("why", ids[1])["reason"] == "no_such_chunk"


def test_a_batch_that_is_over_says_what_came_of_it(run):
    run.world.write("a.md", "text")
    run.world.run()
    [batch] = run.json("batches", "--all")["batches"]
    for word in (batch["ref"], batch["ref"][:8], batch["batch_id"]):
        found = run.json("why", word)
        assert (found["kind"], found["reason"], found["published"]) == ("batch", "closed", None)
    assert "1 success" in found["paragraph"]
    assert "tokens were billed" in found["paragraph"]
    assert (
        found["next"] == f"`voyage-jobs history {batch['ref']}` shows its history."
    )  # no line is left to list


def test_what_was_expedited_says_so(run):
    run.world.write("a.md", "# One\n\nfirst\n\n# Two\n\nsecond")
    with run.world.worker() as context:
        scan(context)
        order = {"order": "0" * 20, "source": "docs", "path": "a.md", "also_in_flight": False}
        with arming("sync.answered"), pytest.raises(Death):
            perform(context, "expedite", order, "anna")
        found = run.json("why", "a.md")
        assert found["reason"] == "expedited"
        assert "anna asked for it at once" in found["paragraph"]
        key = run.json("history", "a.md")["chunks"][0]["embedding_key"]
        assert run.json("why", key)["reason"] == "expedited"
    run.world.run()
    run.world.write("b.md", "third")
    with run.world.worker() as context:
        scan(context)
        perform(context, "expedite", {**order, "order": "1" * 20, "path": "b.md"}, "anna")
    assert run.json("why", "b.md")["reason"] == "published"
    [chunk] = [row["chunk_id"] for row in run.world.table_rows("chunk_id", "path") if row["path"] == "b.md"]
    told = [event["what"] for event in run.json("history", "b.md")["events"]]
    ref = next(what.split()[1].rstrip(":") for what in told if "sent at once, asked for by anna" in what)
    assert f"line 0 of batch {ref}" in run.json("why", chunk)["paragraph"]
    found = run.json("why", ref)
    assert (found["kind"], found["batch"]["mode"]) == ("batch", "sync")
    assert "1 success" in found["paragraph"]
    assert len(run.json("history", ref)["events"]) > 4
