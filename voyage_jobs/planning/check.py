"""Whether a plan still holds: it is made once more and compared, and what is missing must have been done meanwhile.

So a plan whose `sync` was interrupted goes on, and one whose documents were touched is refused.
"""

from __future__ import annotations

from voyage_jobs.config.settings import Settings
from voyage_jobs.diagnosis import rebuild_words
from voyage_jobs.errors import ConfigError
from voyage_jobs.planning import plan as planning
from voyage_jobs.planning.file import Plan, Send, Sink, planned_settings
from voyage_jobs.sources import names
from voyage_jobs.state import documents, plan_state
from voyage_jobs.state.history import View
from voyage_jobs.state.schema import DROPPED, WANTED
from voyage_jobs.steps.context import Context

_NAMED = 10


def demand_unchanged(plan: Plan, context: Context) -> None:
    """Raise ConfigError, naming what changed, unless `plan` is still what a run would do, or has been done in part."""
    if not context.may_send:
        message, hint = rebuild_words.changed(context.asked, context.profile, context.build)
        raise ConfigError(message, hint=hint)
    found = _Differences(plan)
    _settings(plan, context.settings, context.count.name, found)
    if not found.count:
        planning.plan(context.settings, context.clock, sink=found)
        with context.store.read() as connection:
            found.finish(connection)
    if not found.count:
        return
    more = found.count - len(found.named)
    listed = [*found.named, *([f"and {more:,} more"] if more else [])]
    raise ConfigError(
        f"Since {plan.path} was made, things have changed; nothing was sent:\n  " + "\n  ".join(listed),
        hint="Look at a new one: `voyage-jobs plan --out FILE`.",
    )


def _settings(plan: Plan, settings: Settings, counted_by: str, found: _Differences) -> None:
    now = planned_settings(settings, counted_by)
    for name in sorted({*now, *plan.settings}):
        if now.get(name) != plan.settings.get(name):
            found.add(f"the settings: {name}")


class _Differences(Sink):
    """Hears of a plan that is made now, and compares it with one that was made before."""

    def __init__(self, plan: Plan) -> None:
        self.count = 0
        self.named: list[str] = []
        self._plan = plan
        self._documents = dict(plan.documents)
        self._gone = set(plan.gone)
        self._waiting = set(plan.waiting)

    def add(self, what: str) -> None:
        """Something is not as it was; the first few are named."""
        self.count += 1
        if self.count <= _NAMED:
            self.named.append(what)

    def document(self, change: str, source: str, path: str, content_hash: bytes, send: Send) -> None:
        """A document is new or changed: so it must have been then."""
        del send  # it follows from the content
        before = self._documents.pop((source, path), None)
        if before is None:
            self.add(f"{_place(source, path)} is {change}")
        elif before[1] != content_hash:
            self.add(f"{_place(source, path)} was changed again")

    def gone(self, change: str, source: str, path: str) -> None:
        """A document has moved or vanished: so it must have then."""
        if (source, path) not in self._gone:
            self.add(f"{_place(source, path)} has {change}")
        self._gone.discard((source, path))

    def skipped(self, source: str, path: str, reason: str) -> None:
        """A file is not taken: so it must have been then."""
        if (source, path) not in self._plan.skipped:
            self.add(f"{_place(source, path)} is no longer taken: {reason}")

    def waiting(self, key: bytes, tokens: int) -> None:
        """A text waits: it must be one of those of the plan."""
        del tokens
        self._waiting.discard(key)
        if key not in self._plan.keys and not self._plan.limited:
            self.add(f"text {key.hex()} waits to be sent, too")

    def finish(self, connection: View) -> None:
        """What the new plan does not name must have been done meanwhile."""
        for (source, path), (_, content_hash) in self._documents.items():
            known = _document(connection, source, path)
            if known is None or known.state != "present" or known.content_hash != content_hash:
                self.add(f"{_place(source, path)} is no longer what was planned")
        for source, path in self._gone:
            known = _document(connection, source, path)
            if known is not None and known.state == "present":
                self.add(f"{_place(source, path)} is back")
        known_keys = plan_state.embedding_states(connection, list(self._waiting))
        for key in self._waiting:
            if known_keys.get(key, DROPPED) in (DROPPED, WANTED):
                self.add(f"text {key.hex()} is no longer needed")


def _document(connection: View, source: str, path: str) -> documents.DocumentRow | None:
    return next(iter(documents.find(connection, source, path)), None)


def _place(source: str, path: str) -> str:
    return f"{source}:{names.display(path)}"
