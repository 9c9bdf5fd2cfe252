"""Where the provider's pages are silent or contradict one another, each reading is an option here.

The defaults follow the newest reference pages of Voyage; `Options.of` has those of the provider that is simulated.
Clients are well advised to be tested with both readings.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from voyage_jobs.errors import ConfigError

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

TIERS: Mapping[int, int] = {1: 3_000_000, 2: 20_000_000, 3: 100_000_000, 4: 500_000_000, 5: 4_000_000_000}
"""Tokens of one embedding model that an account at OpenAI may have enqueued, by its usage tier."""
_OWN: Mapping[str, Mapping[str, Any]] = {
    "voyage": {},
    "openai": {
        "timestamps": "unix",
        "expected_completion_s": DAY_S,
        "bare_string_input": True,
        "max_file_bytes": 200 * 1024 * 1024,
        "overrun_status": "expired",
        "max_in_flight_jobs": 1_000_000,
        "max_in_flight_tokens": TIERS[1],
        "max_inputs": 50_000,
        "window_s": DAY_S,
        "file_retention_s": 3650 * DAY_S,
    },
}


@dataclass(frozen=True)
class Options:
    """One reading of the API. Every field may stand under `options` in a fault script."""

    vendor: Literal["voyage", "openai"] = "voyage"
    """Whose API it is."""

    # Shapes
    timestamps: Literal["rfc3339", "zoneless", "unix"] = "rfc3339"
    """Newer samples are RFC 3339 with microseconds, older ones `YYYY-MM-DD HH:MM:SS` without a zone; OpenAI counts
    seconds."""
    id_separator: Literal["-", "_"] = "-"
    """`file-...` and `batch-...`, or the older `file_...` and `batch_...`."""
    legacy_batch_keys: bool = False
    """Also show `canceling_at`, `canceled_at` and the `partial...` keys of older samples, and no `model`."""
    upload_shows_expires_at: bool = True
    """One upload sample lacks `expires_at`."""
    list_shows_cursor: bool = True
    """The list-batches samples lack `first_id`, `last_id` and `has_more`."""
    batches_order: Literal["desc", "asc"] = "desc"
    """The order of GET /batches is not stated; newest first is assumed."""
    schema_errors: Literal["400", "422", "422_list"] = "400"
    """How a missing, unknown or ill-typed key is refused; `422_list` makes `detail` a list."""
    expected_completion_s: float = 8 * HOUR_S
    """`expected_completion_at` minus `created_at`; the samples show 8 h for a window of 12 h."""

    # Content download
    ranges: bool = False
    """Whether Range requests on /content are served (206) or ignored (200)."""
    redirect_to: str | None = None
    """Base URL of another host to which /content redirects; it refuses requests that carry a key."""
    redirect_valid_s: float = 600.0
    """How long the address behind a redirect is valid."""

    # Validation of input files
    inputs_are: Literal["texts", "lines"] = "texts"
    """What the cap of 100,000 inputs per batch counts."""
    inputs_cap_at: Literal["validation", "create"] = "validation"
    """Whether too many inputs fail the job or the create call."""
    bad_line_fails: Literal["job", "line"] = "job"
    """Whether one malformed line fails the whole job or only itself."""
    bare_string_input: bool = False
    """Whether `body.input` may be a bare string in a batch line."""
    blank_lines: bool = False
    """Whether blank lines and a byte order mark are tolerated in an input file."""
    unknown_params: Literal["reject", "ignore"] = "reject"
    """What becomes of unknown keys in `request_params`."""
    encoding_format: Literal["honoured", "ignored", "rejected", "rejected_in_job", "rejected_by_line"] = (
        "honoured"
    )
    """What becomes of `encoding_format` in `request_params`: it is documented for synchronous calls alone.

    `rejected` at once, by the validation of the job, or by every line of it.
    """
    refused_lines: Literal["message", "body", "output"] = "message"
    """Where the reason of a refused line stands: `message`, `body.detail`, or a line of the output file."""
    max_file_bytes: int = 1 << 30
    """Largest upload; no page states one."""
    file_too_large_status: Literal[413, 400] = 413
    """The status of an upload above `max_file_bytes`."""

    # Ends of jobs
    overrun_status: str = "completed"
    """The status of a job that did not finish within its window; no page names it."""
    cancelled_lines_in_error_file: bool = True
    """Whether unfinished lines of a cancelled job stand in its error file; the pages disagree."""
    empty_output_file: bool = False
    """Whether a job without a single success has an (empty) output file instead of null."""
    shuffle_output: bool = True
    """Whether results come in another order than their requests."""

    # Azure's ways
    full_queue_refuses: bool = False
    """Whether a job beyond the limit of tokens is refused when it is created, with 400, where OpenAI lets it fail."""
    file_pending_s: float = 0.0
    """How long after its upload an input file is `pending`, and no job of it is taken."""
    empty_error_file: bool = False
    """Whether a job without a single failure has an (empty) error file instead of null."""

    # Limits
    max_in_flight_jobs: int = 100
    max_in_flight_tokens: int = 1_000_000_000
    tier: int | None = None
    """The usage tier of an account at OpenAI, 1 to 5: it decides `max_in_flight_tokens`, unless that is named, too."""
    max_inputs: int = 100_000
    window_s: float = 12 * HOUR_S
    file_retention_s: float = 30 * DAY_S
    cancel_s: float | None = None
    """How long a job stays `cancelling`; a tenth of its duration if not set."""

    # Accounts and models
    wrong_key_status: Literal[401, 403] = 401
    small_dimensions: bool = False
    """Also allow 8, 16, 32, 64 and 128 dimensions, which keeps tests small."""
    retired_models: Mapping[str, str] = field(default_factory=dict)
    """Retired model to its replacement; they answer 410."""

    tokenizer: str | None = None
    """A `tokenizer.json` to count and bill by; else four bytes are a token."""

    # Time
    speed: float = 1.0
    """Simulated seconds per second of the clock."""

    @classmethod
    def of(cls, vendor: str, **given: Any) -> Options:
        """Options of a provider: what is not given is as its pages have it. Raises ConfigError for no such tier."""
        tier = given.get("tier")
        if tier is not None and tier not in TIERS:
            raise ConfigError(
                f"Simulator option 'tier' cannot be {tier!r}; it is {min(TIERS)} to {max(TIERS)}."
            )
        own = {**_OWN[vendor], **({} if tier is None else {"max_in_flight_tokens": TIERS[tier]})}
        return cls(**{**own, **given, "vendor": vendor})

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> Options:
        """Options from plain data. Raises ConfigError for an unknown key or an impossible value."""
        known = {f.name for f in fields(cls)}
        hints = get_type_hints(cls)
        for key, value in raw.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
                raise ConfigError(f"Unknown simulator option {key!r}; did you mean {near[0]!r}?")
            if not _fits(value, hints[key]):
                raise ConfigError(
                    f"Simulator option {key!r} cannot be {value!r}; it is {_wanted(hints[key])}."
                )
        return cls.of(raw.get("vendor", "voyage"), **{key: raw[key] for key in raw if key != "vendor"})


def _wanted(hint: Any) -> str:
    """What an option's annotation asks for, in words."""
    choices = [each for each in get_args(hint) if each is not type(None)]
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, choices))
    if get_origin(hint) is Mapping:
        return "an object of texts"
    kind = choices[0] if choices else hint
    return {bool: "true or false", str: "a text", int: "a whole number"}.get(kind, "a number")


def _fits(value: object, hint: Any) -> bool:
    """Whether `value` is what the annotation of an option asks for."""
    choices = get_args(hint)
    if choices and all(isinstance(choice, str | int) for choice in choices):
        return value in choices
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    if value is None:
        return type(None) in choices
    if hint is str or (str in choices and not isinstance(value, Mapping)):
        return isinstance(value, str)
    if isinstance(value, Mapping):
        return hint == Mapping[str, str] and all(isinstance(v, str) for v in value.values())
    return isinstance(value, int) if hint is int else isinstance(value, int | float)
