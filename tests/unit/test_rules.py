"""The rules answer as gitignore does; the short cuts change nothing."""

from __future__ import annotations

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from voyage_jobs.errors import ConfigError
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


def test_a_wrong_pattern_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'!'"):
        PathRules([], ["!"])


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
