"""Where a server listens: `127.0.0.1:8765`, `[::1]:8765`, `localhost:8765`."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

_MOST = 65_535


class Address(NamedTuple):
    """A host (name or number, without brackets) and a port; port 0 is any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises ValueError that says what is wrong, without a full stop."""
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname, parts.port
            (host or "").encode("idna")  # as whoever looks it up will; a UnicodeError is a ValueError
        except ValueError as exc:
            raise ValueError("is not HOST:PORT, such as 127.0.0.1:8765") from exc
        if not host or port is None or parts.netloc != text or "@" in text or port > _MOST:
            raise ValueError("is not HOST:PORT, such as 127.0.0.1:8765")
        return cls(host, port)

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """What to type into a browser."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"
