"""A small world for tests: a folder of documents, settings, a virtual clock and the simulated provider.

Everything is real (SQLite, segments, LanceDB, the client) but the network and the time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from voyage_jobs.config.key import KeySource
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.states import UNFINISHED, Batch
from voyage_jobs.notify.delivery import Delivered
from voyage_jobs.notify.notifier import Notifier
from voyage_jobs.service.worker import working
from voyage_jobs.simulator import FaultScript, Ledger, Options, Simulator
from voyage_jobs.simulator.transport import SimulatorTransport
from voyage_jobs.state import backlog, batches, meta, publications
from voyage_jobs.state.door import At, State, open_state
from voyage_jobs.state.sqlite import SqliteState
from voyage_jobs.steps import pipeline as pipelines
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.vendors.registry import by_type

LOGS: list[Log] = []
"""Every log of this test that keeps its events; conftest.py looks at them when the test is over."""
WRITTEN: list[str] = []
"""Every text that this test wrote: none may be logged."""
KEY = "pa-test-key-of-the-simulated-vendor"
# No job tries base64, which any refusal of the first one might be about: test_encoding.py is about that.
NUMBERS: dict[str, dict[str, Any]] = defaultdict(dict, voyage={"encoding_format": ""})
MODELS = {"voyage": "voyage-4", "openai": "text-embedding-3-small"}
STRIDE_S = 600.0  # at most, between two turns; nobody asks anything meanwhile
UNTIDY = (Batch.COLLECTED, Batch.REFUSED, Batch.CANCELLED)


class Log:
    """Keeps events instead of writing them: `events` holds (level, event, fields)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        LOGS.append(self)

    def __getattr__(self, level: str) -> Any:
        return lambda event, **fields: self.events.append((level, event, fields))

    def named(self, event: str) -> list[dict[str, Any]]:
        """The fields of every event of that name."""
        return [fields for _, name, fields in self.events if name == event]


class Post:
    """A delivery that delivers at once, to nobody: `sent` holds (sink, message); `refuse(sink)` may give an error."""

    def __init__(self, refuse: Callable[[str], str | None] = lambda _sink: None) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.refuse = refuse
        self._back: list[Delivered] = []

    def hand(self, sink: Any, job: object, body: bytes) -> None:
        error = self.refuse(sink.name)
        if error is None:
            self.sent.append((sink.name, body.decode() if sink.name == "ping" else json.loads(body)))
        self._back.append(Delivered(sink.name, job, error))

    def take(self) -> list[Delivered]:
        back, self._back = self._back, []
        return back

    def close(self) -> None:
        pass

    def told(self, sink: str = "command") -> list[str]:
        """The events that a sink took."""
        return [body["event"] for name, body in self.sent if name == sink]


def end_after_a_request(working_: Any, monkeypatch: Any) -> None:
    """Have the process at work end as soon as something is asked of it."""
    beside = SqliteState.beside

    @contextlib.contextmanager
    def and_end(state: SqliteState, clock: VirtualClock) -> Iterator[Any]:
        with beside(state, clock) as tx:
            yield tx
        working_.__exit__(None, None, None)

    monkeypatch.setattr(SqliteState, "beside", and_end)


class World:
    """One data folder, one source `docs` at `root/docs`, one vendor.

    Commands read `config_file`, which needs a world of at least 256 dimensions.
    `vendor` is voyage or openai; `faults` is the `faults` object of a fault script; `sections` are overrides of the
    settings (see `settings`).
    """

    def __init__(
        self,
        root: Path,
        *,
        faults: dict[str, Any] | None = None,
        seed: int = 1,
        batch_seconds: float = 120.0,
        options: dict[str, Any] | None = None,
        dimension: int = 8,
        vendor: str = "voyage",
        **sections: Any,
    ) -> None:
        self.root = root
        self.vendor = vendor
        self.docs = root / "docs"
        self.docs.mkdir(parents=True, exist_ok=True)
        self.data_dir = root / "data"
        self.clock = VirtualClock(seed=seed)
        self.sim = Simulator(
            self.clock,
            api_key=KEY,
            seed=seed,
            batch_seconds=batch_seconds,
            faults=FaultScript.from_dict({"faults": faults or {}}),
            options=Options.of(vendor, small_dimensions=True, **(options or {})),
            storage_dir=root / "vendor",
        )
        (root / "vendor").mkdir(exist_ok=True)
        self.transport = SimulatorTransport(self.sim)
        self.log = Log()
        self.post: Post | None = None  # set it to have people told
        self._sections = sections
        self._dimension = dimension
        self._writes = 0

    def by_rules(self, rules: int) -> World:
        """This world, splitting by these rules: 1 are those of older data folders, which embed bare texts."""
        self._sections["splitting"] = {**self._sections.get("splitting", {}), "rules": rules}
        return self

    # --- the folder ---

    def write(self, path: str | bytes, text: str | bytes, *, folder: Path | None = None) -> Path:
        """Write a file below the docs folder, with a modification time of its own, ten seconds ago."""
        target = Path(os.fsdecode(os.path.join(os.fsencode(folder or self.docs), os.fsencode(path))))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
        if isinstance(text, str):
            WRITTEN.append(text)
        self._writes += 1
        written_ns = int((self.clock.wall() - 10) * 1e9) + self._writes * 1000
        os.utime(target, ns=(written_ns, written_ns))
        return target

    def remove(self, path: str) -> None:
        """Delete a file below the docs folder."""
        (self.docs / path).unlink()

    # --- the state ---

    @property
    def state(self) -> State:
        """The state, as another process looks at it."""
        return open_state(At(self.data_dir))

    def leave(self, command: str, **arguments: object) -> int:
        """Ask something of the process at work."""
        with self.state.beside(self.clock) as tx:
            return meta.ask(tx, "me", command, arguments)

    # --- the settings ---

    def sections(self, **sections: Any) -> dict[str, Any]:
        """The values of the settings; sections (dicts, or `sources`) are merged over the world's own."""
        values: dict[str, Any] = {
            "data_dir": str(self.data_dir),
            "sources": [{"name": "docs", "path": str(self.docs), "delete_grace_s": 0}],
            "provider": {"type": self.vendor},
            self.vendor: {"model": MODELS[self.vendor], "output_dimension": self._dimension}
            | NUMBERS[self.vendor],
            "disk": {"min_free_bytes": 0},
            "splitting": {"min_chars": 0},  # each section of a test's document is a chunk
        }
        for given in (self._sections, sections):
            for name, value in given.items():
                values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
        return values

    def settings(self, **sections: Any) -> Settings:
        """Settings for this world, with the provider's key."""
        settings = Settings(**self.sections(**sections))
        variable = by_type(self.vendor).traits.key_variable
        return settings.attach(
            origin=None, warnings=(), api_key=KeySource({variable: KEY}, variable=variable)
        )

    def config_file(self, **sections: Any) -> Path:
        """The same settings as a configuration file, for commands."""
        path = self.root / "voyage-jobs.toml"
        path.write_text("".join(_toml(self.sections(**sections))))
        return path

    # --- working ---

    @contextlib.contextmanager
    def worker(self, *, mode: str = "sync", **sections: Any) -> Iterator[Context]:
        """A recovered context that holds the lock, as a daemon has it."""
        settings = self.settings(**sections)
        with working(settings, self.clock, self.log, mode=mode, transport=self.transport) as context:
            yield context

    def run(self, turns: int = 2_000, *, eager: bool = True, quiet: bool = True, **sections: Any) -> int:
        """Start a worker and take turns, waiting (virtually) as it would, until nothing is left to do.

        With `quiet=False` exactly `turns` turns are taken without any wait. Returns the turns taken. Raises
        AssertionError if `turns` were not enough.
        """
        with self.worker(**sections) as context:
            return self.take_turns(context, turns, eager=eager, quiet=quiet)

    def take_turns(
        self, context: Context, turns: int = 2_000, *, eager: bool = True, quiet: bool = True
    ) -> int:
        """The same in a context that is open already."""
        notifier = None if self.post is None else Notifier(context, self.post)  # type: ignore[arg-type]
        # While it waits nobody edits a file: a scan once in five minutes would find nothing, however long that is.
        pipeline = Pipeline(context, eager=eager, notifier=notifier, scan_once=quiet)
        for turn in range(turns):
            did = pipeline.turn()
            if quiet and not did:
                if is_quiet(context):
                    return turn + 1
                self.wait(pipeline)
        assert not quiet, f"still at work after {turns} turns: {self.log.events[-10:]}"
        return turns

    def wait(self, pipeline: Pipeline, at_least: float = 0.0) -> None:
        """Let time pass until something is due, in strides."""
        with mock.patch.object(pipelines, "LONGEST_IDLE_S", max(STRIDE_S, pipelines.LONGEST_IDLE_S)):
            self.clock.advance(max(at_least, pipeline.idle_s()))

    # --- what came of it ---

    @property
    def ledger(self) -> Ledger:
        """What the provider billed."""
        self.sim.settle()
        return self.sim.ledger

    def table_rows(self, *columns: str) -> list[dict[str, Any]]:
        """The rows of the published table (all columns but the vector, or those named), by document and ordinal."""
        from voyage_jobs.config.profile import profile_of
        from voyage_jobs.table import PublishedTable, exists, schema

        settings = self.settings()
        if not exists(settings.lancedb.uri, settings.lancedb.table):
            return []
        profile = profile_of(settings)
        table = PublishedTable.open(settings.lancedb.uri, settings.lancedb.table, profile)
        named = columns or tuple(name for name in schema(profile).names if name != "vector")
        wanted = dict.fromkeys((*named, "source", "path", "ordinal"))
        rows = [row for batch in table.keys(None, tuple(wanted)) for row in batch.to_pylist()]
        rows.sort(key=lambda row: (row["source"], row["path"], row["ordinal"]))
        return [{name: row[name] for name in named} for row in rows]


def is_quiet(context: Context) -> bool:
    """Whether nothing is due, on its way, or waiting that this process could move on by itself."""
    with context.store.read() as connection:
        if batches.in_state(connection, *UNFINISHED, *UNTIDY):
            return False
        if publications.ready(connection, 0, 1) or publications.retiring(connection, 1):
            return False
        return backlog.measure(connection, context.profile_id).embeddings == 0


def _toml(values: dict[str, Any]) -> Iterator[str]:
    """The settings as TOML: JSON's numbers, strings, booleans and flat lists are TOML's, too."""
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    for name in values.keys() - tables.keys() - {"sources"}:
        yield f"{name} = {json.dumps(values[name])}\n"
    headed = [(f"[{name}]", table) for name, table in tables.items()]
    for header, table in [*headed, *(("[[sources]]", source) for source in values["sources"])]:
        yield f"{header}\n"
        yield from (f"{key} = {json.dumps(value)}\n" for key, value in table.items())
