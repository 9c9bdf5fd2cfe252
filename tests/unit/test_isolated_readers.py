"""Readers in a process of their own: whatever happens there is a text or a reason here, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile_readers import Hostile
from readers_in_use import copy_of, use
from step_doors import prose, query, scan, shown, source_row, versions_of

from voyage_jobs.engine import children
from voyage_jobs.maintenance.doctor.readers import check_readers
from voyage_jobs.readers.reader import Refused
from voyage_jobs.readers.reading import read_text
from voyage_jobs.readers.registry import BUILT_IN, Registered
from voyage_jobs.report.why_file import judge
from voyage_jobs.steps.scan import Scan

HOSTILE = Registered(Hostile(), options={"title": "A title"})


@pytest.fixture(autouse=True)
def rested():
    """No child of another test waits here, or is left to one."""
    children.rest()
    yield
    children.rest()


def read(act: str):
    return read_text(HOSTILE, io.BytesIO(act.encode()))


def refusal(act: str) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        read(act)
    return refused.value.reason, refused.value.detail


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_gone(pid: int) -> bool:
    until = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_running(pid)


def group_of(pid: int) -> list[int]:
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit() and is_running(int(each.name)):
            try:
                if os.getpgid(int(each.name)) == pid:
                    found.append(int(each.name))
            except ProcessLookupError:
                continue
    return found


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        ("segfault", ("reader_crashed", "signal 11")),
        ("exit", ("reader_crashed", "exit code 3")),
        ("allocate", ("reader_memory", "more than 1,073,741,824 bytes")),
        ("long", ("reader_limit", "its text has more than 33,554,432 characters")),
        ("refuse", ("encrypted", "it needs a password")),
        ("surrogate", ("reader_failed", "hostile gave a text with a lone surrogate")),
    ],
)
def test_what_happens_there_is_a_reason_here_and_the_next_file_is_read(act, expected):
    assert refusal(act) == expected
    assert read("nothing").text == "after nothing"


def test_an_error_is_told_by_its_place():
    assert refusal("raise")[1].startswith("hostile: ZeroDivisionError in hostile_readers.py, line ")
    assert refusal("write")[1].startswith("hostile: OSError in hostile_readers.py, line ")
    assert not Path("/tmp/never-written").exists() or not Path("/tmp/never-written").stat().st_size


@pytest.mark.parametrize(("before", "tries"), [(False, 1), (True, 2)], ids=["alone", "after another file"])
def test_what_never_ends_is_ended_and_tried_again_where_it_was_not_alone(monkeypatch, before, tries):
    if before:
        read("nothing")
    monkeypatch.setattr(children, "DEADLINE_S", 1.0)
    begun = time.monotonic()
    assert refusal("hang") == ("reader_timeout", "no text within 1 seconds")
    assert time.monotonic() - begun >= tries
    assert children._idle == []
    monkeypatch.undo()
    assert read("nothing").text == "after nothing"


def test_what_it_prints_is_no_answer():
    found = read("print")
    assert (found.text, found.title) == ("after print", "A title")


@pytest.mark.parametrize("act", ["fork", "fork and return", "start"])
def test_processes_that_it_starts_end_with_the_file(act):
    pid = int(read("who").text.split()[0])
    assert read(act).text == f"after {act}"
    assert read("nothing").text == "after nothing"
    assert int(read("who").text.split()[0]) != pid
    assert group_of(pid) == []


def test_one_child_reads_many_files_and_one_that_was_killed_is_replaced():
    pid = int(read("who").text.split()[0])
    assert int(read("who").text.split()[0]) == pid
    os.kill(pid, signal.SIGKILL)
    assert int(read("who").text.split()[0]) != pid
    children.rest()
    assert is_gone(pid)


LARGE_PARENT = """
import io, sys
sys.path.insert(0, {tests!r})
from hostile_readers import Hostile
from voyage_jobs.engine import child
from voyage_jobs.readers.reading import read_text
from voyage_jobs.readers.registry import Registered
ballast = b"x" * (child.SPENT_BYTES + 1)
chosen = Registered(Hostile())
for _ in range(2):
    print(read_text(chosen, io.BytesIO(b"who")).text.split()[0])
"""


def test_one_child_reads_many_files_for_a_parent_that_is_large():
    code = LARGE_PARENT.format(tests=str(Path(__file__).parent))
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    first, second = told.split()
    assert first == second


def test_it_knows_no_key(monkeypatch):
    monkeypatch.setenv("VOYAGE_API_KEY", "pa-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    children.rest()
    names = set(read("environment").text.split())
    assert "OPENBLAS_NUM_THREADS" in names  # of 32 and more, the threads do not fit its addresses
    assert not {name for name in names if "KEY" in name or name.startswith("VOYAGE")}


PARENT = """
import io, sys, threading, time
sys.path.insert(0, {tests!r})
from hostile_readers import Hostile
from voyage_jobs.readers.reading import read_text
from voyage_jobs.readers.registry import Registered
chosen = Registered(Hostile())
print(read_text(chosen, io.BytesIO(b"who")).text, flush=True)
read_text(chosen, io.BytesIO({act!r}))
"""


@pytest.mark.parametrize("act", [b"hang", b"fork"])
def test_it_dies_with_its_parent_even_while_it_is_busy(act):
    code = PARENT.format(tests=str(Path(__file__).parent), act=act) + "time.sleep(1000)\n"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline().split()[0])
        if act == b"fork":  # until there are two
            until = time.monotonic() + 20
            while len(group_of(pid)) < 2 and time.monotonic() < until:
                time.sleep(0.02)
        parent.kill()
    assert is_gone(pid)
    assert group_of(pid) == []


# In a whole run.


def sources(world):
    return [{"name": "docs", "path": str(world.docs), "include": ["*.md", "*.bad"]}]


def test_a_scan_takes_what_can_be_read_and_tells_of_the_rest(world, monkeypatch):
    use(monkeypatch, Hostile(), *BUILT_IN)
    world.write("a.md", prose("a"))
    world.write("good.bad", "nothing")
    world.write("ill.bad", "segfault")
    world.run(sources=sources(world))
    assert shown(world)["good.bad"] == ["after nothing"]
    assert "ill.bad" not in shown(world)
    with world.worker(sources=sources(world)) as context:
        assert scan(context).changed == 0
    assert children._idle == []


def test_others_go_on_while_a_file_takes_its_time(world, monkeypatch):
    """What was read before it is on record at once; given up, it is not tried again as long as it stays as it is."""
    monkeypatch.setattr(children, "DEADLINE_S", 2.0)
    use(monkeypatch, Hostile(), *BUILT_IN)
    world.write("a.md", prose("a"))
    world.write("b.bad", "hang")
    world.write("c.md", prose("c"))
    with world.worker(sources=sources(world)) as context:
        scanning = Scan(context, source_row(context), context.source_settings("docs"))
        turns, waits, begun = scanning.run(), [], time.monotonic()
        for _ in turns:
            waits.append(time.monotonic() - begun)
            begun = time.monotonic()
            if len(waits) == 1:
                assert versions_of(context, "a.md") == ["waiting"]
                assert query(context, "select count(*) from documents") == [(1,)]
        assert len(waits) >= 3
        assert query(context, "select reason, detail from documents where name = 'b.bad'") == [
            ("reader_timeout", "no text within 2 seconds")
        ]
        assert versions_of(context, "c.md") == ["waiting"]
        monkeypatch.setattr(children, "Child", None)  # nobody asks again
        assert scan(context).changed == 0


@pytest.fixture
def begun(monkeypatch):
    """The reading processes that were started, first to last."""
    begun, real = [], children.Child.__init__
    monkeypatch.setattr(
        children.Child, "__init__", lambda child, task: (real(child, task), begun.append(child))[0]
    )
    return begun


def test_a_scan_that_is_given_up_leaves_no_process(world, monkeypatch, begun):
    use(monkeypatch, Hostile(), *BUILT_IN)
    world.write("b.bad", "hang")
    with world.worker(sources=sources(world)) as context:
        turns = Scan(context, source_row(context), context.source_settings("docs")).run()
        next(turns)
        turns.close()
    [child] = begun
    assert is_gone(child._process.pid)
    assert children._idle == []


def test_a_process_that_is_killed_while_it_reads_costs_nothing_but_time(world, monkeypatch, begun):
    use(monkeypatch, Hostile(), *BUILT_IN)
    world.write("b.bad", "wait")
    with world.worker(sources=sources(world)) as context:
        turns = Scan(context, source_row(context), context.source_settings("docs")).run()
        next(turns)
        os.kill(begun[0]._process.pid, signal.SIGKILL)
        assert [None for _ in turns]
        assert versions_of(context, "b.bad") == ["waiting"]
    assert len(begun) == 2


def test_a_file_that_changes_while_it_is_read_is_left_to_the_next_scan(world, monkeypatch):
    use(monkeypatch, Hostile(), *BUILT_IN)
    world.write("b.bad", "wait")
    with world.worker(sources=sources(world)) as context:
        turns = Scan(context, source_row(context), context.source_settings("docs")).run()
        next(turns)
        world.write("b.bad", "nothing")
        assert list(turns) is not None
        assert query(context, "select count(*) from documents") == [(0,)]
        assert scan(context).changed == 1


HINT = "reader hostile needs no_such_library: pip install 'voyage-jobs[hostile]'"


def lacking() -> Hostile:
    return copy_of(Hostile(), needs=("no_such_library",), extra="hostile")


def test_a_missing_library_is_a_reason_with_the_way_to_install_it(world, monkeypatch):
    use(monkeypatch, lacking(), *BUILT_IN)
    world.write("a.md", prose("a"))
    world.write("b.bad", "nothing")
    world.run(sources=sources(world))
    settings = world.settings(sources=sources(world))
    found = judge(settings.sources[0], "b.bad")
    assert (found.code, HINT in found.text) == ("no_reader", True)
    with world.worker(sources=sources(world)) as context:
        assert query(context, "select reason, detail from documents where name = 'b.bad'") == [
            ("no_reader", HINT)
        ]
    [line] = [each for each in check_readers() if each.name == "readers"]
    assert "hostile 1 (not in use: pip install 'voyage-jobs[hostile]')" in line.why
    use(monkeypatch, Hostile(), *BUILT_IN)  # it is installed
    world.run(sources=sources(world))
    assert shown(world)["b.bad"] == ["after nothing"]


def test_what_was_plain_text_before_a_reader_came_stays_served_until_its_library_is_there(world, monkeypatch):
    use(monkeypatch, *BUILT_IN)
    world.write("b.bad", "nothing")
    world.run(sources=sources(world))
    billed = world.ledger.units()
    use(monkeypatch, lacking(), *BUILT_IN)
    world.run(sources=sources(world))
    assert shown(world)["b.bad"] == ["nothing"]
    world.write("b.bad", "print")
    world.run(sources=sources(world))
    assert shown(world)["b.bad"] == ["nothing"]
    assert world.ledger.units() == billed
    use(monkeypatch, Hostile(), *BUILT_IN)
    world.run(sources=sources(world))
    assert shown(world)["b.bad"] == ["after print"]
