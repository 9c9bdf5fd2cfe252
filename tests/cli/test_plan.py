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


def test_it_needs_no_key_and_no_state(run, monkeypatch):
    monkeypatch.delenv("VOYAGE_API_KEY")
    run.world.write("odd.md", b"\0")
    shown = run.text("plan")
    assert "3 embeddings" in shown
    assert "(estimated)" in shown
    assert "$0.0402 per million tokens" in shown
    assert "saved by batch" in shown
    assert "Not taken from docs: 1 binary" in shown
    assert not run.world.data_dir.exists()


def test_what_is_written_is_named_and_nothing_is_sent(run, tmp_path):
    shown = run("plan", "--write", tmp_path / "out", "--max-inputs", 2).stdout
    assert "nothing was sent" in shown
    assert "2 inputs now" in shown
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "batch-0001.jsonl",
        "request_params.json",
    ]
    assert not run.world.transport.requests


def test_json_holds_the_numbers_and_warnings(run):
    run.world.run()
    run.world.docs.rename(run.world.root / "away")
    found = run.json("plan")
    assert found["embeddings"]["to_send"] == 0
    assert any("would be frozen" in warning for warning in found["warnings"])
    assert "would be frozen" in run.text("plan")
