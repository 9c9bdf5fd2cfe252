"""Data in the middle of text: blanked, counted and told; words in any script stay, nothing old changes by itself."""

from __future__ import annotations

import base64
import json
import random
import re
import shutil
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from older_state import as_of
from step_doors import prose
from verify_doors import found
from world import World

from voyage_jobs.planning.plan import plan
from voyage_jobs.readers.data import _long_lines, _long_runs, data_in, without_data
from voyage_jobs.readers.reader import Refused, Text
from voyage_jobs.report.status import status
from voyage_jobs.report.why import why

NOISE = base64.b64encode(random.Random(1).randbytes(9_000)).decode()
IMAGE = f"![A chart](data:image/png;base64,{NOISE})"
RECORDS = json.dumps(
    [{"id": n, "name": f"item{n}", "tags": ["a", "b"]} for n in range(200)], separators=(",", ":")
)
DRAWING = f"```compressed-json\n{NOISE[:256]}\n\n{NOISE[256:512]}\n```\n"


def blanked(text):
    return without_data(Text(text)).text


@pytest.mark.parametrize(
    "data",
    [NOISE, f"data:image/png;base64,{NOISE[:100]}", "0f" * 300, RECORDS, NOISE[:500] + "==", DRAWING],
    ids=["base64", "address", "hex", "minified", "run", "drawing"],
)
def test_data_is_blanked_and_what_stands_around_it_stays(data):
    text = f"Before it.\n\n{data}\n\nAfter it, a word.\n"
    found = blanked(text)
    assert found.split() == [word for word in found.split() if word in text.split() or "compressed" in word]
    assert "Before it." in found
    assert "After it, a word." in found
    assert NOISE[:60] not in found
    assert found.count("\n") == text.count("\n")
    assert len(found) == len(text)
    assert without_data(Text(text)).data_tokens >= 50


@pytest.mark.parametrize(
    "text",
    [
        "機械学習は、" * 400,
        "пример," * 300,
        ",".join(["alpha", "beta", "gamma"] * 200),
        "https://example.com/" + "a-path/with-words/" * 20,
        "| " + " | ".join(["cell"] * 500) + " |",
        json.dumps([{"question": "What is it, and why does it matter?", "answer": "It is a pump."}] * 40),
        "x = f(y); " * 300,
        "data: the word, and a comma",
        "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
        "-" * 399,
    ],
    ids=["kanji", "cyrillic", "commas", "address", "table", "json", "code", "word", "pixel", "rule"],
)
def test_words_stay(text):
    assert without_data(Text(text)) == Text(text)


@given(st.text(st.sampled_from("ab 日{}\n\"',:()[];=/+0data"), max_size=900), st.integers(0, 3))
def test_what_is_blanked_is_in_order_and_nothing_else_moves(text, times):
    whole = (text + IMAGE) * times + text
    spans = list(data_in(whole))
    assert all(one[1] <= two[0] for one, two in pairwise(spans))
    try:
        after = blanked(whole)
    except Refused:
        return
    assert len(after) == len(whole)
    kept = [True] * len(whole)
    for start, end in spans:
        kept[start:end] = [False] * (end - start)
    for keep, char, now in zip(kept, whole, after, strict=True):
        assert now == char if keep or char in "\r\n" else now == " "


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "x=", " ", "\n", "日", "é ", "\t"]), st.integers(1, 900)), max_size=9
    )
)
def test_long_runs_and_long_lines_are_those_that_an_expression_finds(parts):
    text = "".join(part * times for part, times in parts)
    assert list(_long_runs(text)) == [each.span() for each in re.finditer(r"[!-~]{400,}", text)]
    assert list(_long_lines(text)) == [each.span() for each in re.finditer(r"[^\n]{2000,}", text)]


MDX = """import Tabs from '@theme/Tabs';
import {
  Card,
} from "./card"

export const meta = {
  title: 'Hidden',
}

# Guide

import duties are words here.

<Card title="Start" onClick={() => go({ now: true })}>

Text in a card, with `Array<String>` and <b>bold</b>.

</Card>

{/* a note to ourselves */}

<>x</>

```ts
import a from "a"
const b: Map<String, Card> = <Card />
```
"""


def test_what_stands_in_mdx_for_its_compiler_is_no_text():
    after = without_data(Text(MDX, "markdown"), mdx=True).text
    assert len(after) == len(MDX)
    for gone in (
        "@theme",
        "./card",
        "Hidden",
        "onClick",
        "now: true",
        "</Card>\n\n{",
        "ourselves",
        "<>",
        "</>",
    ):
        assert gone in MDX
        assert gone not in after
    for kept in (
        "# Guide",
        "import duties are",
        "Text in a card, with `Array<String>` and <b>bold</b>.",
        "x",
    ):
        assert kept in after
    fence = MDX[MDX.index("```ts") :]
    assert after.endswith(fence)
    assert without_data(Text(MDX, "markdown")) == Text(MDX, "markdown")


def test_many_open_tags_take_no_time():
    text = "<A b={" * 20_000 + "import x\n" * 5_000
    assert without_data(Text(text, "markdown"), mdx=True).text.count("import") == 5_000


# --- through the doors ---


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.write("a.md", f"# A\n\nThe first sentence.\n\n{IMAGE}\n\nThe second sentence.\n")
    return world


def texts(world):
    return [row["text"] for row in world.table_rows("text")]


def test_an_image_in_the_text_is_not_embedded_and_told_in_plan_and_status(world):
    planned = plan(world.settings(), world.clock)
    assert planned["sources"][0]["data"]["files"] == 1
    assert planned["sources"][0]["data"]["tokens"] > 3_000
    assert planned["tokens"]["to_send"] < 100
    world.run()
    assert world.ledger.batch_tokens < 100
    whole = (world.docs / "a.md").read_text()
    for row in world.table_rows("text", "start", "end"):
        assert NOISE[:50] not in row["text"]
        assert [word for word in row["text"].split() if word not in whole] == []
        assert whole[row["start"]] == row["text"][0]
    joined = " ".join(texts(world))
    assert "The first sentence." in joined
    assert "The second sentence." in joined
    assert "_not_embedded_tokens" in world.table_rows("front_matter")[0]["front_matter"]
    [source] = status(world.settings(), world.clock)["sources"]
    assert source["data"] == planned["sources"][0]["data"]
    assert found(world, deep=True) == {}


def test_the_table_can_be_filled_again_from_the_files(world):
    world.run()
    before, paid = world.table_rows(), world.ledger.units()
    shutil.rmtree(world.data_dir / "lancedb")
    world.run()
    fresh = [{**row, "published_at": None} for row in world.table_rows()]
    assert fresh == [{**row, "published_at": None} for row in before]
    assert world.ledger.units() == paid


def test_a_file_of_nothing_but_data_is_skipped_and_why_says_so(world):
    world.write("only.txt", NOISE)
    world.run()
    told = why(world.settings(), world.clock, str(world.docs / "only.txt"))
    assert told.reason == "only_data"
    assert "skip_data" in told.next
    world.run(sources=[world.sections()["sources"][0] | {"skip_data": False}])
    assert any(NOISE[:50] in text for text in texts(world))


def test_an_older_release_s_source_is_embedded_as_before_until_it_is_told(world):
    older = {"sources": [world.sections()["sources"][0] | {"skip_data": False}], "splitting": {"rules": 1}}
    world.run(**older)
    before, paid = world.table_rows("chunk_id", "embedding_key"), world.ledger.units()
    as_of(world, "0012")
    world.run()
    assert world.table_rows("chunk_id", "embedding_key") == before
    assert world.ledger.units() == paid
    world.run(sources=[world.sections()["sources"][0] | {"skip_data": True}])
    assert not any(NOISE[:50] in text for text in texts(world))
    assert found(world, deep=True) == {}


def test_the_plan_of_an_older_source_says_what_leaving_data_out_would_save(world):
    world.write("image.md", "One sentence.\n")
    world.run(
        **{"sources": [world.sections()["sources"][0] | {"skip_data": False}], "splitting": {"rules": 1}}
    )
    as_of(world, "0012")
    world.run()

    def saved(**sections):
        return [
            each for each in plan(world.settings(**sections), world.clock)["warnings"] if "skip_data" in each
        ]

    assert saved() == []  # nothing is to be sent
    world.write("new.md", f"Another sentence.\n\n{IMAGE}\n")
    [said] = saved()
    data = without_data(Text(f"Another sentence.\n\n{IMAGE}\n")).data_tokens
    assert f"about {data:,} tokens ($" in said
    assert said.endswith("skip_data = true would save them.")
    for decided in (True, False):
        assert saved(sources=[world.sections()["sources"][0] | {"skip_data": decided}]) == []


def test_in_mdx_only_what_readers_see_is_embedded(tmp_path):
    world = World(tmp_path)
    world.write("guide.mdx", MDX)
    world.run()
    joined = " ".join(texts(world))
    assert "Text in a card" in joined
    assert "@theme" not in joined
    assert "Hidden" not in joined
    assert world.table_rows("title")[0]["title"] == "Guide"


def test_without_data_in_it_a_text_has_the_keys_that_it_had(tmp_path):
    keys = []
    for skip in (True, False):
        world = World(tmp_path / str(skip))
        world.write("a.md", prose("a", 3))
        world.run(sources=[world.sections()["sources"][0] | {"skip_data": skip}])
        keys.append(world.table_rows("chunk_id", "embedding_key"))
    assert keys[0] == keys[1]
