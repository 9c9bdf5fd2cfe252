"""Vectors without a model: a documented function of the text under which texts that share words are near.

Each word (lower case) is hashed to a few signed places, its first trigrams to a few more, so that `index`
and `indexes` are near each other. A word that occurs n times counts 1 + ln n; ASCII words of up to three
letters count a tenth. To that come a fixed dense part common to all texts (real embeddings have one too;
it also means that no vector is zero or sparse) and a trace of the exact text (so that no two texts share a
vector). Then the vector is scaled to length one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_WORD_PLACES = 3
_TRIGRAM_PLACES = 5
_PLACES = _WORD_PLACES + _TRIGRAM_PLACES
_TRIGRAM_WEIGHT = 0.5
_SHORT_WORD_WEIGHT = 0.1
_TRACE_PLACES = 4
_TRACE_WEIGHT = 0.02
_COMMON_WEIGHT = 0.25
_GRAIN = 1 << 20
_MAX_WORDS = 1 << 18


class Embedder:
    """Embeds texts into one space at one dimension. Not safe for use by several threads at once."""

    def __init__(self, space: str, dimension: int) -> None:
        self._space = space
        self._dimension = dimension
        noise = np.frombuffer(hashlib.shake_128(f"{space}/common".encode()).digest(dimension), np.uint8)
        common = noise.astype(np.float64) - 127.5
        self._common = common * (_COMMON_WEIGHT / np.linalg.norm(common))
        self._forget()

    def _forget(self) -> None:
        self._ids: dict[str, int] = {}
        self._places = np.zeros((1024, _PLACES), np.int64)
        self._weights = np.zeros((1024, _PLACES))

    def embed(self, texts: Sequence[str]) -> Floats:
        """One unit vector per text, as a float32 array of shape (texts, dimension)."""
        if len(self._ids) > _MAX_WORDS:
            self._forget()  # keeps memory flat however large the vocabulary
        shape = (len(texts), self._dimension)
        places, weights = self._word_features(*self._words_of(texts))
        words = np.bincount(places, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)
        norms = np.linalg.norm(words, axis=1, keepdims=True)
        vectors = words / np.maximum(norms, 1e-9) + self._common
        np.add.at(vectors.reshape(-1), *self._traces(texts))
        return normalised(vectors.astype(np.float32))

    def _words_of(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The word ids of all texts in a row, and how many belong to each text."""
        ids: list[int] = []
        lengths = []
        known = self._ids
        for text in texts:
            words = _WORD.findall(text.lower())
            lengths.append(len(words))
            found = list(map(known.get, words))
            if None in found:
                found = [known[word] if word in known else self._learn(word) for word in words]
            ids.extend(found)  # type: ignore[arg-type]  # no None is left
        return np.array(ids, np.int64), np.repeat(np.arange(len(texts), dtype=np.int64), lengths)

    def _word_features(
        self, words: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Places and weights of all distinct words of each text.

        Weights are multiples of a power of two, so their sums are exact and do not depend on the order in
        which this embedder came to know the words.
        """
        span = len(self._ids) + 1
        pairs, counts = np.unique(rows * span + words, return_counts=True)
        rows, words = np.divmod(pairs, span)
        places = rows[:, None] * self._dimension + self._places[words]
        weights = self._weights[words] * (1.0 + np.log(counts))[:, None]
        return places.ravel(), (np.rint(weights * _GRAIN) / _GRAIN).ravel()

    def _traces(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Places and weights of the exact texts."""
        size = 4 * _TRACE_PLACES
        raw = b"".join(hashlib.blake2b(text.encode(), digest_size=size).digest() for text in texts)
        drawn = np.frombuffer(raw, "<u4").astype(np.int64).reshape(len(texts), _TRACE_PLACES)
        rows = np.arange(len(texts), dtype=np.int64)[:, None]
        places = rows * self._dimension + (drawn >> 1) % self._dimension
        weights = np.where(drawn & 1, -_TRACE_WEIGHT, _TRACE_WEIGHT).astype(np.float64)
        return places.ravel(), weights.ravel()

    def _learn(self, word: str) -> int:
        """Give a new word its places and weights."""
        number = len(self._ids)
        if number == len(self._places):
            self._places = np.concatenate([self._places, np.zeros_like(self._places)])
            self._weights = np.concatenate([self._weights, np.zeros_like(self._weights)])
        self._ids[word] = number
        marked = f"^{word}$"
        trigrams = [marked[i : i + 3] for i in range(min(_TRIGRAM_PLACES, len(marked) - 2))]
        weight = _SHORT_WORD_WEIGHT if len(word) <= 3 and word.isascii() else 1.0
        drawn = self._draw(word, _WORD_PLACES) + [self._draw(gram, 1)[0] for gram in trigrams]
        for slot, value in enumerate(drawn):
            share = 1.0 if slot < _WORD_PLACES else _TRIGRAM_WEIGHT
            self._places[number, slot] = (value >> 1) % self._dimension
            self._weights[number, slot] = weight * share * (1 - 2 * (value & 1))
        return number

    def _draw(self, feature: str, count: int) -> list[int]:
        digest = hashlib.blake2b(f"{self._space}/{feature}".encode(), digest_size=4 * count).digest()
        return [int.from_bytes(digest[4 * i : 4 * i + 4], "little") for i in range(count)]


def normalised(vectors: Floats) -> Floats:
    """The vectors scaled to length one."""
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def in_context(chunks: Floats, share: float = 0.3) -> Floats:
    """Chunk vectors of one document, each moved a little towards the document as a whole."""
    document = normalised(chunks.sum(axis=0, keepdims=True))
    return normalised(chunks + share * document)
