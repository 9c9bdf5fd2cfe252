"""How SQL is run where there is much of it: one statement for many rows, many rows of one statement.

Everything in `state/` is SQLAlchemy Core, so that one dialect is spoken and every statement can be heard by who counts
them. What its convenience costs was measured (SQLAlchemy 2.1, a machine on which a bare look-up takes 2 us): a select
that is a constant 35 us, one built for each call 100 us. Hence what is asked at every turn is a constant, `Prepared`:
5 us. A row that is written costs 3 us more than the driver's own, a row that is read 0.8 us: `many` and `plain` do
without both, and are still Core. What is left is `RAW`, each with its measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from types import NoneType
from typing import Any, TypeVar, cast

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Insert,
    Select,
    bindparam,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.sql.dml import UpdateBase

LOOK_UP = 500
"""Values of one `IN`: few enough for any engine."""

_AT_ONCE = 20_000  # rows that are held at a time
_WORTH_A_LOOK = 100  # rows
_TOGETHER = 16  # rows of one statement; more make it no faster
_SHORT = 200  # characters

heard: list[Callable[[str, object], None]] = []
"""Who is told of statements that SQLAlchemy does not see: (statement, its parameters)."""

_T = TypeVar("_T")


def slices(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Cut what is looked up into pieces of `LOOK_UP`."""
    for at in range(0, len(values), LOOK_UP):
        yield values[at : at + LOOK_UP]


def many(
    connection: Connection,
    statement: UpdateBase,
    names: Sequence[str],
    rows: Iterable[tuple[Any, ...]],
    *,
    appends: bool = False,
) -> int:
    """Run a statement once for each row; how many rows it changed.

    `names` are the names of the values in a row: columns of the table to set, or `bindparam`s of the statement. In the
    order in which the statement has them, rows are handed on as they are.

    `appends`: what is inserted goes to the end of its table and of each index. Then several rows make a statement: for
    each, SQLite sets a CHECK of many words up anew (3 us). Where rows go all over an index that gains nothing, since a
    statement of several rows keeps a copy of every page that it touches, so as to take all of them back.
    """
    changed, left = 0, iter(rows)
    while given := list(islice(left, _AT_ONCE)):
        if isinstance(statement, Insert) and len(given) >= _WORTH_A_LOOK:
            changed += _run(connection, *_said_once(statement, names, given), _TOGETHER if appends else 1)
        else:
            changed += _run(connection, statement, names, given)
    return changed


def _run(
    connection: Connection,
    statement: UpdateBase,
    names: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    together: int = 1,
) -> int:
    columns = [name for name in names if name in statement.table.columns]
    built = statement.compile(dialect=connection.dialect, column_keys=columns)
    order = list(built.positiontup or ())
    if order != list(names):
        others = [name for name in order if name not in names]
        fixed = tuple(built.params[name] for name in others)
        pick = itemgetter(*map([*names, *others].index, order))
        rows = [pick(row + fixed) for row in rows]
    sql, changed = str(built), 0
    if together > 1:
        whole = len(rows) - len(rows) % together
        head, values, one = sql.partition(" VALUES ")
        several = head + values + ", ".join([one] * together)
        flat = [tuple(chain.from_iterable(rows[at : at + together])) for at in range(0, whole, together)]
        changed = connection.exec_driver_sql(several, cast(Any, flat)).rowcount
        rows = rows[whole:]
    return changed + (connection.exec_driver_sql(sql, cast(Any, rows)).rowcount if rows else 0)


def _said_once(
    statement: Insert, names: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> tuple[Insert, Sequence[str], Sequence[tuple[Any, ...]]]:
    """The same, with plain values that stand in every row as a part of the statement. One value stays."""
    columns = list(zip(*rows, strict=True))
    alike = {
        name: same(column[0])
        for name, column in zip(names[1:], columns[1:], strict=True)
        if column[-1] == column[0] and _is_plain(column[0]) and column.count(column[0]) == len(rows)
    }
    kept = [at for at, name in enumerate(names) if name not in alike]
    left = list(zip(*(columns[at] for at in kept), strict=True))
    return statement.inline().values(alike), [names[at] for at in kept], left  # inline: nothing is returned


def _is_plain(value: object) -> bool:
    """Whether a value can stand in a statement as it is."""
    if type(value) is str:
        return len(value) <= _SHORT and value.isascii() and value.isprintable()
    return type(value) in (int, NoneType)


def same(value: str | int | None) -> ColumnElement[Any]:
    """A value that is part of the statement, for one that is the same in each of its many rows: a value that is bound
    costs 0.2 us a row."""
    if value is None:
        return literal_column("NULL")
    return literal_column("'{}'".format(value.replace("'", "''")) if isinstance(value, str) else str(value))


def among(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Whether a column has one of the values of the parameter `name`, which `listed` makes: an IN with a parameter for
    each costs SQLAlchemy 3 us a value."""
    each = func.json_each(bindparam(name)).table_valued("value")
    return column.in_(select(each.c.value))


def listed(values: Sequence[str] | Sequence[int]) -> str:
    """Values as the parameter of `among`."""
    return orjson.dumps(list(values)).decode()


def new_id(connection: Connection, statement: Insert) -> int:
    """Insert one row; its id."""
    key = connection.execute(statement).inserted_primary_key
    return int(key[0]) if key is not None else 0


def plain(
    connection: Connection, statement: Executable, values: Mapping[str, Any] | None = None
) -> Iterator[Any]:
    """The rows of a query as the driver's own tuples; for those with a row per chunk."""
    cursor: Any = connection.execute(statement, values or {}).cursor
    return iter(cursor)


class Prepared:
    """A query that is asked at every turn: Core compiles it at its first use, then the driver runs it as it stands.

    A constant: its values are parameters, and a list in it has fixed values. Rows are the driver's tuples.
    """

    def __init__(self, query: Select[Any] | str) -> None:
        self._query = text(query) if isinstance(query, str) else query
        self._sql = ""
        self._names: Sequence[str] = ()
        self._fixed: Mapping[str, Any] = {}

    def rows(self, connection: Connection, **values: Any) -> list[Any]:
        """All its rows, with these values for its parameters."""
        if not self._sql:
            self._compile(connection)
        given = {**self._fixed, **values}
        asked = tuple(map(given.__getitem__, self._names))
        for each in heard:
            each(self._sql, asked)
        if not connection.in_transaction():
            connection.begin()
        driver: Any = connection.connection.driver_connection
        return cast(list[Any], driver.execute(self._sql, asked).fetchall())

    def row(self, connection: Connection, **values: Any) -> Any:
        """Its first row; None if there is none."""
        return next(iter(self.rows(connection, **values)), None)

    def value(self, connection: Connection, **values: Any) -> Any:
        """The first value of its first row; None if there is none."""
        found = self.row(connection, **values)
        return None if found is None else found[0]

    def _compile(self, connection: Connection) -> None:
        built: Any = self._query.compile(
            dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
        )
        self._names, self._fixed = tuple(built.positiontup or ()), built.params
        self._sql = str(built)


@dataclass(frozen=True)
class Raw:
    """A statement that goes to the driver as it stands, `?` for each value, and what that was measured to spare."""

    sql: str
    why: str

    def rows(self, connection: Connection, *values: Any) -> Iterator[Any]:
        """Its rows, as the driver's tuples. `{marks}` in it stands for all the values."""
        sql = self.sql.replace("{marks}", ",".join("?" * len(values)))
        for each in heard:
            each(sql, values)
        driver: Any = connection.connection.driver_connection
        return iter(driver.execute(sql, values))


RAW = {
    "files of a folder": Raw(
        "SELECT name, size, mtime_ns, inode, ctime_ns FROM documents"
        " WHERE folder_id = ? AND state IN ('present', 'skipped')",
        "a rescan asks it for every folder: 17 us of the 80 us that 100 files take",
    ),
    "embeddings by key": Raw(
        "SELECT id, key, state FROM embeddings WHERE key IN ({marks})",
        "a scan asks it for every chunk: an IN of 500 takes 104 us here, 375 us by SQLAlchemy",
    ),
    "text of a version": Raw(
        "SELECT t.body, v.headers FROM texts t JOIN versions v ON v.id = t.version_id WHERE t.version_id = ?",
        "a batch and a publication ask it for every document: 3 us of the 60 us that one of a single chunk takes there",
    ),
}
"""Every raw statement there is."""
