"""A walk reports what differs from what is known, and takes nothing for vanished that it could not see."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ordinary import ordinary_folder

from voyage_jobs.sources import names
from voyage_jobs.sources import walk as walk_module
from voyage_jobs.sources.files import FileStat, SkipReason
from voyage_jobs.sources.rules import PathRules
from voyage_jobs.sources.source import FolderScan, Known, RootMissing
from voyage_jobs.sources.walk import root_identity, walk


class State:
    """What a state would remember: everything that a scan reports with a stat."""

    def __init__(
        self, root: Path, include: tuple[str, ...] = ("*.md",), exclude: tuple[str, ...] = ()
    ) -> None:
        self.root = root
        self.rules = PathRules(include, exclude)
        self.folders: dict[str, dict[str, tuple[int, int, int]]] = {}
        self.asked: list[str] = []

    def known(self, folder: str) -> Known:
        self.asked.append(folder)
        return self.folders.get(folder, {})

    def scan(self, follow: bool = False, rules: PathRules | None = None) -> dict[str, FolderScan]:
        """Walk and remember; folders by path, in the order of the walk."""
        found = {}
        scans = walk(
            os.fsencode(self.root),
            rules or self.rules,
            follow_symlinks=follow,
            known=self.known,
            rules_changed=rules is not None,
        )
        for scan in scans:
            assert scan.path not in found
            found[scan.path] = scan
            here = self.folders.setdefault(scan.path, {})
            for stat in [*scan.changed, *(skip.stat for skip in scan.skipped if skip.stat)]:
                here[stat.name] = stat.key
            for name in [*scan.vanished, *scan.excluded]:
                del here[name]
        return found


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_md", ".md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def changed(scans: dict[str, FolderScan]) -> set[str]:
    return {f"{path}/{stat.name}".lstrip("/") for path, scan in scans.items() for stat in scan.changed}


def skipped(scans: dict[str, FolderScan]) -> dict[str, SkipReason]:
    return {
        f"{path}/{skip.name}".lstrip("/"): skip.reason
        for path, scan in scans.items()
        for skip in scan.skipped
    }


def vanished(scans: dict[str, FolderScan]) -> set[str]:
    return {f"{path}/{name}".lstrip("/") for path, scan in scans.items() for name in scan.vanished}


@pytest.fixture
def ordinary() -> Iterator[Path]:
    with ordinary_folder() as folder:
        yield folder


# Roots


def test_a_missing_root_is_an_error_and_not_an_empty_source(tmp_path: Path) -> None:
    gone = State(tmp_path / "gone")

    with pytest.raises(RootMissing, match="gone"):
        gone.scan()
    assert gone.asked == []


def test_a_root_that_is_a_file_is_missing(tmp_path: Path) -> None:
    write(tmp_path, a_md="x")

    with pytest.raises(RootMissing, match="not a folder"):
        root_identity(os.fsencode(tmp_path / "a.md"))


def test_another_folder_under_the_same_path_has_another_identity(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    before = root_identity(os.fsencode(tmp_path / "one"))
    (tmp_path / "one").rename(tmp_path / "old")
    (tmp_path / "two").rename(tmp_path / "one")

    assert before != root_identity(os.fsencode(tmp_path / "one"))
    assert before == root_identity(os.fsencode(tmp_path / "old"))


def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path, real__a_md="x")
    (tmp_path / "link").symlink_to("real")

    assert changed(State(tmp_path / "link").scan()) == {"a.md"}


# Comparing


def test_what_is_unchanged_is_only_counted(tmp_path: Path) -> None:
    write(tmp_path, a_md="1", docs__b_md="2", docs__deep__c_md="3")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG")
    state = State(tmp_path)

    assert changed(state.scan()) == {"a.md", "docs/b.md", "docs/deep/c.md"}

    again = state.scan()
    assert list(again) == ["", "docs", "docs/deep"]
    for path, scan in again.items():
        others = {} if path else {".png": 1}
        assert scan == FolderScan(path, scan.device, unchanged=1, passed_over=others)


def test_files_that_include_does_not_name_are_counted_by_kind_and_excluded_and_hidden_ones_are_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "drafts").mkdir()
    for name in ("a.md", "page.html", "Other.HTML", "no.txt", ".hidden.html", "sub/e.png", "drafts/d.html"):
        (tmp_path / name).write_text("1")
    (tmp_path / "link.html").symlink_to("page.html")
    state = State(tmp_path, exclude=("drafts/", "*.txt"))
    assert {path: scan.passed_over for path, scan in state.scan().items()} == {
        "": {".html": 3},
        "sub": {".png": 1},
    }


def test_new_changed_vanished_and_returned(tmp_path: Path) -> None:
    write(tmp_path, a_md="1", b_md="2", c_md="3", d__e_md="4")
    state = State(tmp_path)
    state.scan()
    (tmp_path / "a.md").write_text("longer")
    (tmp_path / "b.md").unlink()
    write(tmp_path, new_md="5")

    scan = state.scan()[""]
    assert [stat.name for stat in scan.changed] == ["a.md", "new.md"]
    assert scan.vanished == ["b.md"]
    assert scan.unchanged == 1

    write(tmp_path, b_md="2")
    assert changed(state.scan()) == {"b.md"}


@pytest.mark.parametrize("what", ["size", "time", "inode", "ctime"])
def test_each_part_of_the_stat_counts(tmp_path: Path, what: str) -> None:
    write(tmp_path, a_md="1")
    state = State(tmp_path)
    state.scan()
    old = (tmp_path / "a.md").stat()
    if what == "size":
        (tmp_path / "a.md").write_text("22")
    if what == "inode":
        write(tmp_path, b_md="2")
        (tmp_path / "b.md").rename(tmp_path / "a.md")
    if what == "ctime":
        (tmp_path / "a.md").write_text("3")
    os.utime(tmp_path / "a.md", ns=(0, old.st_mtime_ns + (what == "time")))

    assert changed(state.scan()) == {"a.md"}


def test_a_file_that_became_a_folder_has_vanished(tmp_path: Path) -> None:
    write(tmp_path, a_md="1")
    state = State(tmp_path)
    state.scan()
    (tmp_path / "a.md").unlink()
    write(tmp_path, a_md__inner_md="2")

    scans = state.scan()
    assert scans[""].vanished == ["a.md"]
    assert changed(scans) == {"a.md/inner.md"}


def test_changed_rules_exclude_what_is_known(tmp_path: Path) -> None:
    write(tmp_path, a_md="1", b_md="2", drafts__c_md="3")
    state = State(tmp_path)
    state.scan()

    scans = state.scan(rules=PathRules(["*.md"], ["b.md", "drafts/"]))
    assert list(scans) == [""]
    assert scans[""] == FolderScan("", scans[""].device, unchanged=1, excluded=["b.md"])


def test_names_are_bytes(tmp_path: Path) -> None:
    odd = [b"\xff\xfe.md", b"new\nline.md", b'"50%".md']
    odd += [name.encode() for name in ("é.md", "e\u0301.md", "\U0010ff41.md")]
    for name in odd:
        (tmp_path / os.fsdecode(name)).write_text("x")
    (tmp_path / os.fsdecode(b"d\xe9")).mkdir()
    (tmp_path / os.fsdecode(b"d\xe9/a.md")).write_text("x")
    state = State(tmp_path)

    scans = state.scan()
    assert {names.decode(stat.name) for stat in scans[""].changed} == set(odd)
    assert [names.decode(path) for path in scans] == [b"", b"d\xe9"]
    assert sum(scan.unchanged for scan in state.scan().values()) == 7


def test_the_order_is_sorted_and_parents_come_first(tmp_path: Path) -> None:
    numbers = list(range(50))
    random.Random(7).shuffle(numbers)
    for n in numbers:
        write(tmp_path, **{f"d{n % 7}__f{n:02d}_md": "x"})

    scans = State(tmp_path).scan()
    assert list(scans) == ["", *(f"d{n}" for n in range(7))]
    for scan in scans.values():
        assert [stat.name for stat in scan.changed] == sorted(stat.name for stat in scan.changed)


def test_hidden_and_excluded_folders_are_not_even_asked_for(tmp_path: Path) -> None:
    write(tmp_path, **{".git__a_md": "x", "node_modules__b_md": "x", "c_md": "x", ".d_md": "x"})
    state = State(tmp_path, exclude=("node_modules/",))

    assert changed(state.scan()) == {"c.md"}
    assert state.asked == [""]


# Things that are not files


def test_special_files_are_skipped_once_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(tmp_path / "sock.md"))
        os.mkfifo(tmp_path / "pipe.other")
        state = State(tmp_path)

        scan = state.scan()[""]
        assert [(skip.name, skip.reason, skip.detail) for skip in scan.skipped] == [
            ("pipe.md", "special", "FIFO"),
            ("sock.md", "special", "socket"),
        ]
        assert state.scan()[""].unchanged == 2


def test_a_document_that_became_a_pipe_is_skipped_with_a_stat(tmp_path: Path) -> None:
    write(tmp_path, a_md="x")
    state = State(tmp_path)
    state.scan()
    (tmp_path / "a.md").unlink()
    os.mkfifo(tmp_path / "a.md")

    scan = state.scan()[""]
    assert scan.vanished == []
    assert scan.skipped[0].stat is not None


# Links


def test_links_are_skipped_by_default_and_reported_once(tmp_path: Path) -> None:
    write(tmp_path, src__real__a_md="x")
    root = tmp_path / "src"
    (root / "file.md").symlink_to("real/a.md")
    (root / "folder").symlink_to("real")
    (root / "nowhere.md").symlink_to("gone")
    (root / "unwanted.png").symlink_to("real/a.md")
    (root / ".hidden").symlink_to("real")
    state = State(root)

    scans = state.scan()
    assert changed(scans) == {"real/a.md"}
    assert skipped(scans) == dict.fromkeys(["file.md", "folder", "nowhere.md"], SkipReason.SYMLINK)
    assert skipped(state.scan()) == {}


def test_followed_links_stay_inside_the_root(tmp_path: Path) -> None:
    write(tmp_path, src__real__a_md="x", outside__secret_md="x")
    root = tmp_path / "src"
    (root / "in.md").symlink_to("real/a.md")
    (root / "out.md").symlink_to("../outside/secret.md")
    (root / "out").symlink_to("../outside")
    (root / "twice.md").symlink_to("real/hop.md")
    (root / "real" / "hop.md").symlink_to("../../outside/secret.md")
    (root / "nowhere.md").symlink_to("gone")
    (root / "self.md").symlink_to("self.md")
    (tmp_path / "src-other.md").write_text("a sibling whose name starts as the root's does")
    (root / "sibling.md").symlink_to("../src-other.md")
    state = State(root)

    scans = state.scan(follow=True)
    assert changed(scans) == {"in.md", "real/a.md"}
    outside = ["out.md", "out", "twice.md", "real/hop.md", "sibling.md"]
    assert skipped(scans) == {
        **dict.fromkeys(outside, SkipReason.OUTSIDE),
        **dict.fromkeys(["nowhere.md", "self.md"], SkipReason.SYMLINK),
    }
    again = state.scan(follow=True)
    assert changed(again) | set(skipped(again)) | vanished(again) == set()


def test_cycles_end(tmp_path: Path) -> None:
    write(tmp_path, a__x_md="1", b__y_md="2")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "a" / "b").symlink_to("../b")
    (tmp_path / "b" / "a").symlink_to("../a")

    scans = State(tmp_path).scan(follow=True)
    assert {"a/x.md", "b/y.md"} <= changed(scans)
    assert set(skipped(scans).values()) == {SkipReason.CYCLE}
    assert len(scans) <= 8


def test_links_that_cross_each_other_do_not_multiply(tmp_path: Path) -> None:
    for n in range(12):
        write(tmp_path, **{f"d{n}__f_md": "x"})
        for other in range(12):
            (tmp_path / f"d{n}" / f"to{other}").symlink_to(f"../d{other}")

    assert len(State(tmp_path).scan(follow=True)) <= 25


def test_a_link_that_is_turned_while_it_is_followed_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, src__real__a_md="x", outside__secret_md="x")
    root = tmp_path / "src"
    (root / "link").symlink_to("real")
    real_open = os.open

    def turning(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if os.fsdecode(path).endswith("/link"):
            (root / "link").unlink()
            (root / "link").symlink_to("../outside")
        return real_open(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", turning)
    scans = State(root).scan(follow=True)
    assert scans["link"].unreadable == "the link was turned while it was followed"
    assert changed(scans) == {"real/a.md"}


# What cannot be seen has not vanished


def test_a_folder_without_permission_is_unreadable_and_nothing_vanishes(ordinary: Path) -> None:
    write(ordinary, a_md="1", locked__b_md="2", locked__deep__c_md="3")
    state = State(ordinary)
    state.scan()
    (ordinary / "locked").chmod(0)

    scans = state.scan()
    assert list(scans) == ["", "locked"]
    assert scans["locked"].unreadable == "Permission denied"
    assert vanished(scans) == set()


def test_a_folder_that_lists_but_hides_its_files_loses_none(ordinary: Path) -> None:
    write(ordinary, locked__b_md="2", locked__deep__c_md="3")
    state = State(ordinary)
    state.scan()
    (ordinary / "locked").chmod(0o400)

    scans = state.scan()
    assert skipped(scans) == {"locked/b.md": SkipReason.UNREADABLE}
    assert scans["locked"].skipped[0].stat is None
    assert scans["locked/deep"].unreadable == "Permission denied"
    assert vanished(scans) == set()


def test_a_link_whose_target_cannot_be_examined_is_unreadable(ordinary: Path) -> None:
    write(ordinary, locked__b_md="2")
    (ordinary / "link.md").symlink_to("locked/b.md")
    state = State(ordinary)
    assert changed(state.scan(follow=True)) == {"link.md", "locked/b.md"}
    (ordinary / "locked").chmod(0)

    scan = state.scan(follow=True)[""]
    assert [(skip.name, skip.reason, skip.stat) for skip in scan.skipped] == [("link.md", "unreadable", None)]
    assert scan.vanished == []


class Faulty:
    """A directory entry whose file system fails: listing says nothing of types, or stat fails."""

    def __init__(self, entry: os.DirEntry[str], fault: OSError, typeless: bool) -> None:
        self._entry, self._fault, self._typeless = entry, fault, typeless
        self.name = entry.name

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        raise self._fault

    def is_symlink(self) -> bool:
        return False

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        if self._typeless:
            raise self._fault
        return self._entry.is_dir(follow_symlinks=follow_symlinks)


def break_listing(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[[os.DirEntry[str]], Any], after: OSError | None = None
) -> None:
    real_scandir = os.scandir

    class Listing:
        def __init__(self, fd: int) -> None:
            self.real = real_scandir(fd)

        def __enter__(self) -> Iterator[Any]:
            return self.entries()

        def __exit__(self, *_: object) -> None:
            self.real.close()

        def entries(self) -> Iterator[Any]:
            for entry in self.real:
                yield broken(entry)
            if after:
                raise after

    monkeypatch.setattr(walk_module.os, "scandir", Listing)


@pytest.mark.parametrize("typeless", [False, True])
def test_one_damaged_entry_does_not_stop_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typeless: bool
) -> None:
    write(tmp_path, a_md="1", b_md="2", folder__c_md="3")
    state = State(tmp_path)
    state.scan()
    damage = OSError(5, "Input/output error")
    hit = {"a.md", "folder"} if typeless else {"a.md"}
    break_listing(monkeypatch, lambda e: Faulty(e, damage, typeless) if e.name in hit else e)

    scans = state.scan()
    assert skipped(scans) == {"a.md": SkipReason.UNREADABLE}
    assert scans[""].unchanged == 1
    assert vanished(scans) == set()
    assert scans["folder"].unchanged == 1


def test_a_file_that_goes_between_listing_and_looking_has_vanished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, a_md="1", b_md="2")
    state = State(tmp_path)
    state.scan()
    gone = FileNotFoundError(2, "No such file or directory")
    break_listing(monkeypatch, lambda e: Faulty(e, gone, False) if e.name == "a.md" else e)

    assert state.scan()[""].vanished == ["a.md"]


def test_a_listing_that_breaks_off_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, a_md="1", b_md="2")
    state = State(tmp_path)
    state.scan()
    (tmp_path / "a.md").unlink()
    break_listing(monkeypatch, lambda entry: entry, after=OSError(5, "Input/output error"))

    scans = state.scan()
    assert scans == {"": FolderScan("", scans[""].device, unreadable="Input/output error")}


def test_a_name_listed_twice_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a_md="1")
    real_scandir = os.scandir
    break_listing(monkeypatch, lambda entry: entry)
    single = walk_module.os.scandir

    class Twice(single):  # type: ignore[misc, valid-type]
        def entries(self) -> Iterator[Any]:
            for entry in self.real:
                yield entry
                yield entry

    monkeypatch.setattr(walk_module.os, "scandir", Twice)
    assert [stat.name for stat in State(tmp_path).scan()[""].changed] == ["a.md"]
    monkeypatch.setattr(walk_module.os, "scandir", real_scandir)


def test_a_folder_that_goes_while_the_walk_is_on_is_unreadable(tmp_path: Path) -> None:
    write(tmp_path, a__x_md="1", b__y_md="2")
    scans = walk(os.fsencode(tmp_path), PathRules([], []), follow_symlinks=False, known=lambda _: {})
    next(scans)
    (tmp_path / "a" / "x.md").unlink()
    (tmp_path / "a").rmdir()

    assert next(scans).unreadable == "No such file or directory"
    assert changed({scan.path: scan for scan in scans}) == {"b/y.md"}


def test_a_folder_turned_into_a_link_while_the_walk_is_on_is_not_entered(tmp_path: Path) -> None:
    write(tmp_path, src__a__x_md="1", outside__secret_md="2")
    scans = walk(os.fsencode(tmp_path / "src"), PathRules([], []), follow_symlinks=False, known=lambda _: {})
    next(scans)
    (tmp_path / "src" / "a").rename(tmp_path / "src" / "old")
    (tmp_path / "src" / "a").symlink_to("../outside")

    assert next(scans).unreadable


def test_numbers_fit_sqlite() -> None:
    far = {"st_mtime_ns": 1 << 63, "st_ctime_ns": 7}
    huge = os.stat_result((0o100644, (1 << 64) - 1, 1, 1, 0, 0, 5, 0, 0, 0), far)
    stat = FileStat.of("a", huge)

    assert stat.key == (5, -(1 << 63), -1, 7)
