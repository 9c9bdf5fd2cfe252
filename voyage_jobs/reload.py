"""Taking new settings while running: which can be, and what follows from them."""

from __future__ import annotations

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.steps import lanes as lane
from voyage_jobs.steps.budget import renew_run
from voyage_jobs.steps.context import Context, encoded
from voyage_jobs.steps.recount import notice_tokenizer
from voyage_jobs.store import sources
from voyage_jobs.voyage.tokenizer import TokenCounter

# Open connections, the lock, the table and the keys of all vectors were made from these.
_FIXED_VOYAGE = ("base_url", "timeout_s")


def needs_restart(old: Settings, fresh: Settings) -> list[str]:
    """The keys that differ and cannot be changed in a running process."""
    fixed = []
    if fresh.data_dir != old.data_dir:
        fixed.append("data_dir")
    before, after = profile_of(old), profile_of(fresh)
    names = {"endpoint": "endpoint", "model": "model", "dimension": "output_dimension"}
    names |= {"dtype": "output_dtype", "input_type": "input_type"}
    fixed += [f"voyage.{key}" for name, key in names.items() if getattr(before, name) != getattr(after, name)]
    fixed += [
        f"voyage.{key}" for key in _FIXED_VOYAGE if getattr(old.voyage, key) != getattr(fresh.voyage, key)
    ]
    fixed += [name for name in ("lancedb", "server", "tracing") if getattr(fresh, name) != getattr(old, name)]
    return fixed


def apply(context: Context, fresh: Settings) -> None:
    """Work by new settings from now on: sources come and go, everything is looked at once more."""
    context.settings = fresh
    context.count = TokenCounter(fresh.tokenizer_file)
    notice_tokenizer(context)
    renew_run(context)
    with context.store.write() as tx:
        sources.configure(tx, [(source.name, encoded(source.path)) for source in fresh.sources])
    lane.try_again(context)
