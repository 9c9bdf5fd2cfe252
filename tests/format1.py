"""A data folder as release 0.1.0 left it, with a table of format 1; `data/format1.tar.xz` was made by its code.

Two sources with eight documents of twelve chunks (voyage-4, 256 dimensions), all published. Then `gone.md` was deleted
(its grace period lasts a week, its text is retained), `changed.md` was edited, `new.md` came, and the worker ended
while the job for those two was running. What the archive says of its place and of its job is set to what is here.
"""

from __future__ import annotations

import sqlite3
import tarfile
from pathlib import Path

import orjson
from world import KEY, World

from voyage_jobs.config.key import KeySource
from voyage_jobs.vendors.remote import JobSpec
from voyage_jobs.vendors.voyage.client import VoyageClient

_ARCHIVE = Path(__file__).parent / "data" / "format1.tar.xz"
_MADE_AT = "/tmp/format1"
_MADE_UNTIL = 1_780_086_600.0  # a little later than anything in it
ROWS = 12
SHOWN = {
    ("docs", "api.rst"),
    ("docs", "changed.md"),
    ("docs", "gone.md"),
    ("docs", "guides/renew.md"),
    ("docs", "guides/über uns.md"),
    ("docs", "plain.txt"),
    ("notes", "idea.md"),
    ("notes", "todo.md"),
}


def unpacked(root: Path, **sections: object) -> World:
    """The folder below `root`, in a world whose vendor has the open job."""
    with tarfile.open(_ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    sources = [
        {"name": name, "path": str(root / name), "delete_grace_s": 604_800} for name in ("docs", "notes")
    ]
    world = World(root, seed=20, dimension=256, sources=sources, **sections)
    world.clock.advance(_MADE_UNTIL - world.clock.wall())
    state = sqlite3.connect(world.data_dir / "state.db")
    state.execute("UPDATE sources SET path = REPLACE(path, ?, ?)", (_MADE_AT, str(root)))
    state.execute("UPDATE meta SET value = REPLACE(value, ?, ?)", (_MADE_AT, str(root)))
    state.execute("UPDATE sources SET device = ?", (root.stat().st_dev,))
    _give_the_vendor_its_job(world, state)
    state.commit()
    state.close()
    return world


def _give_the_vendor_its_job(world: World, state: sqlite3.Connection) -> None:
    """Upload the input file that is in the archive and create its job, as the release did; its ids go on record."""
    ref, params, file_id, job_id = state.execute(
        "SELECT ref, request_params, input_file_id, remote_id FROM batches WHERE state = 'running'"
    ).fetchone()
    key = KeySource({"VOYAGE_API_KEY": KEY})
    with VoyageClient(
        world.settings().voyage.base_url, key, clock=world.clock, transport=world.transport
    ) as client:
        file = client.upload(world.data_dir / "spool" / f"{ref}.jsonl", f"{ref}.jsonl")
        job = client.create_batch(
            JobSpec("/v1/embeddings", file.id, orjson.loads(params), {"voyage_jobs_ref": ref}, ref)
        )
    for table, column, old, new in (
        ("batches", "input_file_id", file_id, file.id),
        ("batches", "remote_id", job_id, job.id),
        ("attempts", "input_file_id", file_id, file.id),
        ("remote_files", "file_id", file_id, file.id),
    ):
        state.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old))
