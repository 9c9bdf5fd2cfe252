"""Backups of what cannot be made again: `state.db` as of one moment, and every segment it knows.

    DIR/manifest.json   what is in it: name, size and SHA-256 of every file; written last
    DIR/state.db        one consistent moment, taken while work goes on
    DIR/vectors/        the segments; hard links where the file system allows, since segments never change
    DIR/lancedb/        the table, only if it was asked for: it is a view

The state is copied first: a segment is on disk before the state knows it, so every segment of the copy is there. A
backup appears under its name whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core import durable, private
from voyage_jobs.core.clock import Clock, iso, now_us
from voyage_jobs.errors import ConfigError
from voyage_jobs.segments import SegmentStore
from voyage_jobs.state import audit, meta, segment_rows
from voyage_jobs.state.door import FILE, At, open_state
from voyage_jobs.steps.context import Progress, no_progress
from voyage_jobs.table.engine import table_path
from voyage_jobs.table.objects import Remote
from voyage_jobs.version import __version__

FORMAT = 1
MANIFEST = "manifest.json"
TABLE = "lancedb"
VECTORS = "vectors"
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass
class BackupReport:
    """What a backup or restore came to. `missing` names needed segments that are not there, or damaged.

    `table_missing`: the table was asked for, and there is none.
    """

    folder: Path
    files: int = 0
    bytes: int = 0
    linked: int = 0
    missing: list[str] = field(default_factory=list)
    table_missing: bool = False


def backup(
    settings: Settings,
    clock: Clock,
    folder: Path,
    *,
    with_table: bool = False,
    progress: Progress = no_progress,
) -> BackupReport:
    """Make a backup in the new folder `folder`, beside a process that may be at work.

    Raises ConfigError if there is something already, NoStateError if there is no state, DiskFullError.
    """
    folder = Path(os.path.abspath(folder))
    _demand_new(folder)
    state = open_state(settings)
    state.demand()
    part = folder.with_name(f"{folder.name}.part-{clock.token()}")
    report = BackupReport(folder)
    with durable.no_room_is_one_error(str(folder)):
        _make(part)
        try:
            entries = list(_fill(settings, part, report, with_table=with_table, progress=progress))
            with durable.writing(part / MANIFEST, private=True) as out:
                out.write(_manifest(settings, clock, part, entries, report))
            sync_folders(part)
            if folder.exists():
                folder.rmdir()  # empty: see _demand_new
            os.rename(part, folder)
            durable.sync_dir(folder.parent)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return report


def _make(part: Path) -> None:
    """Make the folder that becomes the backup. Raises ConfigError for a place where none can be."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(mode=private.FOLDER)
    except OSError as exc:
        if exc.errno not in durable.NO_PLACE:
            raise
        raise ConfigError(
            f"No folder can be made in {part.parent}: {exc.strerror}.",
            hint="Name a new folder in a place that this user may write to.",
        ) from exc


def _demand_new(folder: Path) -> None:
    if durable.is_there(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} already exists.", hint="Name a new folder for each backup.")


Entry = dict[str, Any]
_KEYS = ("name", "bytes", "sha256")


def _fill(
    settings: Settings, part: Path, report: BackupReport, *, with_table: bool, progress: Progress
) -> Iterator[Entry]:
    """Put everything into the folder `part`; yields what the manifest says of each file."""
    state = open_state(settings).copy_to(part, lambda done, total: progress("copying the state", done, total))
    yield _entry(part, state, digest_of(state), report)
    store, segments = open_state(At(part)), SegmentStore(settings.paths.vectors)
    with store.read() as connection:
        needed = [
            segment
            for segment in segment_rows.all_segments(connection)
            if audit.is_needed(connection, segment.id)
        ]
    for done, segment in enumerate(needed):
        progress("copying segments", done, len(needed))
        target = part / VECTORS / segment.name
        private.make_folder(target.parent)
        try:
            linked = link_or_copy(segments.path(segment.name), target)
        except FileNotFoundError:
            report.missing.append(segment.name)
            continue
        digest = digest_of(target)
        if digest != segment.sha256:
            report.missing.append(segment.name)
            target.unlink()
            continue
        report.linked += linked
        yield _entry(part, target, digest, report)
    if with_table:
        copied = list(_copy_table(settings, part, report, progress))
        report.table_missing = not copied
        yield from copied


def _copy_table(settings: Settings, part: Path, report: BackupReport, progress: Progress) -> Iterator[Entry]:
    """The table's files, manifests last: what the newest manifest names is kept for an hour at least."""
    path = table_path(settings.lancedb.uri, settings.lancedb.table)
    if isinstance(path, Remote):
        yield from _download_table(path, part, report, progress)
        return
    source = Path(path)
    files = sorted(
        (each for each in source.rglob("*") if each.is_file()),
        key=lambda each: each.parent.name == "_versions",
    )
    for done, each in enumerate(files):
        progress("copying the table", done, len(files))
        target = part / TABLE / source.name / each.relative_to(source)
        private.make_folder(target.parent)
        try:
            report.linked += link_or_copy(each, target)
        except FileNotFoundError:  # an old version was cleaned away meanwhile
            continue
        yield _entry(part, target, digest_of(target), report)


def _download_table(path: Remote, part: Path, report: BackupReport, progress: Progress) -> Iterator[Entry]:
    """The same for a table in object storage."""
    names = sorted(path.sizes(), key=lambda name: name.startswith("_versions/"))
    for done, name in enumerate(names):
        progress("copying the table", done, len(names))
        target = part / TABLE / path.rpartition("/")[2] / name
        private.make_folder(target.parent)
        try:
            with durable.writing(target, private=True) as out:
                out.write(path.download(name))
        except FileNotFoundError:  # an old version was cleaned away meanwhile
            continue
        yield _entry(part, target, digest_of(target), report)


def link_or_copy(source: Path, target: Path) -> bool:
    """Give a file that never changes a second name, or copy it where that cannot be. Whether it was linked."""
    try:
        os.link(source, target)
    except OSError as exc:
        if exc.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)
        os.chmod(target, private.FILE)
        durable.sync_file(target)
        return False
    return True


def _entry(part: Path, path: Path, digest: str, report: BackupReport) -> Entry:
    size = path.stat().st_size
    report.files += 1
    report.bytes += size
    return {"name": path.relative_to(part).as_posix(), "bytes": size, "sha256": digest}


def _manifest(
    settings: Settings, clock: Clock, part: Path, entries: list[Entry], report: BackupReport
) -> bytes:
    store = open_state(At(part))
    revision = store.revision()
    with store.read() as connection:
        profile = meta.get(connection, meta.PROFILE)
    body = {
        "format": FORMAT,
        "made_at": iso(now_us(clock)),
        "made_by": f"voyage-jobs {__version__}",
        "data_dir": str(settings.data_dir),
        "schema": revision,
        "profile": None if profile is None else json.loads(profile),
        "missing": report.missing,
        "files": entries,
    }
    return json.dumps(body, indent=1).encode() + b"\n"


def sync_folders(part: Path) -> None:
    """Make the names of everything below a folder survive a power loss."""
    for folder, _, _ in os.walk(part, topdown=False):
        durable.sync_dir(folder)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a backup. Raises ConfigError if there is none that this program understands."""
    outside: list[str] = []
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        known = manifest["format"] == FORMAT
        if known:
            entries = [[entry[key] for key in _KEYS] for entry in manifest["files"]]
            outside = [name for name, *_ in entries if not _is_inside(name)]
            list(manifest["missing"])
    except FileNotFoundError:
        raise ConfigError(f"{folder} is not a backup: it has no {MANIFEST}.") from None
    except KeyError as exc:
        raise ConfigError(f"The manifest of {folder} lacks {exc}.", hint="Use another backup.") from exc
    except (OSError, ValueError, TypeError) as exc:
        raise ConfigError(f"The manifest of {folder} cannot be read: {exc}.") from exc
    if not known:
        raise ConfigError(
            f"{folder} has format {manifest['format']}; this voyage-jobs reads {FORMAT}.",
            hint="Restore it with the voyage-jobs that made it.",
        )
    if outside:
        raise ConfigError(f"The manifest of {folder} names a file outside of it: {outside[0]!r}.")
    checked: dict[str, Any] = manifest
    return checked


def _is_inside(name: str) -> bool:
    parts = Path(name).parts
    return (
        bool(parts)
        and not Path(name).is_absolute()
        and ".." not in parts
        and parts[0] in (FILE, VECTORS, TABLE)
    )
