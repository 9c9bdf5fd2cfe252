"""Taking new settings while running: which can be, and what follows from them."""

from __future__ import annotations

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.state import sources
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.budget import renew_run
from voyage_jobs.steps.context import Context, encoded
from voyage_jobs.steps.reprofile import follow_corrected_model, take_up_profile

# Open connections, the lock and the table were made from these.
_FIXED = {
    "voyage": ("base_url", "timeout_s"),
    "openai": ("base_url", "timeout_s"),
    "openai_sync": ("base_url", "timeout_s"),
    "local": ("model_dir",),
}


def needs_restart(old: Settings, fresh: Settings) -> list[str]:
    """The keys that differ and cannot be changed in a running process."""
    fixed = []
    if fresh.data_dir != old.data_dir:
        fixed.append("data_dir")
    fixed += [
        f"{name}.{key}"
        for name, keys in _FIXED.items()
        for key in keys
        if getattr(getattr(old, name), key) != getattr(getattr(fresh, name), key)
    ]
    fixed += [
        f"lancedb.{key}"
        for key in ("uri", "table", "storage_options")
        if getattr(fresh.lancedb, key) != getattr(old.lancedb, key)
    ]
    fixed += [
        name for name in ("provider", "server", "tracing") if getattr(fresh, name) != getattr(old, name)
    ]
    return fixed


def apply(context: Context, fresh: Settings) -> None:
    """Work by new settings from now on: sources come and go, everything is looked at once more.

    Where they ask for other vectors, work continues with the present ones, and nothing is sent: see `steps.reprofile`.
    """
    context.loaded = fresh
    context.asked = profile_of(fresh)
    take_up_profile(context)
    follow_corrected_model(context)
    renew_run(context)
    with context.store.write() as tx:
        sources.configure(tx, [(source.name, encoded(source.path)) for source in fresh.sources])
    circuit.try_again(context)
