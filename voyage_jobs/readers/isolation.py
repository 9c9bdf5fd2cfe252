"""Running readers of hostile formats in a process of their own, which can be killed (`engine.children`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, TypeAlias

import orjson

from voyage_jobs.engine import children
from voyage_jobs.engine.children import Lost, TooLong
from voyage_jobs.engine.waiting import Steps
from voyage_jobs.readers.reader import Heading, Place, Refusal, Refused, Text
from voyage_jobs.readers.registry import Registered

Ask: TypeAlias = Callable[[str, bytes, BinaryIO], Steps[dict[str, Any]]]
"""Has a task carried out, as `children.ask` does."""
READ = "voyage_jobs.readers.task:read"


def reading_isolated(chosen: Registered, file: BinaryIO, ask: Ask) -> Steps[Text]:
    """The text of a file by its reader, in a child; yields while that is busy.

    Raises Refused. What is given is the child's word: it is for the caller to check.
    """
    kind = type(chosen.reader)
    request = orjson.dumps([kind.__module__, kind.__qualname__, chosen.options])
    try:
        answer = yield from ask(READ, request, file)
    except TooLong:
        raise Refused(Refusal.LIMIT, f"its text has more than {children.MOST_BYTES:,} bytes") from None
    except Lost as lost:
        raise _refusal(lost) from None
    if "refused" in answer:
        reason, detail = answer["refused"]
        raise Refused(str(reason), str(detail))
    return text_of(answer["text"])


def _refusal(lost: Lost) -> Refused:
    if lost.late:
        return Refused(Refusal.TIMEOUT, f"no text within {children.DEADLINE_S:.0f} seconds")
    code = lost.code
    return Refused(Refusal.CRASHED, f"signal {-code}" if code < 0 else f"exit code {code}")


def text_of(found: dict[str, Any]) -> Text:
    """A text, out of what JSON made of it."""
    headings = found["headings"]
    given = None if headings is None else [Heading(*each) for each in headings]
    return Text(**{**found, "headings": given, "places": tuple(Place(**each) for each in found["places"])})
