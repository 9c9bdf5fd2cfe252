"""What settings must be to each other.

Pure: nothing here touches a disk or the network, so that `status` answers even when a source's file server
does not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from voyage_jobs.config.address import Address
from voyage_jobs.config.problems import Loc, Problem
from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.provider import shares_space, vendor_of
from voyage_jobs.config.provider_sections import LOCAL_MODEL
from voyage_jobs.config.sections import PROVIDERS_LIMITS
from voyage_jobs.config.settings import Settings
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.object_uri import CLIENT_OPTIONS, OPTION_PREFIXES, is_secret_option
from voyage_jobs.errors import ConfigError
from voyage_jobs.vendors.registry import VENDORS, by_type

_TOKENS_PER_CHAR = 4  # a tokenizer that falls back to bytes makes at most one token of each UTF-8 byte
_LOCAL_SUFFIXES = (".localhost", ".internal", ".test")


def problems(settings: Settings, *, may_lack_sources: bool = False) -> Iterator[Problem]:
    """Everything that makes these settings unusable. A program may give its texts later: it needs no source yet."""
    yield from _base_url(settings)
    yield from _model(settings)
    yield from _search(settings)
    yield from _local(settings)
    yield from _limits(settings)
    yield from _splitting(settings)
    yield from _schedule(settings)
    yield from _storage(settings)
    yield from _server(settings)
    yield from _notify(settings)
    if not (settings.sources or may_lack_sources):
        text = "no source folder is configured; add [[sources]] with a name and a path."
        yield Problem(("sources",), text)
    yield from _source_names(settings)
    yield from _patterns(settings)
    yield from own_data_in_source(settings)


def warnings(settings: Settings) -> Iterator[str]:
    """What is allowed but probably not meant, a sentence each."""
    section, name, vendor = settings.section, settings.section_name, vendor_of(settings)
    yield from vendor.doubts(profile_of(settings))
    has_jobs = not (vendor.traits.sync_only or is_local(section.base_url))
    if has_jobs and section.quarantine_s <= section.timeout_s:
        yield (
            f"{name}.quarantine_s is not longer than {name}.timeout_s: a batch whose creation is still "
            "in flight may be created, and paid, a second time."
        )
    if section.input_type == "query":
        yield f'{name}.input_type is "query": documents are normally embedded as "document".'
    yield from _promises(settings)
    yield from _prices(settings)
    for outer, inner in _nested(settings.sources):
        yield (
            f"Source {inner.name} ({inner.path}) lies inside source {outer.name} ({outer.path}): files that both "
            "include are published once for each (the embeddings are paid only once)."
        )


def _promises(settings: Settings) -> Iterator[str]:
    """Promises that cannot be kept, or are not needed."""
    for source in settings.sources:
        promised_s = source.fresh_within_s
        if promised_s is None:
            continue
        seen_s = settings.watch.settle_s if source.watch is True else settings.watch.poll_interval_s
        seen_s = min(seen_s, source.scan_interval_s) if source.watch else source.scan_interval_s
        if seen_s >= promised_s:
            yield (
                f"Source {source.name} promises changes within {promised_s:g} s (fresh_within_s), but they are noticed"
                f" after {seen_s:g} s at best: raise it, or set watch or scan_interval_s."
            )


def _prices(settings: Settings) -> Iterator[str]:
    """Prices under a name that is misspelt, most likely: budgets and plans would go by the list all the same."""
    sections = (settings.voyage, settings.openai, settings.openai_sync, settings.local)
    named = {section.model for section in sections} | {
        settings.search.query_model,
        settings.search.rerank_model,
    }
    for model in settings.prices:
        if model not in named and not any(by_type(kind).find(model) for kind in VENDORS):
            yield (
                f'[prices."{model}"] is for a model that is not known here and that no setting names: the price of'
                f" {settings.section.model} is not changed by it."
            )


def is_local(url: str) -> bool:
    """Whether the URL's host can only be on this machine or a private network."""
    host = (urlsplit(url).hostname or "").lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_SUFFIXES)
    return address.is_loopback or address.is_private


def _base_url(settings: Settings) -> Iterator[Problem]:
    if vendor_of(settings).traits.in_process:
        return
    url, loc = settings.section.base_url, (settings.section_name, "base_url")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        yield Problem(loc, "is not a URL; write https://host/v1.", url)
        return
    if "@" in parts.netloc:
        variable = vendor_of(settings).traits.key_variable
        yield Problem(loc, f"must not hold a user name or password; the key comes from {variable}.")
    elif parts.scheme not in ("https", "http") or not host or parts.query or parts.fragment:
        yield Problem(loc, "is not the address of an API; write https://host/v1.", url)
    elif parts.scheme == "http" and not is_local(url):
        yield Problem(loc, "would send the API key over the network in clear; write https://.", url)


def _notify(settings: Settings) -> Iterator[Problem]:
    """Messages name sources and refs; the addresses may be secrets themselves, so they are not shown."""
    for key in ("webhook", "ping"):
        url = getattr(settings.notify, key)
        if not url:
            continue
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            known = False
        if not known:
            yield Problem(("notify", key), "is not an address; write https://host/path.")
        elif parts.scheme == "http" and not is_local(url):
            yield Problem(("notify", key), "would send messages over the network in clear; write https://.")
    command = settings.notify.command
    if command and not command[0].strip():
        yield Problem(("notify", "command"), 'begins with nothing; write ["/path/to/program", "argument"].')


def _model(settings: Settings) -> Iterator[Problem]:
    section, profile = settings.section, profile_of(settings)
    if not section.model:
        yield Problem(_said(settings, "model"), "names no model; write the name that the provider gives it.")
    if section.output_dtype in ("binary", "ubinary") and section.output_dimension % 8:
        text = f"must be divisible by 8 for {section.output_dtype} vectors, which pack eight into a byte."
        dimension, dtype = _said(settings, "dimension"), _said(settings, "dtype")
        yield Problem(dimension, text, section.output_dimension, (dtype,))
    for flaw in vendor_of(settings).flaws(profile):
        beside = () if flaw.beside is None else (_said(settings, flaw.beside),)
        yield Problem(_said(settings, flaw.setting), flaw.text, getattr(profile, flaw.setting), beside)


def _search(settings: Settings) -> Iterator[Problem]:
    """A model that is known for something else would be refused at every search, or find nothing that is near."""
    vendor, search = vendor_of(settings), settings.search
    model = vendor.find(search.rerank_model) if search.rerank_model else None
    if model is not None and not model.reranks:
        text = "is no reranker; use rerank-2.5, for example."
        yield Problem(("search", "rerank_model"), text, search.rerank_model)
    if search.query_model and not shares_space(vendor, settings.section.model, search.query_model):
        text = (
            f"is not known to make vectors that can be compared with those of {settings.section.model}; leave it out,"
            " or choose models that share a space: voyage-4-large, voyage-4, voyage-4-lite."
        )
        yield Problem(("search", "query_model"), text, search.query_model, (("voyage", "model"),))


def _local(settings: Settings) -> Iterator[Problem]:
    """A name stands for the same vectors forever: that of the packaged model is for no other."""
    local = settings.local
    if settings.provider.type != "local" or bool(local.model_dir) != (local.model == LOCAL_MODEL):
        return
    loc, beside = ("local", "model"), (("local", "model_dir"),)
    if local.model_dir:
        yield Problem(
            loc, "is the model that the extra brings; give yours a name of its own.", local.model, beside
        )
    else:
        yield Problem(
            loc, f"is in no folder: name it in local.model_dir, or use {LOCAL_MODEL}.", local.model, beside
        )


def _said(settings: Settings, part: str) -> Loc:
    """Where the settings say this part of the profile."""
    key = {"dimension": "output_dimension", "dtype": "output_dtype"}.get(part, part)
    return (settings.section_name, key)


def _limits(settings: Settings) -> Iterator[Problem]:
    """Nobody may ask for more than the provider takes."""
    limits, batching = vendor_of(settings).limits, settings.batching
    for name, limit in PROVIDERS_LIMITS.items():
        value, most = getattr(batching, name), getattr(limits, limit)
        if value > most:
            yield Problem(("batching", name), f"must be at most {most}.", value)


def _splitting(settings: Settings) -> Iterator[Problem]:
    splitting, model = settings.splitting, vendor_of(settings).find(settings.section.model)
    loc = ("splitting", "max_chars")
    if model and model.context_tokens and splitting.max_chars * _TOKENS_PER_CHAR > model.context_tokens:
        most = model.context_tokens // _TOKENS_PER_CHAR
        reads = f"{settings.section.model} reads ({model.context_tokens:,} tokens)"
        text = f"may be more than {reads}; use {most} or less."
        yield Problem(loc, text, splitting.max_chars, (_said(settings, "model"),))
    if splitting.overlap_chars * 2 >= splitting.max_chars:
        text = f"must be less than half of splitting.max_chars ({splitting.max_chars})."
        yield Problem(("splitting", "overlap_chars"), text, splitting.overlap_chars, (loc,))


def _schedule(settings: Settings) -> Iterator[Problem]:
    batching, polling = settings.batching, settings.polling
    if batching.min_inputs > batching.max_inputs:
        text = f"must not be more than batching.max_inputs ({batching.max_inputs})."
        yield Problem(("batching", "min_inputs"), text, batching.min_inputs, (("batching", "max_inputs"),))
    if polling.max_interval_s < polling.interval_s:
        text = f"must not be less than polling.interval_s ({polling.interval_s:g})."
        yield Problem(
            ("polling", "max_interval_s"), text, polling.max_interval_s, (("polling", "interval_s"),)
        )


def _storage(settings: Settings) -> Iterator[Problem]:
    """Options of object storage: none may be a secret, and a misspelt one would be without effect."""
    for name, value in settings.lancedb.storage_options.items():
        loc = ("lancedb", "storage_options", name)
        if is_secret_option(name):
            variable = name.upper()
            text = f"secrets do not belong in this file; set {variable}, or {variable}_FILE to a file that holds it."
            yield Problem(loc, text)
        elif not name.startswith(OPTION_PREFIXES) and name not in CLIENT_OPTIONS:
            known = (
                f"options begin with {', '.join(OPTION_PREFIXES)}, or are one of {', '.join(CLIENT_OPTIONS)}."
            )
            yield Problem(loc, f"unknown option; {known}")
        elif "@" in urlsplit(value).netloc:
            yield Problem(loc, "must not hold a user name or password.")


def _server(settings: Settings) -> Iterator[Problem]:
    if settings.server.listen:
        try:
            Address.parse(settings.server.listen)
        except ValueError as exc:
            yield Problem(("server", "listen"), f"{exc}.", settings.server.listen)


def _source_names(settings: Settings) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, source in enumerate(settings.sources):
        if source.name in first:
            text = f"is already the name of sources[{first[source.name]}]; choose another."
            yield Problem(("sources", index, "name"), text, source.name)
        first.setdefault(source.name, index)


def _patterns(settings: Settings) -> Iterator[Problem]:
    from voyage_jobs.sources.rules import PathRules

    for index, source in enumerate(settings.sources):
        for key, patterns in (("include", source.include), ("exclude", source.exclude)):
            try:
                PathRules(patterns, ())
            except ConfigError as exc:
                yield Problem(("sources", index, key), exc.message, list(patterns))


def own_data_in_source(
    settings: Settings, real: Callable[[Path], Path] = lambda path: path
) -> Iterator[Problem]:
    """Folders of ours that a source would read; `real` tells where a path leads to, where that may be looked at."""
    paths = settings.paths
    own: list[tuple[Loc, Path]] = [(("data_dir",), paths.data_dir)]
    if paths.lancedb is not None and not _inside(paths.lancedb, paths.data_dir):
        own.append((("lancedb", "uri"), paths.lancedb))
    for loc, folder in own:
        for index, source in enumerate(settings.sources):
            inner, outer = real(folder), real(source.path)
            if _inside(inner, outer) and not _out_of_sight(inner.relative_to(outer), source):
                text = (
                    f"lies inside source {source.name} ({source.path}), so voyage-jobs would read its own "
                    "files; move one of the two."
                )
                yield Problem(loc, text, str(folder), (("sources", index, "path"),))


def _out_of_sight(folder: Path, source: SourceSettings) -> bool:
    """Whether a folder of a source is below a hidden one at the top, and the source takes nothing hidden."""
    below = folder.parts
    return not source.hidden and not source.follow_symlinks and bool(below) and below[0].startswith(".")


def _nested(sources: tuple[SourceSettings, ...]) -> Iterator[tuple[SourceSettings, SourceSettings]]:
    for index, outer in enumerate(sources):
        for other, inner in enumerate(sources):
            same_twice = inner.path == outer.path and other < index
            if other != index and _inside(inner.path, outer.path) and not same_twice:
                yield outer, inner


def _inside(inner: Path, outer: Path) -> bool:
    return inner == outer or outer in inner.parents
