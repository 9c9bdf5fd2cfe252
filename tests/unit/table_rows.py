"""Rows for the tests of the published table, and what a reader sees of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from voyage_jobs.core.profile import EMBEDDINGS, Profile, document_key
from voyage_jobs.table import PublishedTable, schema
from voyage_jobs.table.batch import make_batch
from voyage_jobs.table.columns import Facts

NAME = "chunks"
PROFILE = Profile(EMBEDDINGS, "voyage-4", 16, "float", "document")
Document = tuple[str, str]


def opened(folder: Path, profile: Profile = PROFILE) -> PublishedTable:
    return PublishedTable.open(str(folder), NAME, profile, create=True)


def vector(profile: Profile, seed: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    if profile.storage_dtype == "float32":
        return random.standard_normal(profile.width, dtype=np.float32)
    kind = np.dtype(profile.storage_dtype)
    bounds = np.iinfo(kind)
    return random.integers(bounds.min, bounds.max + 1, profile.width).astype(kind)


def batch(
    rows: list[tuple[Document, int, str]], profile: Profile = PROFILE, **changes: Any
) -> pa.RecordBatch:
    """Rows of (document, ordinal, text); `changes` replaces whole columns."""
    wanted = schema(profile)
    facts = [
        Facts(
            source=doc[0],
            path=doc[1],
            doc_key=document_key(*doc),
            ordinal=ordinal,
            text=text,
            title="Title",
            section=["One", "Two"],
            start=0,
            end=len(text),
            tokens=1,
            content_hash=b"\0",
            modified_at=1_780_000_000_000_000,
            embedding_key=f"key of {text}",
            model=profile.model,
            published_at=1_780_000_000_000_001,
            front_matter="{}",
        )
        for doc, ordinal, text in rows
    ]
    vectors = np.array([vector(profile, ordinal) for _, ordinal, _ in rows], profile.storage_dtype)
    made = make_batch(profile, facts, vectors)
    arrays = [
        pa.array(changes[field.name], field.type) if field.name in changes else made.column(field.name)
        for field in wanted
    ]
    return pa.RecordBatch.from_arrays(arrays, names=wanted.names)


def version(doc: Document, edition: str, chunks: int) -> list[tuple[Document, int, str]]:
    """One document at one edition: every chunk's text tells edition, ordinal and how many there are."""
    return [(doc, ordinal, f"{edition} {ordinal}/{chunks}") for ordinal in range(chunks)]


def put(table: PublishedTable, editions: dict[Document, tuple[str, int]], per_batch: int = 7) -> int:
    """Flip documents to (edition, chunks)."""
    rows = [row for doc, (edition, chunks) in editions.items() for row in version(doc, edition, chunks)]
    batches = (batch(rows[start : start + per_batch]) for start in range(0, len(rows), per_batch))
    return table.flip(editions, batches)


def seen(table: Any) -> dict[Document, tuple[str, int]]:
    """What a program that uses plain LanceDB reads now; fails if any document is not whole."""
    columns = ["source", "path", "ordinal", "text", "chunk_id"]
    return whole(table.search().select(columns).limit(None).to_arrow().to_pylist())


def whole(rows: list[dict[str, Any]]) -> dict[Document, tuple[str, int]]:
    ids = [row["chunk_id"] for row in rows]
    assert len(set(ids)) == len(ids), "a chunk stands there twice"
    texts: dict[Document, list[tuple[int, str]]] = defaultdict(list)
    for row in rows:
        texts[row["source"], row["path"]].append((row["ordinal"], row["text"]))
    found = {}
    for doc, chunks in texts.items():
        edition = chunks[0][1].split(" ")[0]
        expected = [(ordinal, text) for _, ordinal, text in version(doc, edition, len(chunks))]
        assert sorted(chunks) == expected, f"{doc} is not whole: {sorted(chunks)}"
        found[doc] = (edition, len(chunks))
    return found


def reader(folder: Path) -> Any:
    """The table as another program opens it."""
    import lancedb

    return lancedb.connect(str(folder)).open_table(NAME)


def content(folder: Path) -> dict[Document, tuple[str, int]]:
    return seen(reader(folder))


def slowly(batches: Iterator[Any], at: int, act: Any) -> Iterator[Any]:
    """Pass `batches` on, calling `act` before number `at`."""
    for number, each in enumerate(batches):
        if number == at:
            act()
        yield each
