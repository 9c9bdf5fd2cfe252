"""What is left out besides patterns: .gitignore as git has it, what tools have made; nothing behind anybody's back."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from older_state import as_of
from step_doors import prose
from verify_doors import found
from world import World

from voyage_jobs.planning.plan import plan
from voyage_jobs.report.why import why
from voyage_jobs.sources.folder import FolderSource
from voyage_jobs.sources.ignored import GENERATED, GITIGNORED
from voyage_jobs.state.door import open_state


def tree(root, *paths, **texts):
    """Files by path with a word in each; `.gitignore` and others with their text."""
    for path, text in {**dict.fromkeys(paths, "text"), **texts}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def source_at(root, **options):
    return FolderSource(os.fsencode(root), **{"gitignore": True, "default_exclude": True, **options})


def taken(root, **options):
    folders = source_at(root, **options).discover(lambda _: {})
    return sorted(f"{folder.path}/{each.name}".lstrip("/") for folder in folders for each in folder.changed)


# --- .gitignore ---


def test_nested_files_hold_below_them_and_the_nearest_decides(tmp_path):
    paths = ["a.md", "a.txt", "keep.txt", "top.md", "drafts/d.md", "sub/notes.txt", "sub/other.txt"]
    paths += ["sub/local.md", "sub/top.md", "sub/drafts/deep/x.md"]
    ignoring = {
        ".gitignore": "drafts/\n*.txt\n!keep.txt\n/top.md\n",
        "sub/.gitignore": "!notes.txt\nlocal.md\n",
    }
    tree(tmp_path, *paths, **ignoring)
    expected = ["a.md", "keep.txt", "sub/notes.txt", "sub/top.md"]
    assert taken(tmp_path) == expected
    rules = source_at(tmp_path).rules
    assert [path for path in paths if rules.keeps(path)] == expected
    assert not rules.enters("drafts")
    assert len(taken(tmp_path, gitignore=False)) == len(paths)


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git to ask")
@pytest.mark.parametrize(
    "lines",
    [
        ["*", "!*/", "!*.md"],
        ["/*", "!/docs", "/docs/*", "!/docs/a.md"],
        ["a.md", "!docs/a.md"],
        ["docs/**/deep", "**/x.md", "foo\\ bar.md", "\\#odd.md", "[ab].txt", "*.t?t", "# no", "", "trail/  "],
        ["docs/", "!docs/a.md"],
        ["*.md/", "/trail", "deep/"],
        ["!*.md", "*.txt", "a[", "ünï*.md"],
    ],
    ids=" ".join,
)
def test_the_answers_are_those_of_git(tmp_path, lines):
    names = [
        "a.md",
        "b.txt",
        "docs/a.md",
        "docs/x.md",
        "docs/q/deep/y.md",
        "foo bar.md",
        "#odd.md",
        "trail/t.md",
    ]
    names += ["ünïcode.md", "folder.md/in.md", "docs/deep/z.md", "sub/docs/a.md"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / ".gitignore").write_text("\n".join(lines) + "\n")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    listed = subprocess.run(
        ["git", "-C", tmp_path, "ls-files", "-z", "--others", "--exclude-standard"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    by_git = sorted(set(listed.decode().split("\0")) - {"", ".gitignore"})
    assert taken(tmp_path) == by_git


def test_the_repository_above_counts_unless_it_ignores_the_source_itself(tmp_path):
    paths = ["docs/a.md", "docs/gen/b.md", "docs/c.log", "scratch/d.md", "scratch/e.log", ".git/HEAD"]
    tree(tmp_path, *paths, **{".gitignore": "/docs/gen/\n*.log\nscratch/\n"})
    assert taken(tmp_path / "docs") == ["a.md"]
    assert taken(tmp_path / "scratch") == ["d.md", "e.log"]
    shutil.rmtree(tmp_path / ".git")
    assert taken(tmp_path / "docs") == ["a.md", "c.log", "gen/b.md"]


def test_an_ignore_file_that_is_a_link_a_fifo_or_no_text_ignores_nothing_and_holds_nobody_up(tmp_path):
    tree(tmp_path, "a.md", "sub/b.md", "deep/c.md", rules="*.md\n")
    (tmp_path / ".gitignore").symlink_to("rules")
    os.mkfifo(tmp_path / "sub" / ".gitignore")
    (tmp_path / "deep" / ".gitignore").write_bytes(b"\xff\xfe\0\n" + b"x" * 5000 + b"\n*.rst\n")
    assert taken(tmp_path) == ["a.md", "deep/c.md", "sub/b.md"]


# --- what tools make ---


def test_what_tools_make_is_told_by_its_name_by_a_sign_or_by_what_is_beside_it(tmp_path):
    kept = ["build/steps.md", "py/pkg/mod.md", "site/s.md", "web/README.md", "web/guide/build/how.md"]
    made = ["web/node_modules/x/README.md", "web/dist/out.md", "env39/lib/l.txt", "py/a.egg-info/SOURCES.txt"]
    made += ["cache/c.md", "rust/target/d/t.md", "py/__pycache__/p.txt"]
    signs = ["web/package.json", "env39/pyvenv.cfg", "cache/CACHEDIR.TAG", "rust/Cargo.toml"]
    tree(tmp_path, *kept, *made, *signs)
    assert taken(tmp_path) == kept
    assert taken(tmp_path, default_exclude=False) == sorted(kept + made)
    tree(tmp_path, "mkdocs.yml")
    assert taken(tmp_path) == [path for path in kept if path != "site/s.md"]


def test_lock_files_and_minified_ones_are_left_out_where_they_are_included(tmp_path):
    tree(tmp_path, "a.json", "package-lock.json", "sub/uv.lock", "x.min.js", "b.js")
    include = ("*.json", "*.lock", "*.js")
    assert taken(tmp_path, include=include) == ["a.json", "b.js"]
    assert len(taken(tmp_path, include=include, default_exclude=False)) == 5
    assert source_at(tmp_path, include=include).rules.why_not("sub/uv.lock").rule == GENERATED


# --- through the doors ---


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.write("a.md", prose("a", 1))
    world.write("old/b.md", prose("b", 1))
    world.write("node_modules/pkg/README.md", prose("pkg", 3))
    world.write(".gitignore", "old/\n")
    return world


def paths(world):
    return {row["path"] for row in world.table_rows("path")}


def test_a_new_source_leaves_them_out_and_says_how_many_in_the_plan_and_why(world):
    planned = plan(world.settings(), world.clock)
    assert planned["sources"][0]["left_out"] == {GENERATED: 1, GITIGNORED: 1}
    world.run()
    assert paths(world) == {"a.md"}
    for path, rule in (("old/b.md", GITIGNORED), ("node_modules/pkg/README.md", GENERATED)):
        told = why(world.settings(), world.clock, str(world.docs / path))
        assert told.reason == rule
        assert "= false" in told.next
    assert found(world) == {}
    switched = world.sections()["sources"][0] | {"gitignore": False, "default_exclude": False}
    world.run(sources=[switched])
    assert paths(world) == {"a.md", "old/b.md", "node_modules/pkg/README.md"}


def test_an_ignore_file_that_changes_is_heeded_by_the_next_scan(world):
    world.run()
    world.write(".gitignore", "a.md\n")
    world.write("c.md", prose("c", 1))
    world.run()
    assert paths(world) == {"c.md", "old/b.md"}
    world.write(".gitignore", "nothing\n")
    world.run()
    assert paths(world) == {"a.md", "c.md", "old/b.md"}
    assert found(world) == {}


def test_a_source_of_an_older_release_keeps_what_it_has_until_it_is_told(world):
    both = {"gitignore": False, "default_exclude": False, "skip_data": False}
    world.run(sources=[world.sections()["sources"][0] | both], splitting={"rules": 1})
    as_of(world, "0012")
    everything = {"a.md", "old/b.md", "node_modules/pkg/README.md"}
    world.write("node_modules/pkg/MORE.md", prose("more", 1))
    paid = world.ledger.units()
    world.run()
    assert paths(world) == everything | {"node_modules/pkg/MORE.md"}
    assert world.ledger.units() == paid + 1
    assert found(world) == {}
    [told] = [each for each in plan(world.settings(), world.clock)["warnings"] if "older release" in each]
    assert "takes 3 documents" in told
    assert "gitignore = true and default_exclude = true" in told

    told_so = {"sources": [world.sections()["sources"][0] | {"default_exclude": True}]}
    world.run(**told_so)
    assert paths(world) == {"a.md", "old/b.md"}
    planned = plan(world.settings(**told_so), world.clock)
    [told] = [each for each in planned["warnings"] if "older release" in each]
    assert "takes 1 document" in told


def test_a_scan_that_broke_off_at_the_start_of_a_new_source_is_no_older_release(world):
    with world.worker():
        pass
    with open_state(world.settings()).read() as connection:
        from voyage_jobs.state import sources

        assert [row.defaults for row in sources.all_sources(connection)] == [sources.DEFAULTS]
    world.run()
    assert paths(world) == {"a.md"}


def test_the_plan_names_the_dearest_files_and_the_folder_that_they_are_in(tmp_path):
    world = World(tmp_path)
    world.write("a.md", prose("a", 1))
    for name in ("x", "y", "z"):
        world.write(f"web/vendor/{name}/{name}.md", prose(name, 9))
    world.write("web/own.md", prose("own", 2))
    world.write("copy/of/own.md", prose("own", 2))
    dearest = plan(world.settings(), world.clock)["dearest"]
    assert [each["path"] for each in dearest["files"][:3]] == [
        f"web/vendor/{name}/{name}.md" for name in "xyz"
    ]
    assert dearest["folders"][0]["path"] == "web/vendor"
    total = plan(world.settings(), world.clock)["tokens"]["to_send"]
    assert sum(each["tokens"] for each in dearest["files"]) == total


def test_what_is_left_out_is_not_said_to_lack_a_pattern(tmp_path):
    world = World(tmp_path)
    world.write("a.md", "# A\n\nText.\n")
    world.write("draft.md", "# Draft\n\nText.\n")
    world.write("a.json", "{}")
    world.write(".gitignore", "draft.md\n")
    [source] = plan(world.settings(), world.clock)["sources"]
    assert source["left_out"] == {"gitignored": 1}
    assert source["passed_over"] == {".json": 1}
