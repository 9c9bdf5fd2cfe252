"""The token that opens the page to those who are not on this machine. Read again for every use, like the key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from voyage_jobs.core.redact import remember
from voyage_jobs.core.secret_place import DOCKER_SECRETS, SecretPlace
from voyage_jobs.errors import ConfigError

VARIABLE = "VOYAGE_JOBS_SERVER_TOKEN"
FILE_VARIABLE = "VOYAGE_JOBS_SERVER_TOKEN_FILE"
SHORTEST = 16  # characters: long enough that nobody guesses it over a network
_HINT = f"Make one: `openssl rand -hex 24`. Set {VARIABLE}, or {FILE_VARIABLE} to a file that holds it."


class PageToken:
    """Call it to get the token, or None where none is configured. Where it is kept: `SecretPlace`."""

    def __init__(self, environ: Mapping[str, str], docker_secrets: Path = DOCKER_SECRETS) -> None:
        self._place = SecretPlace(environ, VARIABLE, docker_secrets)
        self._expected = self._place.is_set()  # a file that vanishes must not open the page to all

    @property
    def configured(self) -> bool:
        """Whether there should be one, usable or not."""
        return self._expected or self._place.is_set()

    @property
    def named_file(self) -> Path | None:
        """The file that the operator named, if the token comes from there."""
        return self._place.named_file

    def __call__(self) -> str | None:
        """Raises ConfigError for one that cannot be read or is too short; never shows it."""
        if not self.configured:
            return None
        token = self._place.read("The page's token", _HINT)
        if len(token) < SHORTEST or not (token.isascii() and token.isprintable()) or " " in token:
            raise ConfigError(
                f"The page's token must be at least {SHORTEST} plain characters without blanks.", hint=_HINT
            )
        remember(token)
        return token

    def __repr__(self) -> str:
        return f"PageToken({'configured' if self.configured else 'none'})"
