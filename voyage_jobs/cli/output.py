"""What commands print: numbers for people, tables that fit 80 columns, progress bars, JSON.

rich is loaded only when something is drawn. Colours come and go as it decides: never where output is not a
terminal, never with NO_COLOR.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.core.plural import money

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

UNKNOWN = "?"  # could not be read: never shown as 0
_WIDTH = 79  # columns of running text
_NARROWEST = 30
_NAME_WIDTH = 20  # of the first column of a table, however narrow the window is
_PLAIN_WIDTH = 100  # columns where there is no terminal to ask
_STEPS = ((86_400 * 2, 86_400, "d"), (3_600 * 2, 3_600, "h"), (60 * 2, 60, "m"))
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}

Report = Callable[[str, int, int | None], None]
"""Takes (what, done, total or None) as long work goes on."""


def emit_json(value: Any) -> None:
    """Print `value` as indented JSON in UTF-8, keys in the order given; NaN and infinity are errors.

    Bytes of file names that are no text come out as lone surrogate escapes (`\\udcff`), which is valid JSON.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    click.echo(text.encode("utf-8", "backslashreplace"))


def printable(text: str) -> str:
    """The text on one line, without anything that a terminal would obey; for names that others chose."""
    return text.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode()


def wrapped(text: str, *, indent: int = 0) -> str:
    """A paragraph as wide as the window, of 79 columns at most; words that are longer, such as paths, stay whole.

    `indent` is how far lines after the first are set in.
    """
    return textwrap.fill(
        printable(text),
        width(),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def blocks() -> bool:
    """Whether standard output can be expected to show block characters: not in a C locale, nor on a dumb terminal."""
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "UTF-8").lower()
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    is_utf8 = "utf-8" in encoding and ("utf-8" in locale or "utf8" in locale)
    return is_utf8 and os.environ.get("TERM") != "dumb"


def width() -> int:
    """How wide running text may be: as the window, 79 columns at most; 79 where there is none."""
    columns = shutil.get_terminal_size((_WIDTH + 1, 24)).columns
    return max(_NARROWEST, min(columns - 1, _WIDTH))


def hanging(head: str, text: str) -> str:
    """The text behind its head; below it where it has a word, such as a hash, that finds no room beside it."""
    shown, above, indent = printable(text), "", len(head)
    if max(map(len, shown.split()), default=0) > width() - indent:
        above, head, indent = head.rstrip() + "\n", "  ", 2
    return above + textwrap.fill(
        shown,
        width(),
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def number(value: int | None) -> str:
    """`1,234`."""
    return UNKNOWN if value is None else f"{value:,}"


def size(value: int | None) -> str:
    """Bytes as `812 B`, `2.1 MB`; powers of 1000."""
    if value is None:
        return UNKNOWN
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(amount) < 999.95:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def usd(value: float | None) -> str:
    """US dollars, as `money` has them."""
    return UNKNOWN if value is None else money(value)


def duration(seconds: float | None) -> str:
    """`45 s`, `12 m`, `3 h`, `2 d`: one unit, rounded down, as people say it."""
    if seconds is None:
        return UNKNOWN
    for least, unit_s, unit in _STEPS:
        if seconds >= least:
            return f"{int(seconds // unit_s)} {unit}"
    return f"{max(0, int(seconds))} s"


def ago(then_us: int | None, now_us: int) -> str:
    """`3 m ago`, or `in 3 m`; `-` for a time that has not come about."""
    if then_us is None:
        return "-"
    passed_s = (now_us - then_us) / 1_000_000
    return f"{duration(passed_s)} ago" if passed_s >= 0 else f"in {duration(-passed_s)}"


def console(*, stderr: bool = False) -> Console:
    """A rich console; where it is not a terminal, $COLUMNS or 100 wide. It reads nothing as markup."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    columns = os.environ.get("COLUMNS", "")
    plain = int(columns) if columns.isdecimal() and int(columns) else _PLAIN_WIDTH
    width = None if stream.isatty() else plain
    return Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=False, width=width)


def show(renderable: RenderableType) -> None:
    """Print a table or another thing that rich draws."""
    console().print(renderable)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> Table:
    """A plain table: one header line, no frame; the columns named in `right` are right-aligned.

    Where the window is too narrow, the columns named in `spare` are left out, the first of them first; then the first
    column folds rather than being cut, so that names can be copied whole.
    """
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(cell) for cell in row] for row in rows]
    shown = _that_fit(columns, cells, spare, console().width)
    result = Table(box=None, pad_edge=False, header_style="bold")
    for index in shown:
        column = columns[index]
        justify: Any = "right" if column in right else "left"
        result.add_column(
            column,
            justify=justify,
            no_wrap=column in right,
            overflow="fold" if index == 0 else "ellipsis",
            min_width=min(_NAME_WIDTH, max(len(row[0]) for row in cells)) if cells and index == 0 else None,
        )
    for row in cells:
        result.add_row(*(Text(row[index]) for index in shown))
    return result


def _that_fit(
    columns: Sequence[str], rows: Sequence[Sequence[str]], spare: Sequence[str], room: int
) -> list[int]:
    """The columns to show in so many characters, two between any two."""
    widths = [max(map(len, (name, *(row[at] for row in rows)))) + 2 for at, name in enumerate(columns)]
    shown = list(range(len(columns)))
    for name in spare:
        if sum(widths[at] for at in shown) - 2 <= room:
            break
        shown.remove(columns.index(name))
    return shown


@contextlib.contextmanager
def progress() -> Iterator[Report]:
    """Bars on standard error, one for each `what` that is reported; nothing where it is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    tasks: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(printable(what), total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield report
