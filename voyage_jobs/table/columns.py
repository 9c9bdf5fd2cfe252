"""The columns of the table, once: schema, rows, audit, export and docs/table.md all go by `COLUMNS`.

A column says its name, its kind, what it means to a reader, and how a row gets it: out of the facts of its chunk
(`value`), out of other columns (`made`), or, for the vector, from elsewhere. Adding one is one entry here with the
format it came with (`since`: one more than the present one) and what rows of older tables have in it (`absent`, `made`
or `was`), and one line in docs/table.md (a test holds the two together). `FORMAT_VERSION` follows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from voyage_jobs.core.profile import KEY_DIGITS, chunk_id

if TYPE_CHECKING:
    import pyarrow as pa

    from voyage_jobs.core.profile import Profile

VECTOR = "vector"
_BETWEEN_HEADINGS = " > "


class Facts(NamedTuple):
    """What is known of one row but for its vector. Times are microseconds UTC; `front_matter` is a JSON text.

    `place`, `page`, `url` and `record` are where a chunk stands in a document that has such places, and its address.
    """

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
    place: str = ""
    page: int = 0
    url: str = ""
    record: str = ""


@dataclass(frozen=True)
class Kind:
    """A type of column: as docs/table.md says it, in Arrow, and in a form in which two values can be compared."""

    told: str
    arrow: Callable[[Profile], pa.DataType]
    comparable: Callable[[Any], Hashable] = lambda value: value


Arrays = Mapping[str, "pa.Array"]
"""Columns of a batch, by name."""


@dataclass(frozen=True)
class Column:
    """One column. `value`: out of the facts of the row; `made`: out of the columns `needs` of the same row.

    `audited`: `verify` compares it with what the state says, which has neither texts nor times of publication. In a
    table older than `since` it is not there; what is `made` is made all the same, else it `was` another column, or is
    `absent`.
    """

    name: str
    kind: Kind
    meaning: str
    value: Callable[[Facts], Any] | None = None
    audited: bool = False
    needs: tuple[str, ...] = ()
    made: Callable[[Arrays], pa.Array] | None = None
    since: int = 1
    was: str = ""
    absent: Any = None


def _arrow(make: Callable[[Any], pa.DataType]) -> Callable[[Profile], pa.DataType]:
    def kind(_profile: Profile) -> pa.DataType:
        import pyarrow

        return make(pyarrow)

    return kind


def _vectors(profile: Profile) -> pa.DataType:
    import pyarrow as pa

    element = {"float32": pa.float32(), "int8": pa.int8(), "uint8": pa.uint8()}[profile.storage_dtype]
    return pa.list_(element, profile.width)


@functools.lru_cache(maxsize=4_096)
def _canonical(text: str) -> str:
    """JSON in one form: Lance sorts keys and writes numbers in its own way, and keeps every value."""
    return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()


METADATA = ("source", "path", "title", "section", "ordinal", "url", "page", "modified_at")
"""The fields of the column `metadata`: flat, as frameworks hand it on to stores and models that know no lists."""


def _metadata_type(pa: Any) -> pa.DataType:
    numbers = ("ordinal", "page")
    return pa.struct(
        [pa.field(name, pa.int32() if name in numbers else pa.string(), nullable=False) for name in METADATA]
    )


def _metadata(columns: Arrays) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    fields = {name: columns[name] for name in METADATA}
    fields["section"] = pc.binary_join(columns["section"], _BETWEEN_HEADINGS)
    # Taking the zone off first, Arrow needs no time zone database, which not every container has.
    plain = columns["modified_at"].cast(pa.timestamp("us")).cast(pa.string())
    fields["modified_at"] = pc.binary_join_element_wise(pc.replace_substring(plain, " ", "T"), "Z", "")
    return pa.StructArray.from_arrays(list(fields.values()), fields=list(_metadata_type(pa)))


def _document_of(columns: Arrays) -> pa.Array:
    import pyarrow.compute as pc

    return pc.utf8_slice_codeunits(columns["chunk_id"], 0, KEY_DIGITS)


STRING = Kind("string", _arrow(lambda pa: pa.string()))
INT32 = Kind("int32", _arrow(lambda pa: pa.int32()))
INT64 = Kind("int64", _arrow(lambda pa: pa.int64()))
STRINGS = Kind("list of string", _arrow(lambda pa: pa.list_(pa.string())), tuple)
TIME = Kind("timestamp (us, UTC)", _arrow(lambda pa: pa.timestamp("us", tz="UTC")))
JSON = Kind("JSON", _arrow(lambda pa: pa.json_()), _canonical)
STRUCT = Kind("struct", _arrow(_metadata_type))
VECTORS = Kind("fixed_size_list", _vectors)

_of = attrgetter

COLUMNS = (
    Column(
        "chunk_id",
        STRING,
        "names the chunk; stays the same while source, path, ordinal and text do; unique",
        lambda facts: chunk_id(facts.doc_key, facts.ordinal, facts.text),
    ),
    Column(
        "id",
        STRING,
        "the same: the name under which frameworks look for it",
        needs=("chunk_id",),
        made=lambda columns: columns["chunk_id"],
        since=2,
    ),
    Column(
        "doc_id",
        STRING,
        "names the document: the same for all of its chunks, and for as long as source and path are",
        needs=("chunk_id",),
        made=_document_of,
        since=2,
    ),
    Column("source", STRING, "the source's name in the configuration", _of("source")),
    Column(
        "path",
        STRING,
        "the file, relative to the source, with `/`. Bytes that are not UTF-8 stand as U+10FF00 + byte",
        _of("path"),
    ),
    Column(
        "record",
        STRING,
        "the id of the record, where a file holds many; empty: it is no such file",
        _of("record"),
        audited=True,
        since=2,
        absent="",
    ),
    Column(
        "place",
        STRING,
        "where in the document, in the words of its format (`p. 12`, `slide 3`); empty: in plain text",
        _of("place"),
        audited=True,
        since=2,
        absent="",
    ),
    Column(
        "page",
        INT32,
        "the page on which the chunk begins, from 1; 0: the document has no pages",
        _of("page"),
        audited=True,
        since=2,
        absent=0,
    ),
    Column(
        "url",
        STRING,
        "the address of the document: its own, else by `base_url` of its source; empty: none is known",
        _of("url"),
        audited=True,
        since=2,
        absent="",
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
        "hash of the whole file this version was made from, or of all that a record says",
        lambda facts: facts.content_hash.hex(),
        audited=True,
    ),
    Column(
        "modified_at",
        TIME,
        "when the document says that it was changed last, else the time of its last commit (`dates`), or its file's",
        _of("modified_at"),
        audited=True,
    ),
    Column(
        "embedding_key",
        STRING,
        "names the paid vector; chunks with the same text share it",
        _of("embedding_key"),
        audited=True,
    ),
    Column("model", STRING, "the model that made the vector", _of("model"), audited=True),
    Column("published_at", TIME, "when this version of the document was published", _of("published_at")),
    Column(
        "metadata",
        STRUCT,
        "source, path, title, section (joined by ` > `), ordinal, url, page and modified_at (ISO 8601), for frameworks",
        needs=METADATA,
        made=_metadata,
        since=2,
    ),
    Column(
        "front_matter",
        JSON,
        "the front matter; `json_get_string(front_matter, 'lang') = 'de'` is a filter",
        _of("front_matter"),
        audited=True,
        since=2,
        was="metadata",
    ),
    Column(VECTOR, VECTORS, "float32, int8 or uint8, by `output_dtype`"),
)

MADE = tuple(column for column in COLUMNS if column.made is not None)
AUDITED = tuple(column for column in COLUMNS if column.audited)
"""What `verify` compares with the state, in this order."""


def array_of(values: Sequence[Any] | pa.Array, kind: pa.DataType) -> pa.Array:
    """Values, or their array in a like type, as an array of this type; JSON comes as text."""
    import pyarrow as pa

    if not isinstance(kind, pa.BaseExtensionType):
        return pa.array(values, kind)
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


def demand_json(batch: pa.RecordBatch) -> None:
    """Raise ValueError for a text in a column of JSON that is none: Lance would say so in the middle of the writing."""
    for column in COLUMNS:
        if column.kind is JSON and column.name in batch.schema.names:
            for text in batch.column(column.name).to_pylist():
                _canonical(text)


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


def miscopied(batch: pa.RecordBatch) -> set[int]:
    """The rows of a batch in which a column that is made out of others does not agree with them."""
    arrays = {name: batch.column(name) for name in batch.schema.names}
    wrong: set[int] = set()
    for column in MADE:
        shown = arrays[column.name]
        if column.made is not None and not (right := column.made(arrays)).equals(shown):
            pairs = zip(right.to_pylist(), shown.to_pylist(), strict=True)
            wrong.update(at for at, (one, other) in enumerate(pairs) if one != other)
    return wrong


def position(name: str) -> int:
    """Where a column stands among `AUDITED`."""
    return [column.name for column in AUDITED].index(name)
