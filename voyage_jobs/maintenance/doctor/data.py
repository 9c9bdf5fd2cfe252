"""The data folder and what lies in it: lock, state, segments, table."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core import lock, private
from voyage_jobs.core.clock import US, Clock, now_us
from voyage_jobs.diagnosis import rebuild_words, set_back_words
from voyage_jobs.diagnosis.process_conditions import HEARTBEAT_OLD_S
from voyage_jobs.diagnosis.snapshot import behind
from voyage_jobs.errors import ConfigError, DiskFullError, NoStateError, StateError, VoyageJobsError
from voyage_jobs.maintenance.doctor.check import Check, bad, good, note, told
from voyage_jobs.maintenance.doctor.object_storage import check_object_storage
from voyage_jobs.segments import SegmentStore
from voyage_jobs.state import audit, health, meta, publications, rebuild, segment_rows, setback
from voyage_jobs.state.door import Reader, open_state
from voyage_jobs.state.engine import SAFE_LIBRARY, library_is_safe, library_version
from voyage_jobs.table import Covered, TableDoor, of_another


def check_library() -> Check:
    """The SQLite library in use."""
    if library_is_safe():
        return good("sqlite", f"library {library_version()}")
    wanted = ".".join(map(str, SAFE_LIBRARY))
    return bad(
        "sqlite",
        f"library {library_version()} can damage a database that several processes write (fixed in {wanted})",
        "Install pysqlite3, which brings its own library: pip install pysqlite3.",
    )


def check_data(settings: Settings, clock: Clock, door: TableDoor) -> Iterator[Check]:
    """Everything under `data_dir`, and the table wherever it is."""
    yield _folder(settings)
    if settings.data_dir.exists() and not settings.data_dir.is_dir():
        return
    yield _holder(settings, clock)
    yield from check_object_storage(settings, clock)
    state = open_state(settings)
    try:
        state.demand()
        yield from _state(state)
        yield from _set_back(state, settings, clock)
        yield _profile(state, settings)
        yield _segments(state, SegmentStore(settings.paths.vectors))
        yield from _table(state, door)
    except (StateError, DiskFullError) as exc:
        if type(exc) is NoStateError:
            yield note("state", f"there is none yet at {state.place}; the first sync or run makes it")
        else:
            yield told("state", exc)


def _folder(settings: Settings) -> Check:
    folder = settings.data_dir
    if not folder.exists():
        return _to_be_made(settings)
    if not folder.is_dir():
        return bad("data_dir", f"{folder} is a file, not a folder", "Set data_dir to a folder.", exit_code=2)
    kind = lock.file_system_of(folder)
    if lock.is_network(kind):
        return bad(
            "data_dir",
            f"{folder} is on a network file system ({kind}), where SQLite and file locks are not safe",
            "Set data_dir to a local disk; sources may stay on the network.",
            exit_code=2,
        )
    for path in (folder, *(folder / name for name in settings.paths.ours)):
        if path.is_symlink() and not path.exists():
            return bad("data_dir", f"{path} is a link that leads nowhere", "Mount what it leads to.")
        if path.exists() and not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
            return bad(
                "data_dir",
                f"{path} cannot be read and written by this user",
                "Check its owner and permissions.",
            )
    if stat.S_IMODE(folder.stat().st_mode) & private.OTHERS:
        return _open_folder(folder)
    return good("data_dir", f"{folder} on {kind or 'an unknown file system'}")


def _open_folder(folder: Path) -> Check:
    why = f"{folder} can be opened by other users, and holds the texts of your documents"
    left = private.why_not(folder.stat())
    if left is None:
        return note(
            "data_dir", f"{why}; the next sync or run closes it", f"chmod 700 {shlex.quote(str(folder))}"
        )
    fix = (
        f"Set data_dir to a folder of user {os.geteuid()}'s own, or give it to that user and `chmod 700` it."
    )
    return note("data_dir", f"{why}; {left}, so it is left as it is", fix)


def _to_be_made(settings: Settings) -> Check:
    folder = settings.data_dir
    above = next(path for path in folder.parents if path.exists())
    if os.access(above, os.W_OK | os.X_OK):
        return note("data_dir", f"{folder} is not there yet; the first sync or run makes it")
    fix = "Set data_dir to a folder that this user may write."
    return bad("data_dir", f"{folder} is not there, and cannot be made in {above}", fix, exit_code=2)


def _holder(settings: Settings, clock: Clock) -> Check:
    pid = lock.holder(settings.paths.lock)
    if pid is None:
        return note("process", "none is running here")
    try:
        with open_state(settings).read() as connection:
            here = meta.who(connection)
    except (StateError, DiskFullError):
        here = None
    if here is None:
        return note("process", f"process {pid} is running")
    silent_s = (now_us(clock) - here.heartbeat_at) / US
    who = f"process {pid} ({here.mode}, at step {here.step or '?'}), last heartbeat {max(0, int(silent_s))} s ago"
    if silent_s > HEARTBEAT_OLD_S:
        return bad("process", who, f"It hangs: stop process {pid} and start it again; nothing is lost.")
    return good("process", who)


def _state(store: Reader) -> Iterator[Check]:
    with store.read() as connection:
        facts = health.file_facts(connection)
        damage = health.file_damage(connection)
    if damage:
        yield bad("state", f"SQLite finds the file damaged: {damage[0]}", health.DAMAGED_HINT)
    else:
        free = f", {facts.free_bytes:,} of them free" if facts.free_bytes else ""
        yield good("state", f"whole, {facts.bytes:,} bytes{free}")
    if facts.journal_mode.lower() != "wal":
        yield bad(
            "state",
            f"its journal mode is {facts.journal_mode}, not wal",
            "Another program changed it; run sync.",
        )
    if facts.revision == facts.head:
        yield good("schema", f"{facts.revision}, the newest")
    else:
        yield note("schema", f"{facts.revision}; the next sync or run migrates it to {facts.head}")


def _set_back(store: Reader, settings: Settings, clock: Clock) -> Iterator[Check]:
    with store.read() as connection:
        found = setback.recent(connection, now_us(clock))
        claiming = setback.is_claim_due(connection)
        older = behind(connection, settings, lock.holder(settings.paths.lock))
    if older is not None:
        yield bad("state", set_back_words.behind(older), set_back_words.BEHIND_HINT)
    if found is not None:
        yield note(
            "state",
            set_back_words.found(found, vendor_of(settings).title, claiming=claiming).removesuffix("."),
        )


def _profile(store: Reader, settings: Settings) -> Check:
    asked = profile_of(settings)
    with store.read() as connection:
        served, build = rebuild.served(connection), rebuild.build(connection)
    active = served if build is None else build.target
    if active is not None and active != asked:
        message, hint = rebuild_words.changed(asked, active, build)
        return bad("profile", message.removesuffix("."), hint, exit_code=6)
    if build is not None and served is not None:
        return note(
            "profile", f"a table for {build.target.told} is being built; the present one has {served.told}"
        )
    return good("profile", asked.told)


def _segments(store: Reader, segments: SegmentStore) -> Check:
    with store.read() as connection:
        known = [
            segment
            for segment in segment_rows.all_segments(connection)
            if audit.is_needed(connection, segment.id)
        ]
    wrong = [segment.name for segment in known if _size(segments, segment.name) != segment.bytes]
    if wrong:
        why = f"{len(wrong)} of {len(known)} segments are missing or cut: {', '.join(wrong[:3])}"
        return bad("packs", why, "`voyage-jobs verify --repair --dry-run` shows what a repair would do.")
    return good("packs", f"{len(known)}, {sum(segment.bytes for segment in known):,} bytes, all there")


def _size(segments: SegmentStore, name: str) -> int | None:
    try:
        return segments.path(name).stat().st_size
    except OSError:
        return None


def _table(store: Reader, door: TableDoor) -> Iterator[Check]:
    with store.read() as connection:
        acknowledged = publications.last_table_version(connection)
        ours = setback.own_ids(connection)
    try:
        if not door.exists() and acknowledged is None:
            yield note("table", f"{door.place} is not there yet; the first publication makes it")
            return
        owner = door.owner()
        if owner and owner not in ours:
            yield told("table", of_another(door.place))
            return
        found = door.check()
    except (OSError, VoyageJobsError) as exc:
        yield told("table", exc)
        return
    if found.ok and (found.version or 0) >= (acknowledged or 0):
        yield good("table", f"{found.rows:,} rows, version {found.version}, in {door.place}")
        yield _indexes(found.indexes)
    elif found.reason == "foreign":
        yield told("table", ConfigError(found.detail, hint=found.hint))
    else:
        why = found.detail or f"{door.place} went back to version {found.version} of {acknowledged}"
        fix = "The next sync or run publishes everything again from the segments, at no cost."
        yield bad("table", why, fix)


def _indexes(found: Sequence[Covered]) -> Check:
    damaged = [f"{each.name} is damaged ({each.damage})" for each in found if each.damage]
    if damaged:
        why = ", ".join(damaged) + "; searches do without it"
        return bad(
            "indexes", why, "`voyage-jobs verify --repair`, or the next upkeep of `run`, builds it again."
        )
    if not found:
        return note("indexes", "none yet; small tables need none, the upkeep of `sync` and `run` builds them")
    covered = [
        f"{each.name} {each.inside:,} rows" + (f" of {each.inside + each.outside:,}" if each.outside else "")
        for each in found
    ]
    return good("indexes", ", ".join(covered))
