"""Secrets beside the API key, each by a name: read again for every use, so that a rotated file counts at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from voyage_jobs.core.redact import remember
from voyage_jobs.core.secret_place import DOCKER_SECRETS, SecretPlace
from voyage_jobs.errors import ConfigError

_LEAST_CHARS = 16


class SecretSource:
    """Call it to get the secret. Order: the variable, the named file, systemd's credential, Docker's secret.

    For the name `notify_secret` these are VOYAGE_JOBS_NOTIFY_SECRET, the file that VOYAGE_JOBS_NOTIFY_SECRET_FILE
    names, and files called `voyage_jobs_notify_secret`.
    """

    def __init__(self, environ: Mapping[str, str], name: str, docker_secrets: Path = DOCKER_SECRETS) -> None:
        self.variable = f"VOYAGE_JOBS_{name.upper()}"
        self._place = SecretPlace(environ, self.variable, docker_secrets)

    def __call__(self) -> str:
        """The secret. `ConfigError` if there is none, or if it is too short to be one; never shows it."""
        if not self._place.is_set():
            raise ConfigError(
                f"There is no secret to sign with: {self.variable} is not set.", hint=self._hint
            )
        secret = self._place.read("The secret", self._hint)
        if len(secret) < _LEAST_CHARS:
            raise ConfigError(
                f"{self.describe()} holds fewer than {_LEAST_CHARS} characters.", hint=self._hint
            )
        remember(secret)
        return secret

    def describe(self) -> str:
        """Where the secret comes from, in words; never the secret."""
        words = self._place.describe() or "nothing"
        return words[0].upper() + words[1:]

    @property
    def named_file(self) -> Path | None:
        """The file that the operator named, if the secret comes from there."""
        return self._place.named_file

    @property
    def _hint(self) -> str:
        places = f"{self.variable}, or a file that {self.variable}_FILE names"
        return f"`openssl rand -hex 32` makes one; put it into {places}."

    def __repr__(self) -> str:
        return f"SecretSource({self.variable})"
