"""What the methods of a `Project` answer: frozen, typed, each with the whole report behind it.

Numbers of tokens and texts are exact counts of what the report counts, amounts are US dollars, durations are seconds
(`_s`), times are aware datetimes in UTC. What is not known is None, never 0. `as_dict()` is what the command prints
with `--json`; docs/status.md and docs/money.md tell of every key, and the dataclasses have the ones that programs need.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Progress = Callable[[str, int, int | None], None]
"""Called with (what, done, total): what is being done, how far it is, and of how much (None: not known)."""

Ending = Literal["done", "unfinished", "refused", "person", "stopped"]
Level = Literal["problem", "waiting", "working", "good", "unknown"]

Report = Mapping[str, Any]


@dataclass(frozen=True)
class _Result:
    """Something with a report."""

    _report: Report = field(repr=False, compare=False, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """The whole report as plain data: what the command prints with `--json`. The copy is yours."""
        return copy.deepcopy(dict(self._report))


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be: a stable `code`, the facts, and the next step to take (or None).

    `severity` is "info" for what passes by itself.
    """

    code: str
    message: str
    hint: str | None
    severity: Literal["problem", "info"] = "problem"


@dataclass(frozen=True)
class SourcePlan:
    """What a plan found in one source. `would_freeze`: why a sync would freeze it, or None."""

    name: str
    new: int
    """Documents that were never read before."""
    changed: int
    moved: int
    vanished: int
    unchanged: int
    chunks: int
    """Chunks of new and changed documents."""
    would_freeze: str | None


@dataclass(frozen=True)
class Plan(_Result):
    """What a sync would send, and what that would cost. Nothing was sent."""

    as_of: datetime
    model: str
    documents: int
    """Documents that are new or have changed, in all sources."""
    chunks: int
    """Chunks of these documents, those included whose text has a vector already."""
    reused_chunks: int
    """Chunks whose text has a vector already."""
    texts: int
    """Texts that a sync would send now, those included that were found by earlier scans; at most `max_inputs`, and what
    budgets let through."""
    batches: int
    tokens: int
    """Tokens of these texts."""
    tokens_exact: bool
    """Whether tokens are counted by the model's tokenizer; else they are estimated, on the high side."""
    usd: float | None
    """The price by batch; None where the model's price is not known."""
    usd_synchronous: float | None
    """The price of the same texts by the synchronous endpoint."""
    likely_at: datetime | None
    """When the last batch would likely be over, by how long batches took here; None where none has ended."""
    sources: tuple[SourcePlan, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Batch(_Result):
    """One batch: one input file and one job at the provider."""

    ref: str
    """Our own id, in the file's name and the job's metadata."""
    batch_id: str | None
    """The provider's id of the job, once there is one."""
    state: str
    """packed, spooled, uploading, uploaded, creating, running, ended, collected, closed, refused, parked, cancelled."""
    inputs: int
    """Texts in it."""
    completed: int | None
    """Lines that are done, by Voyage's last word."""
    failed: int | None
    created_at: datetime
    submitted_at: datetime | None
    deadline_at: datetime | None
    """The end of Voyage's window for the job."""
    tokens_estimated: int
    tokens_settled: int | None
    """Tokens that were billed; None until its results are here."""
    usd: float | None
    """Of the settled tokens, else of the estimated ones."""
    reason: str | None
    """Why it is parked or was refused."""
    error: str | None
    """Its last error, while it waits to be tried again."""
    asks_for: str = "documents"
    """documents, or queries (those of `eval --batch`)."""


@dataclass(frozen=True)
class SyncResult(_Result):
    """What a sync did, what is left, and how it ended."""

    ending: Ending
    """done: the table shows everything. unfinished: work remains or items failed. refused: Voyage refuses the key or
    the account. person: you must decide something, see `problems`. stopped: it was asked to stop."""
    documents_published: int
    documents_removed: int
    chunks_published: int
    texts_sent: int
    batches_sent: int
    batches_collected: int
    tokens_settled: int
    """Tokens that were billed in this call."""
    usd_settled: float | None
    tokens_saved: int
    """Tokens that reuse spared in this call."""
    usd_saved: float | None
    in_flight: tuple[Batch, ...]
    """Batches that go on at the provider; the next sync collects them."""
    problems: tuple[Problem, ...]
    """What is not done, and why."""
    elapsed_s: float

    @property
    def done(self) -> bool:
        """Whether the table shows everything and nothing failed."""
        return self.ending == "done"


@dataclass(frozen=True)
class Chunks:
    """Where chunks are; each is in exactly one place. None before the first scan."""

    waiting: int | None
    packed: int | None
    submitted: int | None
    held: int | None
    """The vector is here, the document is not published yet."""
    published: int | None
    failed: int | None


@dataclass(frozen=True)
class SourceStatus:
    """One source. `frozen`: why nothing of it is deleted, or None."""

    name: str
    path: str
    configured: bool
    frozen: str | None
    documents: int | None
    """Files that are present and taken; None before the first scan."""
    published_documents: int | None
    missing: int | None
    """Documents that have gone from the folder and are still served."""
    chunks: Chunks
    scanned_at: datetime | None


@dataclass(frozen=True)
class Status(_Result):
    """Where everything is."""

    as_of: datetime
    healthy: bool
    """Whether there is no problem; work that waits or is running is none."""
    level: Level
    headline: str
    """The worst fact in one line."""
    running: bool
    """Whether a process works on this data folder now."""
    chunks: Chunks
    sources: tuple[SourceStatus, ...]
    open_batches: tuple[Batch, ...]
    rows: int | None
    """Rows of the table."""
    tokens_waiting: int | None
    """Tokens of the texts that wait to be sent."""
    tokens_reserved: int | None
    """Tokens in open batches."""
    tokens_settled: int | None
    """Tokens that were billed, ever."""
    usd_settled: float | None
    likely_at: datetime | None
    """When what is on its way is likely in the table."""
    problems: tuple[Problem, ...]
    """Worst first."""


@dataclass(frozen=True)
class Why(_Result):
    """Whether something is in the table, and if not, exactly why not."""

    kind: str
    """document, chunk, embedding, batch, call, file (on disk and not known) or folder."""
    ref: str
    reason: str
    """A stable code: see docs/status.md."""
    published: bool | None
    """Whether the table shows it as it is wanted; None where that is no question."""
    text: str
    """The answer in words."""
    next: str
    """What to do."""
    expected_at: datetime | None
    """About when the reason is over, where that is known."""


@dataclass(frozen=True)
class Hit(_Result):
    """One chunk that a search found."""

    score: float
    """What it was ranked by: 1 for what is first by meaning and by words; the cosine in mode `vector`; of what was
    reranked the reranker's."""
    source: str
    path: str
    """The document, relative to its source."""
    section: tuple[str, ...]
    """The headings above the chunk, outermost first."""
    title: str
    ordinal: int
    """The chunk's place in its document, from 0."""
    start: int
    """Where it begins in the decoded document, in characters."""
    end: int
    chunk_id: str
    text: str
    context: str
    """The text around it that `expand` asked for, itself included; else the same as `text`."""
    place: str
    """Where in the document, in the words of its format, as in `p. 12`."""
    page: int
    url: str
    modified_at: datetime
    table: str
    """Where it was found, by the name that was asked for."""
    scores: Mapping[str, float] = field(hash=False)
    """By ranking, `vector` (the cosine), `words` (BM25), `fused` and `rerank`."""
    ranks: Mapping[str, int] = field(hash=False)
    """The place in each ranking, from 1."""
    item_id: str | None
    """The id of the item, where the source is a set of items."""
    metadata: Mapping[str, Any] = field(hash=False)
    """The item's metadata; of another document its front matter."""


class Hits(list[Hit]):
    """The hits of one search, best first, and what is to be said of it.

    `mode` is how they were found, `warnings` why that is not how they were asked for; `tokens` were billed.
    """

    def __init__(self, hits: Iterable[Hit], mode: str, warnings: tuple[str, ...], tokens: int | None) -> None:
        super().__init__(hits)
        self.mode, self.warnings, self.tokens = mode, warnings, tokens


@dataclass(frozen=True)
class CostRow:
    """One line of a bill. `name` is the day, source, model or batch; None for the total, or where it is not known.

    `assumed_tokens` is the part of what was paid that no answer reported; `maybe_paid_usd` is in no other figure. An
    amount is None if any part of it has no known price.
    """

    name: str | None
    paid_tokens: int
    paid_usd: float | None
    reserved_tokens: int
    reserved_usd: float | None
    saved_tokens: int
    saved_usd: float | None
    assumed_tokens: int
    maybe_paid_usd: float | None


@dataclass(frozen=True)
class Cost(_Result):
    """The bill, split by day, source, model or batch."""

    as_of: datetime
    rows: tuple[CostRow, ...]
    total: CostRow
