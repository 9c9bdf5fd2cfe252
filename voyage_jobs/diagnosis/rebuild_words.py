"""What people are told about a change of the profile, in one place: `run`, `sync` and `status` say the same. Pure."""

from __future__ import annotations

from voyage_jobs.core.plural import counted
from voyage_jobs.core.profile import Profile
from voyage_jobs.state.rebuild import Build, Progress

CHANGED_HINT = (
    "`voyage-jobs reprofile` says what the change costs, and builds a new table beside this one; or set the"
    " configuration back."
)
BUILD_CHANGED_HINT = (
    "Set the configuration to what is being built, or give that up: `voyage-jobs reprofile --abandon`."
)
BLOCKED_HINT = (
    "`voyage-jobs retry` tries again; `voyage-jobs reprofile --status` lists what is missing, and `voyage-jobs"
    " reprofile --accept-failures` switches without it."
)
HELD_HINT = (
    "`voyage-jobs eval QUESTIONS --run hybrid --run hybrid@new` compares the two; then `voyage-jobs reprofile --switch`"
    " switches, or `voyage-jobs reprofile --abandon` gives the new one up."
)
BUILDING_HINT = "`voyage-jobs reprofile --status` says more; `voyage-jobs reprofile --abandon` gives it up."


def changed(asked: Profile, active: Profile, build: Build | None, cost: str = "") -> tuple[str, str]:
    """(message, hint): the configuration asks for other vectors than the active ones. `cost`: what that takes."""
    if build is not None:
        message = (
            f"The configuration asks for {asked.told}, and a table for {active.told} is being built: nothing is"
            " sent."
        )
        return message, BUILD_CHANGED_HINT
    message = (
        f"The configuration asks for {asked.told}; the table has {active.told}. Nothing is sent until that is"
        " settled."
    )
    return message + (f" The change would cost {cost}." if cost else ""), CHANGED_HINT


def blocked(found: Progress) -> str:
    """Why a build that has everything it can get is not switched to."""
    lacking = []
    if found.failed_chunks:
        lacking.append(f"{counted(found.failed_chunks, 'chunk')} failed")
    if found.unread:
        lacking.append(f"{counted(found.unread, 'document')} in the table cannot be read now")
    if found.frozen_sources:
        lacking.append(f"frozen: {', '.join(found.frozen_sources)}")
    return (
        f"The new table is as complete as it gets, but {', and '.join(lacking)}."
        " It is not switched to automatically."
    )


def held(build: Build) -> str:
    """That a build is complete and waits, as was asked for."""
    return (
        f"The new table for {build.target.told} is complete, and is not switched to automatically (--hold)."
    )


def building(build: Build, found: Progress | None) -> str:
    """How far a build is, where that was looked at."""
    if found is None:
        return f"A table for {build.target.told} is being built."
    if not found.scanned:
        left = f"sources still to be read: {', '.join(found.unscanned_sources)}"
    else:
        left = f"{found.chunks - found.open_chunks:,} of {found.chunks:,} chunks have their vectors"
    return f"A table for {build.target.told} is being built: {left}."


def plan_warning(asked: Profile, active: Profile) -> str:
    """What a plan is about while the configuration asks for other vectors than the active ones."""
    return (
        f"This is what it costs to embed everything for {asked.told}, as the configuration asks; the table has, or"
        f" will have, {active.told}: `sync` and `run` send nothing of it until `voyage-jobs reprofile`."
    )
