"""`doctor` finds what is wrong around the work, says what to do, and leaves everything as it was."""

from __future__ import annotations

import os
import sqlite3
from collections import namedtuple
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import lancedb
import pytest
from readers_in_use import use
from verify_doors import segment_files, settled, sql
from world import KEY, World

from voyage_jobs.config.key import KeySource
from voyage_jobs.config.page_token import PageToken
from voyage_jobs.config.secret import SecretSource
from voyage_jobs.core import lock
from voyage_jobs.errors import ConfigError, DiskFullError
from voyage_jobs.maintenance.doctor.check import Verdict, bad, exit_code, good, note
from voyage_jobs.maintenance.doctor.examine import examine
from voyage_jobs.readers.registry import GROUP
from voyage_jobs.state import engine
from voyage_jobs.state.sources import ANOTHER_FOLDER
from voyage_jobs.state.sqlite import SqliteState

ATLAS = "al-not-a-real-key-of-atlas-0123456789"
VOYAGE = "pa-not-a-real-key-of-voyage-0123456789"


def checks(world, *, probe=False, key=KEY, **sections):
    settings = world.settings(**sections)
    settings.attach(origin=None, warnings=(), api_key=KeySource({"VOYAGE_API_KEY": key} if key else {}))
    return list(examine(settings, world.clock, probe=probe, transport=world.transport))


def wrong(found):
    return {check.name for check in found if check.verdict is Verdict.BAD}


def one(found, name):
    (check,) = [check for check in found if check.name == name]
    return check


@pytest.fixture
def sound(tmp_path):
    return settled(tmp_path)


def test_before_the_first_run_nothing_is_bad_and_nothing_is_made(tmp_path):
    world = World(tmp_path)
    world.write("a.md", "text")
    found = checks(world)
    assert wrong(found) == set()
    assert exit_code(found) == 0
    assert not world.data_dir.exists()
    assert "makes it" in one(found, "data_dir").why


def test_a_sound_folder(sound):
    found = checks(sound, probe=True)
    assert wrong(found) == set()
    for name in (
        "state",
        "schema",
        "packs",
        "table",
        "profile",
        "probe",
        "clock",
        "sqlite",
        "disk",
        "readers",
        "source docs",
    ):
        assert one(found, name).verdict is Verdict.GOOD, name
    assert "12 rows" in one(found, "table").why
    assert one(found, "readers").why.startswith("markdown 1, rst 1, ")


def test_a_reader_that_cannot_be_used_is_bad_and_the_others_work(sound, monkeypatch):
    points = [
        EntryPoint("subtitles", "test_reader_contract:Captions", GROUP),
        EntryPoint("pictures", "no_such_package:Reader", GROUP),
    ]
    use(monkeypatch, installed=points)
    found = checks(sound)
    assert wrong(found) == {"reader pictures"}
    assert one(found, "reader pictures").why == (
        "cannot be used: ModuleNotFoundError: No module named 'no_such_package'"
    )
    assert "no_such_package" in one(found, "reader pictures").fix
    assert one(found, "readers").why.endswith("text 1, captions 1 (test_reader_contract:Captions)")


def test_the_key_is_never_shown(sound):
    for key in (KEY, ATLAS, VOYAGE):
        found = checks(sound, key=key, voyage={"base_url": "https://api.voyageai.com/v1"})
        assert not [check for check in found if key in f"{check.why}{check.fix}"]


@pytest.mark.parametrize(
    ("key", "url", "verdict", "code"),
    [
        ("", "https://api.voyageai.com/v1", Verdict.BAD, 2),
        (ATLAS, "https://api.voyageai.com/v1", Verdict.BAD, 5),
        (VOYAGE, "https://ai.mongodb.com/v1", Verdict.BAD, 5),
        (VOYAGE, "https://api.voyageai.com/v1", Verdict.GOOD, 0),
        (ATLAS, "https://ai.mongodb.com/v1", Verdict.GOOD, 0),
        ("another-word", "https://api.voyageai.com/v1", Verdict.NOTE, 0),
        ("another-word", "http://127.0.0.1:8000/v1", Verdict.GOOD, 0),
    ],
)
def test_key_and_host_must_fit(sound, key, url, verdict, code):
    found = checks(sound, key=key, voyage={"base_url": url})
    assert one(found, "key").verdict is verdict
    assert exit_code(found) == code


def test_a_simulator_is_not_taken_for_the_vendor(sound):
    check = one(checks(sound, voyage={"base_url": "http://127.0.0.1:8000/v1"}), "vendor")
    assert check.verdict is Verdict.NOTE
    assert "simulator" in check.why


def test_a_refused_key_ends_with_5(sound):
    found = checks(sound, probe=True, key=VOYAGE)
    assert one(found, "probe").verdict is Verdict.BAD
    assert one(found, "probe").fix
    assert exit_code(found) == 5


def test_an_unreachable_vendor_is_told_as_that(tmp_path):
    broken = World(tmp_path, faults={"request_lost": {"on": ["list_batches"]}})
    check = one(
        list(examine(broken.settings(), broken.clock, probe=True, transport=broken.transport)), "probe"
    )
    assert check.verdict is Verdict.BAD
    assert "could not be reached" in check.why
    assert "network" in check.fix


def test_a_clock_that_is_wrong_by_an_hour_is_told(sound):
    class Wrong:
        def __getattr__(self, name):
            return getattr(sound.clock, name)

        def wall(self):
            return sound.clock.wall() + 3600

    found = list(examine(sound.settings(), Wrong(), probe=True, transport=sound.transport))
    assert one(found, "clock").verdict is Verdict.BAD
    assert "s ahead of the provider" in one(found, "clock").why


def test_sources_that_are_missing_unmounted_or_frozen(sound):
    sound.docs.rename(sound.root / "unmounted")
    assert wrong(checks(sound)) == {"source docs"}
    sound.docs.mkdir()
    assert one(checks(sound), "source docs").verdict is Verdict.NOTE
    assert "mounted" in one(checks(sound), "source docs").fix
    sound.run()
    found = checks(sound)
    assert "frozen" in one(found, "source docs").why
    assert one(found, "source docs").fix.startswith(f"Bring {sound.docs} back, or, if that is meant, `")
    assert exit_code(found) == 6
    sql(sound, f"UPDATE sources SET frozen_reason = 'it {ANOTHER_FOLDER} now'")
    assert one(checks(sound), "source docs").fix.startswith("Set its `path` back, or")
    sql(sound, "UPDATE sources SET state = 'active', frozen_reason = NULL, device = 12345")
    assert "another device" in one(checks(sound), "source docs").why


def test_a_full_disk(sound):
    check = one(checks(sound, disk={"min_free_bytes": 1 << 53}), "disk")
    assert check.verdict is Verdict.BAD
    assert "min_free_bytes" in check.fix


def test_a_disk_has_room_where_a_batch_may_be_made(sound, monkeypatch):
    """What is to stay free is not enough: `sync` wants three times the largest input file beside it."""
    real = os.statvfs

    def with_room(size):
        def found(path):
            return SimpleNamespace(f_bavail=size, f_frsize=1, f_type=0, f_blocks=real(path).f_blocks)

        monkeypatch.setattr(os, "statvfs", found)
        sections = {"disk": {"min_free_bytes": 1 << 20}, "batching": {"max_bytes": 50 << 20}}
        return one(checks(sound, **sections), "disk")

    assert with_room(151 << 20).verdict is Verdict.GOOD
    check = with_room((151 << 20) - 1)
    assert check.verdict is Verdict.BAD
    assert check.why == f"151 MiB are free under {sound.data_dir}; 151 MiB are needed before more is sent"
    assert "batching.max_bytes" in check.fix
    assert "100 MiB are free" in with_room(100 << 20).why


def test_data_that_others_may_read_and_folders_that_cannot_be(sound, monkeypatch):
    sound.data_dir.chmod(0o755)
    check = one(checks(sound), "data_dir")
    assert check.fix == f"chmod 700 {sound.data_dir}"
    assert "closes it" in check.why
    sound.data_dir.chmod(0o1777)
    check = one(checks(sound), "data_dir")
    assert (check.verdict, "left as it is" in check.why) == (Verdict.NOTE, True)
    monkeypatch.setattr(lock, "file_system_of", lambda path: "nfs4")
    assert one(checks(sound), "data_dir").verdict is Verdict.BAD
    assert exit_code(checks(sound)) == 2


FILES = {
    "key file": "VOYAGE_API_KEY_FILE",
    "page token file": "VOYAGE_JOBS_SERVER_TOKEN_FILE",
    "notify secret file": "VOYAGE_JOBS_NOTIFY_SECRET_FILE",
}
SECRET = "pa-a-secret-that-nobody-is-shown"


def with_files(world, environ):
    settings = world.settings()
    settings.attach(
        origin=None,
        warnings=(),
        api_key=KeySource(environ),
        page_token=PageToken(environ),
        notify_secret=SecretSource(environ, "notify_secret"),
    )
    return list(examine(settings, world.clock, probe=False, transport=world.transport))


@pytest.fixture
def place(sound, monkeypatch):
    """A folder that others may enter, whatever the folders of the test above it say."""
    real = os.stat

    def passable(path, **options):
        found = real(path, **options)
        inside = str(path) in {str(parent) for parent in sound.root.parents}
        return os.stat_result((found.st_mode | 0o011, *found[1:])) if inside else found

    monkeypatch.setattr(os, "stat", passable)
    sound.root.chmod(0o755)
    return sound.root


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("mode", "fix"),
    [(0o644, "600"), (0o640, "600"), (0o444, "400"), (0o602, "600"), (0o600, None), (0o400, None)],
)
def test_a_file_with_a_secret_that_others_may_read(sound, place, name, mode, fix):
    path = place / "a secret"
    path.write_text(SECRET)
    path.chmod(mode)
    found = with_files(sound, {FILES[name]: str(path)})
    told = [check for check in found if check.name == name]
    if fix is None:
        assert told == []
        return
    (check,) = told
    assert (check.verdict, check.fix) == (Verdict.NOTE, f"chmod {fix} '{path}'")
    assert SECRET not in f"{found}"


def test_a_folder_that_keeps_others_out_is_enough(sound, place):
    folder = place / "closed"
    folder.mkdir(mode=0o700)
    path = folder / "key"
    path.write_text(SECRET)
    path.chmod(0o644)
    found = with_files(sound, {"VOYAGE_API_KEY_FILE": str(path)})
    assert not [check for check in found if check.name in FILES]
    folder.chmod(0o711)
    assert one(with_files(sound, {"VOYAGE_API_KEY_FILE": str(path)}), "key file").fix == f"chmod 600 {path}"


def test_a_file_of_root_that_is_read_by_a_group_keeps_its_group(sound, place, monkeypatch):
    path = place / "key"
    path.write_text(SECRET)
    path.chmod(0o640)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    environ = {"VOYAGE_API_KEY_FILE": str(path)}
    assert not [check for check in with_files(sound, environ) if check.name == "key file"]
    path.chmod(0o644)
    assert one(with_files(sound, environ), "key file").fix == f"sudo chmod 640 {path}"
    monkeypatch.setattr(os, "getegid", lambda: path.stat().st_gid + 1)
    monkeypatch.setattr(os, "getgroups", list)
    assert one(with_files(sound, environ), "key file").fix.startswith("sudo chown ")


def test_a_file_that_is_not_there_is_told_by_who_reads_it(sound):
    found = with_files(sound, {"VOYAGE_API_KEY_FILE": str(sound.root / "none")})
    assert not [check for check in found if check.name == "key file"]
    assert one(found, "key").verdict is Verdict.BAD


@pytest.mark.parametrize("there", [True, False])
def test_a_data_folder_that_this_user_may_not_use(sound, monkeypatch, there):
    if not there:
        sound.data_dir.rename(sound.root / "aside")
    refused = {str(sound.data_dir), str(sound.root)}
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) not in refused and allowed(path, mode))
    assert one(checks(sound), "data_dir").verdict is Verdict.BAD


def test_damage_in_the_state_packs_and_table(sound):
    segment_files(sound)[0].unlink()
    (sound.data_dir / "lancedb" / "chunks.lance").rename(sound.root / "aside.lance")
    assert wrong(checks(sound)) == {"packs", "table"}
    sql(sound, "PRAGMA wal_checkpoint(TRUNCATE)")
    with (sound.data_dir / "state.db").open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 3)
    assert "state" in wrong(checks(sound))


def test_a_file_that_is_no_state(tmp_path):
    world = World(tmp_path)
    world.data_dir.mkdir(mode=0o700)
    (world.data_dir / "state.db").write_bytes(b"no database at all" * 100)
    found = checks(world)
    assert wrong(found) == {"state"}
    assert one(found, "state").fix


def test_a_folder_in_the_place_of_the_state(tmp_path):
    world = World(tmp_path)
    (world.data_dir / "state.db").mkdir(parents=True)
    world.data_dir.chmod(0o700)
    found = checks(world)
    assert wrong(found) == {"state"}
    assert "is a folder, not a file" in one(found, "state").why


def test_a_disk_that_fails_to_read_the_state_is_a_bad_check(sound, monkeypatch):
    def fails(self):
        raise DiskFullError("SQLite cannot read it.")

    monkeypatch.setattr(SqliteState, "read", fails)
    assert one(checks(sound), "state").why == "SQLite cannot read it."


@pytest.mark.parametrize("name", ["state.db", "lock", "spool", "vectors"])
def test_what_lies_in_the_data_folder_and_cannot_be_used_is_named(sound, monkeypatch, name):
    """`sync` would end at it."""
    refused, allowed = sound.data_dir / name, os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != refused and allowed(path, mode))
    assert one(checks(sound), "data_dir").why == f"{refused} cannot be read and written by this user"


def test_a_link_in_the_data_folder_that_leads_nowhere(sound):
    vectors = sound.data_dir / "vectors"
    vectors.rename(sound.root / "mounted")
    vectors.symlink_to(sound.root / "not-mounted")
    assert one(checks(sound), "data_dir").why == f"{vectors} is a link that leads nowhere"
    with pytest.raises(ConfigError, match="a link that leads nowhere"):
        sound.run()


def test_a_file_in_the_place_of_the_data_folder(tmp_path):
    world = World(tmp_path)
    world.data_dir.write_text("not a folder")
    found = checks(world)
    assert wrong(found) == {"data_dir"}
    assert one(found, "data_dir").why == f"{world.data_dir} is a file, not a folder"
    assert exit_code(found) == 2
    assert "state" not in {check.name for check in found}, "no sync makes one there"


def test_a_state_of_a_newer_version_is_not_said_to_be_migrated(sound):
    sql(sound, "UPDATE alembic_version SET version_num = '9999'")
    found = checks(sound)
    assert "a newer one wrote it" in one(found, "state").why
    assert [check for check in found if check.name == "schema"] == []


def test_a_state_that_is_gone_is_bad(sound):
    for file in sound.data_dir.glob("state.db*"):
        file.unlink()
    found = checks(sound)
    assert wrong(found) == {"state"}
    assert "is gone" in one(found, "state").why


def test_a_state_of_an_older_version_is_told_and_not_migrated(sound):
    sql(sound, "UPDATE alembic_version SET version_num = '0001'")
    assert one(checks(sound), "schema").verdict is Verdict.NOTE
    assert sql(sound, "SELECT version_num FROM alembic_version") == [("0001",)]


def test_another_journal_mode(sound):
    sql(sound, "PRAGMA journal_mode = DELETE")
    assert [check.verdict for check in checks(sound) if check.name == "state"] == [Verdict.GOOD, Verdict.BAD]


def test_other_vectors_than_the_settings_ask_for(sound):
    found = checks(sound, voyage={"output_dimension": 16})
    assert one(found, "profile").exit_code == 6
    assert one(found, "table").verdict is Verdict.GOOD, "it is what it should be, whatever is asked for"
    assert exit_code(found) == 6


def test_another_programs_table(sound):
    lancedb.connect(sound.settings().lancedb.uri).create_table("theirs", [{"vector": [1.0, 2.0]}])
    table = one(checks(sound, lancedb={"table": "theirs"}), "table")
    assert (table.verdict, table.exit_code) == (Verdict.BAD, 2)


def test_a_table_that_went_back(sound):
    sql(sound, "UPDATE publications SET table_version = 99")
    assert "went back to version" in one(checks(sound), "table").why


def test_who_is_at_work_and_whether_it_hangs(sound):
    assert "none" in one(checks(sound), "process").why
    with sound.worker(mode="run"):
        assert one(checks(sound), "process").verdict is Verdict.GOOD
        sound.clock.advance(3600)
        check = one(checks(sound), "process")
        assert check.verdict is Verdict.BAD
        assert str(os.getpid()) in check.fix


def test_a_lock_without_a_state(tmp_path):
    world = World(tmp_path)
    with lock.held(world.settings().paths.lock, world.clock):
        assert one(checks(world), "process").why == f"process {os.getpid()} is running"


def test_an_old_sqlite(sound, monkeypatch):
    Module = namedtuple("Module", "sqlite_version sqlite_version_info Error DatabaseError")
    old = Module("3.45.0", (3, 45, 0), sqlite3.Error, sqlite3.DatabaseError)
    monkeypatch.setattr(engine, "sqlite_module", lambda: old)
    from voyage_jobs.maintenance.doctor.data import check_library

    check = check_library()
    assert check.verdict is Verdict.BAD
    assert "pysqlite3" in check.fix


def test_the_worst_decides_the_exit_code():
    assert exit_code([good("a", ""), note("b", "")]) == 0
    assert exit_code([bad("a", ""), bad("b", "", exit_code=5)]) == 5
    assert exit_code([bad("a", ""), bad("b", "", exit_code=5), bad("c", "", exit_code=2)]) == 2
