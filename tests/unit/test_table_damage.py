"""What kills, power losses and full disks leave behind, and that it is noticed and mended."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from table_rows import NAME, PROFILE, batch, content, opened, put, version

from voyage_jobs.core.durable import sync_file
from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import CorruptionError, DiskFullError
from voyage_jobs.table import PublishedTable, check, exists, set_aside
from voyage_jobs.table import sync as sync_module

A, B, C = ("docs", "a.md"), ("docs", "b.md"), ("docs", "c.md")
OLD = {A: ("one", 3), B: ("one", 2), C: ("one", 4)}
NEW = {A: ("two", 5), B: ("two", 1), C: ("one", 4)}


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def tear(path: Path, how: str) -> None:
    size = path.stat().st_size
    if how == "missing":
        path.unlink()
    elif how == "empty":
        os.truncate(path, 0)
    elif how == "half":
        os.truncate(path, size // 2)
    else:
        path.write_bytes(bytes(size))


# The check.


def test_health_of_a_whole_table(tmp_path: Path) -> None:
    table = opened(tmp_path)
    put(table, OLD)

    for deep in (False, True):
        health = check(str(tmp_path), NAME, PROFILE, deep=deep)
        assert (health.ok, health.reason, health.rows) == (True, None, 9)
        assert health.version == table.version()


def test_health_of_no_table(tmp_path: Path) -> None:
    (tmp_path / "chunks.lance").mkdir()

    assert check(str(tmp_path), NAME).reason == "missing"
    assert check(str(tmp_path / "nowhere"), NAME).reason == "missing"


def test_health_of_strangers(tmp_path: Path) -> None:
    opened(tmp_path)
    other = Profile(PROFILE.endpoint, "voyage-4-large", 16, "float", "document")
    lance.write_dataset(pa.table({"x": [1]}), tmp_path / "theirs.lance")

    assert check(str(tmp_path), NAME, other).reason == "foreign"
    assert check(str(tmp_path), "theirs").reason == "foreign"
    assert check(str(tmp_path), NAME).ok


@pytest.mark.parametrize("how", ["empty", "half", "zeroed", "missing"])
def test_no_damage_after_the_last_sync_goes_unnoticed(tmp_path: Path, how: str) -> None:
    """Each file of a flip that was not synced is lost in turn; then the table is torn, old or new, never else."""
    table = opened(tmp_path / "whole")
    put(table, OLD)
    put(table, {B: OLD[B]})  # so that the fragment of A and C has a deletion file already
    table.sync()
    durable = files(tmp_path / "whole")
    put(table, {A: NEW[A], B: NEW[B]})
    fresh = sorted(files(tmp_path / "whole") - durable)
    kinds = {path.parent.name for path in fresh}
    assert {"data", "_versions", "_deletions"} <= kinds

    torn = 0
    for number, path in enumerate(fresh):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(tmp_path / "whole", copy)
        tear(copy / path.relative_to(tmp_path / "whole"), how)
        health = check(str(copy), NAME, PROFILE, deep=True)
        if health.ok:
            assert content(copy) in (OLD, NEW), path
        else:
            assert health.reason == "torn", path
            torn += 1
        if path.parent.name == "data":
            assert not health.ok
            assert not check(str(copy), NAME, PROFILE).ok, "the quick check must see a lost data file too"
        mended(copy, torn=not health.ok)
    assert torn >= 2


def mended(folder: Path, *, torn: bool) -> None:
    """Set the table aside if it is torn, publish everything again, and find exactly that."""
    if torn:
        aside = set_aside(str(folder), NAME, "20261123T170000Z")
        assert Path(aside).is_dir()
        assert not exists(str(folder), NAME)
    table = opened(folder)
    put(table, NEW)
    table.sync()
    assert check(str(folder), NAME, PROFILE, deep=True).ok
    assert content(folder) == NEW


@pytest.mark.parametrize("how", ["empty", "half", "zeroed"])
def test_torn_newest_version_is_an_error_for_every_call(tmp_path: Path, how: str) -> None:
    table = opened(tmp_path)
    put(table, OLD)
    tear(min((tmp_path / "chunks.lance" / "_versions").glob("*.manifest")), how)

    for call in (
        table.rows,
        table.version,
        table.stats,
        table.tend,
        lambda: list(table.keys()),
        lambda: table.delete([A]),
        lambda: table.search([0.0] * 16),
        lambda: PublishedTable.open(str(tmp_path), NAME, PROFILE, create=True),
    ):
        with pytest.raises(CorruptionError, match=r"chunks\.lance"):
            call()


def test_table_that_was_deleted_under_us_is_an_error(tmp_path: Path) -> None:
    table = opened(tmp_path)
    shutil.rmtree(table.path)

    with pytest.raises(CorruptionError, match="There is no table"):
        table.rows()


def test_panic_in_the_library_is_damage_and_an_interrupt_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = opened(tmp_path)
    panic = type("PanicException", (BaseException,), {})

    def failing(error: BaseException) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(lance, "dataset", fail)

    failing(panic("slice index out of range, rust/lance/src/dataset.rs:1:2"))
    with pytest.raises(CorruptionError, match=r"slice index out of range$"):
        table.rows()
    failing(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        table.rows()


def test_rows_that_cannot_be_shown_are_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(opened(tmp_path), OLD)
    monkeypatch.setattr(lance.LanceDataset, "count_rows", lambda *_, **__: 30)

    health = check(str(tmp_path), NAME, PROFILE)

    assert health.reason == "torn"
    assert "says it has 30 rows and shows 9" in health.detail


def test_lost_newest_version_shows_as_an_older_version(tmp_path: Path) -> None:
    table = opened(tmp_path)
    put(table, OLD)
    acknowledged = put(table, NEW)
    tear(min((tmp_path / "chunks.lance" / "_versions").glob("*.manifest")), "missing")

    health = check(str(tmp_path), NAME, PROFILE)

    assert health.ok
    assert health.version == acknowledged - 1
    assert content(tmp_path) == OLD


def test_setting_aside_never_overwrites_and_hides_from_lancedb(tmp_path: Path) -> None:
    import lancedb

    put(opened(tmp_path), OLD)
    set_aside(str(tmp_path), NAME, "x")
    put(opened(tmp_path), NEW)

    with pytest.raises(FileExistsError):
        set_aside(str(tmp_path), NAME, "x")

    assert lancedb.connect(str(tmp_path)).list_tables().tables == [NAME]
    assert sorted(os.listdir(tmp_path)) == ["chunks.lance", "chunks.lance.damaged-x"]


# kill -9. The child flips A and B from OLD to NEW; C must stay as it is.

CHILD = """
import os, signal, sys
sys.path[:0] = [{here!r}]
from pathlib import Path
from table_rows import batch, opened, version
from test_table_damage import A, B, NEW
point = sys.argv[2]
def batches():
    for number, doc in enumerate([A, B]):
        if point == f"batch {{number}}":
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch(version(doc, *NEW[doc]))
    if point == "last batch":
        os.kill(os.getpid(), signal.SIGKILL)
table = opened(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    table.flip([A, B], batches())
    if point == "before sync":
        os.kill(os.getpid(), signal.SIGKILL)
    table.sync()
"""


def killed_child(folder: Path, point: str, after_s: float | None = None) -> None:
    code = CHILD.format(here=str(Path(__file__).parent))
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder), point], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        if after_s is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=after_s)
            child.kill()
        assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize("point", ["batch 0", "batch 1", "last batch", "before sync"])
def test_kill_at_a_point_leaves_old_or_new_and_a_repeat_mends(tmp_path: Path, point: str) -> None:
    table = opened(tmp_path)
    put(table, OLD)

    killed_child(tmp_path, point)

    assert content(tmp_path) == (NEW if point == "before sync" else OLD)
    assert check(str(tmp_path), NAME, PROFILE, deep=True).ok
    put(table, {A: NEW[A], B: NEW[B]})
    assert content(tmp_path) == NEW


def test_kill_at_any_moment_leaves_old_or_new_and_a_repeat_mends(tmp_path: Path) -> None:
    seed = 11
    print("seed", seed)
    chance = random.Random(seed)
    table = opened(tmp_path)
    for _ in range(5):
        put(table, OLD)
        killed_child(tmp_path, "none", after_s=chance.uniform(0, 0.05))
        assert content(tmp_path) in (OLD, NEW)
        assert check(str(tmp_path), NAME, PROFILE, deep=True).ok
        put(table, {A: NEW[A], B: NEW[B]})
        assert content(tmp_path) == NEW


# Making it durable.


def test_sync_takes_each_file_once_and_manifests_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []

    def watched(path: str) -> None:
        synced.append(Path(path))
        sync_file(path)

    monkeypatch.setattr(sync_module, "sync_file", watched)
    table = opened(tmp_path)
    put(table, OLD)
    table.sync()
    assert set(synced) == files(tmp_path)
    before = set(synced)
    synced.clear()

    put(table, NEW)

    assert table.sync() == len(synced)
    assert set(synced) == files(tmp_path) - before
    kinds = [path.parent.name for path in synced]
    assert kinds[-1] == "_versions"
    assert "_versions" not in kinds[: kinds.index("_versions")] + kinds[: -kinds.count("_versions")]
    assert table.sync() == 0


def test_folders_are_synced_when_names_appear_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[str] = []
    monkeypatch.setattr(sync_module, "sync_dir", folders.append)
    table = opened(tmp_path)
    put(table, OLD)
    table.sync()
    root = str(tmp_path / "chunks.lance")

    assert folders[-2:] == [str(tmp_path), str(tmp_path.parent)], "the table's own folder may be new, too"
    assert {root, f"{root}/data", f"{root}/_versions"} <= set(folders)
    folders.clear()

    table.delete([A])
    table.sync()

    assert root in folders, "the folder of deletions is new in it"
    assert f"{root}/data" not in folders


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, DiskFullError), (errno.EDQUOT, DiskFullError), (errno.EIO, OSError)]
)
def test_failed_fsync_goes_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    table = opened(tmp_path)
    put(table, OLD)

    def failing(path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(sync_module, "sync_file", failing)
    with pytest.raises(error):
        table.sync()

    monkeypatch.setattr(sync_module, "sync_file", sync_file)
    assert table.sync() > 0, "what failed is not taken for done"


def test_file_that_vanishes_during_sync_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = opened(tmp_path)

    def vanished(path: str) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(sync_module, "sync_file", vanished)
    assert table.sync() == 0


# A full disk, imitated by a limit on the size of a file.

FULL = """
import random, resource, signal, sys
sys.path[:0] = [{here!r}]
from pathlib import Path
from table_rows import batch, opened, version
from test_table_damage import A
from voyage_jobs.errors import DiskFullError
table = opened(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    long = [random.Random(n).randbytes(50_000).hex() for n in range(3)]
    table.flip([A], iter([batch(version(A, "two", 3), text=long)]))
except DiskFullError as exc:
    assert "chunks.lance" in exc.message and exc.hint
    print("full", flush=True)
"""


def test_full_disk_is_one_error_and_changes_nothing(tmp_path: Path) -> None:
    put(opened(tmp_path), OLD)

    code = FULL.format(here=str(Path(__file__).parent))
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert out.stdout == "full\n", out.stderr
    assert content(tmp_path) == OLD
    assert check(str(tmp_path), NAME, PROFILE, deep=True).ok


def test_full_disk_during_the_commit_is_the_same_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = opened(tmp_path)
    put(table, OLD)

    def full(*_: object, **__: object) -> None:
        raise OSError("Unable to write: No space left on device (os error 28)")

    monkeypatch.setattr(lance.LanceDataset, "commit", staticmethod(full))
    with pytest.raises(DiskFullError):
        put(table, NEW)


def test_no_right_to_write_is_not_called_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = opened(tmp_path)

    def forbidden(*_: object, **__: object) -> None:
        raise OSError("Permission denied (os error 13)")

    monkeypatch.setattr(lance.LanceDataset, "commit", staticmethod(forbidden))
    with pytest.raises(OSError, match="Permission denied"):
        table.flip([A], iter([batch(version(A, "one", 1))]))

    monkeypatch.setattr(lance, "dataset", forbidden)
    with pytest.raises(OSError, match="Permission denied"):
        table.rows()
