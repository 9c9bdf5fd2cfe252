"""Who may ask. Pure: decides from the head of a request alone.

- **Rebinding**: a hostile page may let its own name point at 127.0.0.1 and then read our answers as its own. So the
  `Host` must be `localhost`, a plain address (no name can be turned into one) or a configured name.
- **Other sites** may send requests but never read answers; what a browser calls cross-site is refused all the same,
  since a question may cost money and a wrong token is counted. A link to a page may be followed from anywhere.
- **The token**, where one is set, comes as `Authorization: Bearer` or as the cookie of a login. The cookie is not
  the token but derived from it, so it ends with it. All comparisons take the same time whatever is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

COOKIE = "voyage_jobs_page"
COOKIE_S = 30 * 86_400
_PURPOSE = b"voyage-jobs page, version 1"


class Verdict(Enum):
    """What to answer."""

    WELCOME = "welcome"
    WRONG_HOST = "wrong_host"
    CROSS_SITE = "cross_site"
    LOGIN = "login"


class Kind(StrEnum):
    """What somebody shows to be let in: the token itself, or the cookie of a login."""

    TOKEN = auto()
    COOKIE = auto()


@dataclass(frozen=True)
class Proof:
    """What was shown; never told."""

    kind: Kind
    value: str = field(repr=False)


class Guard:
    """`token` is asked at every request, so that a replaced file counts at once; it may raise for a bad one."""

    def __init__(self, token: Callable[[], str | None], hosts: Collection[str] = ()) -> None:
        self._token = token
        self._hosts = frozenset(hosts)

    def judge(self, headers: Mapping[str, str], *, linkable: bool = False) -> Verdict:
        """Header names are lower case. `linkable`: what is asked for is a page that anybody may link to."""
        token = self._token()
        if token is not None and same(_bearer(headers), token):
            return Verdict.WELCOME  # whoever knows it is no rebound page
        if stranger := self.stranger(headers, linkable=linkable):
            return stranger
        if token is None or same(_cookie(headers), cookie_for(token)):
            return Verdict.WELCOME
        return Verdict.LOGIN

    def stranger(self, headers: Mapping[str, str], *, linkable: bool) -> Verdict | None:
        """Why a request is refused whatever token it shows, but in `Authorization`; None if it is not."""
        if not self.is_known_host(headers.get("host", "")):
            return Verdict.WRONG_HOST
        followed = linkable and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") == "cross-site" and not followed:
            return Verdict.CROSS_SITE
        return None

    def offered(self, headers: Mapping[str, str]) -> list[Proof]:
        """What a request shows to be let in, the token first; nothing where none is asked for."""
        if self._token() is None:
            return []
        shown = (Proof(Kind.TOKEN, _bearer(headers)), Proof(Kind.COOKIE, _cookie(headers)))
        return [proof for proof in shown if proof.value]

    def is_right(self, proof: Proof) -> bool:
        """Whether it is the token, or the cookie that a login with it leaves."""
        token = self._token()
        if token is None:
            return False
        return same(proof.value, token if proof.kind is Kind.TOKEN else cookie_for(token))

    def opens(self, offered: str) -> str | None:
        """The cookie for whoever offers the right token."""
        token = self._token()
        return cookie_for(token) if token is not None and same(offered, token) else None

    def is_known_host(self, host: str) -> bool:
        """Whether a `Host` header can be ours."""
        name = _without_port(host.lower())
        if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def same(one: str, other: str) -> bool:
    """Equal; takes as long for a near miss as for a far one, and tells nothing of the length."""
    return hmac.compare_digest(
        hashlib.sha256(one.encode("utf-8", "surrogatepass")).digest(), hashlib.sha256(other.encode()).digest()
    )


def cookie_for(token: str) -> str:
    """What a login leaves in the browser."""
    return hmac.new(token.encode(), _PURPOSE, hashlib.sha256).hexdigest()


def client_of(address: str) -> str:
    """Who an address stands for: itself, or the network of 64 bits that one customer of IPv6 is given."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found) if found.is_loopback else str(ipaddress.ip_network((found, 64), strict=False))


def _bearer(headers: Mapping[str, str]) -> str:
    kind, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" else ""


def _cookie(headers: Mapping[str, str]) -> str:
    """Ours among those that other programs at this host have left, which may be no cookies by any rule."""
    pairs = (each.strip().partition("=") for each in headers.get("cookie", "").split(";"))
    return next((value.strip('"') for name, _, value in pairs if name == COOKIE), "")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host
