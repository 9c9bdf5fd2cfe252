"""Secrets beside the API key, each by a name: read again for every use, so that a rotated file counts at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from voyage_jobs.core.private import credentials
from voyage_jobs.core.redact import remember
from voyage_jobs.errors import ConfigError

_DOCKER_SECRETS = Path("/run/secrets")
_MAX_BYTES = 4096
_LEAST_CHARS = 16


class SecretSource:
    """Call it to get the secret. Order: the variable, the named file, systemd's credential, Docker's secret.

    For the name `notify_secret` these are VOYAGE_JOBS_NOTIFY_SECRET, the file that VOYAGE_JOBS_NOTIFY_SECRET_FILE
    names, and files called `voyage_jobs_notify_secret`.
    """

    def __init__(self, environ: Mapping[str, str], name: str, docker_secrets: Path = _DOCKER_SECRETS) -> None:
        self.variable = f"VOYAGE_JOBS_{name.upper()}"
        value = environ.get(self.variable, "").strip()
        self._value = SecretStr(value) if value else None
        named = environ.get(f"{self.variable}_FILE", "")
        self._named = Path(named) if named else None
        file_name = self.variable.lower()
        self._usual = [*credentials(environ, file_name), docker_secrets / file_name]

    def __call__(self) -> str:
        """The secret. `ConfigError` if there is none, or if it is too short to be one; never shows it."""
        secret = self._value.get_secret_value() if self._value else self._from_file()
        if len(secret) < _LEAST_CHARS:
            raise ConfigError(
                f"{self.describe()} holds fewer than {_LEAST_CHARS} characters.", hint=self._hint
            )
        remember(secret)
        return secret

    def describe(self) -> str:
        """Where the secret comes from, in words; never the secret."""
        if self._value:
            return f"The variable {self.variable}"
        if self._named:
            return f"The file {self._named} (named by {self.variable}_FILE)"
        found = next((path for path in self._usual if path.is_file()), None)
        return f"The file {found}" if found else "Nothing"

    @property
    def named_file(self) -> Path | None:
        """The file that the operator named, if the secret comes from there."""
        return None if self._value else self._named

    @property
    def _hint(self) -> str:
        places = f"{self.variable}, or a file that {self.variable}_FILE names"
        return f"`openssl rand -hex 32` makes one; put it into {places}."

    def _from_file(self) -> str:
        found = self._named or next((path for path in self._usual if path.is_file()), None)
        if found is None:
            raise ConfigError(
                f"There is no secret to sign with: {self.variable} is not set.", hint=self._hint
            )
        try:
            with open(found, "rb") as file:
                return file.read(_MAX_BYTES).decode("utf-8", "replace").strip()
        except OSError as exc:
            raise ConfigError(
                f"The secret cannot be read from {found}: {exc.strerror}.", hint=self._hint
            ) from exc

    def __repr__(self) -> str:
        return f"SecretSource({self.variable})"
