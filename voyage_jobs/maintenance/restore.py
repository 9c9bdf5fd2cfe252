"""Going back to a backup: checked whole, put into an empty data folder, and told that it is older than the world."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core import durable, lock, private
from voyage_jobs.core.clock import Clock
from voyage_jobs.errors import ConfigError, CorruptionError
from voyage_jobs.maintenance.backup import (
    TABLE,
    VECTORS,
    BackupReport,
    digest_of,
    link_or_copy,
    read_manifest,
    sync_folders,
)
from voyage_jobs.state import setback
from voyage_jobs.state.door import FILE, open_state
from voyage_jobs.steps.context import Progress, no_progress
from voyage_jobs.table.engine import table_path
from voyage_jobs.table.objects import Remote

_BLOCK_BYTES = 1 << 20


def restore(
    settings: Settings, clock: Clock, folder: Path, *, progress: Progress = no_progress
) -> BackupReport:
    """Put a backup into the empty `data_dir`. What is at the provider is claimed before anything is sent again.

    Raises ConfigError if `data_dir` holds anything or `folder` is no backup, CorruptionError if the backup is damaged.
    """
    folder = Path(os.path.abspath(folder))
    manifest = read_manifest(folder)
    report = BackupReport(settings.data_dir, missing=list(manifest["missing"]))
    with lock.held(settings.paths.lock, clock):
        _demand_empty(settings)
        private.tighten(settings.data_dir, settings.paths.ours)
        check(folder, manifest, progress)
        with durable.no_room_is_one_error(str(settings.data_dir)):
            try:
                _put_back(settings, folder, manifest, report, progress)
                with contextlib.closing(open_state(settings).writer(clock)) as store, store.write() as tx:
                    setback.note(
                        tx, setback.RESTORED
                    )  # jobs at the provider are claimed before anything is sent
            except BaseException:
                _take_out(settings)
                raise
    return report


def check(folder: Path, manifest: dict[str, Any], progress: Progress) -> None:
    """Compare every file with the manifest. Raises CorruptionError that names the first that differs."""
    for done, entry in enumerate(manifest["files"]):
        progress("checking the backup", done, len(manifest["files"]))
        path = folder / entry["name"]
        try:
            whole = path.stat().st_size == entry["bytes"] and digest_of(path) == entry["sha256"]
        except FileNotFoundError:
            whole = False
        if not whole:
            raise CorruptionError(
                f"{path} is missing or is not what was backed up.",
                hint="Use another backup; nothing was restored.",
            )


def _demand_empty(settings: Settings) -> None:
    held = sorted(path.name for path in settings.data_dir.iterdir() if path != settings.paths.lock)
    if held:
        raise ConfigError(
            f"{settings.data_dir} is not empty: it holds {', '.join(held[:3])}.",
            hint="Move it aside first: its segments may be newer than the backup; `voyage-jobs recover` reads them.",
        )


def _put_back(
    settings: Settings, folder: Path, manifest: dict[str, Any], report: BackupReport, progress: Progress
) -> None:
    """Segments and table first, the state last: without it nothing would be believed to be there."""
    for made in filter(None, (settings.paths.vectors, settings.paths.own_table)):
        private.make_folder(made)
    entries = sorted(manifest["files"], key=lambda entry: entry["name"] == FILE)
    for done, entry in enumerate(entries):
        progress("restoring", done, len(entries))
        source, target = folder / entry["name"], _place(settings, entry["name"])
        if target is None or target.exists():
            continue  # a table that is elsewhere and still there: what it shows is checked at the first start
        inside = target.is_relative_to(settings.data_dir)  # a table elsewhere is for whom the operator wants
        if inside:
            private.make_folder(target.parent)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
        if entry["name"].startswith(f"{VECTORS}/"):
            report.linked += link_or_copy(source, target)
        else:
            with durable.writing(target, private=inside) as out, open(source, "rb") as file:
                shutil.copyfileobj(file, out, _BLOCK_BYTES)
        report.files += 1
        report.bytes += entry["bytes"]
    sync_folders(settings.data_dir)


def _place(settings: Settings, name: str) -> Path | None:
    """Where a file of the backup goes. None: into object storage, where the first start publishes all of it again."""
    first, _, rest = name.partition("/")
    if first != TABLE:
        return settings.data_dir / name
    inside = rest.partition("/")[2]
    path = table_path(settings.lancedb.uri, settings.lancedb.table)
    return None if isinstance(path, Remote) else Path(path) / inside


def _take_out(settings: Settings) -> None:
    """Leave the data folder as it was: empty but for the lock."""
    for path in settings.data_dir.iterdir():
        if path == settings.paths.lock:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            durable.remove(path)
