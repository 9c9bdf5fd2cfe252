"""Watching: what is worth a scan, when it has come to rest, what is said when it does not work, and real events."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
from world import World

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.service.schedule import Note, Notes
from voyage_jobs.service.watching.file_events import (
    ADDED,
    DELETED,
    MODIFIED,
    WatchError,
    WatchLimitError,
    open_file_events,
)
from voyage_jobs.service.watching.news import MANY, News, judge
from voyage_jobs.service.watching.settling import Settling
from voyage_jobs.service.watching.silence import GRACE_S, Silence
from voyage_jobs.service.watching.watcher import Watcher
from voyage_jobs.service.watching.watchers import HINT, LOOK, Watchers, how_to_watch
from voyage_jobs.sources.folders import folders
from voyage_jobs.sources.rules import PathRules
from voyage_jobs.sources.source import RootMissing

PATIENCE_S = 30
NOTHING = News(worth_a_scan=False, folders=False)
A_FILE = News(worth_a_scan=True, folders=False)
A_FOLDER = News(worth_a_scan=True, folders=True)


# --- coming to rest ---


def test_it_is_ripe_when_nothing_was_heard_for_a_while():
    settling = Settling(2, 30)
    assert settling.left_s(0) is None
    assert not settling.take(0)
    for now in (10, 11, 12.5):
        settling.heard(now)
        assert not settling.take(now)
    assert settling.left_s(13) == 1.5
    assert settling.take(14.5)
    assert not settling.take(14.5), "once"


def test_what_never_rests_is_ripe_now_and_then():
    settling = Settling(2, 30)
    ripe = []
    for now in range(100):
        settling.heard(now)
        if settling.take(now):
            ripe.append(now)
    assert ripe == [30, 61, 92]


# --- what is worth a scan ---


@pytest.mark.parametrize(
    ("kind", "path", "news"),
    [
        (MODIFIED, "a.md", A_FILE),
        (ADDED, "sub/b.md", A_FILE),
        (DELETED, "gone.md", A_FILE),
        (ADDED, "picture.png", NOTHING),
        (ADDED, ".a.md.swp", NOTHING),
        (MODIFIED, "drafts/x.md", NOTHING),
        (ADDED, "drafts", NOTHING),
        (ADDED, "sub/new", A_FOLDER),
        (DELETED, "sub", A_FOLDER),
        (MODIFIED, "sub", NOTHING),
        (ADDED, "bad\udcff.md", A_FILE),
    ],
)
def test_only_what_the_rules_take_is_worth_a_scan(tmp_path, kind, path, news):
    (tmp_path / "sub" / "new").mkdir(parents=True)
    (tmp_path / "drafts").mkdir()
    rules = PathRules((), ("drafts/",))
    watched = {str(tmp_path), str(tmp_path / "sub")}
    assert judge([(kind, str(tmp_path / path))], str(tmp_path), rules, watched) == news


def test_after_a_flood_the_folders_are_looked_at_again(tmp_path):
    flood = [(MODIFIED, str(tmp_path / f"{number}.png")) for number in range(MANY)]
    assert judge(flood, str(tmp_path), PathRules((), ()), {str(tmp_path)}) == A_FOLDER


# --- which folders ---


def watched_below(root, follow_symlinks=False, rules=None):
    found = folders(os.fsencode(root), rules or PathRules((), ("drafts/",)), follow_symlinks=follow_symlinks)
    return sorted(os.path.relpath(os.fsdecode(path), root) for path in found)


def test_the_folders_are_those_that_a_scan_enters(tmp_path):
    root = tmp_path / "docs"
    for name in ("a/b", "drafts/x", ".git/objects"):
        (root / name).mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "in").symlink_to(root / "drafts")
    (root / "again").symlink_to(root / "drafts")
    (root / "lost").symlink_to(root / "nowhere")
    (root / "file.md").write_text("x")
    assert watched_below(root) == [".", "a", "a/b"]
    linked = watched_below(root, follow_symlinks=True)
    assert len(linked) == 5, "by one link only, or crossing links would go round forever"
    assert set(linked) - {"in", "again", "in/x", "again/x"} == {".", "a", "a/b"}
    with pytest.raises(RootMissing):
        watched_below(root / "nowhere")


def test_a_folder_that_cannot_be_listed_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    real = os.scandir

    def scandir(path):
        if isinstance(path, str | bytes | os.PathLike) and os.fsencode(path).endswith(b"/a"):
            raise PermissionError
        return real(path)

    monkeypatch.setattr("voyage_jobs.sources.folders.os.scandir", scandir)
    assert watched_below(tmp_path) == [".", "b"]


# --- a watcher, with an eye that sees what the test says ---


class ManyFileEvents:
    """Opens eyes that see `script`, item by item: changes, None, or an error; `[]` lets it wait for the next."""

    def __init__(self, *script, opening=()):
        self.script, self.opening = deque(script), deque(opening)
        self.opened, self.closed = [], 0

    def __call__(self, found, poll_s):
        if self.opening:
            error = self.opening.popleft()
            if error is not None:
                raise error
        self.opened.append((sorted(found), poll_s))
        return self

    def look(self, wait_s, stopping):
        if not self.script:
            stopping.wait(0.01)
            return ()
        seen = self.script.popleft()
        if isinstance(seen, Exception):
            raise seen
        return seen

    def close(self):
        self.closed += 1


class Listener:
    """One watcher and what it says."""

    def __init__(self, root, events, settle_s=0.0, poll_s=None):
        self.hints, self.news = [], threading.Event()
        self.states, self.opened_by_then, self.events = [], [], events
        source = SourceSettings(name="docs", path=root)
        self.watcher = Watcher(
            source,
            SystemClock(),
            settle_s=settle_s,
            poll_s=poll_s,
            hint=self.hinted,
            told=self.told,
            opening=events,
            retry_s=0.01,
        )

    def hinted(self, name):
        self.opened_by_then.append(len(getattr(self.events, "opened", ())))
        self.hints.append(name)
        self.news.set()

    def told(self):
        self.states.append(self.watcher.watched)
        self.news.set()

    def __enter__(self):
        self.watcher.start()
        return self

    def __exit__(self, *error):
        self.watcher.stop()
        self.watcher.join()
        assert not self.watcher.is_alive()

    def until(self, true):
        waited = 0
        while not true():
            self.news.wait(0.05)
            self.news.clear()
            waited += 1
            assert waited < PATIENCE_S * 20, (self.hints, self.states)


def codes(listener):
    return [state.code for state in listener.states]


def test_a_change_is_hinted_at(tmp_path):
    events = ManyFileEvents([(MODIFIED, str(tmp_path / "a.md"))], [(MODIFIED, str(tmp_path / "a.png"))])
    with Listener(tmp_path, events) as listener:
        listener.until(lambda: listener.hints and not events.script)
    assert listener.hints == ["docs"]
    assert events.opened == [([str(tmp_path)], None)]
    assert events.closed == 1


def test_new_folders_are_watched_before_they_are_scanned(tmp_path):
    (tmp_path / "new").mkdir()
    events = ManyFileEvents([(ADDED, str(tmp_path / "new"))])
    with Listener(tmp_path, events) as listener:
        listener.until(lambda: listener.hints)
    assert listener.opened_by_then == [2]
    assert events.opened[1][0] == [str(tmp_path), str(tmp_path / "new")]
    assert events.closed == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WatchLimitError("OS file watch limit reached."), "watch_limit"),
        (WatchError("odd"), "watch_failed"),
        (RuntimeError("odder"), "watch_failed"),
    ],
)
def test_what_keeps_it_from_watching_is_said_and_tried_again(tmp_path, error, code):
    events = ManyFileEvents(opening=[error, error, None])
    with Listener(tmp_path, events) as listener:
        listener.until(lambda: None in codes(listener))
        listener.until(lambda: listener.hints)
    assert codes(listener)[:3] == [code, code, None]
    assert listener.states[2].folders == 1
    assert listener.hints == ["docs"], "what changed until then is looked for"


def test_a_watch_that_breaks_is_set_up_again_and_the_source_is_scanned(tmp_path):
    events = ManyFileEvents(WatchError("the kernel has gone away"))
    with Listener(tmp_path, events) as listener:
        listener.until(lambda: listener.hints)
    assert codes(listener) == [None, "watch_failed", None]
    assert "gone away" in listener.states[1].message


def test_a_name_that_is_no_text_blinds_the_eye_so_another_is_opened(tmp_path):
    events = ManyFileEvents(None)
    with Listener(tmp_path, events) as listener:
        listener.until(lambda: listener.hints)
    assert len(events.opened) == 2
    assert codes(listener) == [None, None]


def test_folders_that_vanish_under_the_hand_are_listed_again(tmp_path):
    with Listener(tmp_path, events := ManyFileEvents(opening=[FileNotFoundError(), None])) as listener:
        listener.until(lambda: codes(listener) == [None])
    assert len(events.opened) == 1
    with Listener(tmp_path, ManyFileEvents(opening=[FileNotFoundError()] * 5)) as listener:
        listener.until(lambda: None in codes(listener))
    assert codes(listener) == ["watch_failed", None]


def test_a_folder_that_is_missing_is_waited_for(tmp_path):
    root = tmp_path / "docs"
    with Listener(root, ManyFileEvents()) as listener:
        listener.until(lambda: "watch_waiting" in codes(listener))
        root.mkdir()
        listener.until(lambda: None in codes(listener))
        listener.until(lambda: listener.hints)
    assert listener.hints == ["docs"]


def test_a_folder_that_goes_away_is_scanned_at_once_so_that_its_source_freezes(tmp_path, monkeypatch):
    monkeypatch.setattr("voyage_jobs.service.watching.watcher.CHECK_S", 0.0)
    root = tmp_path / "docs"
    root.mkdir()
    with Listener(root, events := ManyFileEvents()) as listener:
        listener.until(lambda: events.opened)
        root.rename(tmp_path / "away")
        listener.until(lambda: "watch_waiting" in codes(listener))
        listener.until(lambda: codes(listener).count("watch_waiting") > 2)
    assert len(listener.hints) == 1, "once, however long it stays away"


def test_a_root_that_is_another_folder_now_is_watched_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("voyage_jobs.service.watching.watcher.CHECK_S", 0.0)
    root = tmp_path / "docs"
    root.mkdir()
    with Listener(root, events := ManyFileEvents()) as listener:
        listener.until(lambda: events.opened)
        root.rename(tmp_path / "old")
        root.mkdir()
        listener.until(lambda: listener.hints)
    assert events.closed == len(events.opened) == 2


# --- real events ---


def writes(root, count):
    for number in range(count):
        folder = root / f"f{number % 50}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.md").write_text("x")


def test_a_burst_of_ten_thousand_files_is_one_hint(tmp_path):
    with Listener(tmp_path, open_file_events, settle_s=4.0) as listener:
        listener.until(lambda: codes(listener) == [None])
        writes(tmp_path, 10_000)
        listener.until(lambda: listener.hints)
        assert listener.watcher.watched.folders == 51
        (tmp_path / "f7" / "later.md").write_text("heard in a folder that came with the burst")
        heard = listener.watcher.watched.heard
        listener.until(lambda: listener.watcher.watched.heard > heard)
        assert listener.hints == ["docs"]
        listener.until(lambda: len(listener.hints) == 2)


def test_polling_hears_of_it_too(tmp_path):
    with Listener(tmp_path, open_file_events, settle_s=0.1, poll_s=0.1) as listener:
        listener.until(lambda: codes(listener) == [None])
        (tmp_path / "a.md").write_text("x")
        listener.until(lambda: listener.hints)
        assert listener.watcher.watched.mode == "poll"


def test_a_real_name_that_is_no_text(tmp_path):
    with Listener(tmp_path, open_file_events, settle_s=0.1) as listener:
        listener.until(lambda: codes(listener) == [None])
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.md")).write_text("x")
        listener.until(lambda: listener.hints)
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe"))
        folder.mkdir()
        (tmp_path / "sub").mkdir()
        listener.until(lambda: listener.watcher.watched.left_out == 1)


LIMITED = """
import sys
from voyage_jobs.service.watching.file_events import WatchLimitError, open_file_events
try:
    open_file_events(sys.argv[1:], None)
except WatchLimitError as exc:
    print("limit:", exc.message)
"""


@pytest.mark.parametrize("limit", ["max_inotify_watches", "max_inotify_instances"])
def test_the_kernels_own_limits_are_told_apart(tmp_path, limit):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Ur", "true"], check=False).returncode:
        pytest.skip("no user namespaces here, which have limits of their own")
    paths = [str(tmp_path / name) for name in "abc"]
    for path in paths:
        os.mkdir(path)
    script = f'echo 0 > /proc/sys/user/{limit} && exec "$@"'
    command = ["unshare", "-Ur", "sh", "-c", script, "sh", sys.executable, "-c", LIMITED, *paths]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.startswith("limit: "), done.stderr
    assert str(tmp_path) not in done.stdout


def test_folders_that_are_not_there_are_no_limit(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_file_events([str(tmp_path / "gone")], None)


# --- silence ---


def silence(*, heard_between=0, heard_after=0, setups_after=1, changed=3):
    """Two periodic scans, the second of which finds changes."""
    ears = Silence()
    ears.scan_begins("docs", 1, 5)
    ears.scan_found("docs", 0, 0.0)
    ears.scan_begins("docs", 1, 5 + heard_between)
    ears.scan_found("docs", changed, 300.0)
    heard = 5 + heard_between + heard_after
    assert not ears.look("docs", 1, 5 + heard_between, 300.0 + GRACE_S / 2)
    return ears, ears.look("docs", setups_after, heard, 300.0 + GRACE_S)


def test_changes_that_were_not_heard_of_make_a_watch_silent_until_it_hears():
    ears, new = silence()
    assert new
    assert ears.silent == {"docs"}
    ears.scan_begins("docs", 2, 5)
    assert not ears.look("docs", 2, 5, 900.0)
    assert ears.silent == {"docs"}
    assert not ears.look("docs", 2, 6, 901.0)
    assert ears.silent == set()


@pytest.mark.parametrize(
    "story", [{"heard_between": 1}, {"heard_after": 1}, {"setups_after": 2}, {"changed": 0}]
)
def test_a_watch_that_heard_or_had_nothing_to_hear_is_not(story):
    ears, new = silence(**story)
    assert not new
    assert ears.silent == set()


def test_the_first_scan_proves_nothing_nor_does_what_was_before():
    ears = Silence()
    ears.scan_begins("docs", 1, 0)
    ears.scan_found("docs", 9, 0.0)
    assert not ears.look("docs", 1, 0, 1000.0)
    ears.forget("docs")
    ears.scan_begins("docs", 2, 0)
    ears.scan_found("docs", 9, 0.0)
    assert not ears.look("docs", 2, 0, 1000.0)


# --- all of them ---


class Log:
    def __init__(self):
        self.events = []

    def __getattr__(self, level):
        return lambda event, **fields: self.events.append((level, event, fields))


class Many:
    """Watchers over settings, with notes and a log."""

    def __init__(self, *events):
        self.wake, self.log = threading.Event(), Log()
        self.notes = Notes(self.wake)
        waiting = deque(events)

        def opening(found, poll_s):
            return waiting.popleft()(found, poll_s)

        self.clock = SystemClock()
        self.watchers = Watchers(self.notes, self.clock, self.log, opening=opening)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.watchers.close()

    def until_told(self, code, source="docs"):
        for _ in range(PATIENCE_S * 20):
            body = self.watchers.report()
            if body and source in json.loads(body) and json.loads(body)[source]["code"] == code:
                return json.loads(body)[source]
            self.wake.wait(0.05)
            self.wake.clear()
        raise AssertionError(self.log.events)


def settings_of(root, **source):
    root.mkdir(exist_ok=True)
    return World(root.parent).settings(sources=[{"name": "docs", "path": str(root), **source}])


def test_each_source_is_watched_as_it_is_configured(tmp_path, monkeypatch):
    settings = settings_of(tmp_path / "docs")
    [source] = settings.sources
    assert how_to_watch(source, settings)[:2] == (2, None)
    assert how_to_watch(source.model_copy(update={"watch": "poll"}), settings)[1] == 30
    assert how_to_watch(source.model_copy(update={"watch": False}), settings) is None
    other = source.model_copy(update={"gitignore": not source.gitignore})
    assert how_to_watch(other, settings) != how_to_watch(source, settings), "other files are to be heard of"
    monkeypatch.setattr("voyage_jobs.core.lock.file_system_of", lambda path: "nfs4")
    assert how_to_watch(source, settings)[1] == 30, "events of other machines do not come"


def test_what_is_watched_follows_the_settings(tmp_path):
    with Many(ManyFileEvents(), ManyFileEvents()) as many:
        many.watchers.arm(settings_of(tmp_path / "docs"))
        told = many.until_told(None)
        assert (told["mode"], told["folders"], told["left_out"]) == ("events", 1, 0)
        many.watchers.arm(settings_of(tmp_path / "docs"))
        assert many.watchers.report() is None, "nothing is new"
        many.watchers.arm(settings_of(tmp_path / "docs", watch="poll"))
        assert many.until_told(None)["mode"] == "poll"
        many.watchers.arm(settings_of(tmp_path / "docs", watch=False))
        assert json.loads(many.watchers.report()) == {}
    started = [fields["mode"] for _, event, fields in many.log.events if event == "watch.started"]
    assert started == ["events", "poll"]


def test_hints_come_as_notes(tmp_path):
    with Many(ManyFileEvents([(MODIFIED, str(tmp_path / "docs" / "a.md"))])) as many:
        settings = settings_of(tmp_path / "docs")
        many.watchers.arm(
            settings.model_copy(update={"watch": settings.watch.model_copy(update={"settle_s": 0})})
        )
        taken = set()
        for _ in range(PATIENCE_S * 20):
            taken |= set(many.notes.take())
            if Note(HINT, "docs") in taken:
                break
            many.wake.wait(0.05)
            many.wake.clear()
        assert taken == {Note(HINT, "docs"), Note(LOOK)}


def test_trouble_is_logged_once_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr("voyage_jobs.service.watching.watcher.RETRY_S", 0.01)
    last_error = ManyFileEvents(opening=[WatchLimitError("no more")])
    with Many(last_error, last_error, ManyFileEvents()) as many:
        many.watchers.arm(settings_of(tmp_path / "docs"))
        many.until_told("watch_limit")
        many.watchers.report()
    offs = [fields for _, event, fields in many.log.events if event == "watch.off"]
    assert [off["code"] for off in offs] == ["watch_limit"]


def test_a_silent_watch_is_told_of_and_set_up_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("voyage_jobs.service.watching.silence.GRACE_S", 0.0)
    with Many(first := ManyFileEvents(), second := ManyFileEvents()) as many:
        many.watchers.arm(settings_of(tmp_path / "docs"))
        many.until_told(None)
        for changed in (0, 2):
            many.watchers.scan_begins("docs")
            many.watchers.scan_found("docs", changed)
        many.until_told("watch_silent")
        for _ in range(PATIENCE_S * 20):
            if second.opened:
                break
            many.wake.wait(0.05)
            many.wake.clear()
        assert first.closed
        assert second.opened
        second.script.append([(MODIFIED, str(tmp_path / "docs" / "a.md"))])
        many.until_told(None)


def test_polling_is_never_called_silent(tmp_path):
    with Many(ManyFileEvents()) as many:
        many.watchers.arm(settings_of(tmp_path / "docs", watch="poll"))
        many.until_told(None)
        for changed in (0, 2):
            many.watchers.scan_begins("docs")
            many.watchers.scan_found("docs", changed)
        assert many.watchers.report() is None


def test_a_thread_that_has_ended_is_told_of(tmp_path):
    with Many(ManyFileEvents()) as many:
        many.watchers.arm(settings_of(tmp_path / "docs"))
        many.until_told(None)
        watcher = many.watchers._running["docs"]
        watcher.stop()
        watcher.join()
        assert many.until_told("watch_failed")["message"] == "the watching thread has ended"


# --- what status says ---


def test_status_tells_what_is_not_watched(tmp_path):
    from voyage_jobs.diagnosis.blocker import shown
    from voyage_jobs.diagnosis.causes import blockers
    from voyage_jobs.diagnosis.snapshot import gather

    world = World(tmp_path)
    world.write("a.md", "# A\n\nThe first.\n")
    world.run()
    facts = replace(gather(world.settings(), world.clock), holder=77)
    for code in ("watch_limit", "watch_failed", "watch_silent"):
        state = {"code": code, "message": "odd", "mode": "events", "folders": 0, "left_out": 0}
        [problem] = shown(blockers(replace(facts, watching={"docs": state})))
        assert (problem.code, problem.severity) == (code, "info")
        assert "every 300 s" in problem.message
        assert "watch" in problem.next
    for code in (None, "watch_waiting", "watch_starting"):
        assert shown(blockers(replace(facts, watching={"docs": {"code": code}}))) == []
