"""The report of `status` for a terminal, in 80 columns, with or without colour. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from voyage_jobs.cli.output import blocks, duration, hanging, number, printable, table, usd, width, wrapped
from voyage_jobs.core.plural import counted
from voyage_jobs.report.parts import data_left_out, parts_left_out
from voyage_jobs.report.passed_over import passed_over

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

Report = dict[str, Any]

_BAR_WIDTH = 40
_LABEL = 8  # columns of `Money   ` and the like
_SEGMENTS = (
    ("published", "█#", "green", "published"),
    ("held", "▓=", "cyan", "paid, not yet in the table"),
    ("submitted", "▒-", "blue", "at the provider"),
    ("packed", "░:", "blue", "assembled, not sent yet"),
    ("waiting", "·.", "yellow", "waiting to be sent"),
    ("failed", "xx", "red", "failed"),
)
_ON_THE_WAY = ("waiting", "packed", "submitted", "held")
_REF_SHOWN = 10
_SHOWN_INDEXES = ("text_idx", "vector_idx")
_MOST_LEFT_OUT = 6


def view(report: Report) -> Group:
    """The whole report."""
    from rich.console import Group
    from rich.text import Text

    if [each["code"] for each in report["problems"]] == ["no_state"]:
        said = printable(f"{report['headline']['text']} {report['problems'][0]['hint']}")
        return Group(Text(said, style="bold yellow"))
    parts: list[RenderableType] = [_headline(report), Text(_process(report), style="dim"), Text()]
    parts.append(_source_table(report))
    if left_out := _left_out(report):
        parts += [Text(), Text(left_out, style="dim")]
    if any(report["chunks"].values()):
        parts += [Text(), _bar(report["chunks"])]
    if report["open_batches"]:
        parts += [Text(), batch_table(report["open_batches"], report["as_of"])]
    if expected := _expected(report):
        parts += [Text(), Text(expected)]
    if fresh := _fresh(report):
        parts += [Text(), Text(fresh)]
    parts += [Text(), _money(report)]
    if report["counters"] is not None:
        parts.append(Text(_ever(report["counters"])))
    if errors := _errors(report):
        parts += [Text(), errors]
    if held_up := _held_up(report):
        parts += [Text(), Text(held_up)]
    for problem in report["problems"]:
        parts += [Text(), *_problem(problem)]
    return Group(*parts)


def _headline(report: Report) -> Text:
    from rich.text import Text

    words, style = headline(report)
    return Text(words, style=f"bold {style}")


_COLOURS = {"good": "green", "working": "yellow", "waiting": "yellow", "problem": "red", "unknown": "yellow"}


def headline(report: Report) -> tuple[str, str]:
    """One line about the worst fact, and its colour."""
    told = report["headline"]
    return printable(told["text"]), _COLOURS[told["level"]]


def _process(report: Report) -> str:
    daemon, lance = report["daemon"], report["table"]
    if daemon["running"]:
        step = f" at step {daemon['step']}" if daemon["step"] else ""
        beat = duration(daemon["heartbeat_age_s"])
        who = f"Process {daemon['pid']} ({daemon['mode'] or '?'}){step}, last heartbeat {beat} ago."
    else:
        who = "No process is running."
    version = "" if lance["version"] is None else f", version {lance['version']}"
    shown = "- rows" if lance["rows"] is None else counted(lance["rows"], "row")
    rows = f"{shown} in {printable(lance['uri'])}"
    return f"{who}\nTable {printable(lance['name'])}{version}: {rows}{_indexes(report)}"


def _indexes(report: Report) -> str:
    """A line on the table's indexes, where an upkeep has seen to them."""
    table = report["table"]
    if table["indexes"] is None:
        return ""
    told = [
        f"{each['name']} {number(each['rows'])}"
        + (f" ({number(each['unindexed_rows'])} rows outside)" if each["unindexed_rows"] else "")
        for each in table["indexes"]
        if each["name"] in _SHOWN_INDEXES
    ]
    checked = _passed(table["indexes_as_of"], report["as_of"])
    return f"\nIndexes: {', '.join(told) or 'none yet'} (checked {checked})"


def _source_table(report: Report) -> Table:
    rows = []
    for source in report["sources"]:
        chunks = source["chunks"]
        moving = None if chunks["waiting"] is None else sum(chunks[place] for place in _ON_THE_WAY)
        rows.append(
            (
                source["name"] + _rests(source, report),
                number(source["documents"]),
                "-" if source["skipped"] is None else number(sum(source["skipped"].values())),
                number(chunks["published"]),
                number(moving),
                number(chunks["failed"]),
                "-" if source["oldest_unpublished_s"] is None else duration(source["oldest_unpublished_s"]),
                _passed(source["scanned_at"], report["as_of"]),
            )
        )
    columns = ("source", "documents", "skipped", "published", "on the way", "failed", "oldest", "scanned")
    spare = ("oldest", "scanned", "skipped", "documents", "failed", "on the way")
    return table(columns, rows, right=columns[1:], spare=spare)


def _left_out(report: Report) -> str:
    """What of the first sources is not taken, why, and the command that lists it."""
    lines = []
    for source in report["sources"]:
        if source["skipped"]:
            reasons = ", ".join(f"{number(count)} {reason}" for reason, count in source["skipped"].items())
            command = f"`voyage-jobs documents {source['name']} --state skipped`"
            lines.append(f"Skipped in {source['name']}: {reasons}; {command} lists them.")
        if others := passed_over(source["name"], source["passed_over"] or {}):
            lines.append(others)
        if data := data_left_out(source["name"], source["data"] or {}):
            lines.append(data)
        if parts := parts_left_out(source["name"], source["parts_left_out"] or {}):
            lines.append(parts)
    more = len(lines) - _MOST_LEFT_OUT
    return "\n".join([*map(wrapped, lines[:_MOST_LEFT_OUT]), *([f"({more} more lines)"] if more > 0 else [])])


def _rests(source: Report, report: Report) -> str:
    """What keeps a source from being scanned, behind its name."""
    if source["frozen"]:
        return " (frozen)"
    names = [each["source"] or each["what"] for each in report["paused"] or ()]
    return " (paused)" if source["name"] in names or "everything" in names else ""


def _bar(chunks: dict[str, int]) -> Text:
    from rich.text import Text

    line, legend, drawn = Text(), [], lengths(chunks, min(_BAR_WIDTH, width() - _LABEL))
    for place, marks, style, words in _SEGMENTS:
        count, mark = chunks[place], marks[0 if blocks() else 1]
        if not count:
            continue
        line.append(mark * drawn[place], style=style)
        legend.append("\n" + hanging(" " * _LABEL + f"{mark} ", f"{number(count)} {words}"))
    return Text("Chunks  ").append_text(line).append("".join(legend))


def lengths(chunks: dict[str, int], room: int) -> dict[str, int]:
    """How many marks each place gets of `room`: its share, but one at least; the longest gives what that takes."""
    total = sum(chunks.values())
    found = {place: max(1, round(room * count / total)) for place, count in chunks.items() if count}
    longest = max(found, key=found.__getitem__)
    found[longest] -= max(0, sum(found.values()) - room)
    return found


def batch_table(rows: list[Report], as_of: str) -> Table:
    """Batches with their progress and the time that is left in the provider's window."""
    shown = []
    for batch in rows:
        running = batch["state"] == "running"
        state = batch["remote_status"] if running and batch["remote_status"] else batch["state"]
        if state == "packed":
            state = "assembled"
        if batch["cancel_asked_at"] and batch["state"] in ("creating", "running"):
            state = "cancelling"
        if batch["asks_for"] == "queries":
            state += " (queries)"
        shown.append(
            (
                batch["ref"][:_REF_SHOWN],
                printable(batch["batch_id"] or "-"),
                state,
                number(batch["inputs"]),
                progress(batch),
                time_left(batch, as_of),
                usd(batch["cost_usd"]),
            )
        )
    columns = ("batch", "job", "state", "inputs", "done", "left", "cost")
    spare = ("cost", "job", "done", "left")
    return table(columns, shown, right=("inputs", "done", "left", "cost"), spare=spare)


def progress(batch: Report) -> str:
    """`37%`, with the failed ones if there are any."""
    if batch["collected_at"]:
        return "100%"
    if batch["completed"] is None or not batch["inputs"]:
        return "-"
    share = f"{100 * (batch['completed'] + (batch['failed'] or 0)) // batch['inputs']}%"
    return f"{share} ({number(batch['failed'])} bad)" if batch["failed"] else share


def time_left(batch: Report, as_of: str) -> str:
    """How much of the provider's window is left to a running job."""
    if batch["state"] != "running" or batch["deadline_at"] is None:
        return "-"
    left_s = (_time(batch["deadline_at"]) - _time(as_of)).total_seconds()
    return duration(left_s) if left_s > 0 else "over"


def _expected(report: Report) -> str:
    """When all that is on its way is likely to be in the table."""
    eta, moving = report["eta"], report["open_batches"]
    if eta is None or eta["unknown_because"] == "nothing_waits":
        return ""
    if eta["likely_at"] is None:
        why = _UNKNOWN.get(eta["unknown_because"], f"held up ({eta['unknown_because']})")
        return hanging("ETA     ", f"unknown: {why}.")
    likely, late = (_in(eta[key], report["as_of"]) for key in ("likely_at", "late_at"))
    if not moving and not eta["jobs_known"]:
        return "ETA     now."
    known = counted(eta["jobs_known"], "job")
    return hanging("ETA     ", f"likely {likely}, nine in ten {late}, by the {known} that finished here.")


_UNKNOWN = {
    "daemon_not_running": "no process is running",
    "no_history": "no job has finished here yet",
    "longer_than_ever": "a job has been running longer than any before",
    "parked": "a batch is parked",
    "budget_reached": "a budget is used up",
    "paused": "it is paused",
}


def _in(then: str, now: str) -> str:
    left_s = (_time(then) - _time(now)).total_seconds()
    return f"in {duration(left_s)}" if left_s > 0 else "now"


def _fresh(report: Report) -> str:
    """What sources promise, how fresh they were over a day, and what is left of the day's allowance."""
    if report["fresh"] is None:
        return ""
    lines: list[str] = []
    for source in report["sources"]:
        found = source["fresh"]
        if found is None:
            continue
        promised = f"{source['name']}: {duration(found['promised_s'])} promised"
        real = "no change yet" if found["begun"] else "holds after the first scan"
        if found["changes"]:
            real = f"{duration(found['p95_s'])} p95 of {counted(found['changes'], 'change')} in 24 h"
        by_batch = f", {number(found['by_batch'])} went by batch" if found["by_batch"] else ""
        lines.append(hanging("Fresh   " if not lines else " " * _LABEL, f"{promised}, {real}{by_batch}."))
    today = report["fresh"]["today"]
    if today and lines:
        used = [
            f"{usd(each['used'])} of {usd(each['limit'])}"
            if unit == "usd"
            else f"{number(each['used'])} of {number(each['limit'])} {unit}"
            for unit, each in today.items()
        ]
        lines.append(hanging(" " * _LABEL, f"Sent at once today: {', '.join(used)}."))
    return "\n".join(lines)


def _ever(ever: Report) -> str:
    """What only grows."""
    return hanging(
        "Totals  ",
        f"{counted(ever['inputs_sent'], 'text')} sent in {counted(ever['batches_sent'], 'batch')},"
        f" {counted(ever['chunks_published'], 'chunk')} published, {counted(ever['starts'], 'start')},"
        f" {counted(ever['deaths'], 'crash')}, {counted(ever['errors'], 'error')}.",
    )


_MOST_ERRORS = 6
_ERROR_WIDTH = 79


def _errors(report: Report) -> Text | None:
    """The last error of each step in one line each, with the command that says more."""
    from rich.text import Text

    if not report["last_errors"]:
        return None
    shown = report["last_errors"][:_MOST_ERRORS]
    lines = ["Last errors"]
    for each in shown:
        over = ", over" if each["over_at"] is not None else ""
        times = f" x{each['times']}" if each["times"] > 1 else ""
        head = f"  {each['step']}, {_passed(each['last_at'], report['as_of'])}{times}{over}: "
        room = max(len(head) // 2, min(_ERROR_WIDTH, width()) - len(head))
        message = printable(each["message"])
        lines.append(head + (message if len(message) <= room else message[: room - 3] + "..."))
    more = dict.fromkeys(f"`{each['more']}`" for each in shown)
    lines.append(f"  More: {', '.join(more)}")
    return Text("\n".join(lines), style="dim")


def _held_up(report: Report) -> str:
    """What is past its limit for a reason that is told elsewhere."""
    held = [each for each in report["stuck"] or () if each["because"] is not None]
    lines = [
        f"  {each['kind']} {(each['ref'] or '')[:_REF_SHOWN]} {each['state']} for"
        f" {duration((_time(report['as_of']) - _time(each['since'])).total_seconds())}:"
        f" step {each['step']} waits ({each['because']})"
        for each in held[:_MOST_ERRORS]
    ]
    return "\n".join(["Held up", *lines]) if lines else ""


def _money(report: Report) -> Text:
    from rich.text import Text

    cost, tokens = report["cost_usd"], report["tokens"]
    parts = [
        f"{usd(cost['settled'])} paid for {number(tokens['settled'])} tokens",
        f"{usd(cost['reserved'])} reserved",
        f"{usd(cost['estimated'])} {'to come' if tokens['exact'] else 'estimated'} for what waits",
        f"{usd(cost['saved'])} saved by reuse",
    ]
    said = [hanging("Money   ", ", ".join(parts) + ".")]
    if tokens["assumed"]:
        assumed = (
            f"Of what was paid, {number(tokens['assumed'])} tokens assumed: the provider reported no usage."
        )
        said.append(hanging(" " * _LABEL, assumed))
    if tokens["maybe_paid"]:
        maybe = f"{usd(cost['maybe_paid'])} for {number(tokens['maybe_paid'])} tokens"
        said.append(hanging(" " * _LABEL, f"Maybe paid on top: {maybe} (answers were lost)."))
    return Text("\n".join(said))


def _problem(problem: Report) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    real = problem["severity"] == "problem"
    said = Table.grid()
    mark = Text("! " if real else "- ", style="bold red" if real else "dim")
    said.add_row(mark, Text(printable(problem["message"])))
    hint = Text(printable(problem["hint"] or ""), style="cyan")
    return [said, Padding(hint, (0, 0, 0, 2))] if problem["hint"] else [said]


def _passed(then: str | None, now: str) -> str:
    if then is None:
        return "never"
    return f"{duration((_time(now) - _time(then)).total_seconds())} ago"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
