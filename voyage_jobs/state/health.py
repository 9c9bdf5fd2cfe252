"""The file `state.db` itself, for `doctor` and `verify`: which settings, which schema, how large, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from voyage_jobs.state import migrate

DAMAGED_HINT = (
    "Move it aside and run `voyage-jobs recover`; or move the data folder aside and restore a backup."
)


@dataclass(frozen=True)
class FileFacts:
    """`revision` is the schema's, `head` the newest this program knows; `bytes` is the size of the database."""

    revision: str | None
    head: str
    journal_mode: str
    auto_vacuum: int
    bytes: int
    free_bytes: int


def file_facts(connection: Connection) -> FileFacts:
    """Read them from an open database."""

    def pragma(name: str) -> str:
        return str(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

    page = int(pragma("page_size"))
    return FileFacts(
        revision=migrate.current(connection),
        head=migrate.head(),
        journal_mode=pragma("journal_mode"),
        auto_vacuum=int(pragma("auto_vacuum")),
        bytes=page * int(pragma("page_count")),
        free_bytes=page * int(pragma("freelist_count")),
    )


_MOST_DAMAGE = 20


def file_damage(connection: Connection) -> list[str]:
    """What SQLite itself finds wrong with the file, a line each; empty if nothing."""
    found = [str(row[0]) for row in connection.exec_driver_sql(f"PRAGMA quick_check({_MOST_DAMAGE})")]
    wrong = [line for line in found if line != "ok"]
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        wrong.append(f"{table} row {row} refers to a row of {parent} that is not there")
        if len(wrong) >= _MOST_DAMAGE:
            break
    return wrong
