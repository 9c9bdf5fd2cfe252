"""Rows that hold the words of a query, best first: by the word index, or by reading the text where there is none.

Without an index the texts are read for `go_on`'s time at most, and a row's worth is worked out as the index does it
(BM25), with words that begin like those of the query. A query is never part of a filter: it has no operators.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from voyage_jobs.errors import CorruptionError
from voyage_jobs.table.documents import STREAM_ROWS
from voyage_jobs.table.filters import demand_sense, reading_with
from voyage_jobs.table.indexes import LONGEST_WORD, WORD_INDEX, WORDS
from voyage_jobs.table.search import scored_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_SEARCHED = tuple(column for column, _ in WORDS.values())
_ACCENT = re.compile("[\u0300-\u036f]")
_JOINS = "_\u200c\u200d"  # the last two join letters, or keep them apart, within a word
_MOST_WORDS = 64  # of a query: a page that was pasted in asks for no more
_MOST_READ = 16  # without an index, each word costs a pass over the text: the longest say most
_SHORTEST_STEM, _PLURAL = 4, r"(?:e?s)?\b"
_K1, _B = 1.2, 0.75  # BM25 as the index has them


@dataclass(frozen=True)
class Found:
    """Rows with their `score`; how many were looked at, and whether that were all.

    `damaged`: there is an index that should have answered and cannot be read; the rows were found without it.
    """

    rows: list[dict[str, Any]]
    looked_at: int
    complete: bool
    damaged: bool = False


def cut(query: str) -> list[str]:
    """The words of a query as they are written. A mark that stands on a letter is part of the word, as it is in the
    index: vowels and tones of many scripts are marks, and so are accents that are written apart."""
    return "".join(letter if _is_in_word(letter) else " " for letter in query).split()


def _is_in_word(letter: str) -> bool:
    return letter.isalnum() or letter in _JOINS or unicodedata.category(letter).startswith("M")


def words_in(query: str) -> list[str]:
    """The words of a query, each once and in order: no more than an index is asked for.

    Their case stays: the index has a lower case of its own (of `İ`, and of the last letter of `ΟΔΟΣ`).
    """
    words = {word.lower(): word for word in cut(query) if len(word.encode()) < LONGEST_WORD}
    return list(words.values())[:_MOST_WORDS]


def _forms(word: str) -> dict[str, None]:
    """A word as it is written, and with its accents in the letters and beside them: texts have them in either way.

    Kana and Hangul are not taken apart: a part of theirs is another word.
    """
    apart = unicodedata.normalize("NFD", word)
    accented = [apart] if _ACCENT.search(apart) else []
    return dict.fromkeys((word, unicodedata.normalize("NFC", word), *accented))


def holding(
    dataset: Any, query: str, *, k: int, where: str | None, columns: list[str], go_on: Callable[[], bool]
) -> Found:
    """The `k` best of the rows that hold a word of `query`. `go_on` is asked between pieces of a table that is read.

    Raises `ConfigError` for a filter that makes no sense, `CorruptionError` for a table that cannot be read.
    """
    if where is not None:
        demand_sense(dataset, where)
    words, total = words_in(query), dataset.count_rows()
    if not words:
        return Found([], 0, complete=True)
    damaged = False
    there = {index.name for index in dataset.describe_indices()} & WORDS.keys()
    if WORD_INDEX in there:
        try:
            rows = _by_index(dataset, words, there, k=k, where=where, columns=columns)
            return Found(rows, total, complete=True)
        except CorruptionError:  # of an index, maybe: then the text is whole and answers
            damaged = True
    telling = sorted(words, key=len, reverse=True)[:_MOST_READ]
    found = _by_reading(dataset, telling, k=k, where=where, columns=columns, go_on=go_on)
    return replace(found, damaged=damaged)


def _by_index(
    dataset: Any,
    words: Sequence[str],
    there: Collection[str],
    *,
    k: int,
    where: str | None,
    columns: list[str],
) -> list[dict[str, Any]]:
    from lance.query import MultiMatchQuery

    searched = [WORDS[name] for name in WORDS if name in there]
    query = MultiMatchQuery(
        " ".join(form for word in words for form in _forms(word)),
        [column for column, _ in searched],
        boosts=[worth for _, worth in searched],
    )
    scanner = dataset.scanner(
        columns=[*columns, "_score"],
        full_text_query=query,
        limit=k,
        filter=where,
        prefilter=where is not None,
    )
    with reading_with(dataset.uri, where):
        rows: list[dict[str, Any]] = scanner.to_table().to_pylist()
    for row in rows:
        row["score"] = row.pop("_score")
    return sorted(rows, key=lambda row: -row["score"])


def _by_reading(
    dataset: Any,
    words: Sequence[str],
    *,
    k: int,
    where: str | None,
    columns: list[str],
    go_on: Callable[[], bool],
) -> Found:
    import numpy as np

    scanner = dataset.scanner(
        columns=list(_SEARCHED),
        filter=where,
        with_row_address=True,
        batch_size=STREAM_ROWS,
        batch_readahead=2,
        fragment_readahead=1,
        use_scalar_index=False,  # every row is read anyway, and such an index may be what is damaged
    )
    looked_at, complete, chars = 0, True, 0
    hits = [np.empty((0, len(words) + 2))]  # of each row with a hit: how often each word, length, address
    with reading_with(dataset.uri, where):
        for batch in scanner.to_batches():
            table = _counted(batch, words)
            looked_at, chars = looked_at + batch.num_rows, chars + int(table[:, -2].sum())
            hits.append(table[table[:, :-2].any(axis=1)])
            if not go_on():
                complete = looked_at >= dataset.count_rows()
                break
    scores = _bm25(np.concatenate(hits), looked_at, chars / max(1, looked_at), k)
    return Found(scored_rows(dataset, scores, columns), looked_at, complete)


def _counted(batch: pa.RecordBatch, words: Sequence[str]) -> np.ndarray[Any, Any]:
    import numpy as np
    import pyarrow.compute as pc

    whole = pc.binary_join_element_wise(*(batch.column(name) for name in _SEARCHED), "\n")
    counts = [
        pc.count_substring_regex(
            whole, pattern="|".join(map(_beginning, _forms(word))), ignore_case=True
        ).to_numpy(zero_copy_only=False)
        for word in words
    ]
    length = pc.utf8_length(whole).to_numpy(zero_copy_only=False)
    # Addresses are fragment and row: below 2^53, so a float has them exactly, up to two million fragments.
    return np.stack([*counts, length, batch.column("_rowaddr").to_numpy()], axis=1).astype(np.float64)


def _beginning(word: str) -> str:
    """Words that begin so. A short one as it is, or its plural: most that begin so are others (`a`, `for`).

    Where letters are no ASCII, RE2 knows no beginning, and many scripts have no spaces.
    """
    before = r"\b" if word[0].isascii() else ""
    after = _PLURAL if word.isascii() and len(word) < _SHORTEST_STEM else ""
    return before + re.escape(word) + after


def _bm25(hits: np.ndarray[Any, Any], rows: int, usual: float, k: int) -> dict[int, float]:
    import numpy as np

    counts, length, addresses = hits[:, :-2], hits[:, -2:-1], hits[:, -1]
    having = (counts > 0).sum(axis=0)
    rare = np.array([math.log(1 + (rows - n + 0.5) / (n + 0.5)) for n in having.tolist()])
    worth = rare * counts * (_K1 + 1) / (counts + _K1 * (1 - _B + _B * length / max(1.0, usual)))
    scores = worth.sum(axis=1)
    best = np.argsort(-scores, kind="stable")[:k]
    return {int(addresses[at]): float(scores[at]) for at in best.tolist()}
