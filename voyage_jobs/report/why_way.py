"""Why the wanted version of a document is not in the table yet: what each group of its chunks waits for."""

from __future__ import annotations

from collections.abc import Sequence

from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import Embedding, Version
from voyage_jobs.diagnosis.blocker import NOTHING_TO_DO
from voyage_jobs.diagnosis.snapshot import Moment, Text
from voyage_jobs.report import fresh, waits
from voyage_jobs.report.answer import Answer, waiting
from voyage_jobs.report.standing import (
    Group,
    Standing,
    groups,
    ref_of,
    since_then,
    word_of,
)
from voyage_jobs.report.waits import Wait
from voyage_jobs.report.words import clock_time, ranges
from voyage_jobs.state import backlog, batches, create_calls, history
from voyage_jobs.state import texts as version_texts
from voyage_jobs.state.history import ChunkHistory, VersionHistory, View
from voyage_jobs.state.outcomes import OUTCOME_WORDS

_MOST_GROUPS = 3


def on_its_way(view: Standing, wanted: VersionHistory) -> Answer:
    """Why a version that is waiting or ready is not published."""
    row = view.row
    chunks = list(history.chunks_of(view.connection, wanted.id))
    grouped = groups(chunks)
    said = f"{view.name} was seen {view.at(wanted.seen_at)} and split into {counted(wanted.chunks, 'chunk')}"
    said += f"{_provenance(wanted, chunks)}. It is not in the table yet."
    before = ""
    if view.served is not None and view.served.published_at is not None:
        before = f" Until then the table serves the version of {clock_time(view.served.published_at, view.moment.now)}."
    if wanted.state is Version.READY or not [each for each in grouped if each.state is not Embedding.HELD]:
        wait = waits.to_be_published(view.moment, has_text=_has_text(view, wanted))
        answer = waiting("document", ref_of(row), said, wait)
    else:
        open_ = [each for each in grouped if each.state is not Embedding.HELD]
        reasons = [of_group(view, each, alone=len(open_) == 1) for each in open_[:_MOST_GROUPS]]
        latest = [each.until for each in reasons]
        text = " ".join(each.text for each in reasons)
        if len(open_) > _MOST_GROUPS:
            text += f" And {len(open_) - _MOST_GROUPS} more reasons: `voyage-jobs history {word_of(view)}` lists them."
        until = None if None in latest else max(at for at in latest if at is not None)
        wait = Wait(reasons[0].code, text, until, reasons[0].next)
        answer = waiting("document", ref_of(row), said, wait)
    since = since_then(view)
    answer.paragraph += before + (f" {since.text}" if since is not None else "")
    return answer


def _has_text(view: Standing, version: VersionHistory) -> bool:
    if version_texts.has_text(view.connection, version.id):
        return True
    return since_then(view) is None


def _provenance(wanted: VersionHistory, chunks: Sequence[ChunkHistory]) -> str:
    """Where the vectors come from: which were reused, which were sent, in which batches and lines."""
    reused = [each for each in chunks if each.state is Embedding.HELD and each.wanted_at < wanted.seen_at]
    sent = [each for each in chunks if each not in reused and each.last is not None]
    parts = []
    if reused:
        parts.append(f"{len(reused):,} reuse vectors that were paid for before")
    by_ref: dict[str, list[int]] = {}
    for each in sent:
        if each.last is not None:
            by_ref.setdefault(each.last.ref, []).append(each.last.line)
    for ref, lines in list(by_ref.items())[:_MOST_GROUPS]:
        word = "line" if len(set(lines)) == 1 else "lines"
        parts.append(f"{len(lines):,} went into batch {ref} ({word} {ranges(lines)})")
    at_once = [each for each in chunks if each.state is Embedding.HELD and each not in (*reused, *sent)]
    if at_once:
        parts.append(f"{len(at_once):,} came from a segment")
    return ": " + ", ".join(parts) if parts else ""


def of_group(view: Standing, group: Group, *, alone: bool) -> Wait:
    """Why these chunks have no vector."""
    count = len(group.chunks)
    which = ("It waits" if count == 1 else "They wait") if alone else f"{counted(count, 'chunk')} wait"
    if not alone and count == 1:
        which = "1 chunk waits"
    if group.state is Embedding.FAILED:
        text = f"{counted(count, 'chunk')} failed{words_of([group], view.moment.provider)}."
        return Wait("failed", text, None, "`voyage-jobs retry` tries again; mend the cause first.")
    if group.state is Embedding.DROPPED:
        text = f"{counted(count, 'chunk')} {'was' if count == 1 else 'were'} in a batch that an operator cancelled."
        return Wait("cancelled", text, None, "`voyage-jobs retry` sends them again.")
    if group.batch_id is not None:
        return of_batch_id(view.connection, view.moment, group.batch_id)
    wait = _to_be_sent(view, group)
    lane = fresh.told(view)
    text = f"{which} to be sent. {wait.text}{_tried(group.chunks)}"
    if lane is None:
        return Wait(wait.code, text, wait.until, wait.next)
    if lane.at_once:
        return Wait("fresh", f"{which} to be sent. {lane.text}", None, NOTHING_TO_DO)
    return Wait(wait.code, f"{text} {lane.text}", wait.until, wait.next)


def of_batch_id(connection: View, moment: Moment, batch_id: int) -> Wait:
    """What a batch waits for, as the reason of what is in it."""
    batch = batches.get(connection, batch_id)
    calls = create_calls.attempts_of(connection, batch_id)
    wait = waits.of_batch(moment, batch, calls[-1].sent_at if calls else None)
    if wait is None:  # over, and its lines not recorded: only verify can tell
        return Wait("batch_over", f"Batch {batch.ref} is over.", None, "`voyage-jobs verify` says more.")
    return wait


def _to_be_sent(view: Standing, group: Group) -> Wait:
    first = history.embedding(view.connection, group.chunks[0].key)
    if first is None:
        return Wait("unknown", "Its embedding is not on record.", None, "`voyage-jobs verify` says more.")
    ahead = backlog.ahead_of(view.connection, first.id, first.refusals)
    text = Text(first.tokens, view.place.source_id, first.refusals, ahead)
    return waits.to_be_sent(view.moment, text)


def _tried(chunks: Sequence[ChunkHistory]) -> str:
    """What came of the tries before."""
    tries = max((each.attempts for each in chunks), default=0)
    last = next((each.last for each in chunks if each.attempts and each.last is not None), None)
    if not tries or last is None:
        return ""
    detail = f": {last.detail}" if last.detail else ""
    times = "once" if tries == 1 else f"{tries} times"
    where = f"line {last.line} of batch {last.ref}"
    return f" It was sent {times} without a vector: {where}, {OUTCOME_WORDS[last.outcome]}{detail}."


def words_of(failed: Sequence[Group], provider: str) -> str:
    """The words of the provider about what failed."""
    lines = [each.last for group in failed for each in group.chunks if each.last is not None]
    if not lines:
        return ""
    words = sorted({line.detail or OUTCOME_WORDS[line.outcome] for line in lines})
    return f" (batch {lines[-1].ref}, line {lines[-1].line}; {provider} says: {'; '.join(words[:3])})"
