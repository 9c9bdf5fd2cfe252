"""Runs as a file in the format of TREC: `query Q0 place rank score run`. It holds what was found, not what it is worth.

So a saved run can be measured by other metrics, after questions were added or judged otherwise, and by other programs;
and a run of another system can be compared with one of ours.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

from voyage_jobs.core import durable
from voyage_jobs.errors import ConfigError
from voyage_jobs.evaluation.places import Place, read_word
from voyage_jobs.evaluation.run import Run

_NOTHING = "-"
"""Stands for the places of a question that found nothing: else it would look as if it had not been asked."""
_FURTHER = re.compile(r"(#.*)#\d+\Z")
"""A second chunk at a place has `#2` after it, and so on: programs that read runs refuse a name that comes twice."""
_ENCODING, _ERRORS = "utf-8", "surrogateescape"  # paths may hold bytes that are no text


def save(path: Path, runs: Sequence[Run]) -> None:
    """Write runs to a file, whole or not at all. Raises ConfigError where it cannot be written, DiskFullError."""
    try:
        with durable.writing(path) as out:
            for run in runs:
                out.writelines(line.encode(_ENCODING, _ERRORS) for line in _lines(run))
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc.strerror}.") from exc


def _lines(run: Run) -> Iterator[str]:
    tag = quote(run.name, safe="@/.")
    for question, places in run.rankings.items():
        words = list(_told_apart(place.word for place in places)) or [_NOTHING]
        for rank, word in enumerate(words, 1):
            yield f"{quote(question)} Q0 {word} {rank} {len(words) - rank + 1} {tag}\n"


def _told_apart(words: Iterable[str]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for word in words:
        seen[word] += 1
        yield word if seen[word] == 1 else f"{word}{'' if '#' in word else '#'}#{seen[word]}"


def read(path: Path) -> list[Run]:
    """The runs in a file, in the order in which they begin. Raises ConfigError, with the line."""
    try:
        text = path.read_bytes().decode(_ENCODING, _ERRORS)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}.") from exc
    found: dict[str, dict[str, list[tuple[float, str]]]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split()
        if not fields:
            continue
        score = _number(fields[4]) if len(fields) == 6 else None
        if score is None:
            raise ConfigError(
                f"{path}, line {number}: this is no line of a run, which has six fields:"
                " query, Q0, document, rank, score and the name of the run."
            )
        found.setdefault(unquote(fields[5]), {}).setdefault(unquote(fields[0]), []).append((score, fields[2]))
    if not found:
        raise ConfigError(f"{path} holds no run.")
    return [
        Run(name, {question: tuple(map(_place, _ordered(hits))) for question, hits in rankings.items()})
        for name, rankings in found.items()
    ]


def _place(word: str) -> Place:
    return read_word(_FURTHER.sub(r"\1", word))


def _number(text: str) -> float | None:
    """A score as trec_eval has it: in single precision, so that equal ones are equal there, too."""
    try:
        number = float(np.float32(float(text)))
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _ordered(hits: list[tuple[float, str]]) -> list[str]:
    """By score; equal ones by name, backwards: as trec_eval does, which looks at no ranks."""
    return [word for _, word in sorted(hits, reverse=True) if word != _NOTHING]
