"""The token that opens the page to those who are not on this machine. Read again for every use, like the key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from voyage_jobs.core.private import credentials
from voyage_jobs.core.redact import remember
from voyage_jobs.errors import ConfigError

VARIABLE = "VOYAGE_JOBS_SERVER_TOKEN"
FILE_VARIABLE = "VOYAGE_JOBS_SERVER_TOKEN_FILE"
SHORTEST = 16  # characters: long enough that nobody guesses it over a network
_MAX_BYTES = 4096
_HINT = f"Make one: `openssl rand -hex 24`. Set {VARIABLE}, or {FILE_VARIABLE} to a file that holds it."


class PageToken:
    """Call it to get the token, or None where none is configured. Order: the variable, the named file, systemd's
    credential."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        value = environ.get(VARIABLE, "").strip()
        self._value = SecretStr(value) if value else None
        self._named = Path(named) if (named := environ.get(FILE_VARIABLE, "")) else None
        handed_in = credentials(environ, VARIABLE.lower())
        self._file = self._named or next((path for path in handed_in if path.is_file()), None)

    @property
    def configured(self) -> bool:
        """Whether there should be one, usable or not."""
        return self._value is not None or self._file is not None

    @property
    def named_file(self) -> Path | None:
        """The file that the operator named, if the token comes from there."""
        return None if self._value else self._named

    def __call__(self) -> str | None:
        """Raises ConfigError for one that cannot be read or is too short; never shows it."""
        if not self.configured:
            return None
        token = self._value.get_secret_value() if self._value else self._read()
        if len(token) < SHORTEST or not (token.isascii() and token.isprintable()) or " " in token:
            raise ConfigError(
                f"The page's token must be at least {SHORTEST} plain characters without blanks.", hint=_HINT
            )
        remember(token)
        return token

    def _read(self) -> str:
        path = self._file or Path()
        try:
            with open(path, "rb") as file:
                return file.read(_MAX_BYTES).decode("ascii", "replace").strip()
        except OSError as exc:
            raise ConfigError(
                f"The page's token cannot be read from {path}: {exc.strerror}.", hint=_HINT
            ) from exc

    def __repr__(self) -> str:
        return f"PageToken({'configured' if self.configured else 'none'})"
