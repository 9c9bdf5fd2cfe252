"""Times and counts as people say them. Pure."""

from __future__ import annotations

from voyage_jobs.core.clock import US, moment

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))
_DAY_S = 86_400


def span(seconds: float) -> str:
    """`40 ms`, `1.4 s`, `45 s`, `3 m 20 s`, `2 h 5 m`, `3 d 4 h`: the two units that count."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    left = round(seconds)
    for size, unit in _UNITS:
        if left >= size:
            whole, rest = divmod(left, size)
            below = {"d": (3_600, "h"), "h": (60, "m"), "m": (1, "s")}[unit]
            part = rest // below[0]
            return f"{whole} {unit} {part} {below[1]}" if part else f"{whole} {unit}"
    return f"{left} s"


def about(seconds: float) -> str:
    """The same with the unit that counts most: `45 s`, `3 m`, `2 h`, `3 d`."""
    return " ".join(span(seconds).split()[:2])


def clock_time(at: int, now: int) -> str:
    """`14:05 UTC`, with its date unless that is within half a day of now. Microseconds UTC."""
    shown = moment(at)
    near = abs(at - now) < _DAY_S // 2 * US
    return f"{shown:%H:%M} UTC" if near else f"{shown.date().isoformat()} {shown:%H:%M} UTC"


def when(at: int, now: int) -> str:
    """A time and how far it is from now: `14:05 UTC (3 m ago)`, `15:00 UTC (in 52 m)`."""
    away_s = (at - now) / US
    text = f"in {span(away_s)}" if away_s >= 1 else f"{span(-away_s)} ago" if away_s <= -1 else "now"
    return f"{clock_time(at, now)} ({text})"


def ranges(numbers: list[int], most: int = 4) -> str:
    """`12`, `3 to 7, 9`, `1, 3, 5, 7 and others`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = [str(a) if a == b else f"{a} to {b}" for a, b in runs[:most]]
    return ", ".join(text) + (" and others" if len(runs) > most else "")
