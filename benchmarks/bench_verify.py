"""verify, backup and export of a table of 200,000 rows of 256 floats, each of 20,000 documents with ten chunks.

    python -m benchmarks.bench_verify [--quick]

The floor of `verify` is reading once what it compares: every row of the table with its vector, the SHA-256 of every
pack, and one `stat` a file. The floor of `backup` is copying the same bytes. All run in one process each, whose peak
memory is shown: resident pages of the segments, which are mapped, are counted in it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import header, measure, peak_rss_mib, row
from voyage_jobs.config.key import KeySource
from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.maintenance.audit.verify import Scope, verify
from voyage_jobs.maintenance.backup import backup
from voyage_jobs.maintenance.export import export
from voyage_jobs.service.worker import working
from voyage_jobs.state import embeddings, segment_rows, versions
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.publish import publish
from voyage_jobs.steps.recover_all import scan_all
from voyage_jobs.table import PublishedTable
from voyage_jobs.telemetry.logs import get_logger

SEGMENT_ROWS = 50_000
DIMENSION = 256


def settings_at(place: str) -> Settings:
    sources = [{"name": "docs", "path": f"{place}/docs"}]
    settings = Settings(
        data_dir=f"{place}/data", sources=sources, voyage={"model": "voyage-4", "output_dimension": DIMENSION}
    )
    return settings.attach(origin=None, warnings=(), api_key=KeySource({}))


def fill(place: str, documents: int) -> None:
    """Scan generated files, give every embedding a vector, publish."""
    for number in range(documents):
        path = Path(place, "docs", f"folder{number // 500:04}", f"file{number:06}.md")
        path.parent.mkdir(parents=True, exist_ok=True)
        sections = (f"# Part {part} of {number}\n\n" + "word " * 60 for part in range(10))
        path.write_text("\n\n".join(sections), encoding="utf-8")
    with working(
        settings_at(place), VirtualClock(start=time.time() + 3600), get_logger(), mode="bench"
    ) as context:
        scan_all(context)
        hold_everything(context)
        while publish(context):
            pass


def hold_everything(context: Context) -> None:
    random = np.random.default_rng(1)
    with context.store.read() as connection:
        wanted = connection.exec_driver_sql("SELECT id, key FROM embeddings ORDER BY id").all()
    for start in range(0, len(wanted), SEGMENT_ROWS):
        part = wanted[start : start + SEGMENT_ROWS]
        writer = context.segments.writer(context.profile, f"{start:020x}")
        keys = np.frombuffer(b"".join(key for _, key in part), np.uint8).reshape(-1, 20)
        vectors = random.standard_normal((len(part), DIMENSION), dtype=np.float32)
        writer.append(keys, np.zeros(len(part), np.int32), vectors)
        segment = writer.close()
        with context.store.write() as tx:
            pack_id = segment_rows.add_segment(
                tx, segment.name, context.profile_id, None, segment.rows, segment.bytes, segment.sha256
            )
            embeddings.hold(tx, pack_id, [(at, each.id) for at, each in enumerate(part)])
    with context.store.write() as tx:
        versions.recount_all(tx)


def verified(place: str) -> tuple[float, int]:
    start = time.perf_counter()
    found = verify(settings_at(place), VirtualClock(start=time.time() + 3600), Scope())
    if found.total:
        raise SystemExit(f"damage in a sound world: {[finding.as_dict() for finding in found.all()]}")
    return time.perf_counter() - start, found.checked["rows"]


def exported(place: str) -> tuple[float, int]:
    start = time.perf_counter()
    done = export(settings_at(place), Path(place, "rows.parquet"), force=True)
    return time.perf_counter() - start, done.rows


def read_once(place: str) -> None:
    settings = settings_at(place)
    table = PublishedTable.open(settings.lancedb.uri, settings.lancedb.table, profile_of(settings))
    for _ in table.all_rows():
        pass
    for path in settings.paths.vectors.rglob("*.arrow"):
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    for path in Path(place, "docs").rglob("*.md"):
        os.stat(path)


def backed_up(place: str) -> None:
    target = Path(place, "copy")
    shutil.rmtree(target, ignore_errors=True)
    backup(settings_at(place), VirtualClock(), target)


def copied(place: str) -> None:
    target = Path(place, "plain")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(Path(place, "data"), target, ignore=shutil.ignore_patterns("lancedb"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2,000 documents")
    documents = 2_000 if parser.parse_args().quick else 20_000
    with tempfile.TemporaryDirectory() as place:
        fill(place, documents)
        mib, (took, rows) = peak_rss_mib(verified, place)
        header()
        row(f"verify {rows:,} rows", took, floor=measure(lambda: read_once(place)))
        row("backup", measure(lambda: backed_up(place)), floor=measure(lambda: copied(place)))
        export_mib, (export_took, _) = peak_rss_mib(exported, place)
        row("export", export_took)
        print(f"\npeak memory: verify {mib:.0f} MiB, export {export_mib:.0f} MiB")


if __name__ == "__main__":
    main()
