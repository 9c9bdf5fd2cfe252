"""A collection: questions, each with the places that answer it. Pure but for `load`, which finds the files.

Three ways to write one: a file for people (JSONL or YAML), the folder of BEIR, and queries beside judgements in the
format of BEIR or TREC. Which it is, is told by what is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection as Names
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from voyage_jobs.core.plural import counted
from voyage_jobs.errors import ConfigError
from voyage_jobs.evaluation.places import Target, read_word, target, whole_documents

_QUERIES, _QRELS = "queries.jsonl", Path("qrels") / "test.tsv"
_MOST_GRADE = 1_000_000
_HINT = "docs/evaluation.md shows the formats; `voyage-jobs help evaluation` prints it."


@dataclass(frozen=True)
class Question:
    """One query, and the grade of each place that was judged for it."""

    id: str
    text: str
    judged: Mapping[Target, int]

    @property
    def grades(self) -> tuple[int, ...]:
        """All grades that it has."""
        return tuple(self.judged.values())


@dataclass(frozen=True)
class Collection:
    """Questions that have an answer. `left_out` says what was left out and why."""

    name: str
    questions: tuple[Question, ...]
    left_out: tuple[str, ...] = ()
    by_section: bool = field(default=False)

    def of_documents(self) -> Collection:
        """The same questions, answered by whole documents."""
        documents = tuple(replace(each, judged=whole_documents(each.judged)) for each in self.questions)
        return replace(self, questions=documents, by_section=False)

    @property
    def targets(self) -> list[Target]:
        """Every relevant place, once."""
        relevant = (place for each in self.questions for place, grade in each.judged.items() if grade > 0)
        return list(dict.fromkeys(relevant))


def load(queries: Path, qrels: Path | None, sources: Names[str]) -> Collection:
    """The collection in these files. `sources` are names that may stand before a path.

    Raises ConfigError, with the line, for what cannot be read, and where no question has an answer.
    """
    name = str(queries)
    if queries.is_dir():
        qrels = qrels or queries / _QRELS
        queries = queries / _QUERIES
    entries = list(_entries(queries))
    if qrels is None and not any("relevant" in entry for _, entry in entries):
        beside = queries.parent / _QRELS
        if not beside.is_file():
            raise ConfigError(
                f"{queries} has no judgements: nothing says what is `relevant`, and there is no {_QRELS} beside it.",
                hint=f"Name the judgements with --qrels FILE. {_HINT}",
            )
        qrels = beside
    judged = None if qrels is None else _qrels(qrels)
    return _made(name, [_question(*entry, judged, sources) for entry in entries])


def _made(name: str, found: list[Question]) -> Collection:
    twice = _first_repeated(each.id for each in found)
    if twice is not None:
        raise ConfigError(f"{name} has two questions with the id or the text of {twice!r}.", hint=_HINT)
    written = [each for each in found if each.text]
    answered = [each for each in written if any(grade > 0 for grade in each.grades)]
    left_out = []
    if len(written) < len(found):
        left_out.append(f"{counted(len(found) - len(written), 'question')} not written yet")
    if len(answered) < len(written):
        left_out.append(f"{counted(len(written) - len(answered), 'question')} without a relevant place")
    if not answered:
        raise ConfigError(
            f"{name} has no question with an answer ({'; '.join(left_out) or 'it is empty'}).", hint=_HINT
        )
    by_section = any(place.headings for each in answered for place in each.judged)
    return Collection(name, tuple(answered), tuple(left_out), by_section)


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


# --- questions ---


def _entries(path: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Each entry of a file of queries, with where it stands."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return _yaml(path)
    lines = _lines(path)
    return _tab_separated(path, lines) if path.suffix.lower() in (".tsv", ".txt") else _jsonl(path, lines)


def _lines(path: Path) -> list[tuple[int, str]]:
    return [(number, line) for number, line in enumerate(_text(path).split("\n"), 1) if line.strip()]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeError) as exc:
        raise ConfigError(
            f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}.", hint=_HINT
        ) from exc


def _jsonl(path: Path, lines: Iterable[tuple[int, str]]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for number, line in lines:
        place = f"{path}, line {number}"
        try:
            entry = orjson.loads(line)
        except ValueError as exc:
            raise ConfigError(f"{place}: this is no JSON ({exc}).", hint=_HINT) from exc
        yield place, _object(place, entry)


def _tab_separated(path: Path, lines: Iterable[tuple[int, str]]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for number, line in lines:
        name, tab, text = line.partition("\t")
        if not tab:
            raise ConfigError(f"{path}, line {number}: there is no tab between id and query.", hint=_HINT)
        yield f"{path}, line {number}", {"_id": name.strip(), "text": text}


def _yaml(path: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    import yaml

    text = _text(path)
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(exc).split())}", hint=_HINT) from exc
    if not isinstance(entries, list):
        raise ConfigError(f"{path} must be a list of questions.", hint=_HINT)
    for number, entry in enumerate(entries, 1):
        place = f"{path}, question {number}"
        yield place, _object(place, entry)


def _object(place: str, entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, dict) or not ("query" in entry or "text" in entry):
        raise ConfigError(f"{place}: there is no `query`.", hint=_HINT)
    return entry


def _question(
    place: str,
    entry: Mapping[str, Any],
    qrels: Mapping[str, Mapping[str, int]] | None,
    sources: Names[str],
) -> Question:
    text = entry.get("query", entry.get("text"))
    if text is not None and not isinstance(text, str):
        raise ConfigError(f"{place}: the query is no text.", hint=_HINT)
    text = " ".join((text or "").split())
    given = entry.get("id", entry.get("_id"))
    name = str(given) if given not in (None, "") else _id_of(text or place)
    if qrels is not None:
        judged = {_target_of(word): grade for word, grade in qrels.get(name, {}).items()}
    else:
        judged = dict(_judgements(place, entry.get("relevant", []), sources))
    return Question(name, text, judged)


def _id_of(text: str) -> str:
    """Stays as it is when questions are added or put in another order."""
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _judgements(place: str, relevant: Any, sources: Names[str]) -> Iterable[tuple[Target, int]]:
    """A place, a list of places, or places with their grades."""
    if isinstance(relevant, dict) and not isinstance(relevant.get("path"), str):
        for word, grade in relevant.items():
            yield _target(place, word, sources), _grade(place, grade)
        return
    for each in relevant if isinstance(relevant, list) else [relevant]:
        grade = each.get("grade", 1) if isinstance(each, dict) else 1
        yield _target(place, each, sources), _grade(place, grade)


def _target(place: str, said: Any, sources: Names[str]) -> Target:
    if isinstance(said, str) and said.strip():
        return target(said.strip(), sources)
    if isinstance(said, dict) and isinstance(said.get("path"), str):
        given = said.get("heading")
        headings = given if isinstance(given, list) else [] if given is None else [given]
        if all(isinstance(each, str | int) for each in headings):  # a year is a number
            return Target(str(said.get("source") or ""), said["path"], tuple(map(str, headings)))
        raise ConfigError(f"{place}: {given!r} is no heading, and no list of headings.", hint=_HINT)
    raise ConfigError(
        f"{place}: {said!r} is no place. A place is `path`, `path#Heading`, or an object with `path`.",
        hint=_HINT,
    )


def _grade(place: str, said: Any) -> int:
    if isinstance(said, bool) or not isinstance(said, int) or abs(said) > _MOST_GRADE:
        raise ConfigError(f"{place}: the grade {said!r} is no whole number.", hint=_HINT)
    return said


# --- judgements of BEIR and TREC ---


def _qrels(path: Path) -> dict[str, dict[str, int]]:
    """Grades by query and word: `query-id corpus-id score` (BEIR, with a header) or `query 0 document grade` (TREC)."""
    judged: dict[str, dict[str, int]] = {}
    lines = _lines(path)
    for number, line in lines:
        parts = line.split("\t") if line.count("\t") >= 2 else line.split()
        fields = [part.strip() for part in parts]
        if len(fields) == 4:
            query, _, word, grade = fields
        elif len(fields) == 3:
            query, word, grade = fields
        else:
            raise ConfigError(
                f"{path}, line {number}: {counted(len(fields), 'field')}; TREC has 4, BEIR 3.", hint=_HINT
            )
        if number == lines[0][0] and not _is_whole(grade):
            continue  # the names of the columns
        if not _is_whole(grade):
            raise ConfigError(f"{path}, line {number}: the grade {grade!r} is no whole number.", hint=_HINT)
        judged.setdefault(query, {})[word] = int(grade)
    return judged


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) < 8


def _target_of(word: str) -> Target:
    place = read_word(word)
    return Target(place.source, place.path, place.section)
