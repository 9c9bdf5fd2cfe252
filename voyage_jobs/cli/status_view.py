"""The report of `status` as a person likes to see it, in 80 columns, with or without colour. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from voyage_jobs.cli.output import duration, number, printable, table, usd

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

Report = dict[str, Any]

_BAR_WIDTH = 40
_SEGMENTS = (
    ("published", "█", "green", "published"),
    ("held", "▓", "cyan", "paid, not yet in the table"),
    ("submitted", "▒", "blue", "at Voyage"),
    ("packed", "░", "blue", "packed"),
    ("waiting", "·", "yellow", "waiting to be sent"),
    ("failed", "x", "red", "failed"),
)
_ON_THE_WAY = ("waiting", "packed", "submitted", "held")
_REF_SHOWN = 10


def view(report: Report) -> Group:
    """The whole report."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_headline(report), Text(_process(report), style="dim"), Text()]
    parts.append(_source_table(report))
    if any(report["chunks"].values()):
        parts += [Text(), _bar(report["chunks"])]
    if report["open_batches"]:
        parts += [Text(), batch_table(report["open_batches"], report["as_of"])]
    parts += [Text(), _money(report)]
    for problem in report["problems"]:
        parts += [Text(), *_problem(problem)]
    return Group(*parts)


def _headline(report: Report) -> Text:
    from rich.text import Text

    words, style = headline(report)
    return Text(words, style=f"bold {style}")


def headline(report: Report) -> tuple[str, str]:
    """One line about the worst fact, and its colour."""
    real = [problem for problem in report["problems"] if problem["severity"] == "problem"]
    codes = {problem["code"] for problem in report["problems"]}
    chunks = report["chunks"]
    if "no_state" in codes:
        return "Nothing yet: voyage-jobs has not worked with this configuration.", "yellow"
    if real:
        things = "1 thing is" if len(real) == 1 else f"{len(real)} things are"
        return f"{things} wrong: {printable(real[0]['message'])}", "red"
    if report["chunks"]["published"] is None:
        return "The state cannot be read.", "red"
    moving = sum(chunks[place] for place in _ON_THE_WAY)
    served = f"{number(chunks['published'])} chunks published"
    if report["paused"]:
        what = ", ".join(
            f"source {each['source']}" if each["source"] else each["what"] for each in report["paused"]
        )
        return f"paused ({printable(what)}): {served}, {number(moving)} on their way.", "yellow"
    if moving or report["open_batches"]:
        what = "working" if report["daemon"]["running"] else "resting"
        return f"{what}: {served}, {number(moving)} on their way.", "yellow"
    if "never_scanned" in codes:
        return f"unfinished: {served}, and a source has not been scanned whole.", "yellow"
    return f"healthy: {served}, nothing is waiting.", "green"


def _process(report: Report) -> str:
    daemon, lance = report["daemon"], report["table"]
    if daemon["running"]:
        step = f" at step {daemon['step']}" if daemon["step"] else ""
        beat = duration(daemon["heartbeat_age_s"])
        who = f"Process {daemon['pid']} ({daemon['mode'] or '?'}){step}, last sign of life {beat} ago."
    else:
        who = "No process is running."
    version = "" if lance["version"] is None else f", version {lance['version']}"
    rows = f"{number(lance['rows'])} rows in {printable(lance['uri'])}"
    return f"{who}\nTable {printable(lance['name'])}{version}: {rows}"


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
                _passed(source["scanned_at"], report["as_of"]),
            )
        )
    columns = ("source", "documents", "skipped", "published", "on the way", "failed", "scanned")
    return table(columns, rows, right=columns[1:])


def _rests(source: Report, report: Report) -> str:
    """What keeps a source from being scanned, behind its name."""
    if source["frozen"]:
        return " (frozen)"
    names = [each["source"] or each["what"] for each in report["paused"] or ()]
    return " (paused)" if source["name"] in names or "everything" in names else ""


def _bar(chunks: dict[str, int]) -> Text:
    from rich.text import Text

    total = sum(chunks.values())
    line, legend = Text(), []
    for place, mark, style, words in _SEGMENTS:
        count = chunks[place]
        if not count:
            continue
        line.append(mark * max(1, round(_BAR_WIDTH * count / total)), style=style)
        legend.append(f"{mark} {number(count)} {words}")
    return Text("Chunks  ").append_text(line).append("\n        " + "\n        ".join(legend))


def batch_table(rows: list[Report], as_of: str) -> Table:
    """Batches with their progress and the time that is left in the vendor's window."""
    shown = []
    for batch in rows:
        running = batch["state"] == "running"
        state = batch["remote_status"] if running and batch["remote_status"] else batch["state"]
        if batch["cancel_asked_at"] and batch["state"] in ("creating", "running"):
            state = "cancelling"
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
    columns = ("batch", "job at Voyage", "state", "inputs", "done", "left", "cost")
    return table(columns, shown, right=("inputs", "done", "left", "cost"))


def progress(batch: Report) -> str:
    """`37%`, with the failed ones if there are any."""
    if batch["collected_at"]:
        return "100%"
    if batch["completed"] is None or not batch["inputs"]:
        return "-"
    share = f"{100 * (batch['completed'] + (batch['failed'] or 0)) // batch['inputs']}%"
    return f"{share} ({number(batch['failed'])} bad)" if batch["failed"] else share


def time_left(batch: Report, as_of: str) -> str:
    """How much of the vendor's window is left to a running job."""
    if batch["state"] != "running" or batch["deadline_at"] is None:
        return "-"
    left_s = (_time(batch["deadline_at"]) - _time(as_of)).total_seconds()
    return duration(left_s) if left_s > 0 else "over"


def _money(report: Report) -> Text:
    from rich.text import Text

    cost, tokens = report["cost_usd"], report["tokens"]
    parts = [
        f"{usd(cost['settled'])} paid for {number(tokens['settled'])} tokens",
        f"{usd(cost['reserved'])} reserved",
        f"{usd(cost['estimated'])} {'to come' if tokens['exact'] else 'estimated'} for what waits",
        f"{usd(cost['saved'])} saved by reuse",
    ]
    return Text(f"Money   {parts[0]}, {parts[1]},\n        {parts[2]}, {parts[3]}.")


def _problem(problem: Report) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    real = problem["severity"] == "problem"
    said = Text("! " if real else "- ", style="bold red" if real else "dim")
    said.append(printable(problem["message"]), style="default")
    hint = Text(printable(problem["hint"] or ""), style="cyan")
    return [said, Padding(hint, (0, 0, 0, 2))] if problem["hint"] else [said]


def _passed(then: str | None, now: str) -> str:
    if then is None:
        return "never"
    return f"{duration((_time(now) - _time(then)).total_seconds())} ago"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
