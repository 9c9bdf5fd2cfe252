"""Calling a reader with care: whatever the bytes and whoever wrote the reader, the answer is a text or a reason."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import BinaryIO

from voyage_jobs.engine import children
from voyage_jobs.engine.waiting import Steps, finished
from voyage_jobs.readers.isolation import Ask, reading_isolated
from voyage_jobs.readers.reader import Heading, Place, Reader, Refusal, Refused, Text
from voyage_jobs.readers.registry import Registered

_REASON = re.compile(r"[a-z][a-z0-9_]{0,31}")
_MAX_DETAIL_CHARS = 200


def read_text(chosen: Registered, file: BinaryIO) -> Text:
    """The text of a file by its reader, in a process of its own if it asks for one. Raises Refused alone."""
    return finished(reading_text(chosen, file))


def reading_text(chosen: Registered, file: BinaryIO, ask: Ask = children.ask) -> Steps[Text]:
    """The same; yields while another process is busy with it, so that something else can be done."""
    if not chosen.reader.isolated:
        return read_here(chosen, file)
    try:
        with _in_words(chosen):
            _demand_head(chosen.reader, file)
            return _checked(chosen.reader, (yield from reading_isolated(chosen, file, ask)))
    except MemoryError:
        raise Refused(Refusal.MEMORY, "its text does not fit into memory") from None


def read_here(chosen: Registered, file: BinaryIO) -> Text:
    """The same in this process. A reader that eats all memory raises MemoryError, if the process has a limit."""
    with _in_words(chosen):
        _demand_head(chosen.reader, file)
        return _checked(chosen.reader, _by_reader(chosen, file))


@contextlib.contextmanager
def _in_words(chosen: Registered) -> Iterator[None]:
    """Have whatever is raised come out as Refused, or as MemoryError."""
    try:
        yield
    except Refused as refused:
        raise _worded(refused) from None
    except UnicodeDecodeError as exc:
        raise Refused(Refusal.UNDECODABLE, f"not {exc.encoding.upper()} at byte {exc.start}") from None
    except ImportError as exc:
        raise Refused(Refusal.NO_READER, chosen.lacking(exc.name or "a library")) from exc
    except MemoryError:
        if chosen.reader.isolated:
            raise
        raise Refused(Refusal.FAILED, f"{chosen.name}: MemoryError") from None
    except Exception as exc:  # a reader is anybody's code, and the file anybody's bytes
        raise Refused(Refusal.FAILED, f"{chosen.name}: {_where(exc)}") from exc


def _demand_head(reader: Reader, file: BinaryIO) -> None:
    if reader.heads:
        head = file.read(max(map(len, reader.heads)))
        file.seek(0)
        if not head.startswith(reader.heads):
            raise Refused(Refusal.BINARY, f"does not begin as a file of reader {reader.name}")


def _checked(reader: Reader, found: Text) -> Text:
    """What a reader gave, if it is a text. Raises Refused."""
    fault = _fault(found, reader.forms)
    if fault is not None:
        raise Refused(Refusal.FAILED, f"{reader.name} gave {fault}")
    if not found.text or found.text.isspace():
        raise Refused(Refusal.EMPTY, "nothing but white space" if found.text else "no text")
    if "\0" in found.text:
        raise Refused(Refusal.BINARY, f"a zero character at offset {found.text.index(chr(0))}")
    return found


def _by_reader(chosen: Registered, file: BinaryIO) -> Text:
    reader = chosen.reader
    texts = list(islice(reader.read(file, chosen.options), 2))
    if not texts:
        raise Refused(Refusal.EMPTY, "no text")
    if len(texts) > 1:
        raise Refused(Refusal.FAILED, f"{reader.name} found more than one text, and a file is one document")
    return texts[0]


def _worded(refused: Refused) -> Refused:
    """With a reason that is a word, and a detail that is one short line."""
    reason = str(refused.reason)
    detail = " ".join(str(refused.detail).split())[:_MAX_DETAIL_CHARS]
    return Refused(reason if _REASON.fullmatch(reason) else str(Refusal.FAILED), detail)


def _where(exc: Exception) -> str:
    """The error and the line that it came from. Not its message: that may quote the document."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(exc).__name__
    return f"{type(exc).__name__} in {os.path.basename(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno}"


def _fault(found: object, forms: Sequence[str]) -> str | None:
    """What is wrong with what a reader gave; None if nothing is."""
    if not isinstance(found, Text) or not isinstance(found.text, str):
        return f"{type(found).__name__} in place of a text"
    if found.form not in forms:
        return f"a text of form {found.form!r}, which it does not name"
    if not found.text.isascii() and found.text.encode(errors="ignore") != found.text.encode(
        errors="surrogatepass"
    ):
        return "a text with a lone surrogate"
    size = len(found.text)
    if found.headings is not None and not _in_order(found.headings, size):
        return "headings that are not in order within the text"
    if not isinstance(found.left_out, Mapping) or not all(
        isinstance(name, str) and isinstance(count, int) for name, count in found.left_out.items()
    ):
        return "numbers of what is left out that are none"
    starts = [place.at if isinstance(place, Place) else -1 for place in found.places]
    if any(not 0 <= at <= size for at in starts) or any(one > two for one, two in pairwise(starts)):
        return "places that are not in order within the text"
    return None


def _in_order(headings: Sequence[Heading], size: int) -> bool:
    at = 0
    for heading in headings:
        if (
            not isinstance(heading, Heading)
            or not at <= heading.start <= heading.end <= size
            or heading.level < 1
        ):
            return False
        at = heading.end
    return True
