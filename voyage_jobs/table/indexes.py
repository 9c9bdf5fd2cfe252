"""The table's indexes: which there are, when each is built, extended, merged and rebuilt.

All of them only make answers faster: rows outside an index are read beside it, and rows that are gone never come back.
Later rows go into a segment of their own, so that a small publication does not write the whole index again; a few
segments are merged into one. The word index is built again where it was made in another way (`[search] language` has
changed, or this release makes it so), and any index of which files are missing, cut or not readable: nothing is in it
that the rows do not have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from voyage_jobs.errors import CorruptionError
from voyage_jobs.table.engine import home_of, open_reading
from voyage_jobs.table.objects import Remote

INDEX = "vector_idx"
WORD_INDEX = "text_idx"
WORDS = {WORD_INDEX: ("text", 1.0), "title_words_idx": ("title", 0.5), "path_words_idx": ("path", 0.5)}
"""The indexes of words: of which column, and what a match there is worth. A title stands in every row of its document,
so that it counts less than what a row says itself."""
_SAMPLES_PER_PARTITION = 64  # with 256, Lance's own choice, 1,190 MiB instead of 920 at 500K rows
_BUILD_MIB = 256  # of the word index; Lance would take 2 GiB for each core
_MOST_SEGMENTS = 8
_NO_STEMS = "none"
LONGEST_WORD = 160
"""Words of so many bytes and more are not indexed. Lance's own 40 are 19 Cyrillic letters, and no id of a commit."""


@dataclass(frozen=True)
class Covered:
    """One index: of which column, its segments, live rows outside and inside, and the options it was made with.

    `damage` says what of its files is missing or cut; empty if all are there.
    """

    name: str
    column: str
    segments: int
    outside: int
    inside: int
    options: Mapping[str, Any]
    damage: str = ""


@dataclass(frozen=True)
class Kind:
    """An index that upkeep makes: its name, from how many rows it is built, how, and the options that it reports."""

    name: str
    from_rows: int
    build: Callable[[Any], object]
    options: tuple[tuple[str, Any], ...] = ()


def kinds(*, floats: bool, vectors_from: int, words_from: int, language: str) -> list[Kind]:
    """The indexes that a table should have. `floats`: whether its vectors can have one."""
    made = {"max_token_length": LONGEST_WORD, **_stems(language)}
    options = tuple(made.items())
    found = [Kind(name, words_from, partial(_build_words, name=name, made=made), options) for name in WORDS]
    if floats:
        found.append(Kind(INDEX, vectors_from, _build_vectors))
    for column, kind in (("source", "BITMAP"), ("path", "BTREE"), ("modified_at", "BTREE")):
        found.append(Kind(f"{column}_idx", vectors_from, _scalar(column, kind)))
    return found


def coverage(dataset: Any) -> dict[str, Covered]:
    """What each index covers, and whether its files are there: from the manifest and the sizes of files alone."""
    live = {fragment.fragment_id: fragment.metadata.num_rows for fragment in dataset.get_fragments()}
    found, home = {}, home_of(dataset)
    for index in dataset.describe_indices():
        covered: set[int] = set().union(*(segment.fragment_ids for segment in index.segments))
        inside = sum(rows for fragment, rows in live.items() if fragment in covered)
        found[index.name] = Covered(
            index.name,
            ", ".join(index.field_names),
            len(index.segments),
            sum(live.values()) - inside,
            inside,
            index.details or {},
            _damage(home, index.segments),
        )
    return found


def _damage(path: str, segments: Iterable[Any]) -> str:
    for segment in segments:
        there = _size(path, f"_indices/{segment.uuid}")
        if segment.size_bytes is not None and there != segment.size_bytes:
            return f"{there:,} of {segment.size_bytes:,} bytes are there"
    return ""


def _size(path: str, folder: str) -> int:
    if isinstance(path, Remote):
        return sum(path.sizes(folder).values())
    try:
        # lance-ray leaves an empty folder of its own beside the files.
        found = os.scandir(os.path.join(path, folder))
        return sum(entry.stat().st_size for entry in found if entry.is_file())
    except FileNotFoundError:
        return 0


def faults(dataset: Any) -> dict[str, str]:
    """Each index that cannot be read, and why not. Reads all of them, which takes as long as that."""
    found = {}
    for name, each in coverage(dataset).items():
        try:
            with open_reading(dataset.uri):
                dataset.prewarm_index(name)
        except CorruptionError as exc:
            found[name] = each.damage or exc.message
        else:
            if each.damage:
                found[name] = each.damage
    return found


def drop(dataset: Any, names: Iterable[str]) -> None:
    """Take indexes out of the newest version; the next upkeep makes those that it wants."""
    for name in names:
        if any(index.name == name for index in dataset.describe_indices()):
            dataset.drop_index(name)


def tend_index(
    dataset: Any, kind: Kind, there: Covered | None, rows: int, unindexed_rows: int
) -> tuple[bool, int]:
    """Build one index or extend it, if there are enough rows for that: (built, rows that were added to it).

    `there` is what it covers now, if it is there.
    """
    if (
        there is None
        or there.inside == 0
        or any(there.options.get(key) != told for key, told in kind.options)
    ):
        if rows < max(1, kind.from_rows):
            return False, 0
        kind.build(dataset)
        return True, rows
    # Words are looked for in every row outside: that takes longer than comparing vectors.
    limit = min(unindexed_rows, max(1, rows // 10)) if kind.name in WORDS else unindexed_rows
    if there.outside < limit:
        return False, 0
    merge = {} if there.segments >= _MOST_SEGMENTS or kind.name == INDEX else {"num_indices_to_merge": 0}
    dataset.optimize.optimize_indices(index_names=[kind.name], **merge)
    if (
        coverage(dataset)[kind.name].outside >= there.outside
    ):  # Lance passes over what it cannot read, silently
        kind.build(dataset)
        return True, rows
    return False, there.outside


def _build_vectors(dataset: Any) -> object:
    # Scalar quantisation: built in seconds and almost exact, where product quantisation is neither.
    return dataset.create_index(
        "vector", "IVF_SQ", name=INDEX, metric="cosine", sample_rate=_SAMPLES_PER_PARTITION, replace=True
    )


def _stems(language: str) -> dict[str, Any]:
    return {"stem": False} if language == _NO_STEMS else {"stem": True, "language": language}


def _build_words(dataset: Any, *, name: str, made: Mapping[str, Any]) -> object:
    """Words as Unicode cuts them, which finds Chinese, Japanese, Thai and code; stop words stay, for phrases."""
    return dataset.create_scalar_index(
        WORDS[name][0],
        "INVERTED",
        name=name,
        with_position=True,
        base_tokenizer="icu/split",
        remove_stop_words=False,
        memory_limit=_BUILD_MIB,
        num_workers=1,
        **made,
    )


def _scalar(column: str, kind: str) -> Callable[[Any], object]:
    return lambda dataset: dataset.create_scalar_index(column, kind, name=f"{column}_idx")
