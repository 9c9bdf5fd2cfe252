"""The port to a provider of embeddings: what every provider is to the rest of the program.

All of them do the same: lines are put somewhere, a job is started that names them, it is asked about until it is over,
and its results are fetched, each under an id of ours. A `Vendor` is what is known of one without asking it: its limits,
its models, how a line is written and a result is read. Its `connect` gives a `Client`, which makes the calls. Steps use
these two alone, so that a provider is a folder here and a line in `registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, runtime_checkable

from voyage_jobs.core.profile import Profile
from voyage_jobs.core.usage import MOST_LINE_TOKENS

if TYPE_CHECKING:
    import numpy as np

    from voyage_jobs.core.clock import Clock
    from voyage_jobs.core.observe import Observer
    from voyage_jobs.vendors.remote import Downloaded, JobSpec, Phase, RemoteBatch, RemoteFile, Verdict
    from voyage_jobs.vendors.result_block import Expectation, ResultBlock
    from voyage_jobs.vendors.tokenizer import TokenCounter

# --- what a provider is ---


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider takes. Settings of `[batching]` may ask for less, never for more.

    `inputs` is of one batch, `jobs_in_flight` and `tokens_in_flight` of the account. `window_s` is how long after its
    creation a job is over for sure, in seconds; None: the provider promises nothing.
    """

    inputs: int
    jobs_in_flight: int
    tokens_in_flight: int
    window_s: float | None


@dataclass(frozen=True, slots=True)
class Traits:
    """In what providers differ, where the steps have to know.

    `lists_metadata`: the list of jobs shows what a job was given; else a job is known by its input file's name.
    `idempotent_create`: a repeated create call with the same `JobSpec.token` gives the job of the first, so that a
    lost answer needs no quarantine. `sync_only`: there are no jobs, only calls that are answered at once, so every
    batch is of mode `sync`. `unlisted_usd_per_million` is what a model costs of which no list tells a price; None: not
    known. `key_variable` is the environment variable with the API key, from which the names of its file and of its
    secrets follow: no provider is sent the key of another. Where a call `needs_key` and there is none, it is refused
    here; else the key is "". What is computed `in_process` has no address, no key and no clock. One that
    `reads_files_first` may refuse a job because its input file is still `RemoteFile.pending`.
    """

    lists_metadata: bool = True
    idempotent_create: bool = False
    sync_only: bool = False
    unlisted_usd_per_million: float | None = None
    key_variable: str = "VOYAGE_API_KEY"
    needs_key: bool = True
    in_process: bool = False
    reads_files_first: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """One model. None means that no public page states it.

    `dimensions` has the default first and is empty for models that give no text vectors. `line_tokens`
    caps the sum of tokens of one request, hence of one line of a batch. `in_batch` is True if the provider names the
    model as one for batches, False if it does not, and None if the model is newer than its guide. `unit_length`
    says that its float vectors have length 1 at every dimension. `batch_share` is the part of the list price that
    batches cost. `space` names the vector space that it shares with others; empty: nobody says that it shares one.
    """

    name: str
    endpoint: str
    context_tokens: int | None
    dimensions: tuple[int, ...]
    quantized: bool
    line_tokens: int | None
    sync_usd_per_million: float | None
    in_batch: bool | None
    unit_length: bool = True
    batch_share: float = 1.0
    space: str = ""

    def shares_space(self, other: Model) -> bool:
        """Whether a vector of one can be compared with a vector of the other."""
        return self.name == other.name or bool(self.space and self.space == other.space)

    @property
    def reranks(self) -> bool:
        """Whether it scores texts for a query, and makes no vectors."""
        return self.endpoint.endswith("/rerank")

    @property
    def batch_usd_per_million(self) -> float | None:
        """List price less the batch discount; None where no page says that the model runs in batch."""
        if self.sync_usd_per_million is None or self.in_batch is False:
            return None
        return round(self.sync_usd_per_million * self.batch_share, 6)


class Flaw(NamedTuple):
    """What a provider does not make: the field of the profile to blame, why, and the field that it does not fit."""

    setting: str
    text: str
    beside: str | None = None


class KeyDoubt(NamedTuple):
    """What is odd about a key, told without showing it. `hint` is what to do; None where it may be right after all."""

    text: str
    hint: str | None


# --- requests and what comes back ---


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request: its id, its texts (one, or the chunks of a window), and its tokens as they are counted here."""

    custom_id: str
    texts: Sequence[str]
    tokens: int = 1


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of shape (texts, width) in the profile's storage type; tokens billed, None if not named."""

    vectors: np.ndarray
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Reranked:
    """How well each text answers a query, in the order of the texts; tokens billed, None if not named."""

    scores: Sequence[float]
    tokens: int | None


# --- the protocols ---


class KeySource(Protocol):
    """Where the API key is found. Asked at every call, so that a replaced secret file is taken up.

    Its ConfigError becomes an AuthError of the call: nothing was sent, and work goes on once a key is there.
    """

    def __call__(self) -> str:
        """The key. Raises ConfigError if there is none."""

    def describe(self) -> str:
        """The place where it is looked for, without the key."""


@dataclass(frozen=True)
class Access:
    """How to reach a provider. `base_url` is its address, or the folder of a model that runs here.

    `timeout_s` bounds each wait for the network, and the time to the head of an answer; `max_retry_after_s` bounds the
    wait that the provider may ask for; `transport` stands in for the network in tests.
    """

    base_url: str
    key: KeySource
    clock: Clock
    timeout_s: float
    max_retry_after_s: float
    transport: Any
    observer: Observer


class Vendor(Protocol):
    """What is known of a provider without asking it. Nothing here touches the network or the clock.

    `name` is its word in `[provider] type` and in profiles, `title` what messages call it, `prices_as_of` the month of
    its list of prices. No method raises for what a file or an answer contains, unless it says so.
    """

    @property
    def name(self) -> str:
        """Its word in the configuration and in profiles."""

    @property
    def title(self) -> str:
        """What messages call it."""

    @property
    def limits(self) -> Limits:
        """What it takes."""

    @property
    def traits(self) -> Traits:
        """In what it differs."""

    @property
    def prices_as_of(self) -> str:
        """The month of its list of prices."""

    def find(self, model: str) -> Model | None:
        """A model by its name; None if it is not known, which forbids nothing."""

    def flaws(self, profile: Profile) -> Iterator[Flaw]:
        """What of a profile the provider is known not to make."""

    def doubts(self, profile: Profile) -> list[str]:
        """What of a profile is not vouched for, in sentences for people."""

    def key_doubt(self, key: str, where: str, host: str) -> KeyDoubt | None:
        """What is odd about a key that was found at `where`, for this host."""

    def params(self, profile: Profile, encoding: str) -> dict[str, Any]:
        """All of a request but its texts, as it is recorded. `encoding` is of the vectors in results."""

    def line(
        self, custom_id: str, texts: Sequence[str], profile: Profile, params: Mapping[str, Any]
    ) -> bytes:
        """The line that asks for one embedding, with its newline. Raises ValueError for texts that make no line.

        `params` are those on record for its batch.
        """

    def asked_in(self, line: bytes) -> Wanted | None:
        """What an input line asks for; None if it is none. The contrary of `line`."""

    def answered_in(self, line: bytes, profile: Profile) -> tuple[str, int] | None:
        """The id of a result line and the number of vectors in it (1 where there is none); None if it has no id."""

    def read(self, path: Path, expectation: Expectation) -> Iterator[ResultBlock]:
        """Read a result file to its end, every line judged by what is in it."""

    def result_lines(self, answer: bytes, wanted: Sequence[Wanted], profile: Profile) -> Iterator[bytes]:
        """What `Client.embed_now` brought, as the lines of a result file, for `read`.

        Raises BadAnswerError if it cannot be told which part answers what. Tokens that are told as a whole are spread
        over the lines by what these count; where none that can be are told, the lines have none either.
        """

    def phase(self, status: str) -> Phase:
        """What a status word means; UNKNOWN for a new one."""

    def judge(self, failed: RemoteBatch) -> Verdict:
        """Why a job failed before anything of it ran."""

    def tokenizer(self, path: Path) -> TokenCounter:
        """What counts tokens with the tokenizer in this file, or estimates them where there is none."""

    def fetch_tokenizer(self, model: str, path: Path, hub: str | None) -> int:
        """Put a model's tokenizer at `path`; its size in bytes. Raises VoyageJobsError. `hub` is a mirror's address."""

    def demand(self, place: str) -> None:
        """Raise ConfigError if something that it takes is not on this machine. `place` is as in `Access.base_url`."""

    def connect(self, access: Access) -> Client:
        """What makes the calls. Raises ConfigError for an address that cannot be one."""


class Client(Protocol):
    """The calls to a provider. None is ever repeated in here: only the caller knows whether that would be paid twice.

    Methods raise the errors of `VendorError`, by what is known to have happened. `with` closes the connections.
    """

    name: str
    """The provider and the host, for messages."""
    max_retry_after_s: float
    skipped_entries: int
    """Entries of lists that named nothing, over all lists so far."""
    give_up_at: float | None
    """When every call ends, in monotonic seconds; None: each when its own time is over."""
    send_by: float | None
    """Of this thread: by when a request must have gone out, in seconds of `Clock.uptime`, else it never goes
    (NotSentError); None: whenever. See `intent.py`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def upload(self, path: Path, filename: str) -> RemoteFile:
        """Send an input file under a name by which it can be found again."""

    def list_files(self) -> Iterator[RemoteFile]:
        """All files to the end of the list, each once."""

    def get_file(self, file_id: str) -> RemoteFile:
        """A file's metadata."""

    def delete_file(self, file_id: str) -> bool:
        """Whether the file is gone now; one that was gone before counts."""

    def download(
        self,
        file_id: str,
        dest: Path,
        *,
        expected_bytes: int | None,
        on_progress: Callable[[int], None] | None = None,
    ) -> Downloaded:
        """Fetch a file to `dest`, which appears only when it is whole and on disk; resumed where it broke off."""

    def create_batch(self, job: JobSpec) -> RemoteBatch:
        """Create a job. Raises InputFileMissingError if its file is not visible yet."""

    def list_batches(self) -> Iterator[RemoteBatch]:
        """All jobs to the end of the list, each once."""

    def get_batch(self, batch_id: str) -> RemoteBatch:
        """A job as it stands."""

    def cancel_batch(self, batch_id: str) -> RemoteBatch:
        """Ask for a cancellation. What was finished before is billed."""

    def embed_now(self, wanted: Sequence[Wanted], params: Mapping[str, Any], profile: Profile) -> bytes:
        """A synchronous call; its answer as it came, for `Vendor.result_lines`. Billed when it is answered."""

    def embed(self, texts: Sequence[str], profile: Profile) -> Embedded:
        """Embed a few texts at once and at the full price, as for a search query."""

    def probe(self) -> int | None:
        """Check key and host at no cost. The provider's clock in microseconds, if it tells."""

    def vendor_now_us(self) -> int | None:
        """The provider's clock now, told from a late answer; None if there was none, or it did not say."""


@runtime_checkable
class Reranker(Protocol):
    """What the `Client` of a provider with a reranker can do, too."""

    def rerank(self, query: str, texts: Sequence[str], model: str) -> Reranked:
        """Score a few texts at once and at the full price. Billed when it is answered; never repeated in here."""


def most_tokens(model: Model | None) -> int:
    """The most tokens that one request to a model can be billed with."""
    return (model and model.line_tokens) or MOST_LINE_TOKENS
