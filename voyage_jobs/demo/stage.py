"""The stage: a scratch folder, a simulated provider, and the daemon, as processes that never outlive it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from voyage_jobs.config import load_settings
from voyage_jobs.demo.narrator import COLUMNS, DemoError
from voyage_jobs.demo.shop import SOURCE, stage_shop
from voyage_jobs.demo.vendor import Vendor
from voyage_jobs.errors import ConfigError

KEY = "demo-key"
CONFIG_NAME = "voyage-jobs.toml"
_COMMAND = (sys.executable, "-P", "-m", "voyage_jobs")  # -P: the scratch folder holds no modules
_PATIENCE_S = 120
_END_S = 10
_LOG_TAIL = 5
_FAULTS = {"faults": {"answer_lost": {"on": "create_batch", "nth": 1, "as": "read_error"}}}
_CONFIG = """\
data_dir = "data"

[voyage]
base_url = "{base_url}"   # the bundled simulator

[[sources]]
name = "docs"
path = "docs"
scan_interval_s = 2

[batching]
linger_s = 0

[polling]
interval_s = 1
max_interval_s = 1

[disk]
min_free_bytes = 0
"""
LOCAL_CONFIG_NAME = "local.toml"
_LOCAL_CONFIG = """\
data_dir = "data-local"

[provider]
type = "local"

[[sources]]
name = "library"
path = "library"

[disk]
min_free_bytes = 0
"""


class Stage:
    """Everything lies in `folder`. Use `set_up`, which also takes it down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.docs = folder / "docs"
        self.log = folder / "daemon.log"
        self.env = _environment()
        self._processes: list[subprocess.Popen[Any]] = []
        self.vendor: Vendor
        self.daemon: subprocess.Popen[Any] | None = None

    def open_vendor(self, batch_seconds: float) -> None:
        """Start the simulator on a free port of this machine, and write the configuration that points to it."""
        faults = self.folder / "faults.json"
        faults.write_text(json.dumps(_FAULTS, indent=1) + "\n", encoding="utf-8")
        options = [
            "--port",
            "0",
            "--api-key",
            KEY,
            "--batch-seconds",
            str(batch_seconds),
            "--faults",
            str(faults),
        ]
        with open(self.folder / "simulator.log", "wb") as errors:
            process = self._start(
                ["simulate", *options, "--storage", str(self.folder / "vendor"), "--json"],
                subprocess.PIPE,
                errors,
            )
        base_url = _announced(process)
        self.vendor = Vendor(base_url)
        (self.folder / CONFIG_NAME).write_text(_CONFIG.format(base_url=base_url), encoding="utf-8")
        self.settings = load_settings(self.folder / CONFIG_NAME, self.env)

    def open_library(self) -> Path:
        """Write the configuration of a search by the local model; the folder that its documents go to."""
        (self.folder / LOCAL_CONFIG_NAME).write_text(_LOCAL_CONFIG, encoding="utf-8")
        return self.folder / "library"

    def open_shop(self, *, with_pdf: bool) -> None:
        """Add a source with other documents than texts."""
        stage_shop(self.folder / "shop", with_pdf=with_pdf)
        with open(self.folder / CONFIG_NAME, "a", encoding="utf-8") as file:
            file.write(SOURCE)
        self.settings = load_settings(self.folder / CONFIG_NAME, self.env)

    def start_daemon(self) -> subprocess.Popen[Any]:
        """Start `voyage-jobs run`, its log appended to `log`."""
        with open(self.log, "ab") as log:
            env = {"VOYAGE_JOBS_LOGGING__LEVEL": "info", "VOYAGE_JOBS_LOGGING__FORMAT": "json"}
            self.daemon = self._start(["run"], log, log, env)
        return self.daemon

    def end_daemon(self, number: signal.Signals) -> int:
        """Send the daemon a signal and wait for its end; its exit code, negative for a signal that killed it."""
        if self.daemon is None:
            raise DemoError("The daemon was not started.")
        self.daemon.send_signal(number)
        try:
            return self.daemon.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise DemoError(f"The daemon did not end {_PATIENCE_S} s after {number.name}.") from None

    def run(self, *args: str) -> int:
        """Run a command in the foreground, its output for all to see; its exit code."""
        process = self._start(list(args), None, None)
        try:
            return process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise DemoError(f"`voyage-jobs {args[0]}` did not end within {_PATIENCE_S} s.") from None

    def ask(self, *args: str) -> Any:
        """Run a command with `--json` behind the scenes; what it reported."""
        done = subprocess.run(  # noqa: S603 - our own command
            [*_COMMAND, *args, "--json"],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
            start_new_session=True,
        )
        if done.returncode:
            raise DemoError(f"`voyage-jobs {args[0]}` failed: {done.stderr.decode(errors='replace').strip()}")
        return json.loads(done.stdout)

    def log_tail(self) -> str:
        """The last lines of the daemon's log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:])

    def clear(self) -> None:
        """End every process that is still there, the last one first."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _start(
        self,
        args: list[str],
        out: int | IO[bytes] | None,
        errors: int | IO[bytes] | None,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[Any]:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*_COMMAND, *args],
            cwd=self.folder,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,  # Ctrl-C comes to the demonstration alone, which then ends the others
        )
        self._processes.append(process)
        return process


@contextlib.contextmanager
def set_up(keep: Path | None) -> Iterator[Stage]:
    """An empty stage in `keep`, else in a temporary folder that goes when all is over, unless something failed.

    SIGTERM and SIGHUP end it as Ctrl-C does. Raises `ConfigError` if `keep` is not empty.
    """
    folder = _kept(keep) if keep else Path(tempfile.mkdtemp(prefix="voyage-jobs-demo-"))
    stage = Stage(folder)
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    remove = keep is None
    try:
        yield stage
    except DemoError as exc:
        remove = False
        tail = stage.log_tail()
        raise DemoError(
            exc.message,
            hint=f"Everything is still in {folder}." + (f" The daemon's log ends:\n{tail}" if tail else ""),
        ) from exc
    finally:
        stage.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
        if remove:
            shutil.rmtree(folder, ignore_errors=True)


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _kept(folder: Path) -> Path:
    folder = Path(os.path.abspath(os.path.expanduser(folder)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty.", hint="Name a new folder with --keep.")
    except OSError as exc:
        raise ConfigError(
            f"{folder} cannot be made: {exc.strerror}.", hint="Name another with --keep."
        ) from exc
    return folder


def _environment() -> dict[str, str]:
    """The caller's environment without anything that steers voyage-jobs: above all, no real key goes anywhere."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("VOYAGE_")}
    package = str(Path(__file__).resolve().parent.parent.parent)
    path = os.environ.get("PYTHONPATH")
    env["PYTHONPATH"] = f"{package}{os.pathsep}{path}" if path else package
    env["VOYAGE_API_KEY"] = KEY
    env["VOYAGE_JOBS_LOGGING__LEVEL"] = "warning"
    if not sys.stdout.isatty():
        env["COLUMNS"] = str(COLUMNS)
    return env


def _announced(process: subprocess.Popen[Any]) -> str:
    """The base URL that a starting simulator prints. Raises `DemoError` if it ends instead."""
    text = b""
    assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
    while not text.endswith(b"\n}\n"):
        line = process.stdout.readline()
        if not line:
            raise DemoError("The simulator did not start; its reason is in simulator.log.")
        text += line
    return str(json.loads(text)["base_url"])
