"""The types of the public API, for mypy alone: never run."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, assert_type

import voyage_jobs
from voyage_jobs import Heading, Hit, Item, Place, Project, Reader, Refused, Text, errors


def types(project: Project, path: Path) -> None:
    assert_type(voyage_jobs.__version__, str)
    assert_type(voyage_jobs.open(path), Project)
    assert_type(voyage_jobs.open("x.toml", api_key=lambda: "key"), Project)
    assert_type(
        voyage_jobs.project(data_dir="data", sources=["docs", path, {"name": "a", "path": "b"}]), Project
    )
    plan = project.plan(max_inputs=10)
    assert_type(plan, voyage_jobs.Plan)
    assert_type(plan.usd, float | None)
    assert_type(plan.sources, tuple[voyage_jobs.SourcePlan, ...])
    assert_type(plan.as_dict(), dict[str, Any])
    result = project.sync(wait=False, max_usd=1, progress=print)
    assert_type(result, voyage_jobs.SyncResult)
    assert_type(result.in_flight, tuple[voyage_jobs.Batch, ...])
    assert_type(result.problems[0].hint, str | None)
    assert_type(result.done, bool)
    assert_type(project.status().likely_at, datetime | None)
    assert_type(project.status().chunks, voyage_jobs.Chunks)
    assert_type(project.status().sources, tuple[voyage_jobs.SourceStatus, ...])
    assert_type(project.why(path), voyage_jobs.Why)
    hits: list[Hit] = project.search("query")
    assert_type(hits[0], Hit)
    assert_type(project.search("query")[0].item_id, str | None)
    assert_type(project.batches(), list[voyage_jobs.Batch])
    assert_type(project.cost(by="model").total, voyage_jobs.CostRow)
    items = project.items("notes")
    assert_type(items, voyage_jobs.Items)
    assert_type(items.put([Item("a", "text", {"n": 1}), ("b", "text"), ("c", "text", {})]), int)
    assert_type(items.remove(["a"]), int)
    try:
        project.sync()
    except errors.LockedError as error:
        assert_type(error.hint, str | None)


class Subtitles(Reader):
    """A reader that inherits the defaults."""

    name = "srt"
    version = 1
    suffixes = (".srt",)

    def read(self, file: BinaryIO, options: Mapping[str, Any]) -> Iterator[Text]:
        found = file.read().decode()
        if not found:
            raise Refused("empty")
        headings = [Heading(0, 1, 1, "a")]
        yield Text(found, title="a", metadata={"n": 1}, headings=headings, places=[Place(0, "time", "1")])


class Alike:
    """A reader by its shape alone."""

    name = "vtt"
    version = 1
    suffixes: tuple[str, ...] = (".vtt",)
    heads: tuple[bytes, ...] = (b"WEBVTT",)
    forms: tuple[str, ...] = ("plain",)
    isolated = False

    def read(self, file: BinaryIO, options: Mapping[str, Any]) -> Iterator[Text]:
        yield Text(file.read().decode())


def readers() -> None:
    voyage_jobs.register_reader(Subtitles())
    voyage_jobs.register_reader(Alike(), {"kind": "caption"})
    voyage_jobs.register_reader(object())  # type: ignore[arg-type]


def wrong(project: Project) -> None:
    project.sync(max_input=1)  # type: ignore[call-arg]
    project.cost(by="week")  # type: ignore[arg-type]
    project.plan().usd = 1.0  # type: ignore[misc]
    voyage_jobs.nonsense  # type: ignore[attr-defined]  # noqa: B018
