"""What rules 2 and 3 make of texts, for good: whatever is cut otherwise is paid for again by everybody who has it.

A digest that has to be edited here is a new set of rules, or a raise of `splitter` (`splitting/forms.py`).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.splits import of_new_state, split
from voyage_jobs.core.tokens import estimate_each
from voyage_jobs.splitting.split import SplitOptions
from voyage_jobs.splitting.windows import stable_windows

_WORDS = "alpha beta gamma delta error warn info request user session cache größe 値段 ١٢".split()  # noqa: SIM905
_BLOCKS = {
    "md": [
        *[
            "# {}",
            "## `{}`",
            "### *{}* [b](c) & <i>d</i> \\* {{#id}}",
            "#### {} ####",
            "##",
            "{}\n---",
            "{}\n===\n",
        ],
        *[
            "```py\n{}\n```",
            "- item {}\n  - inner {}\n- ~~~\n  # no heading {}\n  ~~~",
            "| {} | b |\n|---|---|\n| 1 | {} |",
        ],
        *[
            "```js\n" + "{}\n" * 90 + "```",
            "| {} | b |\n|---|---|\n" + "| 1 | {} |\n" * 80,
            "<!-- {}\n# none\n-->",
        ],
        *[
            "1. {}\n2. {}",
            "> {}",
            "    # {}",
            " " * 1_400,
            "<h1>{}</h1>",
            "---",
            "{}:\n",
            "\u0661. ```\n{}\n```",
        ],
    ],
    "rst": [
        *[
            "{}\n======================",
            ".. _{}:\n\nTitle\n-----",
            ".. note:: {}\n\n   {}",
            "{}::\n\n    {}\n    {}",
        ],
        *[".. code-block:: py\n\n" + "    {}\n" * 90, "* {}\n* {}", ":field: {}", "..\n   {}", "==\n{}\n=="],
    ],
    "txt": ["{}\n{}\n{}", "  {}\n  {}", "{}, {}; {}. {}! {}?", "\f{}", "{}\t{}"],
}
_HEADS = [
    "title: {}",
    "tags: [{}, b]",
    "when: 2024-02-30",
    "a: &x {}\nb: *x",
    "n: 1.20",
    "l:\n  - {}",
    "x: {}: y",
]
_OPTIONS = {
    "new": replace(of_new_state(), rules=2),
    "small": replace(of_new_state(400), rules=2),
    "overlap": replace(of_new_state(800), rules=2, overlap_chars=150),
    "windows": replace(of_new_state(contextualized=True), rules=2),
    "rules 3": of_new_state(),
    "rules 3, small": of_new_state(400),
    "bare": SplitOptions(max_chars=300, rules=2),
}


def texts(form: str) -> Iterator[str]:
    """Generated ones, always the same, with every kind of line end."""
    chance = random.Random(form)

    def prose() -> str:
        return " ".join(chance.choice(_WORDS) for _ in range(chance.randint(2, 14)))

    def filled(block: str) -> str:
        parts = block.split("{}")
        return "".join(part + (prose() if at + 1 < len(parts) else "") for at, part in enumerate(parts))

    for _ in range(60):
        blocks = [
            chance.choice([*_BLOCKS[form], "{}. {}.", "{}", "{}.\n{}."]) for _ in range(chance.randint(1, 40))
        ]
        body = "\n\n".join(filled(block) for block in blocks)
        head = "\n".join(filled(chance.choice(_HEADS)) for _ in range(chance.randint(0, 5)))
        text = f"---\n{head}\n---\n{body}" if chance.random() < 0.4 else body
        yield text.replace("\n", chance.choice(["\n", "\n", "\r\n", "\r"]))


def digest(form: str, options: SplitOptions) -> str:
    """Of all that comes of a form's texts."""
    found = hashlib.blake2b(digest_size=8)
    for text in texts(form):
        document = split(text, f"a.{form}", options)
        sizes = estimate_each([text[chunk.start : chunk.end] for chunk in document.chunks])
        windows = stable_windows(text, document, sizes, 400, 1_000) if options.window_tokens else None
        made = (document.title, document.metadata, document.sections, document.headers)
        found.update(repr((made, [tuple(chunk) for chunk in document.chunks], windows)).encode())
    return found.hexdigest()


@pytest.mark.parametrize(
    ("form", "name", "expected"),
    [
        ("md", "new", "2ae3221ef391e3e1"),
        ("md", "small", "b7487542e283ce75"),
        ("md", "overlap", "9abe43885007376c"),
        ("md", "windows", "bdcbdfc621475d42"),
        ("md", "bare", "5f0e9266933b48dd"),
        ("md", "rules 3", "af0a77b8dcab11f9"),
        ("md", "rules 3, small", "c669af8aa8492084"),
        ("rst", "new", "e9be75ad22a1647a"),
        ("rst", "small", "e0e026b8ed497c60"),
        ("rst", "overlap", "8c5851f0d6a174ad"),
        ("rst", "windows", "7ef4cb1fedef79ba"),
        ("rst", "bare", "40b16cf23e75f5bc"),
        ("rst", "rules 3", "e9be75ad22a1647a"),
        ("txt", "rules 3", "ac816251702c85e6"),
        ("txt", "new", "ac816251702c85e6"),
        ("txt", "small", "e51db62b054e92db"),
        ("txt", "overlap", "7b14b08ca2a54eff"),
        ("txt", "windows", "c414f3f0f957c8b5"),
        ("txt", "bare", "cfd80786ec714787"),
    ],
)
def test_the_same_texts_are_cut_as_ever(form: str, name: str, expected: str) -> None:
    assert digest(form, _OPTIONS[name]) == expected
