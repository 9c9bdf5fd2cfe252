"""One call to the provider that costs nothing: does it answer, does it take the key, what time has it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from voyage_jobs.config.provider import connect, vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import US, Clock, now_us
from voyage_jobs.errors import AuthError, NotSentError, VendorError
from voyage_jobs.maintenance.doctor.check import Check, bad, good, note, told

if TYPE_CHECKING:
    import httpx

MOST_SKEW_S = 120.0


def check_vendor(
    settings: Settings, clock: Clock, transport: httpx.BaseTransport | None = None
) -> Iterator[Check]:
    """Ask for one page of the list of jobs, and compare the clocks."""
    try:
        with connect(settings, clock, transport) as client:
            theirs = client.probe()
    except NotSentError as exc:
        where = f"{settings.section_name}.base_url"
        hint = f"Check the network, proxy settings and {where}; work resumes by itself when it answers."
        yield bad("probe", exc.message, exc.hint or hint)
    except AuthError as exc:
        yield bad("probe", exc.message, exc.hint, exit_code=5)
    except VendorError as exc:
        yield told("probe", exc)
    else:
        if vendor_of(settings).traits.in_process:
            yield good("probe", f"{settings.section.model} was loaded and answers")
            return
        yield good("probe", f"{settings.section.base_url} answers and takes the key")
        yield _clock(theirs, clock)


def _clock(theirs: int | None, clock: Clock) -> Check:
    if theirs is None:
        return note("clock", "the provider does not tell its time")
    skew_s = (now_us(clock) - theirs) / US
    why = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the provider's"
    if abs(skew_s) <= MOST_SKEW_S:
        return good("clock", why)
    return bad(
        "clock", why, "Set this machine's clock (NTP); budgets count by day, and certificates need it, too."
    )
