"""What `status` and `doctor` say of a state that was older than the world."""

from __future__ import annotations

from voyage_jobs.core.clock import iso
from voyage_jobs.core.plural import counted
from voyage_jobs.state import setback
from voyage_jobs.state.setback import SetBack

_WHAT = {
    setback.LOST: "state.db was lost and made again",
    setback.REPLACED: "state.db is not the one that worked here before",
    setback.SEGMENTS: "Vectors lay here that state.db did not know",
    setback.JOBS: "state.db is older than its jobs at {provider}",
    setback.RESTORED: "The data folder was restored from a backup",
}
BEHIND_HINT = (
    "If an older copy was put back by mistake, put the newer one back before anything is started. Else start"
    " `voyage-jobs sync` or `voyage-jobs run`."
)
FOUND_HINT = (
    "Nothing to do. `voyage-jobs verify --repair` takes rows out of the table that this state does not know."
)
COPIED = (
    "{provider} has jobs of this data folder again that it did not send: a copy of it seems to be running"
    " elsewhere."
)
COPIED_HINT = (
    "Stop one of the two: each takes the other's jobs, and what it does not find there is paid again. A second folder"
    " begins without `state.db`."
)
UNCHECKED_HINT = (
    "If this data folder is an older copy, texts may be paid twice. The next start tries the list again."
)
_COPIES = 2  # times in a week that only the provider's list of jobs told


def found(what: SetBack, provider: str, *, claiming: bool) -> str:
    """What it was, and what was taken in and claimed."""
    cause = _WHAT.get(what.cause, "state.db is older than the stored vectors").format(provider=provider)
    verb = "was" if what.segments == 1 else "were"
    segments = (
        f"{counted(what.segments, 'file')} with {counted(what.embeddings, 'embedding')} {verb} taken in"
    )
    goes_on = f" Jobs at {provider} are checked before anything is sent." if claiming else ""
    return f"{cause}: {segments}; {counted(what.jobs, 'job')} claimed.{goes_on}"


def behind(cause: str) -> str:
    """That the next start will find an older state."""
    what = _WHAT.get(cause, "state.db is older than what was done with it")
    return f"{what}: the next start takes in what it does not know, before anything is sent"


def is_copied(what: SetBack) -> bool:
    """Whether it happens too often to be a copy that was put back."""
    return what.by_jobs >= _COPIES


def unchecked(since: int, provider: str) -> str:
    """That texts go out although the list of jobs was not read."""
    return f"The list of jobs at {provider} could not be read; texts are sent without it since {iso(since)}."
