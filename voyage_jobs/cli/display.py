"""What `sync` shows on a terminal while it works: one live display of a few bars, on standard error."""

from __future__ import annotations

import sys
from collections import OrderedDict
from types import TracebackType
from typing import TYPE_CHECKING

from voyage_jobs.cli.output import console, duration, number, printable, size

if TYPE_CHECKING:
    from rich.progress import TaskID

    from voyage_jobs.state.open_work import OpenWork

_MOST_BARS = 5
_JOBS = "batches"


class Display:
    """Bars for what the steps report, the latest few, and one for the jobs that are waited for.

    Where standard error is not a terminal, and with `quiet`, it draws nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        count = TextColumn("{task.fields[count]}", justify="right")
        columns = (TextColumn("{task.description}"), BarColumn(16), count, TimeElapsedColumn())
        self.shown = sys.stderr.isatty() and not quiet
        self._bars = Progress(*columns, console=console(stderr=True), transient=True, disable=not self.shown)
        self._tasks: OrderedDict[str, TaskID] = OrderedDict()
        self._seen: set[int] = set()

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def report(self, what: str, done: int, total: int | None) -> None:
        """Long work goes on: a step's `Progress`."""
        if _JOBS in self._tasks:
            self._bars.remove_task(self._tasks.pop(_JOBS))
        told = size if what.startswith(("downloading", "uploading")) else number
        self._show(what, what, done, total, told(done) if total is None else f"{told(done)} of {told(total)}")

    def waiting(self, rest: OpenWork, now: int) -> None:
        """Nothing to do but to wait for these jobs; bars of steps that are over go."""
        from voyage_jobs.core.clock import US
        from voyage_jobs.service.sync import deadline_s

        for what in [what for what in self._tasks if what != _JOBS]:
            self._bars.remove_task(self._tasks.pop(what))
        if not rest.open_batches:
            return
        self._seen.update(batch.id for batch in rest.open_batches)
        over = len(self._seen) - len(rest.open_batches)
        left_s = deadline_s(rest.open_batches, now)
        left = "" if left_s is None else f" (deadline in {duration(left_s)})"
        lines = sum(batch.remote_total or batch.inputs for batch in rest.open_batches)
        done = sum((batch.remote_completed or 0) + (batch.remote_failed or 0) for batch in rest.open_batches)
        text = f"{_JOBS}: {over} of {len(self._seen)} finished{left}"
        stopped = max((each.until_at for each in rest.circuits.values()), default=0)
        if stopped > now:
            text += f"; calls resume in {duration((stopped - now) / US)}"
        self._show(_JOBS, text, done, lines, f"{number(done)} of {number(lines)}")

    def _show(self, what: str, text: str, done: int, total: int | None, count: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(printable(text), total=total, count=count)
            if len(self._tasks) > _MOST_BARS:
                self._bars.remove_task(self._tasks.popitem(last=False)[1])
        self._tasks.move_to_end(what)
        description = printable(text)
        self._bars.update(
            self._tasks[what], description=description, completed=done, total=total, count=count
        )
