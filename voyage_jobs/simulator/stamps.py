"""Times and identifiers as the API writes them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from voyage_jobs.core.clock import US
from voyage_jobs.simulator.options import Options

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ID_LENGTH = 22
_YEAR_1 = "0001-01-01T00:00:00+23:59"
_LAST_US = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * US
_TEN_YEARS_US = 3652 * 86_400 * US
_TWO_HOURS_US = 2 * 3600 * US
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def stamp(us: int | None, options: Options) -> str | int | None:
    """A time in microseconds as the API prints it."""
    if us is None:
        return None
    if options.timestamps == "unix":
        return us // US
    moment = datetime.fromtimestamp(us // US, UTC).replace(microsecond=us % US)
    if options.timestamps == "zoneless":
        return moment.strftime("%Y-%m-%d %H:%M:%S")
    return moment.isoformat(timespec="microseconds")


def strange(kind: str, us: int, options: Options) -> str | int | None:
    """A time that `us` is not: `year1` lies before the first year there is, once it is brought to UTC."""
    if kind == "year1":
        return _YEAR_1
    moments = {
        "1970": 0,
        "year9999": _LAST_US,
        "future": us + _TEN_YEARS_US,
        "before_call": us - _TWO_HOURS_US,
    }
    return stamp(moments[kind], options)


def http_date(us: int) -> str:
    """A time in microseconds for the `Date` header."""
    moment = datetime.fromtimestamp(us // US, UTC)
    day = _DAYS[moment.weekday()]
    month = _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02d} {month} {moment.year} {moment:%H:%M:%S} GMT"


class Ids:
    """A repeatable stream of identifiers that look like the provider's."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._made = 0

    def new(self) -> str:
        """22 letters and digits that were not given out before."""
        self._made += 1
        key = f"{self._seed}/{self._made}".encode()
        value = int.from_bytes(hashlib.blake2b(key, digest_size=20).digest(), "big")
        letters = []
        for _ in range(_ID_LENGTH):
            value, at = divmod(value, len(_ALPHABET))
            letters.append(_ALPHABET[at])
        return "".join(letters)
