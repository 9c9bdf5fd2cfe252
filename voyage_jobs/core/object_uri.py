"""The address of a table in object storage, with what it takes to get there.

What is no secret stands in `[lancedb.storage_options]`. Secrets come from the environment, where Lance looks for them
itself, or from files: the one that `<NAME>_FILE` names, systemd's credential, Docker's secret. They are read again
whenever the table is opened, so that a rotated file counts, and are never written down.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from voyage_jobs.core.redact import remember
from voyage_jobs.core.secret_place import SecretPlace
from voyage_jobs.errors import ConfigError

SCHEMES = ("s3", "gs", "az")
SECRETS = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "google_service_account_key",
    "azure_storage_account_key",
    "azure_storage_sas_key",
    "azure_storage_client_secret",
)
OPTION_PREFIXES = ("aws_", "google_", "azure_")
CLIENT_OPTIONS = (
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "timeout",
    "user_agent",
    "client_max_retries",
    "client_retry_timeout",
    "download_retry_count",
)
_OF_SECRETS = re.compile(r"secret|password|token$|sas_key|account_key|access_key|master_key|_key$")
_NO_SECRETS = ("aws_sse_kms_key_id", "azure_federated_token_file")
_DEFAULTS = {"client_max_retries": "10", "client_retry_timeout": "60"}
"""Lance itself would try for three minutes while nothing else is done."""


def is_secret_option(name: str) -> bool:
    """Whether an option of this name holds a secret."""
    return name not in _NO_SECRETS and _OF_SECRETS.search(name.lower()) is not None


class ObjectUri(str):
    """An address like `s3://bucket/prefix`; `plain` are the options that are no secrets."""

    plain: Mapping[str, str]

    def __new__(cls, uri: str, plain: Mapping[str, str] | None = None) -> ObjectUri:
        """As a str, with the options beside it."""
        made = super().__new__(cls, uri)
        made.plain = plain or {}
        return made

    def options(self) -> dict[str, str]:
        """All that Lance is to be told, secrets out of files included. Raises ConfigError for an unreadable one."""
        return {**_DEFAULTS, **self.plain, **dict(_from_files(os.environ))}


def _from_files(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in SECRETS:
        place = SecretPlace(environ, name.upper())
        if place.value:
            remember(place.value)
        elif place.is_set():
            hint = f"Set {place.variable}, or {place.variable}_FILE to a file that holds it."
            secret = place.read(name, hint)
            if not secret:
                raise ConfigError(f"The file {place.file()} with {name} is empty.", hint=hint)
            remember(secret)
            yield name, secret
