"""`voyage-jobs install-service`: a systemd unit for this machine, printed or written."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from voyage_jobs.cli import paths
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
    help="The user that it runs as.  [default: the owner of data_dir unless that is root, else voyage-jobs]",
)
@click.option(
    "--key-file",
    type=paths.FILE,
    metavar="FILE",
    help="The file with the API key.  [default: that of $VOYAGE_API_KEY_FILE ($OPENAI_API_KEY_FILE, ...), else beside"
    " the configuration]",
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
    the commands for that are printed with it. Secrets are never in the unit: it names their files.
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
    steps = next_steps(unit, path, written=write, force=force)
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
    environment = setting_variables(os.environ)
    writable = [str(settings.data_dir)]
    if settings.paths.lancedb is not None and not is_below(settings.paths.lancedb, writable[0]):
        writable.append(str(settings.paths.lancedb))
    state_directory = None
    chosen = "VOYAGE_JOBS_DATA_DIR" in environment
    if not (of_user or chosen) and _is_free(settings):
        state_directory = NAME
        writable = writable[1:] if settings.paths.lancedb and len(writable) > 1 else []
    elif _is_default(settings) or chosen:
        # The service has another home folder, and starts in /.
        environment["VOYAGE_JOBS_DATA_DIR"] = str(settings.data_dir)
    if "VOYAGE_JOBS_LANCEDB__URI" in environment:
        environment["VOYAGE_JOBS_LANCEDB__URI"] = settings.lancedb.uri
    command = _command()
    needed = [Path(command[0]), _interpreter(), config, settings.data_dir, *map(Path, writable)]
    needed += [source.path for source in settings.sources]
    needed = needed if state_directory is None else [path for path in needed if path != settings.data_dir]
    return Unit(
        command=command,
        config=str(config),
        secrets=_secrets(settings, config, key_file),
        user=None if of_user else run_as or _user_of(settings.data_dir),
        state_directory=state_directory,
        writable=writable,
        environment=dict(sorted(environment.items())),  # the same settings make the same unit
        homes=any(is_below(path, "/home", "/root", "/run/user") for path in needed),
        tmp=any(is_below(path, "/tmp", "/var/tmp") for path in needed),  # noqa: S108 - only asked about
        systemd=systemd_version(),
    )


def next_steps(unit: Unit, path: Path, *, written: bool, force: bool = False) -> list[str]:
    """What to type to have the service run, in order."""
    from voyage_jobs.service.unit import NAME

    own = unit.user is None
    sudo = "" if own or os.geteuid() == 0 else "sudo "
    systemctl = "systemctl --user" if own else f"{sudo}systemctl"
    steps = []
    if unit.user is not None:
        steps += _shut_out(unit, unit.user)
        if not _exists(unit.user):
            user = shlex.quote(unit.user)
            steps.append(
                f"{sudo}useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {user}"
            )
        for folder in unit.writable:
            is_data = unit.state_directory is None and folder == unit.writable[0]
            steps += _given_to(folder, unit.user, sudo, is_data=is_data)
    for variable, file in unit.secrets.items():
        if not os.path.exists(file):
            to_file = f"install -m 0600{'' if own else ' -o root'} /dev/stdin {shlex.quote(file)}"
            steps.append(f"{sudo}{to_file}   # paste {variable}, Enter, Ctrl-D")
    if not written:
        options = ["--user"] if unit.user is None else ["--run-as", unit.user]
        options += ["--name", path.stem] if path.stem != NAME else []
        steps.append(
            sudo + _same_unit(unit, [*options, *(["--force"] if force else []), "--write"], bool(sudo))
        )
    steps += [f"{systemctl} daemon-reload", f"{systemctl} enable --now {path.name}"]
    if own:
        steps.append("loginctl enable-linger   # so that it runs while you are not logged in")
    steps.append(f"{systemctl} status {path.name}")
    return steps


def _same_unit(unit: Unit, options: list[str], other_user: bool) -> str:
    """The command that makes this unit once more, also where it is given none of this shell's variables, as by sudo.

    A home folder decides where `~` and the usual data folder are.
    """
    homes = ("HOME", "XDG_DATA_HOME") if other_user else ()
    variables = {name: os.environ[name] for name in homes if os.environ.get(name)}
    variables |= {**unit.environment, **unit.secret_variables()}
    command = [*unit.command, "--config", unit.config, "install-service", *options]
    assigned = [f"{name}={value}" for name, value in variables.items()]
    return shlex.join(["env", *assigned, *command] if assigned else command)


def _shut_out(unit: Unit, user: str) -> list[str]:
    """What keeps the user from the program, the configuration or its data, as comments; `chown` cannot mend it."""
    paths = dict.fromkeys([unit.command[0], str(_interpreter()), unit.config, *unit.writable])
    shut = {
        path: next((above for above in Path(path).parents if not _lets_in(above, user)), None)
        for path in paths
    }
    return [
        f"# {user} cannot reach {path}, as {folder} does not let it in: move it, or choose another --run-as."
        for path, folder in shut.items()
        if folder is not None
    ]


def _lets_in(folder: Path, user: str) -> bool:
    """Whether the mode of a folder lets the user reach what is in it; also True if nobody knows."""
    try:
        found = folder.stat()
    except OSError:
        return True
    try:
        account = pwd.getpwnam(user)
    except KeyError:  # to be made: nobody's, and in no group
        return bool(found.st_mode & stat.S_IXOTH)
    if account.pw_uid in (0, found.st_uid):
        return account.pw_uid == 0 or bool(found.st_mode & stat.S_IXUSR)
    in_group = found.st_gid in os.getgrouplist(user, account.pw_gid)
    return bool(found.st_mode & (stat.S_IXGRP if in_group else stat.S_IXOTH))


def _given_to(folder: str, user: str, sudo: str, *, is_data: bool) -> list[str]:
    """The command that makes a folder the user's, if it is not. One of tables may have those of other programs, too."""
    if not os.path.exists(folder):
        return [sudo + shlex.join(["install", "-d", "-m", "0700", "-o", user, folder])]
    owner = _owner(Path(folder))
    if owner == user:
        return []
    whose = f"it belongs to {owner or 'nobody known'}"
    if not is_data:
        return [f"# {user} must be able to write in {folder}: {whose}."]
    return [f"{sudo}{shlex.join(['chown', '-R', f'{user}:', folder])}   # {whose}"]


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


def _secrets(settings: Settings, config: Path, key_file: Path | None) -> dict[str, str]:
    """The files of the secrets that the service is to have, by variable: it needs them, or they are set here."""
    from voyage_jobs.config import page_token
    from voyage_jobs.config.address import Address
    from voyage_jobs.config.provider import vendor_of
    from voyage_jobs.core.object_uri import SECRETS

    traits, listen = vendor_of(settings).traits, settings.server.listen
    if traits.in_process and key_file is not None:
        raise click.UsageError(f"--key-file: the provider {settings.provider.type} takes no key.")
    needed = {} if traits.in_process else {traits.key_variable: traits.needs_key}
    needed[settings.notify_secret.variable] = bool(settings.notify.webhook)
    needed[page_token.VARIABLE] = bool(listen) and not Address.parse(listen).is_loopback
    if settings.paths.lancedb is None:
        needed |= {name.upper(): False for name in SECRETS}
    files: dict[str, str | Path] = {
        variable: config.parent / variable.lower()
        for variable, is_needed in needed.items()
        if is_needed or os.environ.get(variable)
    }
    files |= {variable: named for variable in needed if (named := os.environ.get(f"{variable}_FILE"))}
    if key_file is not None:
        files[traits.key_variable] = key_file
    return {variable: os.path.abspath(os.path.expanduser(file)) for variable, file in files.items()}


def _command() -> list[str]:
    """The console script beside this interpreter, else the interpreter with the module."""
    script = Path(sys.executable).parent / "voyage-jobs"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "voyage_jobs"]


def _interpreter() -> Path:
    """What a virtual environment's python is a link to, which may be in somebody's home folder."""
    return Path(os.path.realpath(sys.executable))


def _is_default(settings: Settings) -> bool:
    from voyage_jobs.config.find import default_data_dir

    return settings.data_dir == default_data_dir(os.environ)


def _is_free(settings: Settings) -> bool:
    """Whether nobody chose the data folder and nothing is in it, so that the service may have the usual one."""
    from voyage_jobs.state.door import open_state

    return _is_default(settings) and not open_state(settings).exists()


def _user_of(folder: Path) -> str:
    """Who the service runs as: the owner of the data folder, unless that is root or nobody knows."""
    from voyage_jobs.service.unit import NAME

    owner = _owner(folder)
    return NAME if owner in (None, "root") else owner


def _owner(folder: Path) -> str | None:
    try:
        return pwd.getpwuid(folder.stat().st_uid).pw_name
    except (OSError, KeyError):
        return None


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
