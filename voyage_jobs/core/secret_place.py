"""Where a secret is kept: in a variable, in a file that the operator names, or where systemd or Docker puts it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from voyage_jobs.errors import ConfigError

DOCKER_SECRETS = Path("/run/secrets")
_MOST_BYTES = 65_536


class SecretPlace:
    """The place of one secret. A file is looked for and read at every use, so that a rotated one counts at once.

    Order, for a variable called NAME: NAME itself, the file that NAME_FILE names, systemd's credential `name`, Docker's
    secret `name`.
    """

    def __init__(
        self, environ: Mapping[str, str], variable: str, docker_secrets: Path = DOCKER_SECRETS
    ) -> None:
        self.variable = variable
        self.name = variable.lower()
        self.value = environ.get(variable, "").strip()
        named = environ.get(f"{variable}_FILE", "")
        self._named = Path(named) if named else None
        handed_in = environ.get("CREDENTIALS_DIRECTORY", "")
        folders = [Path(handed_in)] if handed_in else []
        self._usual = [folder / self.name for folder in (*folders, docker_secrets)]

    @property
    def named_file(self) -> Path | None:
        """The file that the operator named, if it is what counts; the mode of others is their makers' business."""
        return None if self.value else self._named

    def file(self) -> Path | None:
        """The file that is read where the variable is not set; None if there is none."""
        return self._named or next((path for path in self._usual if os.path.isfile(path)), None)

    def is_set(self) -> bool:
        """Whether there should be a secret, usable or not."""
        return bool(self.value) or self.file() is not None

    def read(self, title: str, hint: str) -> str:
        """The secret, without blanks around it; "" if there is none. Raises ConfigError for a file that cannot be
        read: it names `title`, and `hint` says how to make one that is missing."""
        path = self.file()
        if self.value or path is None:
            return self.value
        try:
            with open(path, "rb") as file:
                return file.read(_MOST_BYTES).decode("utf-8", "replace").strip()
        except OSError as exc:
            is_missing = isinstance(exc, FileNotFoundError)
            raise ConfigError(
                f"{title} cannot be read from {path}: {exc.strerror}.",
                hint=hint if is_missing else "Let this user read it, or name another file.",
            ) from exc

    def describe(self) -> str | None:
        """Where it comes from, in words, never the secret; None if there is none."""
        if self.value:
            return f"the variable {self.variable}"
        if self._named:
            return f"the file {self._named} (named by {self.variable}_FILE)"
        found = self.file()
        return f"the file {found}" if found else None

    def __repr__(self) -> str:
        return f"SecretPlace({self.variable})"
