"""`voyage-jobs install-service`: a systemd unit for this machine, printed or written."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from voyage_jobs.cli.context import json_option, settings_of
from voyage_jobs.errors import ConfigError

if TYPE_CHECKING:
    from voyage_jobs.config import Settings
    from voyage_jobs.service.unit import Unit

_SYSTEM = Path("/etc/systemd/system")


@click.command(name="install-service")
@click.option("--user", "of_user", is_flag=True, help="A unit for your own user, without root.")
@click.option("--write", is_flag=True, help="Write it instead of printing it.")
@click.option("--force", is_flag=True, help="Overwrite a unit that is there and differs.")
@click.option(
    "--name",
    metavar="NAME",
    default="voyage-jobs",
    show_default=True,
    help="The unit's name, without .service.",
)
@click.option(
    "--run-as",
    metavar="USER",
    help="The user that it runs as.  [default: the owner of data_dir, else voyage-jobs]",
)
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file with the API key.  [default: $VOYAGE_API_KEY_FILE, else beside the configuration]",
)
@click.option(
    "--template", is_flag=True, help="Print the template unit for several instances, and nothing else."
)
@json_option
@click.pass_context
def install_service(
    ctx: click.Context,
    *,
    of_user: bool,
    write: bool,
    force: bool,
    name: str,
    run_as: str | None,
    key_file: Path | None,
    template: bool,
    as_json: bool,
) -> None:
    """Print a systemd unit for this machine: this program, this configuration, this data folder; or --write it.

    The unit has a tight sandbox and systemd's watchdog, and restarts after a failure. Nothing is started or enabled:
    the commands for that are printed with it. The API key is never in the unit.
    """
    from voyage_jobs.service.unit import template_text

    if template:
        click.echo(template_text(), nl=False)
        return
    if not re.fullmatch(r"[A-Za-z0-9:_.@-]{1,100}", name):
        raise click.UsageError("--name: letters, digits and :_.@- only.")
    if of_user and run_as:
        raise click.UsageError("--run-as belongs to a system unit; --user makes one of this user.")
    unit = unit_for(settings_of(ctx), of_user=of_user, run_as=run_as, key_file=key_file)
    text = unit.text()
    folder = _user_folder() if of_user else _SYSTEM
    path = folder / f"{name}.service"
    if write:
        _write(path, text, force)
    steps = next_steps(unit, path, written=write)
    if as_json:
        from voyage_jobs.cli.output import emit_json

        emit_json({"path": str(path), "written": write, "unit": text, "next": steps})
        return
    click.echo(f"Wrote {path}" if write else text, nl=write)
    click.echo("\nNext:" if write else f"\nNot written. --write puts it at {path}; then:", err=not write)
    for step in steps:
        click.echo(f"  {step}", err=not write)


def unit_for(settings: Settings, *, of_user: bool, run_as: str | None, key_file: Path | None) -> Unit:
    """The unit that fits these settings and this installation. `ConfigError` if they cannot be had by a service."""
    from voyage_jobs.config.environment import setting_variables
    from voyage_jobs.service.unit import NAME, Unit, is_below

    config = settings.origin
    if config is None:
        raise ConfigError("A service needs a configuration file.", hint="`voyage-jobs init` writes one.")
    key = _key_file(key_file, config)
    environment = setting_variables(os.environ)
    writable = [str(settings.data_dir)]
    if settings.paths.lancedb is not None and not is_below(settings.paths.lancedb, writable[0]):
        writable.append(str(settings.paths.lancedb))
    state_directory = None
    if not of_user and _is_free(settings):
        state_directory = NAME
        writable = writable[1:] if settings.paths.lancedb and len(writable) > 1 else []
    elif _is_default(settings):  # the service has another home folder
        environment["VOYAGE_JOBS_DATA_DIR"] = str(settings.data_dir)
    command = _command()
    needed = [Path(command[0]), config, settings.data_dir, *map(Path, writable)]
    needed += [source.path for source in settings.sources]
    needed = needed if state_directory is None else [path for path in needed if path != settings.data_dir]
    return Unit(
        command=command,
        config=str(config),
        key_file=str(key),
        user=None if of_user else run_as or _owner(settings.data_dir) or NAME,
        state_directory=state_directory,
        writable=writable,
        environment=environment,
        homes=any(is_below(path, "/home", "/root", "/run/user") for path in needed),
        tmp=any(is_below(path, "/tmp", "/var/tmp") for path in needed),  # noqa: S108 - only asked about
        systemd=systemd_version(),
    )


def next_steps(unit: Unit, path: Path, *, written: bool) -> list[str]:
    """What to type to have the service run, in order."""
    own = unit.user is None
    sudo = "" if own or os.geteuid() == 0 else "sudo "
    systemctl = "systemctl --user" if own else f"{sudo}systemctl"
    steps = []
    if not own and not _exists(unit.user or ""):
        steps.append(
            f"{sudo}useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {unit.user}"
        )
    if unit.state_directory is None and not own:
        steps += [
            f"{sudo}install -d -m 0700 -o {unit.user} -g {unit.user} {folder}"
            for folder in unit.writable
            if not Path(folder).exists()
        ]
    if not os.path.exists(unit.key_file):
        owner = "" if own else " -o root"
        steps.append(
            f"{sudo}install -m 0600{owner} /dev/stdin {unit.key_file}   # paste the key, Enter, Ctrl-D"
        )
    if not written:
        steps.append(
            f"{sudo}voyage-jobs --config {unit.config} install-service{' --user' if own else ''} --write"
        )
    steps += [f"{systemctl} daemon-reload", f"{systemctl} enable --now {path.name}"]
    if own:
        steps.append("loginctl enable-linger   # so that it runs while you are not logged in")
    steps.append(f"{systemctl} status {path.name}")
    return steps


def _write(path: Path, text: str, force: bool) -> None:
    from voyage_jobs.core.durable import writing

    if path.exists() and path.read_text(errors="replace") != text and not force:
        raise ConfigError(
            f"{path} already exists, and differs.",
            hint="--force overwrites it. Changes of your own belong into a drop-in: `systemctl edit`.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as out:
            out.write(text.encode())
        path.chmod(0o644)
    except OSError as exc:
        raise ConfigError(
            f"{path} cannot be written: {exc.strerror}.",
            hint="Run it as root (sudo), or make a unit of your own with --user.",
        ) from exc


def _user_folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.config")) / "systemd" / "user"


def _key_file(given: Path | None, config: Path) -> Path:
    named = given or (Path(path) if (path := os.environ.get("VOYAGE_API_KEY_FILE")) else None)
    if named is not None:
        return Path(os.path.abspath(os.path.expanduser(named)))
    return config.parent / "voyage_api_key"


def _command() -> list[str]:
    """The console script beside this interpreter, else the interpreter with the module."""
    script = Path(sys.executable).parent / "voyage-jobs"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "voyage_jobs"]


def _is_default(settings: Settings) -> bool:
    from voyage_jobs.config.find import default_data_dir

    return settings.data_dir == default_data_dir(os.environ)


def _is_free(settings: Settings) -> bool:
    """Whether nobody chose the data folder and nothing is in it, so that the service may have the usual one."""
    from voyage_jobs.state.door import open_state

    return _is_default(settings) and not open_state(settings).exists()


def _owner(folder: Path) -> str | None:
    """Who owns the data folder, unless that is root or nobody knows."""
    try:
        owner = pwd.getpwuid(folder.stat().st_uid)
    except (OSError, KeyError):
        return None
    return owner.pw_name if owner.pw_uid else None


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def systemd_version() -> int:
    """The version of systemd on this machine; where there is none, one that knows everything in the unit."""
    from voyage_jobs.service.unit import GROWING_DELAY_SINCE

    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return GROWING_DELAY_SINCE
    try:
        said = subprocess.run(  # noqa: S603 - the path that the shell would find, a fixed argument
            [systemctl, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return GROWING_DELAY_SINCE
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else GROWING_DELAY_SINCE
