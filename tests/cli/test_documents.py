"""`documents`: which there are, the state of each, and why some are skipped."""

import pytest
from looking import Looking
from step_doors import all_batches

from voyage_jobs.steps.acts import perform


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr("looking.MODULES", ("status", "documents", "plan"))
    looking = Looking(tmp_path, monkeypatch)
    for path in ("a.md", "sub/b.md", "kept.md"):
        looking.world.write(path, f"# Text of {path}\n\nWords.")
    looking.world.write("bin.md", b"\0\1")
    for name in ("page.html", "Other.HTML", "Makefile", ".hidden.html"):
        looking.world.write(name, b"x")
    return looking


def states(found):
    return {each["path"]: each["state"] for each in found["documents"]}


def test_each_document_with_its_state_and_what_is_passed_over(run):
    assert "no state yet" in run("documents", code=2).stderr
    run.world.run(12, quiet=False)  # its batch is at the provider
    waiting = {"a.md": "waiting", "kept.md": "waiting", "sub/b.md": "waiting"}
    assert states(run.json("documents")) == {**waiting, "bin.md": "skipped"}
    run.world.run()
    run.world.write("a.md", "# Another text")
    run.world.remove("kept.md")
    kept = [{"name": "docs", "path": str(run.world.docs), "keep": True}]
    run.world.run(4, quiet=False, sources=kept)
    found = run.json("documents", sources=kept)
    assert states(found) == {
        "a.md": "waiting",
        "bin.md": "skipped",
        "kept.md": "missing",
        "sub/b.md": "published",
    }
    assert [each["path"] for each in found["documents"]] == ["a.md", "bin.md", "kept.md", "sub/b.md"]
    assert found["passed_over"] == {"docs": {".html": 2, "no ending": 1}}
    shown = run.text("documents", sources=kept)
    assert "docs:sub/b.md" in shown
    assert "3 other files (2 .html, 1 with no ending)" in shown
    assert "it stays in the table" in " ".join(shown.split())


def test_what_failed_alone_says_why_and_what_to_do(tmp_path, monkeypatch):
    failing = {"line_refused": {"contains": "Text of a.md", "message": "No poison."}}
    run = Looking(tmp_path, monkeypatch, faults=failing)
    monkeypatch.setattr("voyage_jobs.cli.documents.SystemClock", lambda: run.world.clock)
    run.world.write("a.md", "# Text of a.md\n\nWords.")
    run.world.run(6, quiet=False)
    [waiting] = run.json("documents")["documents"]
    assert (waiting["state"], waiting["why"], waiting["next"]) == ("waiting", None, None)
    run.world.write("b.md", "# Fine\n\nWords.")
    run.world.run()
    failed, fine = run.json("documents")["documents"]
    assert (failed["path"], failed["state"], failed["reason"]) == ("a.md", "waiting", None)
    assert failed["why"] == "1 chunk failed"
    assert failed["next"] == "`voyage-jobs why` says more of it, `voyage-jobs retry` sends it again."
    assert (fine["state"], fine["why"]) == ("published", None)
    shown = " ".join(run.text("status").split())
    assert "documents with other chunks are published without them" in shown


def test_what_was_cancelled_says_so_until_something_of_it_is_on_its_way(run):
    run.world.write("two.md", "# One\n\n" + "word " * 60 + "\n\n# Two\n\n" + "more " * 60)
    with run.world.worker() as context:
        run.world.take_turns(context, 4, quiet=False)
        perform(context, "cancel", {"ref": all_batches(context)[0].ref}, "me")
        run.world.take_turns(context)
        found = {each["path"]: each for each in run.json("documents", "--state", "waiting")["documents"]}
        assert found["two.md"]["why"] == "2 chunks were in a batch that an operator cancelled"
        assert "`voyage-jobs retry`" in found["a.md"]["next"]
        perform(context, "retry", {"source": "docs"}, "me")
        run.world.take_turns(context, 1, quiet=False)
    assert [each["why"] for each in run.json("documents", "--state", "waiting")["documents"]] == [None] * 4


def test_one_state_or_one_source_and_no_more_than_was_asked_for(run):
    run.world.run()
    [skipped] = run.json("documents", "docs", "--state", "skipped")["documents"]
    assert (skipped["path"], skipped["reason"]) == ("bin.md", "binary")
    assert "it is binary" in skipped["why"]
    assert skipped["next"]
    for state, count in (("published", 3), ("waiting", 0), ("missing", 0), ("gone", 0)):
        assert len(run.json("documents", "--state", state)["documents"]) == count
    assert "No document is gone." in run.text("documents", "--state", "gone")
    cut = run.json("documents", "--limit", "2")
    assert [len(cut["documents"]), cut["more"]] == [2, True]
    assert "--limit 4" in run.text("documents", "--limit", "2")
    assert "There are: docs." in run("documents", "dosc", code=2).stderr


def test_a_document_that_has_left_the_table_is_listed_when_asked_for(run):
    run.world.run()
    run.world.remove("kept.md")
    run.world.run()
    assert "kept.md" not in states(run.json("documents"))
    assert states(run.json("documents", "--state", "gone")) == {"kept.md": "gone"}


def test_status_says_what_is_not_taken_and_how_to_list_it(run):
    run.world.run()
    shown = " ".join(run.text("status").split())
    assert "Skipped in docs: 1 binary; `voyage-jobs documents docs --state skipped` lists them." in shown
    assert "Passed over in docs: 3 other files (2 .html, 1 with no ending)" in shown
    [docs] = run.json("status")["sources"]
    assert docs["passed_over"] == {".html": 2, "no ending": 1}


def test_plan_and_status_say_how_much_is_data_and_not_embedded(run):
    run.world.run()
    assert "Not embedded of docs" not in run.text("status")
    run.world.write(
        "picture.md", f"# A picture\n\n![it](data:image/png;base64,{'iVBORw0KGgoAAAANSUhEUg' * 100})\n"
    )
    planned = " ".join(run.text("plan").split())
    run.world.run()
    [docs] = run.json("status")["sources"]
    told = f"Not embedded of docs: data in 1 file, about {docs['data']['tokens']:,} tokens"
    assert docs["data"]["files"] == 1
    assert told in planned
    assert told in " ".join(run.text("status").split())


def test_an_empty_source_is_said(run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "x.html").write_text("x")
    sources = [{"name": name, "path": str(tmp_path / name)} for name in ("empty", "pages")]
    run.world.run(sources=sources)
    told = [each["message"] for each in run.json("status", sources=sources)["problems"]]
    assert any("Source empty has no documents: its folder is empty" in each for each in told)
    assert any(
        "Source pages has no documents: none of its 1 file fits its `include`" in each for each in told
    )
