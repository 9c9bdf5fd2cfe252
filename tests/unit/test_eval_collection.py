"""Questions in every format, with the line of what cannot be read; and which chunk is an answer to which question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voyage_jobs.errors import ConfigError
from voyage_jobs.evaluation.collection import Collection, load
from voyage_jobs.evaluation.places import Place, Target, grades, missing, read_word, target, whole_documents
from voyage_jobs.evaluation.sampling import Sample


def loaded(path: Path, text: str, qrels: Path | None = None) -> Collection:
    path.write_text(text)
    return load(path, qrels, ["docs"])


def judged(collection: Collection) -> dict[str, dict[str, int]]:
    return {
        each.text: {place.told: grade for place, grade in each.judged.items()}
        for each in collection.questions
    }


# --- formats ---

SIMPLE = [
    {"query": "one", "relevant": "a.md#Soup"},
    {"query": "two", "relevant": ["b.md", "docs:a.md#Soup > Leek"], "id": 7},
    {"query": "three", "relevant": {"b.md": 2, "c.md": 0}},
    {"query": "four", "relevant": [{"path": "c#.md", "heading": "X", "source": "docs", "grade": 3}]},
]
MEANT = {
    "one": {"a.md#Soup": 1},
    "two": {"b.md": 1, "docs:a.md#Soup > Leek": 1},
    "three": {"b.md": 2, "c.md": 0},
    "four": {"docs:c#.md#X": 3},
}


def test_the_file_for_people_is_jsonl_or_yaml(tmp_path: Path) -> None:
    import yaml

    lines = "".join(json.dumps(each) + "\n" for each in SIMPLE)
    assert judged(loaded(tmp_path / "q.jsonl", "\ufeff" + lines + "\n")) == MEANT
    found = loaded(tmp_path / "q.yaml", yaml.safe_dump(SIMPLE))
    assert judged(found) == MEANT
    assert found.by_section
    assert found.questions[1].id == "7"
    assert found.targets == [
        Target("", "a.md", ("Soup",)),
        Target("", "b.md"),
        Target("docs", "a.md", ("Soup", "Leek")),
        Target("docs", "c#.md", ("X",)),
    ]


def test_one_place_may_be_an_object_and_a_heading_a_number(tmp_path: Path) -> None:
    text = "- query: one\n  relevant: {path: a.md, heading: 2026}\n- query: two\n  relevant: {path: b.md}\n"
    assert judged(loaded(tmp_path / "q.yaml", text)) == {"one": {"a.md#2026": 1}, "two": {"b.md": 1}}


@pytest.mark.parametrize("path", ["a.md", "shop.csv#K-9", "a#b.md", "docs:x.md"])
@pytest.mark.parametrize("section", [(), ("Soup",), ("A > B", "C"), (" x", "#")])
def test_a_section_to_write_a_question_for_is_read_back(
    tmp_path: Path, path: str, section: tuple[str, ...]
) -> None:
    place = Target("docs", path, section)
    line = {**Sample(place, "about").as_dict(), "query": "what"}
    assert loaded(tmp_path / "q.jsonl", json.dumps(line)).targets == [place]


def test_names_of_columns_may_follow_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("\nquery-id\tcorpus-id\tscore\n1\ta.md\t2\n")
    assert judged(loaded(tmp_path / "t.tsv", "1\twhat\n", tmp_path / "qrels")) == {"what": {"a.md": 2}}


def test_the_folder_of_beir(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td 1\t2\nq1\td2\t0\nq9\td1\t1\n"
    )
    (tmp_path / "queries.jsonl").write_text(
        '{"_id": "q1", "text": "what\\nis  it"}\n{"_id": "q2", "text": "?"}\n'
    )
    found = load(tmp_path, None, [])
    assert judged(found) == {"what is it": {"d 1": 2, "d2": 0}}
    assert found.left_out == ("1 question without a relevant place",)
    assert not found.by_section
    assert judged(load(tmp_path / "queries.jsonl", None, [])) == judged(found)


def test_queries_and_judgements_of_trec(tmp_path: Path) -> None:
    qrels = tmp_path / "qrels"
    qrels.write_text("1 0 a.md 1\n1 0 b%20c.md#How%20to>do%3Eit 2\n2 0 a.md -1\n")
    found = loaded(tmp_path / "topics.tsv", "1\twhat is it\n2\twhy\n", qrels)
    assert judged(found) == {"what is it": {"a.md": 1, "b c.md#How to > do>it": 2}}


def test_what_is_not_written_yet_is_left_out_and_counted(tmp_path: Path) -> None:
    lines = '{"query": "", "relevant": "a.md"}\n{"query": " ", "relevant": "b.md"}\n{"query": "x", "relevant": "c.md"}'
    found = loaded(tmp_path / "q.jsonl", lines)
    assert (len(found.questions), found.left_out) == (1, ("2 questions not written yet",))


def test_ids_stay_when_questions_are_added(tmp_path: Path) -> None:
    one = loaded(tmp_path / "q.jsonl", '{"query": "x", "relevant": "c.md"}')
    more = loaded(
        tmp_path / "q.jsonl", '{"query": "y", "relevant": "c.md"}\n{"query": " x ", "relevant": "d.md"}'
    )
    assert one.questions[0].id == more.questions[1].id


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("q.jsonl", '{"query": "x", "relevant": "a"}\n{"query": ', "line 2: this is no JSON"),
        ("q.jsonl", '{"relevant": "a"}', "line 1: there is no `query`"),
        ("q.jsonl", "[1]", "line 1: there is no `query`"),
        ("q.jsonl", '{"query": 5, "relevant": "a"}', "line 1: the query is no text"),
        ("q.jsonl", '{"query": "x", "relevant": [5]}', "line 1: 5 is no place"),
        ("q.jsonl", '{"query": "x", "relevant": {"a": true}}', "line 1: the grade True"),
        ("q.jsonl", '{"query": "x", "relevant": {"a": 1.5}}', "line 1: the grade 1.5"),
        ("q.jsonl", '{"query": "x", "relevant": []}', "no question with an answer"),
        ("q.jsonl", '{"query": "x"}', "nothing says what is `relevant`"),
        ("q.jsonl", "", "nothing says what is `relevant`"),
        ("q.jsonl", '{"query": "x", "relevant": "a"}\n{"query": "x", "relevant": "b"}', "two questions"),
        (
            "q.jsonl",
            '{"query": "x", "relevant": {"path": "a", "heading": {"b": 1}}}',
            "line 1: {'b': 1} is no",
        ),
        ("q.yaml", "- query: x\n\n\n  relevant: [", "line 4"),
        ("q.yaml", "query: x", "must be a list"),
        ("q.yaml", "- [", "is no YAML"),
        ("q.yaml", "- just words", "question 1: there is no `query`"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match="evaluation") as caught:
        raise_with_hint(tmp_path / name, text)
    assert said in str(caught.value)


def raise_with_hint(path: Path, text: str) -> None:
    try:
        loaded(path, text)
    except ConfigError as exc:
        raise ConfigError(f"{exc.message} {exc.hint}") from exc


@pytest.mark.parametrize(
    ("line", "said"), [("1 0 a.md", ""), ("1 0 a.md x", "'x' is no whole number"), ("1 0 2 a 3", "5 fields")]
)
def test_judgements_that_cannot_be_read_are_told_with_their_line(
    tmp_path: Path, line: str, said: str
) -> None:
    qrels = tmp_path / "qrels"
    qrels.write_text(f"1 0 b.md 1\n{line}\n")
    with pytest.raises(ConfigError, match=f"line 2: .*{said}"):
        loaded(tmp_path / "t.tsv", "1\twhat\n", qrels)


def test_a_topic_without_a_tab_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("1 0 a 1\n")
    with pytest.raises(ConfigError, match="line 1: there is no tab"):
        loaded(tmp_path / "t.tsv", "1 what", tmp_path / "qrels")
    (tmp_path / "q.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "q.jsonl", None, [])


# --- places ---

WORDS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=8)


@given(source=st.just("") | WORDS, path=WORDS, section=st.lists(WORDS, max_size=3))
def test_the_word_of_a_place_is_one_word_and_read_back(source: str, path: str, section: list[str]) -> None:
    place = Place(source, path, tuple(section))
    assert len(place.word.split()) == 1
    assert read_word(place.word) == place


@pytest.mark.parametrize(
    ("text", "section", "holds"),
    [
        ("g/a.md", (), True),
        ("g/a", ("X",), True),
        ("a.md", (), False),
        ("docs:g/a.md", (), True),
        ("other:g/a.md", (), False),
        ("g/a.md#Renewal", ("Certificates", "Renewal"), True),
        ("g/a.md#certificates", ("Certificates", "Renewal"), True),
        ("g/a.md#Certificates > Renewal", ("Top", "Certificates", "More", "Renewal"), True),
        ("g/a.md#Renewal > Certificates", ("Certificates", "Renewal"), False),
        ("g/a.md#what-status-may-say", ("What `status` may say",), True),
        ("g/a.md#Renewal", ("Renewals",), False),
        ("g/a.md#Renewal", (), False),
        ("g/a.md#", (), True),
        ("g/a.md##", ("#",), True),
    ],
)
def test_a_target_is_at_a_place(text: str, section: tuple[str, ...], holds: bool) -> None:
    assert target(text, ["docs", "other"]).is_at(Place("docs", "g/a.md", section)) is holds


def test_a_colon_in_a_path_is_no_source() -> None:
    assert target("10:30.md", ["docs"]) == Target("", "10:30.md")


def test_every_place_counts_once_and_the_best_grade_first() -> None:
    asked = {Target("", "a.md", ("S",)): 2, Target("", "a.md"): 1, Target("", "b.md"): 3}
    found = [
        Place("d", "c.md", ("X",)),
        Place("d", "c.md", ("X",)),
        Place("d", "c.md", ("Y",)),
        Place("d", "a.md", ("S",)),
        Place("d", "a.md", ("S", "T")),
        Place("d", "a.md", ("Z",)),
        Place("d", "b.md"),
        Place("d", "b.md", ("Q",)),
    ]
    assert grades(found, asked, by_section=True) == [0, 0, 2, 1, 3]
    assert whole_documents(asked) == {Target("", "a.md"): 2, Target("", "b.md"): 3}
    assert grades(found, whole_documents(asked), by_section=False) == [0, 2, 3]


def test_places_that_the_table_lacks_are_named() -> None:
    there = [Place("docs", "g/a.md", ("Soup", "Leek")), Place("docs", "b.md")]
    wanted = [target(text, ["docs"]) for text in ("g/a.md#Soup", "g/a#Potato", "b", "c.md", "docs:b.md")]
    assert [each.told for each in missing(wanted, there)] == ["g/a#Potato", "c.md"]
