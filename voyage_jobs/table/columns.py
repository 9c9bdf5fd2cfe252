"""The columns of the table, once: schema, rows, audit, export and docs/table.md all go by `COLUMNS`.

A column says its name, its kind, what it means to a reader, and how a row gets it: out of the facts of its chunk
(`value`) or, for the vector, from elsewhere. Adding one is one entry here, one line in docs/table.md (a test holds the
two together) and a new `FORMAT_VERSION`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from voyage_jobs.profile import chunk_id

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from voyage_jobs.profile import Profile

VECTOR = "vector"


class Facts(NamedTuple):
    """What is known of one row but for its vector. Times are microseconds UTC; `front_matter` is a JSON text."""

    source: str
    path: str
    doc_key: bytes
    ordinal: int
    text: str
    title: str
    section: Sequence[str]
    start: int
    end: int
    tokens: int
    content_hash: bytes
    modified_at: int
    embedding_key: str
    model: str
    published_at: int
    front_matter: str


@dataclass(frozen=True)
class Kind:
    """A type of column: as docs/table.md says it, in Arrow, and in a form in which two values can be compared."""

    told: str
    arrow: Callable[[Profile], pa.DataType]
    comparable: Callable[[Any], Hashable] = lambda value: value


@dataclass(frozen=True)
class Column:
    """One column. `value`: out of the facts of the row. `audited`: `verify` compares it with what the state says, which
    has neither texts nor times of publication.
    """

    name: str
    kind: Kind
    meaning: str
    value: Callable[[Facts], Any] | None = None
    audited: bool = False


def _arrow(make: Callable[[Any], pa.DataType]) -> Callable[[Profile], pa.DataType]:
    def kind(_profile: Profile) -> pa.DataType:
        import pyarrow

        return make(pyarrow)

    return kind


def _vectors(profile: Profile) -> pa.DataType:
    import pyarrow as pa

    element = {"float32": pa.float32(), "int8": pa.int8(), "uint8": pa.uint8()}[profile.storage_dtype]
    return pa.list_(element, profile.width)


STRING = Kind("string", _arrow(lambda pa: pa.string()))
INT32 = Kind("int32", _arrow(lambda pa: pa.int32()))
INT64 = Kind("int64", _arrow(lambda pa: pa.int64()))
STRINGS = Kind("list of string", _arrow(lambda pa: pa.list_(pa.string())), tuple)
TIME = Kind("timestamp (us, UTC)", _arrow(lambda pa: pa.timestamp("us", tz="UTC")))
VECTORS = Kind("fixed_size_list", _vectors)

_of = attrgetter

COLUMNS = (
    Column(
        "chunk_id",
        STRING,
        "names the chunk; stays the same while source, path, ordinal and text do; unique",
        lambda facts: chunk_id(facts.doc_key, facts.ordinal, facts.text),
    ),
    Column("source", STRING, "the source's name in the configuration", _of("source")),
    Column(
        "path",
        STRING,
        "the file, relative to the source, with `/`. Bytes that are not UTF-8 stand as U+10FF00 + byte",
        _of("path"),
    ),
    Column("ordinal", INT32, "place of the chunk in its document, from 0", _of("ordinal"), audited=True),
    Column("text", STRING, "the text that was embedded", _of("text")),
    Column("title", STRING, "front matter, else first heading, else file name", _of("title"), audited=True),
    Column("section", STRINGS, "the headings above the chunk, outermost first", _of("section"), audited=True),
    Column(
        "start",
        INT64,
        "where the chunk begins in the decoded file, in characters",
        _of("start"),
        audited=True,
    ),
    Column("end", INT64, "where it ends", _of("end"), audited=True),
    Column(
        "tokens",
        INT32,
        "tokens, by the model's tokenizer if it was here when the document was read, else estimated",
        _of("tokens"),
        audited=True,
    ),
    Column(
        "content_hash",
        STRING,
        "hash of the whole file this version was made from",
        lambda facts: facts.content_hash.hex(),
        audited=True,
    ),
    Column("modified_at", TIME, "the file's modification time", _of("modified_at"), audited=True),
    Column(
        "embedding_key",
        STRING,
        "names the paid vector; chunks with the same text share it",
        _of("embedding_key"),
        audited=True,
    ),
    Column("model", STRING, "the model that made the vector", _of("model"), audited=True),
    Column("published_at", TIME, "when this version of the document was published", _of("published_at")),
    Column("metadata", STRING, "the front matter, as JSON", _of("front_matter"), audited=True),
    Column(VECTOR, VECTORS, "float32, int8 or uint8, by `output_dtype`"),
)

AUDITED = tuple(column for column in COLUMNS if column.audited)
"""What `verify` compares with the state, in this order."""


def make_batch(profile: Profile, facts: Sequence[Facts], vectors: np.ndarray[Any, Any]) -> pa.RecordBatch:
    """Rows of the table: these facts, and for each its line of `vectors`."""
    import pyarrow as pa

    from voyage_jobs.table.schema import schema

    wanted = schema(profile)
    arrays: list[pa.Array] = []
    for column in COLUMNS:
        kind = wanted.field(column.name).type
        if column.value is None:
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=kind))
        else:
            arrays.append(pa.array(list(map(column.value, facts)), kind))
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def audited_facts(facts: Facts) -> tuple[Hashable, ...]:
    """What the row must say in the columns `AUDITED`, to be compared with `audited_rows`."""
    return tuple(
        column.kind.comparable(column.value(facts)) for column in AUDITED if column.value is not None
    )


def audited_rows(batch: pa.RecordBatch) -> list[tuple[Hashable, ...]]:
    """What each row of a batch says in the columns `AUDITED`."""
    return list(zip(*(_comparable(batch, column) for column in AUDITED), strict=True))


def _comparable(batch: pa.RecordBatch, column: Column) -> list[Hashable]:
    import pyarrow as pa

    values = batch.column(column.name)
    if column.kind is TIME:
        values = values.cast(pa.int64())
    return list(map(column.kind.comparable, values.to_pylist()))


def position(name: str) -> int:
    """Where a column stands among `AUDITED`."""
    return [column.name for column in AUDITED].index(name)
