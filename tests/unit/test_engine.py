"""Work that others do ahead of its turn: the outcome is that of doing it here, whatever becomes of them."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys

import pytest
from hostile_readers import Hostile
from readers_in_use import use
from step_doors import prose, query, scan, source_row, versions_of
from tokenizer_file import make_tokenizer

from voyage_jobs.engine import children
from voyage_jobs.engine.engine import engine_of
from voyage_jobs.engine.in_order import Pause, in_order
from voyage_jobs.engine.waiting import finished
from voyage_jobs.readers.registry import BUILT_IN
from voyage_jobs.steps import ahead
from voyage_jobs.steps.scan import Scan

_FOR = " JOIN versions v ON v.id = {}.version_id JOIN documents d ON d.id = v.document_id"
STATE = (
    "SELECT name, state, reason, detail, content_hash, mtime_ns FROM documents ORDER BY name",
    "SELECT d.name, v.text_hash, v.splitter, v.title, v.sections, v.metadata, v.reading, v.headers, v.modified_at"
    " FROM versions v JOIN documents d ON d.id = v.document_id ORDER BY d.name",
    "SELECT d.name, c.ordinal, e.key, c.slot, c.start, c.end, c.section, c.tokens, e.vectors, e.tokens FROM chunks c"
    f"{_FOR.format('c')} JOIN embeddings e ON e.id = c.embedding_id ORDER BY d.name, c.ordinal",
    f"SELECT d.name, t.body FROM texts t{_FOR.format('t')} ORDER BY d.name",
)
"""What is on record, but for numbers that a slice more or less changes."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Whatever is scanned is worth an engine; no child of another test waits here."""
    monkeypatch.setattr(ahead, "WORTH_BYTES", 0)
    monkeypatch.setattr(ahead, "LEAST_BYTES", 0)
    children.rest()
    yield
    children.rest()


@pytest.fixture
def begun(monkeypatch):
    """The children that were started, first to last, with their tasks."""
    found, real = [], children.Child.__init__
    monkeypatch.setattr(
        children.Child, "__init__", lambda child, task: (real(child, task), found.append((task, child)))[0]
    )
    return found


def fill(world) -> None:
    """All that may become of a file."""
    world.write("a.md", "---\ntitle: An “A”\ntags: [x, y]\n---\n" + prose("a", 40))
    world.write("b.rst", "Title\n=====\n\nSome words.\n\nPart\n----\n\nMore words.\n")
    world.write("c.org", "#+TITLE: Org\n* One\nWords of one.\n** Two\nWords of two.\n")
    world.write("d.html", "<html><title>Page</title><body><h1>Head</h1><p>Words.</p></body></html>")
    world.write("e.txt", "Grüße aus Köln, 日本語、 und so weiter. " * 200)
    world.write("f.txt", b"\xff\xfe\x00binary\x00\x00")
    world.write("g.md", "")
    world.write("h.md", "Words.\n\n" + "data:image/png;base64," + "QUJD" * 400 + "\n\nMore words.\n")
    world.write("i.bad", "nothing")
    world.write("j.bad", "segfault")
    world.write("k.ipynb", "{no notebook")
    world.write("sub/l.mdx", "import X from 'y'\n\n# Head\n\nWords <X/>.\n")
    for number in range(70):
        world.write(f"many/m{number:02}.md", prose(f"m{number}", 2))


def sources(world):
    return [{"name": "docs", "path": str(world.docs), "include": ["*.*"]}]


def scanned(world, kind: str, **sections):
    """What a first scan into a state of its own has on record."""
    sections |= {"engine": {"kind": kind, "processes": 2}, "data_dir": str(world.root / kind)}
    with world.worker(sources=sources(world), **sections) as context:
        scan(context)
        return [query(context, each) for each in STATE]


@pytest.fixture
def hostile(monkeypatch):
    use(monkeypatch, Hostile(), *BUILT_IN)


@pytest.mark.parametrize("contextualized", [False, True], ids=["chunks", "windows"])
def test_the_state_is_the_same_whoever_reads(world, hostile, begun, contextualized):
    fill(world)
    endpoint = "/v1/contextualizedembeddings" if contextualized else "/v1/embeddings"
    model = "voyage-context-3" if contextualized else "voyage-4"
    tokenizer = str(make_tokenizer(world.root / "tokenizer.json"))
    found = []
    for kind in ("local", "processes"):
        told = {"endpoint": endpoint, "model": model, "tokenizer": tokenizer}
        found.append(scanned(world, kind, voyage=told))
        assert any(task == ahead.CUT for task, _ in begun) == (kind == "processes")
    assert found[0] == found[1]
    assert len(found[0][1]) > 75


def test_twenty_workers_killed_at_work_change_nothing(world, monkeypatch):
    monkeypatch.setattr(ahead, "PART_FILES", 2)
    for number in range(60):
        world.write(f"m{number:02}.md", prose(f"m{number}", 3))
    expected = scanned(world, "local")
    killed, real = [], children.Child.ask

    def ask(child, request, file):
        real(child, request, file)
        if len(killed) < 20:
            os.kill(child._process.pid, signal.SIGKILL)
            killed.append(child)

    monkeypatch.setattr(children.Child, "ask", ask)
    monkeypatch.setattr(ahead.circuits, "rests", lambda _context, _item: False)
    assert scanned(world, "processes") == expected
    assert len(killed) == 20
    assert len(world.log.named("engine.lost")) >= 8  # two at once may share the last kills


def test_an_engine_that_is_away_rests_and_files_are_read_here(world, monkeypatch):
    monkeypatch.setattr(ahead, "PART_FILES", 1)
    for number in range(6):
        world.write(f"m{number}.md", prose(f"m{number}"))

    def away(*_):
        raise OSError("no more processes")

    monkeypatch.setattr(children, "Child", away)
    with world.worker(engine={"kind": "processes", "processes": 2}) as context:
        assert scan(context).changed == 6
        [lost] = world.log.named("engine.lost")
        assert (lost["kind"], "no more processes" in lost["error"]) == ("processes", True)


def test_what_was_cut_for_another_profile_is_cut_again(world):
    world.write("a.md", prose("a"))
    with world.worker(engine={"kind": "processes", "processes": 2}) as context:
        scanning = Scan(context, source_row(context), context.source_settings("docs"))
        [work] = [*scanning._work("", scanning._source.revision("a.md")), *scanning._ahead.flush()]
        [turn] = finished(work)
        assert turn.cut is not None
        assert turn.under is context.active
        scanning._begin()
        list(scanning._note(turn._replace(under=None)))
        [(_, _, cut)] = scanning._slices._slice.read
        assert cut is None
        scanning._commit()
        assert versions_of(context, "a.md") == ["waiting"]


def test_one_core_has_no_engine(monkeypatch):
    monkeypatch.setattr("voyage_jobs.engine.engine.cores", lambda: 1)
    engine_of.cache_clear()
    assert engine_of("auto", 0).kind == "local"
    monkeypatch.setattr("voyage_jobs.engine.engine.cores", lambda: 2)
    engine_of.cache_clear()
    assert (engine_of("auto", 0).kind, engine_of("auto", 0).at_once) == ("processes", 2)
    assert engine_of("local", 8).at_once == 1
    engine_of.cache_clear()


def test_nothing_of_an_engine_is_imported_before_it_is_used():
    code = "import sys, voyage_jobs; voyage_jobs.open; print({'ray', 'multiprocessing'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "set()\n"


# In their order.


def work(name, steps, log):
    log.append(f"{name} begun")
    try:
        for _ in range(steps):
            yield None
        log.append(f"{name} done")
        return name
    finally:
        log.append(f"{name} over")


def test_works_come_back_in_their_order_and_no_more_than_allowed_are_begun():
    log = []
    lengths = [5, 1, 1, 0, 3, 1]
    works = (work(str(number), steps, log) for number, steps in enumerate(lengths))
    results = in_order(works, at_once=2, most=4)
    found = [each for each in results if not isinstance(each, Pause)]
    assert found == ["0", "1", "2", "3", "4", "5"]
    assert log.index("1 done") < log.index("0 done")
    running = list(itertools.accumulate({"begun": 1, "over": -1}.get(each.split()[1], 0) for each in log))
    assert max(running) == 2


def test_none_of_the_works_is_begun_beyond_the_window():
    log = []
    results = in_order((work(str(number), 0 if number else 9, log) for number in range(50)), 2, 3)
    assert next(results) is Pause.WAITING
    assert "2 done" in log
    assert "3 begun" not in log
    results.close()
    assert log[-1] == "0 over"


def test_works_that_give_way_are_heard_at_once():
    log = []
    assert list(in_order(iter([None, work("a", 0, log), None]), 2, 8)) == [Pause.ASKED, Pause.ASKED, "a"]
