"""Where the API key comes from. It is read again for every use: a rotated file counts at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from voyage_jobs.core.redact import remember
from voyage_jobs.core.secret_place import DOCKER_SECRETS, SecretPlace
from voyage_jobs.errors import ConfigError
from voyage_jobs.vendors.registry import by_type

VARIABLE = "VOYAGE_API_KEY"
FILE_VARIABLE = "VOYAGE_API_KEY_FILE"


class KeySource:
    """Call it to get the key. Order: the variable, the named file, systemd's credential, Docker's secret.

    `variable` is the variable's name, from which those of the files follow. The key of `title` may be `optional`: then
    none is "".
    A program may hand in a function that gives the key: then it alone is asked, at every use.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        docker_secrets: Path = DOCKER_SECRETS,
        *,
        ask: Callable[[], str] | None = None,
        variable: str = VARIABLE,
        title: str = "Voyage",
        optional: bool = False,
    ) -> None:
        self._ask, self._title, self._optional = ask, title, optional
        self._place = SecretPlace(environ if ask is None else {}, variable, docker_secrets)

    def __call__(self) -> str:
        """The key. `ConfigError` if there is none, or if what is there cannot be one; never shows it."""
        if self._optional and self._ask is None and not self._place.is_set():
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
        if not self._place.is_set():
            raise ConfigError(f"There is no {self._title} API key.", hint=self.hint)
        return self._place.read("The API key", self.hint)

    def mask(self) -> None:
        """Have the key masked wherever it turns up from now on, if it stands in the variable. Reads no file."""
        if self._place.value:
            remember(self._place.value)

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
        return self._place.describe() or "nowhere (no API key is set)"

    @property
    def hint(self) -> str:
        """How to give the key."""
        if self._ask is not None:
            return "Have it return the key."
        if self._place.named_file:
            return "Write the key into that file."
        variable, name = self._place.variable, self._place.name
        return (
            f"Set {variable}, or {variable}_FILE to a file that holds the key "
            f"(systemd: LoadCredential={name}:..., Docker: a secret named {name})."
        )

    @property
    def named_file(self) -> Path | None:
        """The file that the operator named, if the key comes from there; credentials are their makers' business."""
        return self._place.named_file

    def __repr__(self) -> str:
        return f"KeySource(from {self.describe()})"


def key_of(provider: str, environ: Mapping[str, str]) -> KeySource:
    """Where the key of one provider is looked for. Its names are its own: no other one is ever sent it."""
    vendor = by_type(provider)
    traits = vendor.traits
    if traits.in_process:
        return KeySource({}, Path(os.devnull), title=vendor.title, optional=True)
    return KeySource(environ, variable=traits.key_variable, title=vendor.title, optional=not traits.needs_key)
