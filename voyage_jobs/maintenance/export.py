"""The rows of the table as one Parquet file, for programs that know nothing of LanceDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core import durable
from voyage_jobs.errors import ConfigError
from voyage_jobs.maintenance.served import settings_of_table
from voyage_jobs.state import sources
from voyage_jobs.state.door import open_state
from voyage_jobs.steps.context import Progress, no_progress
from voyage_jobs.steps.naming import nearest
from voyage_jobs.table import PublishedTable, schema

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_BYTES = 64 << 20  # of a row group, before compression


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    rows: int
    bytes: int


def export(
    settings: Settings,
    path: Path,
    *,
    source: str | None = None,
    vectors: bool = True,
    force: bool = False,
    progress: Progress = no_progress,
) -> Exported:
    """Write every row (of one source) to `path`, which appears whole or not at all.

    All rows are of one version of the table, whatever is published meanwhile. Raises ConfigError if there is no table,
    no such source, or a file already and not `force`; CorruptionError if the table cannot be read.
    """
    if durable.is_there(path) and not force:
        raise ConfigError(f"{path} already exists.", hint="--force overwrites it.")
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder {path.parent}.")
    _demand_source(settings, source)
    profile = profile_of(settings_of_table(settings))
    table = PublishedTable.open(settings.lancedb.uri, settings.lancedb.table, profile)
    names = [name for name in schema(profile).names if vectors or name != "vector"]
    total = table.rows()
    chosen = _chosen(table.all_rows(names), source)
    try:
        with durable.writing(path) as out:
            rows, size = _write(out, chosen, _schema(profile, names), total, progress)
    except OSError as exc:
        if exc.errno not in durable.NO_PLACE:
            raise
        raise ConfigError(f"{path} cannot be written: {exc.strerror}.", hint="Name another file.") from exc
    return Exported(path, rows, size)


def _demand_source(settings: Settings, source: str | None) -> None:
    """Raise ConfigError unless it is configured, or was: the rows of one that was stay in the table."""
    known = [each.name for each in settings.sources]
    if source is None or source in known:
        return
    if open_state(settings).exists():
        with open_state(settings).read() as connection:
            known += [row.name for row in sources.all_sources(connection)]
    if source not in known:
        raise ConfigError(
            f"There is no source {source!r}.{nearest(source, known)}", hint="`voyage-jobs status` lists them."
        )


def _schema(profile: Any, names: list[str]) -> pa.Schema:
    import pyarrow as pa

    whole = schema(profile)
    # Without the table's own metadata of its fields, which means nothing elsewhere; and JSON as the text that it is.
    fields = [pa.field(name, _plain(whole.field(name).type), nullable=False) for name in names]
    return pa.schema(fields, metadata=whole.metadata)


def _plain(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _chosen(batches: Iterator[pa.RecordBatch], source: str | None) -> Iterator[pa.RecordBatch]:
    import pyarrow.compute as pc

    for batch in batches:
        yield batch if source is None else batch.filter(pc.equal(batch.column("source"), source))


def _write(
    out: Any, batches: Iterator[pa.RecordBatch], kind: pa.Schema, total: int, progress: Progress
) -> tuple[int, int]:
    """Stream batches into row groups of about `_GROUP_BYTES`; how many rows, and bytes: a pipe would not tell."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = size = 0
    group: list[pa.RecordBatch] = []
    counting = pa.PythonFile(out, mode="w")
    with pq.ParquetWriter(counting, kind, compression="zstd") as writer:
        for batch in batches:
            rows += batch.num_rows
            size += batch.nbytes
            plain = [getattr(column, "storage", column) for column in batch.columns]
            group.append(pa.RecordBatch.from_arrays(plain, schema=kind))
            if size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(group, kind))
                group, size = [], 0
            progress("exporting", rows, total)
        if group:
            writer.write_table(pa.Table.from_batches(group, kind))
    return rows, counting.tell()
