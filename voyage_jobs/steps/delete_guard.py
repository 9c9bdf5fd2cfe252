"""How much of a source, or of a file of records, may be gone at once. What is beyond that is not deleted. Pure."""

from __future__ import annotations

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.state.sources import ANOTHER_FOLDER, NOT_WANTED

_SMALL_LOSS = 10
"""So many may go whatever their share is: as many leave a small source in a day's work."""


def beyond(lost: int, had: int, settings: SourceSettings) -> str | None:
    """Which limit the loss of so many of those that were there goes beyond, in words; None if it may be."""
    if lost > settings.max_delete_count:
        return f"more than max_delete_count = {settings.max_delete_count}"
    if lost > _SMALL_LOSS and lost > settings.max_delete_share * had:
        return f"more than max_delete_share = {settings.max_delete_share:g}"
    return None


def why_freeze(
    vanished: int,
    live: int,
    settings: SourceSettings,
    *,
    elsewhere: bool,
    another: bool = False,
    spoilt: int = 0,
    withheld: int = 0,
    unwanted: int = 0,
) -> str | None:
    """Why a scan that did not find `vanished` of `live` documents must not delete them; None if it may.

    `elsewhere`: the root is on another device than before, as when something is not mounted. `another`: the
    configuration names another folder since the last scan, so a small source is no exception. `spoilt`: as many more
    are there and no text any more; they are lost like those that vanished. `withheld` are records that files lack which
    are frozen or cannot be read: nothing of these is deleted, but where nothing else is left, the folder is not right.
    `unwanted` of those that vanished are there, and the patterns leave them out; that only changes the words.
    """
    lost = vanished + spoilt
    if lost == 0:
        return None
    found = f"{lost} of {live} documents are {_what_became_of_them(lost, spoilt, unwanted)}"
    if another and lost > settings.max_delete_share * live:
        return f"{found}: {ANOTHER_FOLDER}" if unwanted < lost else f"{found}, and its path was changed"
    if elsewhere and vanished:
        return f"{found}, and its folder is on another device than before (is something not mounted?)"
    if lost >= live and not spoilt and not unwanted:
        return f"{found}: its folder looks empty (is something not mounted?)"
    if lost + withheld >= live:
        return f"{found}: nothing is left of it"
    most = beyond(lost, live, settings)
    return None if most is None else f"{found}, {most}"


def _what_became_of_them(lost: int, spoilt: int, unwanted: int) -> str:
    if unwanted == lost:
        return NOT_WANTED
    no_text = f", or no longer text ({spoilt})" if spoilt else ""
    left_out = f", or {NOT_WANTED} ({unwanted})" if unwanted else ""
    return f"gone{no_text}{left_out}"
