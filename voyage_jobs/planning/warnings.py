"""What an operator should know before saying yes to a plan, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.prices import batch_price, price_of
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.core.clock import iso
from voyage_jobs.core.plural import counted, money
from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.diagnosis import record_words
from voyage_jobs.diagnosis.rebuild_words import plan_warning
from voyage_jobs.diagnosis.rooms import Room
from voyage_jobs.readers.data import data_in
from voyage_jobs.sources.files import SkipReason
from voyage_jobs.state import documents, plan_state
from voyage_jobs.state.sources import DEFAULTS, SourceRow
from voyage_jobs.steps.reading import LEFT_OPEN, source_of
from voyage_jobs.steps.texts import Texts

if TYPE_CHECKING:
    from voyage_jobs.planning.plan import SourcePlan
    from voyage_jobs.planning.rehearsal import Rehearsal

_FILES = 5  # of records, that are told of


def warnings(
    tried: Rehearsal,
    plans: Sequence[SourcePlan],
    report: dict[str, Any],
    asked: Mapping[int, int],
) -> Iterator[str]:
    """All of them. `asked` are the tokens that the budgets are asked for, by source."""
    settings = tried.context.settings
    yield from _about_settings(tried)
    for pause in tried.paused.by_what.values():
        yield f"{pause} The plan includes what it holds back."
    for each in plans:
        yield from _about_source(each)
    yield from _about_older_sources(tried)
    yield from _about_data(tried)
    for room in tried.rooms:
        yield from _about_budget(room, asked)
    most = settings.batching.max_in_flight_batches
    if report["batches"]["count"] > most and not vendor_of(settings).traits.sync_only:
        yield f"No more than {counted(most, 'batch')} in flight at a time; the others follow as these end."
    if report["batches"]["tokens"] and report["price_usd"]["batch"]:
        yield "This is the list price: an account's free tokens do not apply to batches."


def _about_settings(tried: Rehearsal) -> Iterator[str]:
    profile, count, settings = tried.context.asked, tried.context.count, tried.context.settings
    yield from tried.context.vendor.doubts(profile)
    if tried.active is not None and tried.active != profile:
        yield plan_warning(profile, tried.active)
    if count.flaw is not None:
        yield f"Tokens are estimated: {count.flaw}."
    elif settings.section.tokenizer and not count.exact:
        named = f"{count.path}, which [{settings.section_name}] tokenizer names"
        yield f"Tokens are estimated: {named}, is not there."


def _about_source(plan: SourcePlan) -> Iterator[str]:
    known = (
        plan.new,
        plan.changed,
        plan.moved,
        plan.unchanged,
        plan.vanished,
        plan.kept,
        *plan.skipped.values(),
    )
    if not any(known) and not (plan.frozen or plan.would_freeze or plan.record_files):
        others = sum(plan.passed_over.values())
        what = f"none of its {counted(others, 'file')} fits its `include`" if others else "it is empty"
        yield f"Source {plan.name} ({plan.path}) has no documents: {what}."
    if plan.frozen:
        yield f"Source {plan.name} is frozen: {plan.frozen}."
    elif plan.would_freeze:
        yield f"Source {plan.name} would be frozen, and nothing of it deleted: {plan.would_freeze}."
    if plan.unreadable_folders:
        yield f"{counted(plan.unreadable_folders, 'folder')} of source {plan.name} cannot be read."
    if plan.broken_front_matter:
        yield f"{counted(plan.broken_front_matter, 'file')} of source {plan.name}: front matter cannot be read whole."
    for each in plan.record_files[:_FILES]:
        yield from record_words.all_of(plan.name, each)
    if text := record_words.others(plan.name, plan.record_files, _FILES):
        yield f"{text}."
    if plan.cut_again:
        documents = f"{counted(plan.cut_again, 'unchanged document')} of source {plan.name}"
        yield f"[splitting] or a reader has changed: {documents} would be cut again, and embedded where that differs."
    large = plan.skipped.get(SkipReason.TOO_LARGE, 0)
    if large:
        yield f"Larger than the max_file_bytes of source {plan.name}, and not taken: {counted(large, 'file')}."


def _about_older_sources(tried: Rehearsal) -> Iterator[str]:
    """A source of an older release takes what a new one leaves out, until its settings say so."""
    configured = {source.name: source for source in tried.context.settings.sources}
    for row in tried.rows:
        source = configured[row.name]
        left_open = [name for name in LEFT_OPEN[:2] if getattr(source, name) is None]
        if row.defaults >= DEFAULTS or not left_open:
            continue
        rules = source_of(source).rules
        with tried.context.store.read() as connection:
            count = sum(not rules.keeps(path) for path in documents.present_paths(connection, row.id))
        if count:
            keys = " and ".join(f"{name} = true" for name in left_open)
            yield (
                f"Source {row.name} began with an older release and takes {counted(count, 'document')} that a new one"
                f" leaves out (.gitignore, what tools have made). They stay until you say {keys} for it."
            )


def _about_data(tried: Rehearsal) -> Iterator[str]:
    """And it embeds the data in its texts: what that costs of what is to be sent."""
    context = tried.context
    older = [row for row in tried.rows if row.defaults < DEFAULTS]
    for row in older:
        source = next(each for each in context.settings.sources if each.name == row.name)
        tokens = _data_tokens(tried, row) if source.skip_data is None else 0
        if tokens:
            usd = price_of(tokens, batch_price(context.settings))
            price = "" if usd is None else f" ({money(usd)})"
            yield (
                f"Source {row.name} began with an older release, so data in its texts (inline images, minified JSON) is"
                f" embedded: about {tokens:,} tokens{price} of what is to be sent. skip_data = true would save them."
            )


def _data_tokens(tried: Rehearsal, row: SourceRow) -> int:
    """About how many tokens of what is new or changed in a source are data."""
    found = 0
    with tried.context.store.read() as connection:
        texts = Texts(connection)
        for each in plan_state.documents_found(connection, row.id, tried.since):
            text = texts.of_version(each.version_id) if each.version_id is not None else None
            spans = () if text is None else data_in(text, mdx=each.path.endswith(".mdx"))
            found += sum(estimate_tokens(text[start:end]) for start, end in spans if text is not None)
    return found


def _about_budget(room: Room, asked: Mapping[int, int]) -> Iterator[str]:
    tokens = sum(asked.values()) if room.source_id is None else asked.get(room.source_id, 0)
    if tokens > room.tokens:
        until = "in one run" if room.anew_at is None else f"now; the rest is sent from {iso(room.anew_at)} on"
        yield f"{room.setting} allows {max(0, room.tokens):,} of {tokens:,} tokens {until}."
