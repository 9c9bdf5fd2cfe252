"""The stage: a folder of documents, a simulated provider behind a real port, and `voyage-jobs` as processes."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ready

from voyage_jobs.config import load_settings
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.simulator import FaultScript, Simulator
from voyage_jobs.simulator.server import HttpServer
from voyage_jobs.vendors.registry import by_type

KEY = "pa-test-key-of-the-simulated-vendor"
DIED_AT_A_POINT = 137
PATIENCE_S = 120.0
PACKAGE = Path(__file__).resolve().parent.parent.parent
QUARANTINE_S = 1.0  # no create call is in flight for longer here; the provider's clock adds two seconds
_CONFIG = """\
data_dir = {data_dir}
[provider]
type = "{vendor}"
[{section}]
base_url = "http://127.0.0.1:{port}/v1"
timeout_s = 10
{of_provider}
[[sources]]
name = "docs"
path = {docs}
scan_interval_s = 0.3
delete_grace_s = 0
max_delete_share = 1
{source}
[batching]
max_inputs = {max_inputs}
min_inputs = 1
linger_s = 0.1
{batching}
[polling]
interval_s = 0.2
max_interval_s = 0.2
[disk]
min_free_bytes = 0
[notify]
command = ["true"]
[logging]
format = "json"
"""

_WITH_JOBS = f"""\
output_dimension = 256
encoding_format = "base64"
quarantine_s = {QUARANTINE_S}"""
_AT_ONCE = """\
model = "text-embedding-3-small"
output_dimension = 1536
texts_per_request = 2"""


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code (negative for a signal) and what it said."""

    code: int
    out: str
    log: str

    def json(self) -> Any:
        """Its report."""
        return json.loads(self.out)


class Stage:
    """Everything lies below `root`. A context manager: at its end no process is left and the port is closed.

    `faults` is the `faults` object of a fault script. `batching` and `source` are added to these sections. `vendor` is
    voyage, openai or openai-sync.
    """

    def __init__(
        self,
        root: Path,
        *,
        faults: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        seed: int = 1,
        batch_seconds: float = 0.6,
        max_inputs: int = 100,
        data_dir: Path | None = None,
        batching: str = "",
        vendor: str = "voyage",
        source: str = "",
    ) -> None:
        self.root = root
        provider = by_type(vendor)
        self._key = {provider.traits.key_variable: KEY}
        self.docs = root / "docs"
        self.data_dir = data_dir or root / "data"
        self.log = root / "log"
        self.docs.mkdir(parents=True)
        (root / "vendor").mkdir()
        script = FaultScript.from_dict(
            {"faults": faults or {}, "options": options or {}}, {"vendor": vendor.removesuffix("-sync")}
        )
        self.sim = Simulator(
            SystemClock(),
            api_key=KEY,
            seed=seed,
            batch_seconds=batch_seconds,
            faults=script,
            storage_dir=root / "vendor",
        )
        self._server = HttpServer(self.sim)
        self.config = root / "voyage-jobs.toml"
        self.config.write_text(
            _CONFIG.format(
                data_dir=json.dumps(str(self.data_dir)),
                docs=json.dumps(str(self.docs)),
                port=self._server.port,
                max_inputs=max_inputs,
                of_provider=_AT_ONCE if provider.traits.sync_only else _WITH_JOBS,
                batching=batching,
                source=source,
                vendor=vendor,
                section=vendor.replace("-", "_"),
            )
        )
        self._processes: list[ready.Process] = []

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            end(process)
        self._server.stop()

    @property
    def settings(self) -> Settings:
        """What the commands read."""
        return load_settings(self.config, self._key)

    def ask_for(self, dimension: int, *, keep_previous_s: float = 604_800) -> None:
        """Change the configuration: vectors of another dimension."""
        text = re.sub(r"output_dimension = \d+", f"output_dimension = {dimension}", self.config.read_text())
        text = text.split("[lancedb]\n")[0] + f"[lancedb]\nkeep_previous_s = {keep_previous_s}\n"
        self.config.write_text(text)

    def jobs_take(self, seconds: float) -> None:
        """Jobs that are created from now on take this long."""
        self.sim.jobs._batch_s = seconds

    # --- processes ---

    def start(
        self,
        *args: str,
        crash_at: str | None = None,
        module: str = "crash.hurried",
        out: Any = None,
        key: bool = True,
    ) -> ready.Process:
        """Begin a command, with the provider's key or without; its standard error goes to `log`, its output to a file.

        `crash_at` is a crash point with the number of the passage.
        """
        env = {name: value for name, value in os.environ.items() if not name.startswith("VOYAGE_")}
        env["PYTHONPATH"] = f"{PACKAGE}{os.pathsep}{PACKAGE / 'tests'}"
        if key:
            env |= self._key
        if crash_at is not None:
            env["VOYAGE_JOBS_CRASH_AT"] = crash_at
        with open(self.log, "a") as log:
            process = ready.start(
                module,
                "--config",
                str(self.config),
                *args,
                env=env,
                stdout=subprocess.DEVNULL if out is None else out,
                stderr=log,
            )
        self._processes.append(process)
        return process

    def run(self, *args: str, timeout_s: float = PATIENCE_S, **how: Any) -> Ended:
        """Carry out a command to its end."""
        before = self.logged_bytes
        with tempfile.TemporaryFile("w+") as out:
            process = self.start(*args, out=out, **how)
            try:
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{args} did not end in {timeout_s:g} s\n{self.tail()}") from None
            self._processes.remove(process)
            out.seek(0)
            return Ended(code, out.read(), self.log.read_text()[before:])

    def sync(self, *args: str, **how: Any) -> Ended:
        """Carry out `sync`, reported as JSON."""
        return self.run("sync", "--json", *args, **how)

    def status(self) -> dict[str, Any]:
        """What `status --json` says."""
        report = self.run("status", "--json").json()
        assert isinstance(report, dict)
        return report

    @property
    def logged_bytes(self) -> int:
        """How much the commands have logged so far."""
        return self.log.stat().st_size if self.log.exists() else 0

    def tail(self, lines: int = 40) -> str:
        """The end of what the commands logged."""
        return "\n".join(self.log.read_text().splitlines()[-lines:]) if self.log.exists() else ""

    # --- the folder ---

    def write(self, path: str, text: str) -> None:
        """Write a document as an editor does: whole, under its name, at once."""
        target = self.docs / path
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.draft")
        draft.write_text(text)
        os.replace(draft, target)

    def remove(self, path: str) -> None:
        """Delete a document."""
        (self.docs / path).unlink()

    def move(self, path: str, to: str) -> None:
        """Rename a document."""
        (self.docs / to).parent.mkdir(parents=True, exist_ok=True)
        os.rename(self.docs / path, self.docs / to)


def end(process: ready.Process, number: signal.Signals = signal.SIGKILL) -> int:
    """Send a process a signal and wait for its end; its exit code."""
    if process.poll() is None:
        process.send_signal(number)
    return process.wait(PATIENCE_S)


def limit_file_size(process: ready.Process, size: int | None) -> None:
    """No file of this process may grow beyond `size` bytes from now on; None lifts that."""
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(
        process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY if size is None else size, hard)
    )
