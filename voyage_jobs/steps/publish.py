"""publish: let the table show what is ready, whole documents at a time, and take out what is gone.

A publication is noted before the table is touched, made in one table commit, synced, read back, and only then
acknowledged. A flip repeated gives the same content, so dying anywhere in between only repeats it. Rows of moved or
deleted documents leave after everything that is ready has come in: a moved file is never absent.
"""

from __future__ import annotations

from collections.abc import Sequence

from voyage_jobs.core.clock import now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.errors import CorruptionError
from voyage_jobs.state import embeddings, publications, segment_rows, versions
from voyage_jobs.state import texts as version_texts
from voyage_jobs.state.publications import ReadyVersion
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import room_for
from voyage_jobs.steps.reformat import is_older, let_go_if_due, raise_format
from voyage_jobs.steps.rows import RowMaker
from voyage_jobs.steps.shown import demand_rows
from voyage_jobs.steps.texts import NotHad, Texts

PUBLICATION_CHUNKS = 50_000
PUBLICATION_DOCUMENTS = 20_000
RETIRE_DOCUMENTS = 20_000
_PAGE = 500


def publish(context: Context) -> bool:
    """Make one publication if anything is ready, else one removal if anything is gone.

    A table of an older format is brought to the present one first: it takes no new rows. One that a build is about to
    replace is left as it is.
    """
    if context.build is None and is_older(context):
        return raise_format(context)
    if let_go_if_due(context):
        return True
    chosen = _choose(context) if context.build is None else []  # else the switch shows it all at once
    if chosen:
        return _flip(context, chosen)
    return _retire(context)


def _choose(context: Context) -> list[ReadyVersion]:
    """Ready versions, oldest first, up to the size of one publication; those without a text are passed over."""
    chosen: list[ReadyVersion] = []
    not_had = context.memory(NotHad).now
    chunks = after = 0
    while len(chosen) < PUBLICATION_DOCUMENTS:
        with context.store.read() as connection:
            page = publications.ready(connection, after, _PAGE)
            wanted = [version.id for version in page if version.id not in not_had]
            without = set(wanted) - version_texts.stored_of(connection, wanted)
            texts = Texts(connection)
            without = {version_id for version_id in without if texts.of_version(version_id) is None}
        for version in page:
            after = version.id
            if version.id in without:
                wait_for_text(context, version)
            if version.id in not_had:
                continue
            chosen.append(version)
            chunks += version.chunks
            if chunks >= PUBLICATION_CHUNKS:
                return chosen
        if len(page) < _PAGE:
            return chosen
    return chosen


def wait_for_text(context: Context, version: ReadyVersion) -> None:
    """A version whose text cannot be had is passed over until a scan has read its file; one is due at once.

    The scan reads it also where its stat is what it was: its bytes, or what they are read as, may be others.
    """
    not_had = context.memory(NotHad)
    not_had.now.add(version.id)
    if version.id not in not_had.scanned_for:
        not_had.scanned_for.add(version.id)
        with context.store.write() as tx:
            versions.read_soon(tx, [version.id])
        context.log.warning("publish.no_text", source=version.source, path=version.path)


def _flip(context: Context, chosen: Sequence[ReadyVersion]) -> bool:
    chunks = sum(version.chunks for version in chosen)
    if not room_for(context, chunks * (context.profile.width * 8 + 4_000)):
        return False
    table = context.open_table()
    with context.store.write() as tx:
        publication_id = publications.begin(tx, publications.FLIP, len(chosen))
        publications.take_up(tx, [version.id for version in chosen], publication_id)
    crash_point("publish.intent.committed")
    maker = RowMaker(context, chosen, now_us(context.clock))
    documents = [(version.source, version.path) for version in chosen]
    try:
        table_version = table.flip(documents, maker.batches())
    except CorruptionError as exc:
        if maker.without_text is not None:  # its file was edited this very moment: the others go without it
            wait_for_text(context, maker.without_text)
        elif maker.damaged_segment is not None:
            lose_segment(context, maker.damaged_segment, exc)
        else:
            raise
        return True
    crash_point("publish.table.done")
    table.sync()
    crash_point("publish.table.synced")
    demand_rows(table.keys(documents), maker.rows)
    with context.store.write() as tx:
        publications.mark_published(tx, publication_id)
        publications.finish(tx, publication_id, table_version, maker.rows)
    crash_point("publish.committed")
    context.log.info(
        "documents.published",
        documents=len(chosen),
        rows=maker.rows,
        table_version=table_version,
        publication=publication_id,
    )
    return True


def lose_segment(context: Context, name: str, error: CorruptionError) -> None:
    """A segment is damaged or missing: set it aside and have its vectors fetched again."""
    with context.store.read() as connection:
        known = [segment for segment in segment_rows.all_segments(connection) if segment.name == name]
    if context.segments.path(name).exists():
        context.segments.set_aside(name)
    with context.store.write() as tx:
        lost = sum(embeddings.lose_segment(tx, each.id, f"pack {name} is damaged") for each in known)
        versions.recount_all(tx)
    context.log.error("segment.damaged", segment=name, embeddings=lost, error=error.message)


def _retire(context: Context) -> bool:
    """Take the rows of documents that are gone out of the table."""
    with context.store.read() as connection:
        gone = publications.retiring(connection, RETIRE_DOCUMENTS)
    if not gone:
        return False
    table = context.open_table()
    with context.store.write() as tx:
        publication_id = publications.begin(tx, publications.DELETE, len(gone))
        publications.take_out(tx, [version.id for version in gone], publication_id)
    documents = [(version.source, version.path) for version in gone]
    table_version = table.delete(documents)
    crash_point("retire.table.done")
    table.sync()
    demand_rows(table.keys(documents), 0)
    with context.store.write() as tx:
        publications.mark_retired(tx, publication_id)
        publications.finish(tx, publication_id, table_version, 0)
    crash_point("retire.committed")
    context.log.info("documents.retired", documents=len(gone), table_version=table_version)
    return True
