"""A systemd unit for one installation: the files in `deploy/systemd` and what `install-service` prints are made here.

Every line that is no matter of course has its reason beside it, for whoever reads the unit on a machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voyage_jobs.errors import ConfigError

GROWING_DELAY_SINCE = 254  # the version of systemd that knows RestartSteps=
NAME = "voyage-jobs"


@dataclass(frozen=True)
class Unit:
    """What a unit depends on.

    `command` runs voyage-jobs; `config` is its configuration. `user` runs a system unit; None makes a user's own unit.
    `state_directory` is relative to /var/lib; None where `data_dir` is elsewhere, which is then among `writable`.
    `secrets` are files by the variable of the secret, such as VOYAGE_API_KEY: each is handed in as a credential
    (system) or named by the variable with _FILE (user's own). `homes` and `tmp`: whether anything it needs is below
    /home, /root or /tmp. `systemd` is the version the unit is for.
    """

    command: Sequence[str]
    config: str
    secrets: Mapping[str, str] = field(default_factory=dict)
    user: str | None = NAME
    state_directory: str | None = NAME
    writable: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    homes: bool = False
    tmp: bool = False
    systemd: int = GROWING_DELAY_SINCE
    description: str = "voyage-jobs, which keeps a LanceDB table in step with folders"

    def text(self) -> str:
        """The whole file."""
        parts = [_HEAD, self._unit(), self._service(), _RESTART, self._restart()]
        parts.append(_SANDBOX_OF_A_USER if self.user is None else self.sandbox())
        wanted_by = "default.target" if self.user is None else "multi-user.target"
        return "\n".join([*parts, f"[Install]\nWantedBy={wanted_by}\n"])

    def _unit(self) -> str:
        lines = ["[Unit]", f"Description={self.description}"]
        if self.user is not None:  # a user's manager knows no network-online.target
            lines += ["Wants=network-online.target", "After=network-online.target"]
            lines.append(f"RequiresMountsFor={words([self.config, *self.writable])}")
        return "\n".join(
            [
                *lines,
                "# Never give up starting: the delays below are the bound.",
                "StartLimitIntervalSec=0",
                "",
            ]
        )

    def _service(self) -> str:
        lines = ["[Service]", _START]
        lines.append(f"ExecStart={words([*self.command, '--config', self.config, 'run'], command=True)}")
        lines.append(_RELOAD)
        if self.user is not None:
            lines.append(f"User={plain(self.user)}")
        if self.state_directory is not None:
            lines += [_STATE, f"StateDirectory={self.state_directory}", "StateDirectoryMode=0700"]
        environment = {"PYTHONFAULTHANDLER": "1", **self.environment}
        if self.secrets:
            lines.append(_SECRETS_OF_A_USER if self.user is None else _SECRETS)
        if self.user is None:
            environment |= self.secret_variables()
        else:
            lines += [_credential(variable, file) for variable, file in self.secrets.items()]
        lines.append("# Where the watchdog strikes, the log shows which line each thread was at.")
        lines += [f"Environment={words([f'{name}={value}'])}" for name, value in environment.items()]
        return "\n".join([*lines, ""])

    def secret_variables(self) -> dict[str, str]:
        """The variables that name the files of the secrets, with those files."""
        return {f"{variable}_FILE": file for variable, file in self.secrets.items()}

    def _restart(self) -> str:
        if self.systemd >= GROWING_DELAY_SINCE:
            return _GROWING
        since = f"RestartSteps=, since {GROWING_DELAY_SINCE}"
        return f"# This systemd ({self.systemd}) knows no growing delay ({since}).\nRestartSec=30\n"

    def sandbox(self) -> str:
        """What bounds a system service."""
        lines = [_SANDBOX]
        if self.homes:
            lines += [
                "# Configuration, program, sources or data are below a home folder; it is only read.",
                "ProtectHome=read-only",
            ]
        else:
            lines += ["# For sources below /home: read-only.", "ProtectHome=yes"]
        if self.tmp:
            lines += ["# Something it needs is in /tmp.", "PrivateTmp=no"]
        else:
            lines.append("PrivateTmp=yes")
        if self.writable:
            lines += ["# The only places it may write.", f"ReadWritePaths={words(self.writable)}"]
        return "\n".join([*lines, ""])


def words(values: Sequence[str], *, command: bool = False) -> str:
    """The values as a list in a unit: quoted where they must be, nothing in them expanded."""
    return " ".join(_word(value, command) for value in values)


def _word(value: str, command: bool) -> str:
    text = plain(value)
    if command:
        text = text.replace("$", "$$")
    if any(char in text for char in " \t\"'\\;"):
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return text


def plain(value: str) -> str:
    """A value that systemd takes to the end of the line. `ConfigError` for what no unit can hold."""
    if not value.isprintable():
        raise ConfigError(
            f"{value!r} cannot stand in a unit file: it has control characters or bytes that are no text.",
            hint="Use another path.",
        )
    return value.replace("%", "%%")


def _credential(variable: str, file: str) -> str:
    """By the name under which the program looks for the secret of this variable."""
    return f"LoadCredential={variable.lower()}:{plain(file)}"


_KEY = "VOYAGE_API_KEY"
REFERENCE = Unit(
    command=[f"/opt/{NAME}/bin/{NAME}"],
    config=f"/etc/{NAME}/config.toml",
    secrets={_KEY: f"/etc/{NAME}/voyage_api_key"},
)
"""The unit in `deploy/systemd`."""


def template_text() -> str:
    """The template unit in `deploy/systemd`: `%i` is the name of the instance."""
    unit = Unit(
        command=REFERENCE.command,
        config=f"/etc/{NAME}/INSTANCE.toml",
        secrets={_KEY: f"/etc/{NAME}/INSTANCE.voyage_api_key"},
        state_directory=f"{NAME}/INSTANCE",
        description="voyage-jobs for INSTANCE, which keeps a LanceDB table in step with folders",
    )
    return unit.text().replace("INSTANCE", "%i")


def timed_text() -> str:
    """The service in `deploy/systemd` that a timer calls: `sync --no-wait` in the daemon's sandbox."""
    head = f"""\
# Sends what is new, collects and publishes what is ready, and ends; voyage-jobs-sync.timer calls it. docs/ci.md.

[Unit]
Description=voyage-jobs, one round of work
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={words([*REFERENCE.command, "--config", REFERENCE.config, "sync", "--no-wait"], command=True)}
# 3: jobs are in flight, the next call continues. 4: another process is at it.
SuccessExitStatus=3 4
TimeoutStartSec=3600
User={NAME}
StateDirectory={NAME}
StateDirectoryMode=0700
{_credential(_KEY, REFERENCE.secrets[_KEY])}
"""
    return f"{head}\n{REFERENCE.sandbox()}"


def is_below(path: Path, *folders: str) -> bool:
    """Whether a path is in one of these folders."""
    return any(path.is_relative_to(folder) for folder in folders)


_HEAD = """\
# voyage-jobs as a systemd service; `voyage-jobs install-service` makes this file. docs/systemd.md explains it.
"""

_START = """\
# Ready once the lock is held, the state migrated and the last process's leavings made sense of. A start that takes
# longer asks for more time by itself, as long as it gets on.
Type=notify
NotifyAccess=main
TimeoutStartSec=120
# Fed only while the step at work is within its own deadline (minutes for most, hours for building an index): what
# hangs is ended and started again.
WatchdogSec=60"""

_RELOAD = """\
# Reads the configuration again; what cannot change in a running process is refused in the log.
ExecReload=/bin/kill -HUP $MAINPID
# SIGTERM finishes the step at hand. The kill afterwards does no harm.
KillMode=mixed
TimeoutStopSec=120"""

_STATE = """\
# data_dir, unless the configuration names another: then give that to ReadWritePaths= below."""

_SECRETS = """\
# Secrets, such as the API key: files for root alone; the process sees private copies, made when the service starts. So
# restart the service after you have put another secret into a file."""

_SECRETS_OF_A_USER = """\
# Secrets, such as the API key, are read from their files at every use: another one in a file counts at once."""

_RESTART = """\
# Ends with 0 only if it was asked to stop. 2: the command line or the configuration is wrong, and starting again
# cannot mend it; correct it, then `systemctl start`. Any other end is tried again, also 4 (another process, a `sync`
# by hand for instance, works on this data folder: this one takes over when it ends). A provider that refuses the key
# and what waits for an operator (5, 6) do not end it: it waits, and `status` tells.
Restart=on-failure
RestartPreventExitStatus=2"""

_GROWING = """\
# 5 s at first, growing in 8 steps to 5 minutes.
RestartSec=5
RestartSteps=8
RestartMaxDelaySec=300
"""

_SANDBOX = """\
# What it may do: read files, write its data folder, speak to the network. `systemd-analyze security` rates this;
# what is left: it needs the network (PrivateNetwork=, RestrictAddressFamilies=AF_INET*), and the provider's addresses
# are not fixed (IPAddressDeny=); it runs from the system's root, where sources may be anywhere (RootDirectory=).
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
PrivateMounts=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
# Texts and the key are in its memory: no core dumps.
LimitCORE=0
# Only the owner reads what it writes. Programs of other users that read the table: UMask=0027, a group of theirs,
# and [lancedb] uri in a folder of that group, named in ReadWritePaths=.
UMask=0077"""

_SANDBOX_OF_A_USER = """\
# What a user's own manager can bound without privileges.
NoNewPrivileges=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
LimitCORE=0
UMask=0077
"""
