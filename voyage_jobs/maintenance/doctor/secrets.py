"""Files with keys, tokens and secrets: may others read them?"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.secret_place import DOCKER_SECRETS
from voyage_jobs.maintenance.doctor.check import Check, note

_USE = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
_USE_OF_ALL = stat.S_IROTH | stat.S_IWOTH


def check_secret_files(settings: Settings) -> Iterator[Check]:
    """A note for each file named by the operator that others may read or write; nothing of what it holds."""
    files = {
        "key file": settings.api_key.named_file,
        "page token file": settings.page_token.named_file,
        "notify secret file": settings.notify_secret.named_file,
    }
    for name, path in files.items():
        # What is mounted by Docker or Kubernetes has modes of theirs; in a container there is nobody else.
        if path is not None and not path.is_relative_to(DOCKER_SECRETS):
            yield from _file(name, path)


def _file(name: str, path: Path) -> Iterator[Check]:
    try:
        found = path.stat()
        reachable = _reachable_bits(path)
    except OSError:
        return  # that it is not there is told by who reads it
    mode = stat.S_IMODE(found.st_mode)
    mine = os.geteuid() in (0, found.st_uid)
    by_group = not mine and found.st_gid in {os.getegid(), *os.getgroups()}
    shared = mode & reachable & (_USE_OF_ALL if by_group else _USE)
    if not shared:
        return
    who = "every user" if shared & _USE_OF_ALL else "a group"
    can_be = "read" if shared & (stat.S_IRGRP | stat.S_IROTH) else "written"
    yield note(name, f"{path} can be {can_be} by {who} of this machine", _fix(path, mode, mine, by_group))


def _fix(path: Path, mode: int, mine: bool, by_group: bool) -> str:
    quoted = shlex.quote(str(path))
    if mine:
        return f"chmod {mode & stat.S_IRWXU:03o} {quoted}"
    if by_group:  # as a service does that may read a file of root's
        return f"sudo chmod {mode & ~stat.S_IRWXO:03o} {quoted}"
    return f"sudo chown {os.geteuid()} {quoted} && sudo chmod 400 {quoted}"


def _reachable_bits(path: Path) -> int:
    """The bits of the file that count: none for those who may not enter a folder above it."""
    bits = _USE
    for folder in Path(os.path.realpath(path)).parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            bits &= ~_USE_OF_ALL
        if not mode & (stat.S_IXGRP | stat.S_IXOTH):
            bits &= _USE_OF_ALL
    return bits
