"""Forms: what a text may be written in. A form says where its headings are and how it is cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from voyage_jobs.readers.reader import FORMS as NAMES
from voyage_jobs.readers.reader import Heading
from voyage_jobs.splitting import blocks, code, markdown, rst
from voyage_jobs.splitting.stable import Ranks

SIZES = ("max_chars", "overlap_chars")
"""The options that every fingerprint ever made has in it. Any other is in it only where it is not the default."""

RULES = 3
"""The newest rules of splitting: what a new state begins with. A state keeps those that it began with until its owner
asks for others, since whatever is cut otherwise is paid for again."""


def _no_headings(_text: str, _start: int) -> list[Heading]:
    return []


@dataclass(frozen=True, slots=True)
class Form:
    """How texts of one form are split."""

    name: str
    headings: Callable[[str, int], list[Heading]] = _no_headings
    """Finds them, from a character on, where the reader did not give them. Never raises."""
    markdown: bool = False
    """Whether it has front matter, and blocks that are kept whole."""
    ranks: Ranks | None = None
    """Finds where a section may be cut; None: the library fills chunk after chunk, as rules 1 have it."""
    splitter: int = 1
    """Raise it when the same text comes to give other chunks, titles, sections or metadata: every document of this
    form is then read and split again, and what differs is embedded again. A new version of the splitting library does
    not raise it by itself, else every update would be paid for; documents keep their chunks until they change."""
    titled: bool = True
    """Whether its first heading is its title."""
    named: bool = False
    """Whether the name of its file goes with what is embedded of a document that has no title."""
    options: tuple[str, ...] = (*SIZES, "context")
    """The fields of `SplitOptions` that this form uses."""


def _named(*forms: Form) -> dict[str, Form]:
    return {name: form for name in NAMES for form in forms if form.name == name}


_FIRST = _named(
    Form("markdown", markdown.headings, markdown=True),
    Form("rst", rst.headings),
    Form("plain"),
    Form("code", ranks=code.ranks, splitter=2, titled=False),
)
_OPTIONS = (*SIZES, "context", "min_chars", "window_tokens")
_SECOND = _named(
    Form("markdown", markdown.headings, markdown=True, ranks=blocks.markdown, splitter=2, options=_OPTIONS),
    Form("rst", rst.headings_with_marks, ranks=blocks.rst, splitter=2, options=_OPTIONS),
    Form("plain", ranks=blocks.plain, splitter=2, options=_OPTIONS),
    Form("code", ranks=code.ranks, splitter=2, titled=False, options=_OPTIONS),
)
_THIRD = {**_SECOND, "markdown": replace(_SECOND["markdown"], splitter=3, named=True)}
FORMS: dict[int, dict[str, Form]] = {1: _FIRST, 2: _SECOND, 3: _THIRD}
"""By rules, then by name. Rules that were released never change but by a raise of `splitter`: what is to be cut
otherwise for new states alone gets rules of its own, and for a form that they leave as it is, the entry of before.

Front matter was read otherwise once without a raise: it would have shown every Markdown document of older folders
again, and dropped the values of users' own columns. Such files are read the new way when they change.

What the forms share (`pieces.py`, `sections.py`) raises the splitter of each form whose results it changes."""


def form_of(name: str, path: str, rules: int) -> Form:
    """How a text of this form and name is split. Sphinx keeps its sources as `.rst.txt`, which readers call plain."""
    if rules > 1 and name == "plain" and path.lower().endswith(".rst.txt"):
        name = "rst"
    return FORMS[rules][name]
