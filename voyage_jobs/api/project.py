"""`Project`: one data folder and what is kept in step with it, for programs. Methods are called as the commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from voyage_jobs.api import results
from voyage_jobs.config.item_sources import is_item_source, item_source, names_of, with_item_sources
from voyage_jobs.config.key import FILE_VARIABLE, KeySource
from voyage_jobs.config.load import load_settings, settings_of_values
from voyage_jobs.config.problems import written
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.bounds import MOST
from voyage_jobs.core.clock import US, Clock, SystemClock, now_us
from voyage_jobs.core.durable import is_there
from voyage_jobs.core.redact import remember
from voyage_jobs.errors import ConfigError

if TYPE_CHECKING:
    import httpx

    from voyage_jobs.api.items import Items
    from voyage_jobs.retrieval.retriever import Retriever
    from voyage_jobs.state.open_work import OpenWork

AnyPath = str | os.PathLike[str]
ApiKey = Callable[[], str]

_MOST_HITS = 1000
_MOST_BATCHES = 1_000_000
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_CHARS = 64
WAITING = "waiting for batches"
"""What `progress` is told while there is nothing to do but to wait for jobs: lines that are done, of all of them."""


def open(  # noqa: A001 - it is called as voyage_jobs.open
    path: AnyPath, *, api_key: ApiKey | None = None, api_key_file: AnyPath | None = None
) -> Project:
    """The project of a configuration file, as the commands see it: variables `VOYAGE_JOBS_...` override the file.

    The API key comes from where the commands take it, unless `api_key` (a function that returns it, asked at every use)
    or `api_key_file` says otherwise. Raises `ConfigError`, with everything that is wrong.
    """
    key = _key_source(api_key, api_key_file)
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(
            f"open takes the path of a configuration file, not {_kind(path)}.",
            hint="Settings without a file: voyage_jobs.project(sources=[...], ...).",
        )
    file = _path(path)
    if not is_there(file) or file.is_dir():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise ConfigError(f"{file} {what}; open takes the path of a configuration file.")
    return Project(load_settings(file, os.environ, key=key, may_lack_sources=True))


def project(
    *,
    sources: Sequence[AnyPath | Mapping[str, Any]] = (),
    api_key: ApiKey | None = None,
    api_key_file: AnyPath | None = None,
    **settings: Any,
) -> Project:
    """The project that these settings describe: names, sections and values are those of the configuration file.

    A source is a folder, named after itself, or what stands in `[[sources]]`; a section is a dict, as in
    `voyage={"model": "voyage-4-lite"}`. Relative paths are relative to the working directory. Variables
    `VOYAGE_JOBS_...` have no say; the API key comes from where the commands take it, unless `api_key` (a function that
    returns it, asked at every use) or `api_key_file` says otherwise. Raises `ConfigError`, with everything that is
    wrong.
    """
    if isinstance(sources, str | os.PathLike | Mapping) or not isinstance(sources, Iterable):
        raise ConfigError(f"sources is {_kind(sources)}; it must be a list, as in sources=[{sources!r}].")
    values = {**settings, "sources": [_source(each) for each in sources]}
    return Project(settings_of_values(values, os.environ, _key_source(api_key, api_key_file)))


def _source(given: AnyPath | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    if not isinstance(given, str | os.PathLike):
        raise ConfigError(f"A source is {_kind(given)}; it must be the path of a folder, or a dict.")
    path = _path(given).absolute()
    name = os.path.basename(os.path.normpath(path))
    return {"name": _NOT_IN_NAMES.sub("-", name)[:_NAME_CHARS], "path": str(path)}


def _path(given: AnyPath) -> Path:
    """A `~` of nobody's stays: what then does not exist is told by its name."""
    return Path(os.path.expanduser(os.fsdecode(given)))


def _key_source(api_key: ApiKey | None, api_key_file: AnyPath | None) -> KeySource | None:
    if isinstance(api_key, str):
        remember(api_key)
        raise ConfigError(
            "api_key is a text; it must be a function that returns the key.",
            hint="So the key stands in no object: api_key=lambda: ..., api_key_file=..., or VOYAGE_API_KEY.",
        )
    if api_key is not None and not callable(api_key):
        raise ConfigError(f"api_key is {_kind(api_key)}; it must be a function that returns the key.")
    if api_key is not None and api_key_file is not None:
        raise ConfigError("Give api_key or api_key_file, not both.")
    if api_key_file is not None:
        file = _path(_demand_path("api_key_file", api_key_file))
        return KeySource({FILE_VARIABLE: os.path.abspath(file)})
    return None if api_key is None else KeySource({}, ask=api_key)


class Project:
    """One data folder, its sources, its table. Made by `voyage_jobs.open` and `voyage_jobs.project`.

    It holds no file and no lock, and connections of a search close by themselves: there is nothing to close, and it may
    be used by several threads at once. Open one in each process: Lance does not work in a child that was forked after a
    search, and what gives the key is not to be pickled. The methods that look never wait for a process that works on
    the same data folder; `sync` alone takes its lock.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        if not isinstance(settings, Settings):
            raise ConfigError(
                f"A Project is not made out of {_kind(settings)}: voyage_jobs.open(PATH) makes one out of a"
                " configuration file, voyage_jobs.project(sources=[...]) out of settings."
            )
        self._settings = settings
        self._clock = clock or SystemClock()
        self._transport = transport
        self._retrievers: dict[tuple[str, ...], Retriever] = {}

    @property
    def _now(self) -> Settings:
        """The settings, with the sets of items that there are now."""
        return with_item_sources(self._settings)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A Project is not copied or pickled, since it may hold the key: open one in each process."
        )

    def __repr__(self) -> str:
        return f"<voyage_jobs.Project {str(self.data_dir)!r}, sources: {', '.join(self.sources) or 'none'}>"

    @property
    def data_dir(self) -> Path:
        """The folder that holds state, vectors and, unless configured otherwise, the table."""
        return self._settings.data_dir

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources, sets of items included."""
        return tuple(names_of(self._settings))

    @property
    def table_uri(self) -> str:
        """What `lancedb.connect` takes."""
        return self._settings.lancedb.uri

    @property
    def table_name(self) -> str:
        """What `open_table` takes."""
        return self._settings.lancedb.table

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed in the settings and probably not meant, one sentence each."""
        return self._settings.warnings

    def plan(
        self, *, max_inputs: int | None = None, progress: results.Progress | None = None
    ) -> results.Plan:
        """What a `sync` would send and what that would cost; sends nothing, records nothing, needs no key.

        It reads the sources, so it takes as long as a scan. `max_inputs` plans a `sync` with the same limit. Raises
        `StateError` for a state that cannot be read.
        """
        from voyage_jobs.api import mapping
        from voyage_jobs.planning.plan import plan
        from voyage_jobs.steps.context import no_progress

        _demand_progress(progress)
        _demand_whole("max_inputs", max_inputs, 1, optional=True)
        report = plan(self._now, self._clock, max_inputs=max_inputs, progress=progress or no_progress)
        return mapping.plan(report)

    def sync(
        self,
        *,
        wait: bool = True,
        max_inputs: int | None = None,
        max_usd: float | None = None,
        max_tokens: int | None = None,
        timeout_s: float | None = None,
        progress: results.Progress | None = None,
    ) -> results.SyncResult:
        """Do everything there is to do, wait for the jobs (minutes; at most 12 hours by Voyage's promise), return.

        With `wait=False` it sends, collects what is ready and returns: the next call goes on. At most `max_inputs`
        texts, `max_usd` US dollars' worth and `max_tokens` tokens are sent in this call, beside the limits of the
        settings; after `timeout_s` seconds it returns, whatever is left. `progress` is called in this thread, often,
        and should return at once; what it raises ends the call.

        It installs no signal handlers and may be called in any thread. KeyboardInterrupt, or any other death, at any
        moment loses nothing: jobs go on at the provider, and the next call resumes. Raises `LockedError` where a daemon
        or another sync works on the data folder (let it: it does the same work), `ConfigError` without a key, and
        `StateError`.
        """
        from voyage_jobs.api import mapping
        from voyage_jobs.api.log import LibraryLog
        from voyage_jobs.service.once import sync_once
        from voyage_jobs.service.signals import Signals
        from voyage_jobs.steps.context import no_progress

        _demand_progress(progress)
        _demand_flag("wait", wait)
        _demand_whole("max_inputs", max_inputs, 1, optional=True)
        _demand_whole("max_tokens", max_tokens, 0, optional=True)
        _demand_number("max_usd", max_usd)
        _demand_number("timeout_s", timeout_s)
        settings = self._now
        settings.demand_secrets()
        outcome = sync_once(
            settings,
            self._clock,
            LibraryLog(),
            Signals(),  # not entered: nothing is installed
            wait=wait,
            most_inputs=max_inputs,
            max_usd=max_usd,
            max_tokens=max_tokens,
            timeout_s=timeout_s,
            progress=progress or no_progress,
            watch=None if progress is None else lambda rest: _report_wait(rest, progress),
            transport=self._transport,
        )
        return mapping.sync_result(outcome, settings)

    def items(self, name: str) -> Items:
        """Texts of the program's own as a source called `name`: there is one as soon as something was put into it.

        Raises `ConfigError` for a name that no source can have, or that another source has.
        """
        from voyage_jobs.api.items import Items
        from voyage_jobs.items import ItemFolder

        _demand_text("name", name)
        source = item_source(self._settings, name)
        return Items(name, ItemFolder(source.path, source.max_file_bytes))

    def status(self) -> results.Status:
        """Where everything is: sources, chunks, batches, money, problems. Never raises for what the state may be."""
        from voyage_jobs.api import mapping
        from voyage_jobs.report.status import status

        return mapping.status(status(self._now, self._clock))

    def why(self, ref: AnyPath, *, source: str | None = None) -> results.Why:
        """Whether something is in the table, and if not, exactly why not, until when, and what to do.

        `ref` is a path, SOURCE:PATH, a chunk_id, a batch's ref, the provider's id of a job, or an embedding key. Raises
        `ConfigError` if it means nothing, or more than one thing; `StateError` if the state cannot be read.
        """
        from voyage_jobs.api import mapping
        from voyage_jobs.evaluation.jobs import why_of

        word = _demand_path("ref", ref)
        if source is not None:
            _demand_text("source", source)
        answer = why_of(self._now, self._clock, word, source)
        return mapping.why(answer.as_dict(now_us(self._clock)))

    def search(
        self,
        query: str,
        k: int = 5,
        *,
        mode: Literal["hybrid", "vector", "words"] = "hybrid",
        source: str | Sequence[str] | None = None,
        path: str | Sequence[str] | None = None,
        where: str | None = None,
        since: datetime | None = None,
        expand: int | Literal["section"] = 0,
        per_document: int | None = None,
        rerank: bool | str | None = None,
        table: str | Sequence[str] | None = None,
    ) -> results.Hits:
        """The `k` best chunks for `query`, best first: by meaning and by words, or by one of them.

        They are of these sources, at a path that one of these globs matches, of files modified since a moment (an aware
        datetime), and such that the SQL `where` holds for the row. `expand` gives each hit its neighbours or section
        as `context`; `per_document` is the most of one document. `rerank` has a model put the best 50 into a better
        order, the configured one or that which it names; None: as configured. `table` names others than the configured
        one, with their folder before them if that is another, too; several answer as one. Tables are only read.

        Unless by words, the query is embedded by one synchronous call, which costs a few tokens. Where that cannot be
        done the words alone answer, and `warnings` say so. Reranking is booked and kept to the budgets; where it cannot
        be done the order stands. Raises `ConfigError` where there is no table yet, no such
        source or nothing to look for.
        """
        from voyage_jobs.api import mapping
        from voyage_jobs.retrieval.result import Query
        from voyage_jobs.retrieval.retriever import Retriever

        _demand_text("query", query)
        if where is not None:
            _demand_text("where", where)
        _demand_whole("k", k, 1, _MOST_HITS)
        _demand_whole("per_document", per_document, 1, _MOST_HITS, optional=True)
        if expand != "section":
            _demand_whole("expand", expand, 0, _MOST_HITS)
        _demand_moment("since", since)
        settings = self._now
        tables = _several("table", table)
        if tables not in self._retrievers:
            self._retrievers[tables] = Retriever(self._settings, self._clock, self._transport, tables=tables)
        asked = Query(
            query,
            k,
            mode,
            _several("source", source),
            _several("path", path),
            where,
            since,
            expand,
            per_document,
            rerank=rerank,
        )
        found = self._retrievers[tables].search(asked, self.sources)
        item_sources = {each.name for each in settings.sources if is_item_source(settings, each)}
        return mapping.hits(found, item_sources)

    def batches(self, *, everything: bool = False, limit: int = 50) -> list[results.Batch]:
        """The open batches, oldest first; with `everything` closed ones too, newest first. At most `limit`.

        Those of `eval --batch` are among them: `asks_for` says what each is for.

        Raises `StateError` before the first sync.
        """
        from voyage_jobs.api import mapping
        from voyage_jobs.evaluation.jobs import states
        from voyage_jobs.report.batches import listing

        _demand_flag("everything", everything)
        _demand_whole("limit", limit, 1, _MOST_BATCHES)
        settings = self._now
        report = listing(
            settings, self._clock, everything=everything, limit=limit, of_queries=states(settings)
        )
        return [mapping.batch(each) for each in report["batches"]]

    def cost(
        self, *, by: Literal["day", "source", "model", "batch"] = "day", since: datetime | None = None
    ) -> results.Cost:
        """What was paid, what is reserved and what reuse saved, since a moment (an aware datetime) or ever.

        Raises `StateError` before the first sync.
        """
        from voyage_jobs.api import mapping
        from voyage_jobs.report.cost import cost
        from voyage_jobs.state.costs import BY

        if by not in BY:
            raise ConfigError(f"by is {by!r}; it must be one of {', '.join(BY)}.")
        _demand_moment("since", since)
        began = 0 if since is None else int(since.timestamp() * US)
        return mapping.cost(cost(self._now, self._clock, by, began))


def _report_wait(rest: OpenWork, progress: results.Progress) -> None:
    """Nothing to do but to wait for jobs."""
    if rest.open_batches:
        done = sum((batch.remote_completed or 0) + (batch.remote_failed or 0) for batch in rest.open_batches)
        progress(WAITING, done, sum(batch.remote_total or batch.inputs for batch in rest.open_batches))


def _several(name: str, given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Iterable):
        raise ConfigError(f"{name} is {_kind(given)}; it must be a text or a list of texts.")
    several = tuple(given)
    for each in several:
        _demand_text(f"one of {name}", each)
    return several


def _kind(value: object) -> str:
    """What a value is, for a message that must not quote it."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _demand_path(name: str, value: object) -> str:
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"{name} is {_kind(value)}; it must be a text or a path.")
    return os.fsdecode(value)


def _demand_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {_kind(value)}; it must be a text.")


def _demand_progress(progress: object) -> None:
    if progress is not None and not callable(progress):
        raise ConfigError(f"progress is {_kind(progress)}; it must be a function of what, done and total.")


def _demand_moment(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, datetime):
        raise ConfigError(f"{name} is {_kind(value)}; it must be a datetime with a time zone.")
    if value.tzinfo is None:
        raise ConfigError(f"{name} has no time zone; give an aware datetime.")
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise ConfigError(f"{name} is {value}, which is no time of UTC.") from None


def _demand_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {_kind(value)}; it must be True or False.")


def _demand_whole(name: str, value: object, least: int, most: int = MOST, *, optional: bool = False) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"{name} is {written(value)}; it must be a whole number from {least} to {most:,}.")


def _demand_number(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        raise ConfigError(f"{name} is {written(value)}; it must be a number from 0 to {MOST:,}.")
