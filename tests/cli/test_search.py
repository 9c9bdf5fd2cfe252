"""`search`: by meaning, for a few tokens, with errors that tell a missing table from a refused key."""

import re

import pytest
from looking import Looking
from pdf_files import pdf

from voyage_jobs.retrieval.passage import pattern_of, snippet, words_of
from voyage_jobs.steps.acts import perform


@pytest.fixture
def run(tmp_path, monkeypatch):
    looking = Looking(tmp_path, monkeypatch)
    looking.world.write(
        "cert.md", "# Certificates\n\n## Renewal\n\nHow to renew a certificate before it ends."
    )
    looking.world.write("soup.md", "# Soup\n\nBoil water, add leeks and potatoes.")
    return looking


def test_without_a_table_it_says_what_fills_it(run):
    result = run("search", "anything", code=2)
    assert "There is no table 'chunks'" in result.stderr
    assert "voyage-jobs sync" in result.stderr
    assert not run.world.transport.requests


def test_a_hit_says_where_it_stands_and_at_which_address(run):
    run.world.write("manual.pdf", pdf([["Cover", "of a manual"], ["How to descale a kettle with vinegar"]]))
    page = "<main><h1>Pans</h1><p>How to season a skillet with oil.</p></main>"
    run.world.write("pans.html", f'<link rel="canonical" href="https://cook.example.com/pans">{page}')
    docs = [{"name": "docs", "path": str(run.world.docs), "include": ["*.pdf", "*.html"]}]
    run.world.run(sources=docs, splitting={"max_chars": 200})
    assert "docs:manual.pdf, p. 1" in run.text("search", "kettle vinegar", "--mode", "words")
    found = run.text("search", "skillet", "--mode", "words")
    assert "docs:pans.html  Pans\nhttps://cook.example.com/pans\n" in found
    assert run.json("search", "kettle", "--mode", "words")["hits"][0]["page"] == 1


def test_an_empty_question_and_an_unknown_source_cost_nothing(run):
    run.world.run()
    asked = len(run.world.transport.requests)
    run("search", "  ", code=2)
    assert "there is docs" in run("search", "soup", "--source", "dosc", code=2).stderr
    assert len(run.world.transport.requests) == asked


def test_rows_of_a_source_that_left_the_configuration_can_be_asked_for(run):
    """They came up in every search, and could not be named."""
    more = run.world.root / "more"
    run.world.write("pot.md", "# Pot\n\nA pot to boil water in.", folder=more)
    docs = {"name": "docs", "path": str(run.world.docs)}
    run.world.run(sources=[docs, {"name": "more", "path": str(more)}])
    with run.world.worker() as context:  # without the other source
        found = run.json("search", "boil water", "--source", "more")
        assert {hit["source"] for hit in found["hits"]} == {"more"}
        assert "there is docs, more." in run("search", "soup", "--source", "dosc", code=2).stderr
        perform(context, "confirm", {"source": "more"}, "test")
        run.world.take_turns(context)
    assert "there is docs." in run("search", "soup", "--source", "more", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("caf\udce9",), "query"),
        (("hours", "--path", "caf\udce9/*"), "path"),
        (("hours", "--mode", "words", "--where", "title = '\udce9'"), "filter"),
    ],
)
def test_a_question_in_another_encoding_is_one_sentence(run, arguments, what):
    run.world.run()
    asked = len(run.world.transport.requests)
    assert run("search", *arguments, code=2).stderr.startswith(f"error: The {what} is not valid UTF-8.")
    assert len(run.world.transport.requests) == asked


@pytest.mark.parametrize("mode", ["hybrid", "vector"])
def test_a_refused_key_leaves_the_words(run, monkeypatch, mode):
    run.world.run()
    monkeypatch.setenv("VOYAGE_API_KEY", "wrong-key-of-somebody-else")
    result = run("search", "soup", "--mode", mode)
    assert "Warning: Searched by words alone" in result.stderr
    assert "refuses the API key" in result.stderr
    assert "somebody" not in result.stderr
    assert "soup.md" in result.stdout


def test_without_a_key_words_answer_and_by_words_nobody_is_asked(run, monkeypatch):
    run.world.run()
    monkeypatch.delenv("VOYAGE_API_KEY")
    asked = len(run.world.transport.requests)
    found = run.json("search", "leeks potatoes")
    assert (found["mode"], found["hits"][0]["path"], len(found["warnings"])) == ("words", "soup.md", 1)
    silent = run("search", "leeks", "--mode", "words")
    assert not silent.stderr
    assert len(run.world.transport.requests) == asked


def test_a_spent_budget_leaves_the_words(run):
    run.world.run()
    asked = len(run.world.transport.requests)
    found = run.json("search", "leeks", budget={"daily_tokens": 1})
    assert found["warnings"] == ["Searched by words alone: a budget is spent."]
    assert found["hits"][0]["path"] == "soup.md"
    assert len(run.world.transport.requests) == asked


def test_all_conditions_must_hold_and_a_broken_one_is_named_as_it_was_written(run):
    run.world.write("first.md", "---\nprio: 3\n---\n\nBread.\n")
    run.world.run()
    both = ("--where", "path = 'cert.md' or path = 'soup.md'", "--where", "path = 'soup.md'")
    assert {hit["path"] for hit in run.json("search", "soup", *both)["hits"]} == {"soup.md"}
    told = run("search", "soup", "--where", "path = 'x') OR (1 = 1", "--where", "path = 'y'", code=2).stderr
    assert "does not belong there" in told
    told = run("search", "soup", "--where", "prio >= ", code=2).stderr
    assert "The filter 'prio >= ' cannot be used" in told


@pytest.mark.parametrize("where", ["nonsense = 1", "1=1) OR (1=1", "ordinal = ", "source = 'x' -- y", "'"])
def test_a_filter_without_sense_is_one_sentence(run, where):
    run.world.run()
    told = run("search", "soup", "--where", where, code=2).stderr
    assert "cannot be used" in told
    assert "Traceback" not in told


def test_filters_explain_and_expand(run):
    run.world.run()
    assert {hit["path"] for hit in run.json("search", "soup", "--path", "s*.md")["hits"]} == {"soup.md"}
    assert run.json("search", "soup", "--where", "path = 'cert.md'")["hits"][0]["path"] == "cert.md"
    assert run.json("search", "soup", "--since", "2999-01-01")["hits"] == []
    explained = run.text("search", "leeks", "--explain", "--expand", "section")
    assert "vector" in explained
    assert "words" in explained
    assert "Mode hybrid" in explained
    assert "tokens" in explained


def test_the_nearest_chunk_comes_first_with_its_place(run):
    run.world.run()
    shown = run.text("search", "How to renew a certificate before it ends.")
    first = shown.splitlines()[0]
    assert re.match(r"1\. [01]\.[0-9]{3} ", first)
    assert "docs:cert.md" in first
    assert "Renewal" in first
    assert "renew a certificate" in shown
    found = run.json("search", "leeks and potatoes", "-k", "1")
    [hit] = found["hits"]
    assert hit["path"] == "soup.md"
    assert hit["text"] == (run.world.docs / "soup.md").read_text()[hit["start"] : hit["end"]]
    assert -1 <= hit["score"] <= 1


def test_the_question_is_embedded_as_a_query_once(run):
    run.world.run()
    before = run.world.ledger.sync_tokens
    run("search", "soup")
    assert run.world.ledger.sync_tokens > before
    assert [r.path for r in run.world.transport.requests][-1] == "/v1/embeddings"


def test_a_source_narrows_the_search_down(tmp_path, monkeypatch):
    run = Looking(tmp_path, monkeypatch)
    other = tmp_path / "other"
    run.world.write("a.md", "leek soup")
    run.world.write("b.md", "leek soup, too", folder=other)
    both = {"sources": [*run.world.sections()["sources"], {"name": "other", "path": str(other)}]}
    run.world.run(**both)
    found = run.json("search", "leek soup", "--source", "other", **both)
    assert {hit["source"] for hit in found["hits"]} == {"other"}


def test_contextualized_vectors_are_asked_for_at_their_endpoint(tmp_path, monkeypatch):
    model = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}
    run = Looking(tmp_path, monkeypatch, voyage=model)
    run.world.write("a.md", "# One\n\nleek soup\n\n# Two\n\ncertificates")
    run.world.run()
    assert len(run.json("search", "leek soup")["hits"]) == 2
    assert run.world.transport.requests[-1].path == "/v1/contextualizedembeddings"


def test_text_that_plays_tricks_is_shown_plainly(run):
    run.world.write("evil.md", "# Evil\x1b[31m\n\nred \x1b]0;title\x07 words")
    run.world.run()
    shown = run.text("search", "red words")
    assert "\\x1b" in shown
    assert "\x07" not in shown


def test_facets_count_all_candidates(run):
    for number in range(4):
        run.world.write(f"guides/{number}.md", f"leek soup {number}")
    run.world.run()
    found = run.json("search", "soup", "--mode", "words", "-k", "1")
    assert found["facets"] == {"source": {"docs": 5}, "folder": {"guides": 4}, "fields": {}}


def test_words_are_marked_with_their_other_endings():
    pattern = pattern_of(words_of("renewing the leeks of a c++ cat"))
    text = "Renewed, renewal; leek Leeks leeky; the there; cats cat, catalogue"
    assert re.findall(pattern, text) == ["Renewed", "renewal", "leek", "Leeks", "leeky", "the", "cat"]
    assert pattern_of([]) is None
    assert snippet("x " * 300 + "it was renewed", ["renewing"]).endswith("it was renewed")


def test_snippets_begin_a_little_before_the_first_word_asked_for():
    text = "start " + "filler " * 100 + "needle in the hay " + "more " * 100
    cut = snippet(text, words_of("a Needle?"))
    assert cut.startswith("... ")
    assert cut.endswith(" ...")
    assert "needle in the hay" in cut
    assert len(cut) <= 240
    assert snippet("short  text\n\nhere", ["x"]) == "short text here"
    assert len(snippet("x" * 1000, ["y"])) <= 240


def test_queries_may_be_embedded_by_a_model_of_the_same_space(tmp_path, monkeypatch):
    run = Looking(tmp_path, monkeypatch, voyage={"model": "voyage-4-large"})
    run.world.write("soup.md", "# Soup\n\nBoil leeks and potatoes.")
    run.world.write("cert.md", "# Certificates\n\nRenew them.")
    run.world.run()
    cheap = {"search": {"query_model": "voyage-4-lite"}}
    found = run.json("search", "leeks and potatoes", "--mode", "vector", **cheap)
    assert found["hits"][0]["path"] == "soup.md"
    assert found["hits"][0]["score"] > found["hits"][1]["score"]
    assert found["cost"]["model"] == "voyage-4-lite"
    assert found["cost"]["usd"] == pytest.approx(found["cost"]["tokens"] * 0.02 / 1e6)
    own = run.json("search", "leeks and potatoes", "--mode", "vector")
    assert own["hits"][0]["score"] == pytest.approx(found["hits"][0]["score"], abs=1e-5)


@pytest.mark.parametrize(
    "model", ["voyage-code-4", "voyage-3.5-lite", "voyage-context-4", "rerank-2.5", "nobodys"]
)
def test_other_models_for_queries_are_refused(run, model):
    told = run("search", "soup", search={"query_model": model}, code=2).stderr
    assert "search.query_model" in told
    assert "voyage-4-lite" in told


def test_a_table_of_another_model_is_asked_with_its_own(tmp_path, monkeypatch):
    run = Looking(tmp_path, monkeypatch, voyage={"model": "voyage-3.5"})
    run.world.write("soup.md", "leek soup")
    run.world.run()
    later = {"voyage": {"model": "voyage-4"}, "search": {"query_model": "voyage-4-lite"}}
    found = run.json("search", "soup", **later)
    assert (found["mode"], found["cost"]["model"], found["warnings"]) == ("hybrid", "voyage-3.5", [])


def test_it_is_the_model_for_queries_that_is_asked(tmp_path, monkeypatch):
    retired = {"retired_models": {"voyage-4-lite": "another"}}
    run = Looking(tmp_path, monkeypatch, options=retired)
    run.world.write("soup.md", "leek soup")
    run.world.run()
    found = run.json("search", "soup", search={"query_model": "voyage-4-lite"})
    assert found["mode"] == "words"
    assert "voyage-4-lite is retired" in found["warnings"][0]
