"""`dates = "git"`: a document without a date of its own has that of its last commit."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from world import World

from voyage_jobs.maintenance.doctor.surroundings import _source
from voyage_jobs.sources import commits as git_commits
from voyage_jobs.sources.commits import Commit, CommitsUnknownError, commits

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
FIRST, SECOND = "2021-03-04T05:06:07+00:00", "2022-03-04T05:06:07+02:00"


def git(folder: Path, *args: str, date: str = FIRST) -> None:
    who = {f"GIT_{one}_{what}": "Ada" for one in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {
        **os.environ,
        **who,
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_DATE": date,
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    subprocess.run(["git", "-C", folder, *args], env=env, check=True, stdout=subprocess.DEVNULL)


def commit(folder: Path, date: str = FIRST) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "m", date=date)


def at_us(date: str) -> int:
    return int(datetime.fromisoformat(date).timestamp()) * 1_000_000


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    git(tmp_path, "init", "-q")
    world.write("a.md", b"# A\n\nText.")
    world.write("deep/\xff\n b.md".encode("latin-1").decode("utf-8", "surrogateescape"), b"# B\n\nText of b.")
    world.write("dated.md", b"---\ndate: 2019-01-02\nauthor: Grace\n---\n\n# C\n\nText of c.")
    commit(tmp_path)
    return world


def source(world: World, **more: object) -> dict[str, object]:
    return {"name": "docs", "path": str(world.docs), "include": ["*.md"], **more}


def told(world: World) -> dict[str, tuple[str, object]]:
    rows = world.table_rows("path", "modified_at", "front_matter")
    return {
        row["path"]: (
            row["modified_at"].replace(tzinfo=UTC).isoformat(),
            orjson.loads(row["front_matter"]).get("author"),
        )
        for row in rows
    }


def test_the_last_commit_dates_a_document_that_does_not_date_itself(world: World) -> None:
    world.run(sources=[source(world)])
    assert told(world)["a.md"][1] is None
    paid = world.ledger.units()
    world.run(sources=[source(world, dates="git")])
    found = told(world)
    assert found["a.md"] == (FIRST, "Ada")
    assert found["dated.md"] == ("2019-01-02T00:00:00+00:00", "Grace")
    assert sorted(date for date, _ in found.values()) == ["2019-01-02T00:00:00+00:00", FIRST, FIRST]
    assert world.ledger.units() == paid


def test_the_newest_commit_of_a_file_counts(world: World) -> None:
    world.write("a.md", b"# A\n\nMore text.")
    commit(world.root, SECOND)
    found = commits(bytes(world.docs))
    assert found[b"a.md"] == Commit(at_us(SECOND), "Ada")
    assert found["deep/\udcff\n b.md".encode("utf-8", "surrogateescape")] == Commit(at_us(FIRST), "Ada")


def test_what_is_not_as_it_was_committed_is_left_out(world: World) -> None:
    world.write("a.md", b"# A\n\nNot committed.")
    world.write("new.md", b"# New\n")
    (world.docs / "dated.md").unlink()
    commit_of_deletion = ("rm", "-q", "--cached", "docs/dated.md")
    git(world.root, *commit_of_deletion)
    git(world.root, "commit", "-q", "-m", "m")
    world.write("dated.md", b"# Back, and not committed\n")
    found = commits(bytes(world.docs))
    assert found.keys() == {"deep/\udcff\n b.md".encode("utf-8", "surrogateescape")}


def test_a_shallow_clone_tells_what_it_has(world: World, tmp_path: Path) -> None:
    for words, date in ((b"# A\n\nMore text.", FIRST), (b"# A\n\nStill more text.", SECOND)):
        world.write("a.md", words)
        commit(world.root, date)
    for depth, found in ((1, {}), (2, {b"a.md": Commit(at_us(SECOND), "Ada")})):
        clone = tmp_path / f"clone{depth}"
        git(tmp_path, "clone", "-q", "--depth", str(depth), f"file://{world.root}", str(clone))
        assert commits(bytes(clone / "docs")) == found


def test_an_author_is_read_whatever_git_writes_in(world: World) -> None:
    git(world.root, "config", "i18n.logOutputEncoding", "latin1")
    world.write("a.md", b"# A\n\nMore text.")
    git(world.root, "add", "-A")
    git(world.root, "commit", "-q", "-m", "m", "--author", "Jürgen <j>")
    assert commits(bytes(world.docs))[b"a.md"].author == "Jürgen"


def test_hooks_and_filters_of_a_repository_are_not_run(world: World) -> None:
    ran = world.root / "ran"
    git(world.root, "config", "core.fsmonitor", f"touch {ran}")
    git(world.root, "config", "filter.f.clean", f"touch {ran}; cat")
    (world.root / ".git" / "info" / "attributes").write_text("* filter=f\n")
    os.utime(world.docs / "a.md")
    ran.unlink(missing_ok=True)
    commits(bytes(world.docs))
    assert not ran.exists()


def test_a_folder_in_no_repository_keeps_the_times_of_its_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    world = World(tmp_path)
    world.write("a.md", b"# A\n\nText.")
    world.run(sources=[source(world, dates="git")])
    assert told(world)["a.md"][1] is None
    (event,) = [fields for _, name, fields in world.log.events if name == "commits.unknown"]
    assert "not a git repository" in event["error"]
    settings = world.settings(sources=[source(world, dates="git")])
    check = _source(settings.sources[0], None)
    assert "its dates are not to be had from git: git says: not a git repository" in check.why


def test_git_that_is_not_installed_or_hangs_is_told(world: World, monkeypatch) -> None:
    here = world.root / "bin"
    here.mkdir()
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(CommitsUnknownError, match="git cannot be run"):
        commits(bytes(world.docs))
    (here / "git").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (here / "git").chmod(0o755)
    monkeypatch.setattr(git_commits, "DEADLINE_S", 0.2)
    with pytest.raises(CommitsUnknownError, match="no answer within"):
        commits(bytes(world.docs))
