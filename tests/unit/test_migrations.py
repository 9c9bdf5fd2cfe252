"""Migrations: they make the schema the program knows, from anywhere, all or nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, inspect
from state_rows import new_batch, opened

from tests.new_state import HEAD, content, main, migrated
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.errors import StateError
from voyage_jobs.state import batches, migrate
from voyage_jobs.state.engine import sqlite_module, writing_engine
from voyage_jobs.state.schema import metadata
from voyage_jobs.state.store import Store

ROOT = Path(__file__).resolve().parents[2]


def layout(path: Path) -> dict[str, object]:
    """Everything a database says about its tables: columns, keys, constraints, indexes and table options."""
    engine = create_engine(f"sqlite:///{path}", module=sqlite_module())
    found = inspect(engine)
    tables = [name for name in found.get_table_names() if name != "alembic_version"]
    with engine.connect() as connection:
        listed = connection.exec_driver_sql("PRAGMA table_list").mappings()
        options = {row["name"]: (row["wr"], row["strict"]) for row in listed if row["name"] in tables}
        partial = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        where = {name: sql.partition(" WHERE ")[2] for name, sql in connection.exec_driver_sql(partial).all()}
    made: dict[str, object] = {"options": options, "where": where}
    for name in tables:
        made[name] = {
            "columns": [
                (c["name"], str(c["type"]), c["nullable"], c["default"]) for c in found.get_columns(name)
            ],
            "primary": found.get_pk_constraint(name),
            "foreign": sorted(map(str, found.get_foreign_keys(name))),
            "unique": sorted(map(str, found.get_unique_constraints(name))),
            "checks": sorted(
                (c["name"], " ".join(c["sqltext"].split())) for c in found.get_check_constraints(name)
            ),
            "indexes": sorted((i["name"], i["column_names"], i["unique"]) for i in found.get_indexes(name)),
        }
    engine.dispose()
    return made


def from_metadata(path: Path) -> dict[str, object]:
    engine = create_engine(f"sqlite:///{path}", module=sqlite_module())
    metadata.create_all(engine)
    engine.dispose()
    return layout(path)


def tables_of(path: Path) -> list[str]:
    raw = sqlite_module().connect(str(path))
    names = [row[0] for row in raw.execute("SELECT name FROM sqlite_schema ORDER BY name")]
    raw.close()
    return names


def test_from_nothing_to_head_is_the_schema_of_the_program(tmp_path):
    opened(tmp_path).close()
    assert layout(tmp_path / "state.db") == from_metadata(tmp_path / "wanted.db")


def test_a_new_state_is_to_the_byte_what_the_migrations_come_to(tmp_path):
    migrated(tmp_path / "wanted.db")
    made = writing_engine(tmp_path / "made.db")
    migrate.upgrade(made)
    made.dispose()
    assert content(tmp_path / "made.db") == content(tmp_path / "wanted.db"), (
        "Run `python -m tests.new_state --write`."
    )


def test_the_statements_of_a_new_state_are_those_that_the_migrations_give(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out == HEAD.read_text(encoding="utf-8")


def test_a_new_state_and_one_that_is_up_to_date_load_no_alembic(tmp_path):
    script = f"""
import sys
from pathlib import Path
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.state.store import Store
for _ in range(2):
    Store.open(Path({str(tmp_path / "state.db")!r}), VirtualClock()).close()
sys.exit("alembic" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == 0


def test_the_names_of_the_migrations_tell_their_revisions():
    scripts = ScriptDirectory(str(migrate.scripts_folder())).walk_revisions()
    assert [script.revision for script in scripts] == migrate.known()[::-1]


def test_every_table_is_strict(tmp_path):
    opened(tmp_path).close()
    options = layout(tmp_path / "state.db")["options"]
    assert options
    assert all(strict for _, strict in options.values())


def test_alembic_upgrades_from_the_checkout(tmp_path):
    upgrade = [sys.executable, "-m", "alembic", "-x", f"db={tmp_path / 'state.db'}", "upgrade", "head"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(upgrade, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert layout(tmp_path / "state.db") == from_metadata(tmp_path / "wanted.db")

    store = opened(tmp_path)  # and the program finds nothing left to do
    assert store.epoch == 1
    store.close()


def test_an_installed_package_finds_its_own_migrations(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "voyage_jobs"
    shutil.copytree(ROOT / "migrations", package / "_migrations")
    monkeypatch.setattr(migrate.resources, "files", lambda name: package)

    assert migrate.scripts_folder() == package / "_migrations"
    opened(tmp_path).close()
    assert layout(tmp_path / "state.db") == from_metadata(tmp_path / "wanted.db")


def test_a_folder_with_a_percent_sign_in_its_name_is_found(tmp_path, monkeypatch):
    package = tmp_path / "100%(here)s" / "voyage_jobs"
    shutil.copytree(ROOT / "migrations", package / "_migrations")
    monkeypatch.setattr(migrate.resources, "files", lambda name: package)
    opened(tmp_path).close()


def test_an_installation_without_migrations_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(migrate.resources, "files", lambda name: tmp_path / "voyage_jobs")
    with pytest.raises(StateError, match="missing from this installation") as caught:
        opened(tmp_path)
    assert "Reinstall" in caught.value.hint


def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path):
    opened(tmp_path).close()
    path = tmp_path / "state.db"
    raw = sqlite_module().connect(str(path))
    raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.commit()
    raw.close()
    before = path.read_bytes()

    with pytest.raises(StateError, match="schema 9999, which this voyage-jobs does not know") as caught:
        opened(tmp_path)
    assert "newer voyage-jobs" in caught.value.hint
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "state.db"
    raw = sqlite_module().connect(str(path))
    raw.execute("CREATE TABLE recipes (name TEXT)")
    raw.commit()
    raw.close()

    with pytest.raises(StateError, match="not a voyage-jobs database"):
        opened(tmp_path)
    assert tables_of(path) == ["recipes"]


def test_two_upgrades_in_a_row_change_nothing(tmp_path):
    opened(tmp_path).close()
    engine = writing_engine(tmp_path / "state.db")
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    migrate.upgrade(engine)
    migrate.upgrade(engine)
    engine.dispose()
    assert statements
    assert not [sql for sql in statements if not sql.startswith(("SELECT", "PRAGMA", "BEGIN"))]


def test_rows_survive_a_second_start(tmp_path):
    store = opened(tmp_path)
    with store.write() as tx:
        new_batch(tx)
    store.close()
    store = opened(tmp_path)
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM batches").scalar_one() == 1
    assert store.epoch == 2
    store.close()


class Died(Exception):
    """The process is gone."""


def dying_after(path: Path, survived: int) -> bool:
    """Bring a database up to date and die after so many statements; whether it came to that."""
    engine = writing_engine(path)
    left = survived

    def dies(*_call: object) -> None:
        nonlocal left
        if not left:
            raise Died
        left -= 1

    event.listen(engine, "before_cursor_execute", dies)
    try:
        migrate.upgrade(engine)
    except Died:
        return True
    finally:
        engine.dispose()
    return False


def layouts_by_revision(folder: Path) -> dict[str, dict[str, object]]:
    """What a database looks like at each revision."""
    found = {}
    for revision in migrate.known():
        path = folder / f"at-{revision}.db"
        migrated(path, revision)
        found[revision] = layout(path)
    return found


def revision_of(path: Path) -> str:
    raw = sqlite_module().connect(str(path))
    (revision,) = raw.execute("SELECT version_num FROM alembic_version").fetchone()
    raw.close()
    return revision


def removed(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def test_a_new_state_that_dies_anywhere_leaves_nothing(tmp_path):
    path = tmp_path / "state.db"
    survived = 0
    while dying_after(path, survived):
        assert tables_of(path) == [], f"after {survived} statements"
        removed(path)
        survived += 1
    assert survived > 40
    assert layout(path) == from_metadata(tmp_path / "wanted.db")


def test_a_migration_that_dies_anywhere_leaves_what_was_before_it(tmp_path):
    path = tmp_path / "state.db"
    whole = layouts_by_revision(tmp_path)
    oldest = tmp_path / f"at-{migrate.known()[0]}.db"
    shutil.copy(oldest, path)
    survived = 0
    while dying_after(path, survived):
        assert layout(path) == whole[revision_of(path)], f"after {survived} statements"
        removed(path)
        shutil.copy(oldest, path)
        survived += 1
    assert survived > 40
    assert layout(path) == from_metadata(tmp_path / "wanted.db")


def test_a_new_state_that_is_killed_leaves_nothing(tmp_path):
    """The same with a process that is really gone: what it wrote is in the log, but was never committed."""
    path = tmp_path / "state.db"
    script = f"""
import os
from pathlib import Path
from sqlalchemy import event
from voyage_jobs.state import batches, migrate
from voyage_jobs.state.engine import writing_engine
engine = writing_engine(Path({str(path)!r}))
seen = 0
def dies(*call):
    global seen
    seen += 1
    if seen == 25:
        os._exit(9)
event.listen(engine, "after_cursor_execute", dies)
migrate.upgrade(engine)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == 9
    assert tables_of(path) == []
    Store.open(path, VirtualClock()).close()
    assert layout(path) == from_metadata(tmp_path / "wanted.db")


def test_there_is_no_way_back_but_a_backup(tmp_path):
    alembic = [sys.executable, "-m", "alembic", "-x", f"db={tmp_path / 'state.db'}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    opened(tmp_path).close()
    done = subprocess.run(
        [*alembic, "downgrade", "base"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "restore the backup" in done.stderr
    opened(tmp_path).close()


def test_what_was_booked_before_there_were_marks_counts_as_reported(tmp_path):
    path = tmp_path / "state.db"
    upgraded(path, "0007")
    engine = writing_engine(path)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO spend (at, kind, tokens, usd) VALUES (5, 'settled', 7, 0.5)")
    engine.dispose()

    store = opened(tmp_path)
    with store.read() as connection:
        (row,) = connection.exec_driver_sql("SELECT at, kind, tokens, usd, assumed FROM spend")
        assert tuple(row) == (5, "settled", 7, 0.5, 0)
    store.close()


# --- what single migrations do to rows ---

DAY_US = 86_400_000_000
SUBMITTED_US = 1_780_000_000_000_000


@pytest.mark.parametrize(("state", "deadline_at", "wanted"), [
    ("running", SUBMITTED_US + DAY_US // 2, SUBMITTED_US + DAY_US // 2),
    ("running", DAY_US // 2, SUBMITTED_US + DAY_US // 2),  # of a job made in 1970
    ("running", SUBMITTED_US + 9_000 * DAY_US, SUBMITTED_US + DAY_US // 2),
    ("ended", DAY_US // 2, SUBMITTED_US + DAY_US // 2),
    ("parked", DAY_US // 2, SUBMITTED_US + DAY_US // 2),
    ("closed", DAY_US // 2, DAY_US // 2),  # history stays as it was
])  # fmt: skip
def test_deadlines_that_cannot_be_are_made_anew(tmp_path, state, deadline_at, wanted):
    path = tmp_path / "state.db"
    upgraded(path, "0007")
    raw = sqlite_module().connect(str(path))
    raw.execute("INSERT INTO profiles (id, fingerprint, body) VALUES (1, 'f', '{}')")
    raw.execute(
        "INSERT INTO batches (id, ref, profile_id, inputs, tokens_estimated, request_params, created_at, state,"
        " input_file_id, remote_id, submitted_at, deadline_at, reason, hint)"
        " VALUES (1, 'r', 1, 1, 1, '{}', 1, ?, 'f', 'b', ?, ?, 'why', 'what')",
        (state, SUBMITTED_US, deadline_at),
    )
    raw.commit()
    raw.close()
    store = opened(tmp_path)
    with store.read() as connection:
        found = batches.get(connection, 1)
    store.close()
    assert found.deadline_at == wanted
    assert (found.code, found.error, found.failing_since) == (None, None, None)


def upgraded(path, revision):
    """A database as it was at an earlier revision."""
    upgrade = [sys.executable, "-m", "alembic", "-x", f"db={path}", "upgrade", revision]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(upgrade, cwd=ROOT, env=environment, capture_output=True, check=True)
