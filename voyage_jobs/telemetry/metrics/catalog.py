"""Every metric there is: name, kind, labels, meaning. Documentation, alert rules and dashboard are held to this table.

Names follow Prometheus: base units, `_total` for what only grows, a name per meaning. A metric `of` the state is read
from it whenever somebody asks; one of the `process` is counted here from its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "voyage_jobs_"
STEP_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)
CALL_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(frozen=True)
class Metric:
    """One metric. `name` is without prefix, and with the `_total` of a counter."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    of: Literal["state", "process"] = "state"
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """As Prometheus stores it; a histogram's series add `_bucket`, `_sum` and `_count`."""
        return PREFIX + self.name


_SOURCE = ("source",)
_LANE = ("lane",)

METRICS: tuple[Metric, ...] = (
    # --- health ---
    Metric("build_info", "gauge", "1; the version stands in the label.", ("version",)),
    Metric(
        "state_readable",
        "gauge",
        "1 if the state could be read for this answer; if 0, only this and build_info.",
    ),
    Metric("healthy", "gauge", "1 if `status` reports no problem."),
    Metric("problems", "gauge", "Problems and notes of `status`, by code.", ("code", "severity")),
    Metric("worker_running", "gauge", "1 if a process holds the lock of the data folder."),
    Metric("worker_heartbeat_age_seconds", "gauge", "Seconds since that process last gave a heartbeat."),
    Metric("lane_closed", "gauge", "1 for each circuit of work that waits out trouble.", ("lane", "code")),
    # --- documents, chunks, embeddings ---
    Metric("documents", "gauge", "Files by what became of them in the last scan.", ("source", "state")),
    Metric("documents_skipped", "gauge", "Files that are not taken, by reason.", ("source", "reason")),
    Metric("documents_published", "gauge", "Documents that the table serves.", _SOURCE),
    Metric("documents_unpublished", "gauge", "Documents with a version on its way to the table.", _SOURCE),
    Metric("chunks", "gauge", "Chunks by where they are.", ("source", "state")),
    Metric("embeddings", "gauge", "Embeddings by state; one may serve several sources.", ("state",)),
    Metric(
        "source_oldest_unpublished_seconds",
        "gauge",
        "Age of the oldest change that the table does not show yet; 0 if it shows all.",
        _SOURCE,
    ),
    Metric("source_frozen", "gauge", "1 if nothing of the source is deleted until you confirm.", _SOURCE),
    Metric(
        "source_last_scan_timestamp_seconds",
        "gauge",
        "When the last whole scan of the source ended.",
        _SOURCE,
    ),
    # --- batches ---
    Metric("batches", "gauge", "Batches by state, all that ever were.", ("state",)),
    Metric("batch_inputs_open", "gauge", "Inputs of the batches that are open, by state.", ("state",)),
    Metric("batch_oldest_open_seconds", "gauge", "Age of the oldest open batch; 0 if there is none."),
    Metric(
        "batch_next_deadline_timestamp_seconds",
        "gauge",
        "When the first open batch is over by the provider's promise; absent if none runs.",
    ),
    Metric(
        "create_attempts_total", "counter", "Calls that create a job, by what became of them.", ("outcome",)
    ),
    Metric("create_in_doubt", "gauge", "Create calls whose outcome is not known yet (quarantine)."),
    Metric("duplicate_jobs_total", "counter", "Second jobs for one batch that were found at the provider."),
    # --- money ---
    Metric("tokens_waiting", "gauge", "Tokens that wait to be sent, estimated or counted."),
    Metric("tokens_reserved", "gauge", "Tokens in batches whose bill is open."),
    Metric("tokens_settled_total", "counter", "Tokens that the provider has billed."),
    Metric(
        "tokens_assumed_total", "counter", "Those of them that no answer reported: what was reserved counts."
    ),
    Metric("tokens_saved_total", "counter", "Tokens that reuse of vectors spared."),
    Metric("cost_waiting_usd", "gauge", "Price of what waits to be sent; absent if the price is not known."),
    Metric("cost_reserved_usd", "gauge", "Price of what is in open batches; absent if not known."),
    Metric(
        "cost_settled_usd_total", "counter", "What the provider has billed; absent if a part has no price."
    ),
    Metric("cost_saved_usd_total", "counter", "What reuse of vectors spared; absent if a part has no price."),
    Metric("budget_limit_usd", "gauge", "A limit of the configuration in US dollars.", ("limit",)),
    Metric("budget_used_usd", "gauge", "What of it is spent or reserved.", ("limit",)),
    Metric("budget_limit_tokens", "gauge", "A limit of the configuration in tokens.", ("limit",)),
    Metric("budget_used_tokens", "gauge", "What of it is spent or reserved.", ("limit",)),
    Metric(
        "tokens_billed_total", "counter", "Tokens that the provider has billed, by how they were sent.", _LANE
    ),
    # --- the fresh lane ---
    Metric("fresh_promised_seconds", "gauge", "Within what time the source promises to be fresh.", _SOURCE),
    Metric(
        "fresh_seconds",
        "gauge",
        "Save to searchable over a day, of changes that no job carried.",
        ("source", "quantile"),
    ),
    Metric("fresh_changes", "gauge", "Changes of the last day that are in the table.", ("source", "lane")),
    Metric("fresh_limit", "gauge", "The day's allowance of the fresh lane.", ("unit",)),
    Metric("fresh_used", "gauge", "What of it is spent or reserved.", ("unit",)),
    # --- table and disk ---
    Metric("table_rows", "gauge", "Rows that the table serves, by the account of the state."),
    Metric("table_version", "gauge", "Newest version of the table that was acknowledged."),
    Metric("table_versions", "gauge", "Versions of the table that are kept on disk."),
    Metric("table_fragments", "gauge", "Data fragments of the newest version."),
    Metric("disk_used_bytes", "gauge", "Bytes on disk, by what they are.", ("part",)),
    Metric("disk_free_bytes", "gauge", "Room on the disk of data_dir for an ordinary user."),
    Metric("disk_reserve_bytes", "gauge", "Room below which work pauses (disk.min_free_bytes)."),
    # --- what this process did ---
    Metric(
        "vendor_calls_total",
        "counter",
        "Calls to the provider by HTTP status, or not_sent, or lost (sent, no whole answer).",
        ("method", "endpoint", "code"),
        of="process",
    ),
    Metric(
        "vendor_call_seconds",
        "histogram",
        "How long a call took, to the end of its answer.",
        ("method", "endpoint"),
        of="process",
        buckets=CALL_BUCKETS_S,
    ),
    Metric(
        "retries_total",
        "counter",
        "Times that work was put off to be tried again.",
        ("reason",),
        of="process",
    ),
    Metric("lines_total", "counter", "Lines of collected batches by outcome.", ("outcome",), of="process"),
    Metric(
        "step_seconds",
        "histogram",
        "How long a go of a step took, where there was anything to do.",
        ("step",),
        of="process",
        buckets=STEP_BUCKETS_S,
    ),
    Metric(
        "step_failures_total", "counter", "Goes of a step that ended in trouble.", ("step",), of="process"
    ),
    Metric(
        "step_last_success_timestamp_seconds",
        "gauge",
        "When a go of the step last ended without trouble, whether or not there was anything to do.",
        ("step",),
        of="process",
    ),
    Metric("scrape_seconds", "gauge", "How long reading the state took for this answer."),
)

BY_NAME = {metric.name: metric for metric in METRICS}


def series_names() -> frozenset[str]:
    """Every name that a query may use."""
    names = set()
    for metric in METRICS:
        ends = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        names |= {metric.full_name + end for end in ends}
    return frozenset(names)
