"""Where the API key comes from. It is read again for every use: a rotated file counts at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr

from voyage_jobs.core.private import credentials
from voyage_jobs.core.redact import remember
from voyage_jobs.errors import ConfigError
from voyage_jobs.vendors.registry import by_type

VARIABLE = "VOYAGE_API_KEY"
FILE_VARIABLE = "VOYAGE_API_KEY_FILE"
_DOCKER_SECRETS = Path("/run/secrets")
_MAX_BYTES = 4096


class KeySource:
    """Call it to get the key. Order: the variable, the named file, systemd's credential, Docker's secret.

    `variable` is the variable's name, from which those of the files follow. The key of `title` may be `optional`: then
    none is "".
    A program may hand in a function that gives the key: then it alone is asked, at every use.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        docker_secret: Path | None = None,
        *,
        ask: Callable[[], str] | None = None,
        variable: str = VARIABLE,
        title: str = "Voyage",
        optional: bool = False,
    ) -> None:
        self._ask, self._variable, self._title, self._optional = ask, variable, title, optional
        environ = environ if ask is None else {}
        value = environ.get(variable, "").strip()
        self._value = SecretStr(value) if value else None
        self._named = Path(named) if (named := environ.get(f"{variable}_FILE", "")) else None
        name = variable.lower()
        self._usual = [*credentials(environ, name), docker_secret or _DOCKER_SECRETS / name]

    def __call__(self) -> str:
        """The key. `ConfigError` if there is none, or if what is there cannot be one; never shows it."""
        if self._optional and not (self._value or self._named or self._usual_file()):
            return ""
        key = self._now()
        if not key:
            raise ConfigError(f"{self.describe()} is empty.", hint=self.hint)
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigError(
                f"{self.describe()} does not hold a key: it has characters that are in no key (blanks, control"
                " characters, or letters beyond ASCII).",
                hint=self.hint,
            )
        remember(key)
        return key

    def _now(self) -> str:
        if self._ask is not None:
            given = self._ask()
            if not isinstance(given, str):
                raise ConfigError(f"{self.describe()} returned no text, but a {type(given).__name__}.")
            return given.strip()
        return self._value.get_secret_value() if self._value else self._read(self._file())

    def mask(self) -> None:
        """Have the key masked wherever it turns up from now on, if it stands in the variable. Reads no file."""
        if self._value:
            remember(self._value.get_secret_value())

    def available(self) -> bool:
        """Whether a usable key is there now."""
        try:
            self()
        except ConfigError:
            return False
        return True

    def describe(self) -> str:
        """Where the key comes from, in words; never the key."""
        if self._ask is not None:
            return "the program's own function"
        if self._value:
            return f"the variable {self._variable}"
        if self._named:
            return f"the file {self._named} (named by {self._variable}_FILE)"
        found = self._usual_file()
        return f"the file {found}" if found else "nowhere (no API key is set)"

    @property
    def hint(self) -> str:
        """How to give the key."""
        if self._ask is not None:
            return "Have it return the key."
        if self._named and not self._value:
            return "Write the key into that file."
        name = self._variable.lower()
        return (
            f"Set {self._variable}, or {self._variable}_FILE to a file that holds the key "
            f"(systemd: LoadCredential={name}:..., Docker: a secret named {name})."
        )

    @property
    def named_file(self) -> Path | None:
        """The file that the operator named, if the key comes from there; credentials are their makers' business."""
        return None if self._value else self._named

    def _usual_file(self) -> Path | None:
        return next((path for path in self._usual if path.is_file()), None)

    def _file(self) -> Path:
        found = self._named or self._usual_file()
        if found is None:
            raise ConfigError(f"There is no {self._title} API key.", hint=self.hint)
        return found

    def _read(self, path: Path) -> str:
        try:
            with open(path, "rb") as file:
                return file.read(_MAX_BYTES).decode("ascii", "replace").strip()
        except OSError as exc:
            problem = f"The API key cannot be read from {path}: {exc.strerror}."
            mend = (
                self.hint
                if isinstance(exc, FileNotFoundError)
                else "Let this user read it, or name another file."
            )
            raise ConfigError(problem, hint=mend) from exc

    def __repr__(self) -> str:
        return f"KeySource(from {self.describe()})"


def key_of(provider: str, environ: Mapping[str, str]) -> KeySource:
    """Where the key of one provider is looked for. Its names are its own: no other one is ever sent it."""
    vendor = by_type(provider)
    traits = vendor.traits
    if traits.in_process:
        return KeySource({}, Path(os.devnull), title=vendor.title, optional=True)
    return KeySource(environ, variable=traits.key_variable, title=vendor.title, optional=not traits.needs_key)
