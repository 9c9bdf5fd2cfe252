"""`plan` on the command line; what it foretells is proved in tests/unit/test_report_plan.py."""

import pytest
from looking import Looking


@pytest.fixture
def run(tmp_path, monkeypatch):
    looking = Looking(tmp_path, monkeypatch)
    for i in range(3):
        looking.world.write(f"{i}.md", f"# Document {i}\n\nText of {i}.")
    return looking


def test_a_folder_that_is_not_empty_ends_with_usage(run, tmp_path):
    result = run("plan", "--write", tmp_path, code=2)
    assert "is not empty" in result.stderr
    assert result.stdout == ""
    run("plan", "--max-inputs", "0", code=2)


def test_an_empty_path_is_refused_and_is_not_this_folder(run, tmp_path, monkeypatch):
    """That of a variable that is not set."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for words in ("plan --out", "plan --write", "status --metrics --out", "eval", "backup"):
        told = run(*words.split(), "", code=2).stderr.splitlines()[0]
        assert told.endswith(": it is empty (is a variable not set?).")
    assert not list((tmp_path / "here").iterdir())


def test_it_needs_no_key_and_no_state(run, monkeypatch):
    monkeypatch.delenv("VOYAGE_API_KEY")
    run.world.write("odd.md", b"\0")
    shown = run.text("plan")
    assert "3 embeddings" in shown
    assert "(estimated)" in shown
    assert "$0.0402 per million tokens" in shown
    assert "saved by batch" in shown
    assert "Skipped in docs: 1 binary" in shown
    assert not run.world.data_dir.exists()


def test_it_says_what_was_billed_of_such_an_estimate(run):
    assert "about" not in run.text("plan").rpartition("high side")[2]
    assert run.json("plan")["calibration"] is None
    for i in range(60):
        run.world.write(f"first{i}.md", f"# First {i}\n\n" + f"The text of number {i}. " * 9)
    run.world.run()
    run.world.write("next.md", "# Next\n\n" + "What comes after that. " * 90)
    found = run.json("plan")
    known = found["calibration"]
    assert (known["batches"], known["tokens_likely"] < found["batches"]["tokens"]) == (1, True)
    assert known["billed_share"] == pytest.approx(
        run.world.ledger.batch_tokens / estimated(run.world), abs=0.001
    )
    shown = " ".join(run.text("plan").split())
    assert f"of the last batch {known['billed_share']:.0%} of the estimate was billed" in shown
    assert f"about {known['tokens_likely']:,} tokens, <$0.0001" in shown


def estimated(world):
    with world.state.read() as connection:
        return connection.exec_driver_sql("SELECT SUM(tokens_estimated) FROM batches").scalar_one()


def test_what_is_written_is_named_and_nothing_is_sent(run, tmp_path):
    shown = run("plan", "--write", tmp_path / "out", "--max-inputs", 2).stdout
    assert "nothing was sent" in shown
    assert "2 inputs now" in shown
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "batch-0001.jsonl",
        "request_params.json",
    ]
    assert not run.world.transport.requests


def test_where_nothing_is_to_be_sent_it_says_just_that(run):
    run.world.run()
    shown = run.text("plan")
    assert "to send         nothing: no text waits to be sent\n" in shown
    for word in ("estimated", "saved by batch", "0 B", "finish"):
        assert word not in shown


def test_a_model_without_jobs_or_price_is_not_told_of_batches(run):
    run.world.run()
    shown = run.text("plan", provider={"type": "local"})
    assert "price           $0.00 ($0 per million tokens, your own machine)\n" in shown
    assert "unknown: no batch has finished here yet\n" in run.text(
        "plan", provider={"type": "local"}, data_dir=str(run.world.root / "other")
    )
    for word in ("by batch", "synchronous", "12 h", "fetch-tokenizer", "in flight"):
        assert word not in shown


def test_json_holds_the_numbers_and_warnings(run):
    run.world.run()
    run.world.docs.rename(run.world.root / "away")
    found = run.json("plan")
    assert found["embeddings"]["to_send"] == 0
    assert any("would be frozen" in warning for warning in found["warnings"])
    shown = run.text("plan")
    assert "would be frozen" in shown
    assert "has no documents" not in shown


def test_what_is_passed_over_is_counted_by_kind_and_an_empty_source_is_said(run, tmp_path):
    for name in ("a.html", "b.html", "Makefile"):
        run.world.write(name, b"x")
    assert run.json("plan")["sources"][0]["passed_over"] == {".html": 2, "no ending": 1}
    shown = " ".join(run.text("plan").split())
    assert "Passed over in docs: 3 other files (2 .html, 1 with no ending)." in shown
    assert "Add *.html to `include` to have 2 of them read" in shown
    (tmp_path / "empty").mkdir()
    sources = [{"name": "empty", "path": str(tmp_path / "empty")}]
    assert "has no documents: it is empty." in " ".join(run.text("plan", sources=sources).split())


@pytest.mark.parametrize("command", ["plan", "sync"])
def test_a_folder_that_never_was_is_an_error_with_its_path(run, tmp_path, command):
    wrong = [{"name": name, "path": str(tmp_path / name)} for name in ("dcos", "note.md")]
    (tmp_path / "note.md").write_text("a file in its place")
    told = run(command, sources=wrong, code=2).stderr
    assert f"Source dcos: {tmp_path}/dcos: No such file" in told
    assert f"source note.md: {tmp_path}/note.md is not a folder" in told
    assert "voyage-jobs.toml" in told
    assert not run.world.data_dir.exists()


def test_a_path_that_was_changed_to_nothing_is_an_error_and_one_that_went_is_frozen(run, tmp_path):
    run.world.run()
    wrong = [{"name": "docs", "path": str(tmp_path / "dcos")}]
    assert "dcos: No such file" in run("sync", sources=wrong, code=2).stderr
    run.world.docs.rename(tmp_path / "away")
    shown = run.text("plan")
    assert "would be frozen" in shown
    assert "has no documents" not in shown


def test_a_state_that_cannot_be_read_is_named_by_whoever_opens_it(run, tmp_path):
    run.world.data_dir.mkdir()
    (run.world.data_dir / "state.db").write_bytes(b"no database at all" * 100)
    run.world.docs.rename(tmp_path / "away")
    assert "state.db" in run("plan", code=1).stderr
