"""The rules answer as gitignore does; the short cuts change nothing."""

from __future__ import annotations

import re

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from voyage_jobs.errors import ConfigError
from voyage_jobs.sources.globs import SteadyPattern
from voyage_jobs.sources.rules import DEFAULT_INCLUDE, PathRules

PARTS = st.sampled_from(["a", "b", "docs", "x.md", "y.txt", ".git", ".md", "md", "a b", "build", "é.md"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(
    st.sampled_from(
        [
            *[
                "*.md",
                "**/*.md",
                "*.txt",
                "*",
                "**",
                "docs/",
                "docs/**",
                "/docs",
                "build",
                "a/*",
                "a/**/x.md",
            ],
            *[
                "docs/*.md",
                "!*.md",
                "!docs/",
                "!x.md",
                "*/",
                "**/",
                "# word",
                "",
                ".git",
                "a b",
                "[ab]",
                "?.md",
            ],
            *["a/**/x.md", "?.md", "*.md ", "**/docs/", "*.md/", "é.*", "b/"],
        ]
    ),
    max_size=4,
)


def hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def plainly_keeps(include: list[str], exclude: list[str], with_hidden: bool, path: str) -> bool:
    included = GitIgnoreSpec.from_lines(include or DEFAULT_INCLUDE).match_file(path)
    excluded = GitIgnoreSpec.from_lines(exclude).match_file(path)
    return included and not excluded and (with_hidden or not hidden(path))


@examples(600)
@given(PATTERNS, PATTERNS, st.booleans(), st.lists(PATHS, min_size=1, max_size=6))
def test_the_answers_are_those_of_plain_pathspec(
    include: list[str], exclude: list[str], with_hidden: bool, paths: list[str]
) -> None:
    rules = PathRules(include, exclude, hidden=with_hidden)
    for path in paths:
        assert plainly_keeps(include, exclude, with_hidden, path) == rules.keeps(path), path


@examples(300)
@given(PATTERNS, PATTERNS, st.booleans(), PATHS)
def test_a_folder_that_is_not_entered_holds_nothing_wanted(
    include: list[str], exclude: list[str], with_hidden: bool, path: str
) -> None:
    rules = PathRules(include, exclude, hidden=with_hidden)
    above = path.split("/")[:-1]
    if any(not rules.enters("/".join(above[: n + 1])) for n in range(len(above))):
        assert not plainly_keeps(include, exclude, with_hidden, path)


def test_a_line_end_in_a_name_is_an_ordinary_character() -> None:
    rules = PathRules(["*.md", "notes/*.txt"], ["drafts/"])

    assert rules.keeps("a\nb/c\nd.md")
    assert rules.keeps("notes/a\nb.txt")
    assert not rules.keeps("a.md\n")
    assert not rules.keeps("notes/a.txt\n")
    assert not rules.keeps("x/drafts/a\nb/c.md")
    assert PathRules(["a\n?.rst"], []).keeps("a\nb.rst")


def test_excluded_and_hidden_folders_are_not_entered() -> None:
    rules = PathRules([], ["node_modules/", "*.bak"])

    assert rules.enters("")
    assert rules.enters("docs/a")
    assert not rules.enters("docs/node_modules")
    assert not rules.enters("docs/old.bak/more")
    assert not rules.enters("docs/.git")
    assert PathRules([], [], hidden=True).enters("docs/.git")


def test_a_negated_exclude_keeps_the_way_to_its_file_open() -> None:
    rules = PathRules(["*.md"], ["build/", "!keep.md"])

    assert rules.enters("build")
    assert rules.keeps("build/keep.md")
    assert not rules.keeps("build/other.md")


@pytest.mark.parametrize("name", ["README.md", "a.RST", "b.log", "c/d.txt", "x.org"])
def test_the_default_takes_text(name: str) -> None:
    assert PathRules([], []).keeps(name)


def test_the_default_leaves_the_rest() -> None:
    assert not PathRules([], []).keeps("logo.png")


@pytest.mark.parametrize("pattern", ["!", "\\", "[z-a]", "a" * 1_025, "a*" * 600])
def test_a_wrong_pattern_is_named(pattern: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(pattern)[:60])):
        PathRules([], ["ok/", pattern])


# --- bounded time ---

MANY = 60
HOSTILE = {
    "a*" * MANY + "b": ("a" * 255, "a" * 254 + "b"),
    "*a" * MANY + "*b": ("a" * 255, "a" * 254 + "b"),
    "*?" * MANY + "b": ("a" * 255, "a" * 254 + "b"),
    "*[!b]" * MANY + "b": ("a" * 255, "a" * 254 + "b"),
    "*[a-c]x" * MANY + "b": ("ax" * 127, "ax" * 127 + "b"),
    "**" * MANY + "a" + "**" * MANY + "b": ("a" * 255, "a" * 254 + "b"),
    "**/" * MANY + "b": ("/".join("a" * 2_000), "/".join("a" * 2_000) + "/b"),
    "**/a/" * MANY + "**/b": ("/".join("a" * 2_000), "/".join("a" * 2_000) + "/b"),
    "**/*a*/" * MANY + "**/b": ("/".join(["aa"] * 1_300), "/".join(["aa"] * 1_300) + "/b"),
    "a/**/" + "*/" * MANY + "b": ("/".join("a" * 2_000), "/".join("a" * 2_000) + "/b"),
    "**/a*/**/" + "*a*a*a*/**/" * MANY + "b/": ("/".join(["aaaa"] * 800), "/".join(["aaaa"] * 800) + "/b/c"),
}


@pytest.mark.parametrize("pattern", HOSTILE)
def test_no_pattern_takes_longer_than_its_length_and_that_of_the_path(pattern: str) -> None:
    """Two hundred names of the longest kind; the plain expressions would not come to an end with the first."""
    misses, hit = HOSTILE[pattern]
    rules = PathRules(["*"], ["x", pattern])
    assert not rules.keeps(hit)
    for _ in range(100):
        assert rules.keeps(misses)
        assert rules.why_not(misses) is None


SEGMENTS = st.sampled_from(
    [*["**", "*", "a", "b", "ab", "a*", "*a", "*a*", "*a*b", "a*b*", "*a*b*a", "?", "a?*b", "[ab]*", "*[ab]*"],
     *["**a", "a**b", "[]a]*b*", "*[a-b]?*b", "\\*a", "*\\[*b", "[ab", "[[a]*"]]
)  # fmt: skip
NAMES_OF_TWO = st.text("ab", min_size=1, max_size=6)


@examples(600)
@given(
    st.sampled_from(["", "/", "!"]),
    st.lists(SEGMENTS, min_size=1, max_size=7).map("/".join),
    st.sampled_from(["", "/"]),
    st.lists(st.lists(NAMES_OF_TWO, min_size=1, max_size=8).map("/".join), min_size=1, max_size=8),
)
@pytest.mark.filterwarnings("ignore:Possible nested set")
def test_the_bounded_pattern_answers_as_the_plain_one(
    head: str, body: str, tail: str, paths: list[str]
) -> None:
    pattern = head + body + tail
    plain = GitIgnoreSpec.from_lines(["*", pattern], backend="simple")
    steady = GitIgnoreSpec.from_lines(["*", pattern], SteadyPattern, backend="simple")
    for path in paths:
        for each in (path, path + "/"):
            assert steady.check_file(each) == plain.check_file(each), (pattern, each)


@pytest.mark.parametrize("pattern", ["a[!x]b", "a[+-9]b", "*[!a]*b", "a[!x]*b"])
def test_a_set_never_matches_a_slash(pattern: str) -> None:
    rules = PathRules(["*"], [pattern])
    assert rules.keeps("a/b/c")
    assert rules.keeps("a/b")
    assert not rules.keeps("a5b")


def test_the_fingerprint_changes_with_every_setting_and_with_nothing_else() -> None:
    base = PathRules(["*.md"], ["a"])

    assert base.fingerprint == PathRules(("*.md",), ("a",)).fingerprint
    others = [
        PathRules(["*.md"], ["b"]),
        PathRules(["*.mdx"], ["a"]),
        PathRules(["*.md"], ["a"], hidden=True),
    ]
    assert len({rules.fingerprint for rules in [base, *others]}) == 4
    assert PathRules([], []).fingerprint == PathRules(DEFAULT_INCLUDE, []).fingerprint


NAMES = st.sampled_from(["a.md", "b.txt", "c.py", ".hidden.md", "drafts", "src", ".git", "old.md"])


@given(
    path=st.lists(NAMES, min_size=1, max_size=4).map("/".join),
    include=st.lists(st.sampled_from(["*.md", "**/*.txt", "src/**", "!old.md", "/a.md"]), max_size=3),
    exclude=st.lists(st.sampled_from(["drafts/", "*.txt", "src/a.md", "!a.md", "**/old.md"]), max_size=3),
    hidden=st.booleans(),
)
def test_what_is_not_wanted_has_a_reason_and_what_is_wanted_has_none(path, include, exclude, hidden):
    rules = PathRules(include, exclude, hidden)
    why = rules.why_not(path)
    assert (why is None) == rules.keeps(path)
    if why is not None and why.rule == "excluded":
        assert why.pattern in exclude
        assert path.startswith(why.part.rstrip("/"))
