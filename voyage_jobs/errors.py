"""Everything that can go wrong, as one short tree.

    VoyageJobsError                 exit code
    +-- ConfigError                 2   a setting or an argument is wrong
    +-- LockedError                 4   another instance works on this data_dir
    +-- StateError                  1   state.db cannot be used (newer, damaged, read-only, written to for long)
    +-- DiskFullError               1   no room: nothing was lost, work goes on when there is
    +-- NeedsOperatorError          6   an operator must decide (frozen source, parked batch)
    +-- CorruptionError             1   a file or table is not what was written
    +-- TableAwayError              3   the object storage of the table cannot be used: work resumes when it can
    +-- VendorError                     the provider's side; split by what is known to have happened
        +-- AuthError               5   401/403: the key or the host is refused
        +-- QuotaError              5   the account's limits are those of an unpaid account
        +-- RefusedError            1   4xx in the API's own words: known NOT to have had an effect
        |   +-- TooLargeError       1   413: the file, or the request, is too large
        |   +-- ModelRefusedError   1   there is no such model, or not for this account
        |   +-- NoRoomError         1   no room for a job's tokens now: the same texts go again later
        |   +-- InputFileMissingError 1 the input file of a job is not visible yet: try later
        +-- RateLimitedError        1   429: known NOT to have had an effect; try later
        +-- NotSentError            1   could not connect: known NOT to have had an effect
        +-- OutcomeUnknownError     1   timeout, cut connection, 5xx: may or may not have happened
        |   +-- InterceptedError    1   3xx, 4xx in other words: a proxy or a login page answered
        +-- BadAnswerError          1   a 200 whose body is not what the API promises

The first line of a class's docstring is its default message. Every error may carry a `hint`: what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class VoyageJobsError(Exception):
    """Something went wrong."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.hint = hint
        super().__init__(self.message)


class ConfigError(VoyageJobsError):
    """The configuration is wrong."""

    exit_code = 2


class LockedError(VoyageJobsError):
    """Another voyage-jobs instance is working on this data folder."""

    exit_code = 4


class StateError(VoyageJobsError):
    """The state database cannot be used."""


class NoStateError(StateError):
    """Nothing has worked with this data folder yet."""

    exit_code = 2


class StateLostError(NoStateError):
    """The state database of a data folder that was worked with is not there any more."""


class StateDamagedError(StateError):
    """The state database is damaged, or is none."""


class BusyError(StateError):
    """Another process has been writing to the state database for long."""


class EpochLostError(StateError):
    """Another instance has taken over this data folder; this one stops at once."""

    exit_code = 4


class DiskFullError(VoyageJobsError):
    """There is no room left on the disk."""


class NeedsOperatorError(VoyageJobsError):
    """An operator must decide before work can go on."""

    exit_code = 6


class CorruptionError(VoyageJobsError):
    """A file or table is not what was written."""


class TableAwayError(VoyageJobsError):
    """The object storage of the table cannot be used."""

    exit_code = 3


class VendorError(VoyageJobsError):
    """The provider's API did not do what was asked.

    `status` is the HTTP status or None; `retry_after_s` is the provider's own wish, if it named one;
    `request_id` is its id for the call, if it named one.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        hint: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after_s = retry_after_s
        self.request_id = request_id

    @property
    def is_gone(self) -> bool:
        """Whether the API says that there is no such thing, or no longer."""
        return self.status in (404, 410)


class AuthError(VendorError):
    """The provider refuses the API key."""

    exit_code = 5


class QuotaError(VendorError):
    """The account is limited to the rates of an account without a payment method."""

    exit_code = 5


class RefusedError(VendorError):
    """The provider refuses the request; nothing happened there."""


class TooLargeError(RefusedError):
    """The provider refuses the file as too large."""


class ModelRefusedError(RefusedError):
    """The provider says that it has no such model, or not for this account."""


class NoRoomError(RefusedError):
    """The provider has no room for so many tokens now, and made no job; `code` is its word for that.

    Elsewhere it makes the job, which then fails with the same word.
    """

    code = "token_limit_exceeded"


class InputFileMissingError(RefusedError):
    """The provider does not find the input file that was uploaded for a job."""


class RateLimitedError(VendorError):
    """The provider asks to wait; nothing happened there."""


class NotSentError(VendorError):
    """The provider could not be reached; nothing happened there."""


class OutcomeUnknownError(VendorError):
    """The provider's answer was lost; the request may or may not have had an effect."""


class InterceptedError(OutcomeUnknownError):
    """Something between here and the provider answered instead of its API."""


class BadAnswerError(VendorError):
    """The provider's answer is not what its API promises."""
