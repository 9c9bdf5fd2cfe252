"""The reports of `plan`, `sync` and `status` as one page of Markdown: for the summary of a CI job, a ticket, a mail.

Pure: what the page says stands in the reports. Names and messages come from others, so nothing in them is obeyed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

Report = dict[str, Any]
Words = Callable[[Any], str]

_UNDER_WAY = ("waiting", "packed", "submitted", "held")
_MARKS = {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {mark: f"\\{mark}" for mark in "\\`*_{}[]()#|!~$"}
_ESCAPES = str.maketrans(_MARKS)
_SHOWN = 50  # rows of one table; the rest is counted


def page(
    status: Report, *, plan: Report | None, sync: Report | None, number: Words, usd: Words, duration: Words
) -> str:
    """The page. `number`, `usd` and `duration` write what an operator reads; each knows None."""
    parts = [f"## voyage-jobs: {verdict(status, sync)}", ""]
    if plan is not None:
        parts += ["### Plan", "", *_plan(plan, number, usd), ""]
    if sync is not None:
        parts += ["### This run", "", *_sync(sync, number, usd, duration), ""]
    parts += ["### Sources", "", *_sources(status, number, duration), ""]
    if status["open_batches"]:
        parts += ["### Open batches", "", *_batches(status, number), ""]
    parts += ["### Cost so far", "", *_cost(status, number, usd), ""]
    problems = _all_problems(status, sync)
    if problems:
        parts += ["### Problems", "", *_problems(problems), ""]
    parts.append(f"Table `{_code(status['table']['name'])}`, as of {status['as_of']}.")
    return "\n".join(parts) + "\n"


def verdict(status: Report, sync: Report | None) -> str:
    """The headline: how things stand, in a few words."""
    if status["chunks"]["published"] is None:
        return "nothing is known yet"
    if not status["healthy"]:
        return "something needs attention"
    under_way = sum(status["chunks"][place] for place in _UNDER_WAY)
    if under_way:
        return f"{under_way:,} {'chunk is' if under_way == 1 else 'chunks are'} on the way"
    if sync is not None and sync["exit_code"] not in {0, 3}:
        return "the run did not come to its end"
    return "the table shows everything"


def escaped(text: object) -> str:
    """The text as Markdown that shows just it, on one line."""
    line = " ".join(str(text).split())
    return "".join(char for char in line if char.isprintable()).translate(_ESCAPES)


def _with_code(text: str) -> str:
    """The text escaped, but for commands between backticks, which stay code."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # one without its other
        return escaped(text)
    return "`".join(
        _code(part) if index % 2 else escaped(f".{part}.")[1:-1] for index, part in enumerate(parts)
    )


def _code(text: str) -> str:
    """The text between backticks of a code span, which knows no escapes."""
    return "".join(char for char in str(text) if char.isprintable()).replace("`", "'").replace("|", "¦")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    listed = list(rows)
    yield "| " + " | ".join(columns) + " |"
    yield "|---" + "|---:" * (len(columns) - 1) + "|"
    for row in listed[:_SHOWN]:
        yield "| " + " | ".join(row) + " |"
    if len(listed) > _SHOWN:
        yield f"\n… and {len(listed) - _SHOWN:,} more."


def _plan(plan: Report, number: Words, usd: Words) -> Iterator[str]:
    names = ("new", "changed", "moved", "vanished", "unchanged")
    rows = [
        (escaped(source["name"]), *(number(source[name]) for name in names), number(source["chunks"]))
        for source in plan["sources"]
    ]
    yield from _table(("source", *names, "chunks"), rows)
    batches, tokens, price = plan["batches"], plan["tokens"]["to_send"], plan["price_usd"]
    yield ""
    yield (
        f"To send: **{number(plan['embeddings']['to_send'])} embeddings**, {number(tokens)} tokens in"
        f" {number(batches['count'])} batches; **{usd(price['batch'])}** by batch, {usd(price['saved_by_batch'])}"
        f" less than by the synchronous endpoint. Reused: {number(plan['reused_chunks'])} chunks."
    )
    for warning in plan["warnings"]:
        yield f"- {escaped(warning)}"


def _sync(sync: Report, number: Words, usd: Words, duration: Words) -> Iterator[str]:
    documents, batches = sync["documents"], sync["batches"]
    rows = [
        (
            "ended",
            f"{escaped(sync['result'])} (exit code {sync['exit_code']}), after {duration(sync['elapsed_s'])}",
        ),
        (
            "published",
            f"{number(documents['published'])} documents, {number(sync['chunks_published'])} chunks",
        ),
        ("removed", f"{number(documents['removed'])} documents"),
        ("sent", f"{number(sync['embeddings_sent'])} embeddings in {number(batches['sent'])} batches"),
        ("collected", f"{number(batches['collected'])} batches"),
        ("paid", f"{number(sync['tokens']['settled'])} tokens, {usd(sync['cost_usd']['settled'])}"),
        ("reused", f"{number(sync['tokens']['saved'])} tokens, {usd(sync['cost_usd']['saved'])}"),
    ]
    yield from _table(("", ""), rows)


def _sources(status: Report, number: Words, duration: Words) -> Iterator[str]:
    def under_way(chunks: Report) -> int | None:
        found = [chunks[place] for place in _UNDER_WAY]
        return None if None in found else sum(found)

    rows = [
        (
            escaped(source["name"]) + (" (frozen)" if source["frozen"] else ""),
            number(source["documents"]),
            number(source["chunks"]["published"]),
            number(under_way(source["chunks"])),
            number(source["chunks"]["failed"]),
            "-" if source["oldest_unpublished_s"] is None else duration(source["oldest_unpublished_s"]),
        )
        for source in status["sources"]
    ]
    yield from _table(
        ("source", "documents", "chunks shown", "on the way", "failed", "oldest not shown"), rows
    )


def _batches(status: Report, number: Words) -> Iterator[str]:
    rows = [
        (
            f"`{batch['ref'][:8]}`",
            escaped(batch["remote_status"] or batch["state"]),
            number(batch["inputs"]),
            number(batch["completed"]),
            batch["deadline_at"] or "-",
        )
        for batch in status["open_batches"]
    ]
    yield from _table(("batch", "state", "texts", "answered", "until at most"), rows)


def _cost(status: Report, number: Words, usd: Words) -> Iterator[str]:
    labels = {
        "settled": "paid",
        "reserved": "for open batches",
        "estimated": "waits to be sent",
        "saved": "saved by reuse",
    }
    rows = [
        (words, number(status["tokens"][key]), usd(status["cost_usd"][key])) for key, words in labels.items()
    ]
    yield from _table(("", "tokens", "USD"), rows)


def _all_problems(status: Report, sync: Report | None) -> list[Report]:
    """Those of the state, and what the run says beside them."""
    found = list(status["problems"])
    known = {problem["code"] for problem in found}
    return found + [problem for problem in (sync["problems"] if sync else []) if problem["code"] not in known]


def _problems(problems: Sequence[Report]) -> Iterator[str]:
    for problem in problems[:_SHOWN]:
        hint = f" {_with_code(problem['hint'])}" if problem["hint"] else ""
        yield f"- **{escaped(problem['code'])}**: {_with_code(problem['message'])}{hint}"
    if len(problems) > _SHOWN:
        yield f"- … and {len(problems) - _SHOWN:,} more."
