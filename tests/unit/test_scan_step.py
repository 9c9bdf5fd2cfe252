"""scan: what it records of new, changed, vanished and unusual files, and what it costs."""

from __future__ import annotations

import errno
import os

import pytest
from older_state import as_of
from step_doors import (
    document,
    embeddings_by_state,
    prose,
    query,
    scan,
    shown,
    turns,
    versions_of,
)
from world import World

from voyage_jobs.state import sources
from voyage_jobs.steps.scan import Scan


@pytest.fixture
def unreadable(monkeypatch):
    """Make opening these names fail, as it does for users without the right to."""
    names = {}
    real = os.open

    def opens(path, *args, **kwargs):
        name = os.path.basename(os.fsencode(path))
        if name in names:
            raise OSError(names[name], os.strerror(names[name]))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", opens)
    return names


def source_row(context):
    with context.store.read() as connection:
        return sources.by_name(connection, "docs")


# New, changed, unchanged.


def in_place(path, text):
    """Overwrite a file as `cp -p` does: same size, same time, same inode."""
    before = path.stat()
    with path.open("r+") as file:
        assert len(text) == before.st_size
        file.write(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat()[:8] == before[:8]


def test_a_file_overwritten_in_place_with_its_size_and_time_is_taken(world):
    path = world.write("a.md", "# A\n\nThe price is 10.\n")
    world.run()
    in_place(path, "# A\n\nThe price is 99.\n")
    world.run()
    assert [row["text"] for row in world.table_rows("text")] == ["# A\n\nThe price is 99."]


def test_another_time_of_change_alone_costs_one_reading_and_no_money(world):
    path = world.write("a.md", prose("a", 2))
    world.run()
    paid = world.ledger.units()
    path.chmod(0o640)
    with world.worker() as context:
        look = Scan(context, source_row(context), context.settings.sources[0])
        list(look.run())
        assert (look.read, look.result.changed) == (1, 0)
        look = Scan(context, source_row(context), context.settings.sources[0])
        list(look.run())
        assert (look.read, look.result.unchanged) == (0, 1)
    world.run()
    assert world.ledger.units() == paid


def test_a_state_that_remembers_no_time_of_change_reads_nothing_and_remembers_it_from_then_on(tmp_path):
    world = World(tmp_path)
    older = {"sources": [world.sections()["sources"][0] | {"skip_data": False}], "splitting": {"rules": 1}}
    path = world.write("a.md", "# A\n\nThe price is 10.\n")
    world.write("deep/b.md", prose("b", 1))
    world.write("no.md", b"\0" * 99)
    world.run(**older)
    as_of(world, "0012")
    with world.worker() as context:
        assert query(context, "SELECT COUNT(ctime_ns) FROM documents") == [(0,)]
        look = Scan(context, source_row(context), context.settings.sources[0])
        list(look.run())
        assert (look.read, look.result.changed, look.result.unchanged) == (0, 0, 3)
        assert query(context, "SELECT COUNT(ctime_ns) FROM documents") == [(3,)]
    in_place(path, "# A\n\nThe price is 99.\n")
    world.run()
    assert "# A\n\nThe price is 99." in [row["text"] for row in world.table_rows("text")]


def test_new_documents_are_wanted_chunk_by_chunk(world):
    world.write("a.md", prose("a", 3))
    world.write("deep/er/b.md", prose("b", 2))
    with world.worker() as context:
        result = scan(context)
        assert (result.changed, result.unchanged, result.vanished, result.frozen) == (2, 0, 0, None)
        assert embeddings_by_state(context) == {"wanted": 5}
        assert document(context, "deep/er/b.md").state == "present"
        assert versions_of(context, "a.md") == ["waiting"]

        again = scan(context)
        assert (again.changed, again.unchanged) == (0, 2)
        assert versions_of(context, "a.md") == ["waiting"]


def test_an_edit_costs_only_the_chunks_it_touches(world):
    world.write("a.md", prose("a", 5))
    world.run()
    before = world.ledger.batch_tokens
    world.write("a.md", prose("a", 5) + "\n\n# a new section\n\nwith news")
    world.run()

    assert world.ledger.times_billed(shown(world)["a.md"][0]) == 1
    assert world.ledger.units() == 6
    assert 0 < world.ledger.batch_tokens - before < before / 3
    assert len(shown(world)["a.md"]) == 6
    assert not world.ledger.billed_more_than_once()


def test_a_file_that_was_only_touched_is_read_and_nothing_more(world):
    world.write("a.md", prose("a"))
    world.run()
    table = world.table_rows()
    world.write("a.md", prose("a"))  # the same content, another mtime
    with world.worker() as context:
        assert scan(context).changed == 0
        assert versions_of(context, "a.md") == ["published"]
        assert scan(context).unchanged == 1  # and the new mtime is remembered
    assert world.table_rows() == table


def test_a_newer_version_overtakes_one_that_was_never_sent(world):
    world.write("a.md", prose("first"))
    with world.worker() as context:
        scan(context)
        world.write("a.md", prose("second"))
        scan(context)
        assert versions_of(context, "a.md") == ["superseded", "waiting"]
        world.take_turns(context)
        assert embeddings_by_state(context) == {"held": 1, "dropped": 1}
    assert world.ledger.times_billed(prose("first")) == 0
    assert "second" in shown(world)["a.md"][0]


def test_a_revert_while_a_job_runs_costs_nothing(world):
    world.write("a.md", prose("first"))
    world.run()
    world.write("a.md", prose("second"))
    with world.worker() as context:
        turns(world, context, 6)
        world.write("a.md", prose("first"))
        scan(context)
        world.take_turns(context)
        assert versions_of(context, "a.md")[0] == "published"
        assert versions_of(context, "a.md")[-1] in ("superseded", "published")
    assert "first" in shown(world)["a.md"][0]
    assert not world.ledger.billed_more_than_once()


def test_a_file_written_just_now_is_read_again_next_time(world):
    """A second write within the clock's grain would not show in the mtime."""
    path = world.write("a.md", prose("one"))
    now_ns = int(world.clock.wall() * 1e9)
    os.utime(path, ns=(now_ns, now_ns))
    with world.worker() as context:
        scan(context)
        path.write_text(prose("two"))
        os.utime(path, ns=(now_ns, now_ns))
        scan(context)
        assert versions_of(context, "a.md") == ["superseded", "waiting"]
        world.clock.advance(10)
        scan(context)
        assert scan(context).unchanged == 1


def test_other_options_of_the_splitter_send_only_chunks_that_changed(world):
    world.by_rules(1)
    world.write("small.md", prose("small", 3))
    world.write("large.md", "# Large\n\n" + "\n\n".join(f"Paragraph {i}. " + "word " * 50 for i in range(12)))
    world.run()
    before = world.ledger.units()
    kept = shown(world)["small.md"]
    world.run(splitting={"max_chars": 600})
    assert shown(world)["small.md"] == kept
    assert max(map(len, shown(world)["large.md"])) <= 600
    assert all(world.ledger.times_billed(text) == 1 for text in kept)
    assert world.ledger.units() > before
    assert not world.ledger.billed_more_than_once()


def test_a_scan_that_dies_between_slices_is_taken_up_again(world, monkeypatch):
    monkeypatch.setattr("voyage_jobs.steps.scan_slices.SLICE_DOCUMENTS", 2)
    for number in range(5):
        world.write(f"{number}.md", prose(str(number)))
    with world.worker() as context:
        from voyage_jobs.steps.pipeline import Pipeline

        pipeline = Pipeline(context)
        pipeline.turn()  # one slice
        assert embeddings_by_state(context)["wanted"] == 2
    with world.worker() as context:  # the rest of the scan is gone with its process
        assert scan(context).changed == 3
        assert scan(context).unchanged == 5


# What is not taken, and why.


def test_what_is_not_taken_has_its_reason_on_record(tmp_path):
    world = World(tmp_path)
    world.write("text.md", prose("text"))
    world.write("binary.md", b"\x00\x01\x02" * 100)
    world.write("empty.md", b"")
    world.write("broken.md", b"# caf\xe9 \xff\xfe\xfa and so on")
    world.write("large.md", "x" * 5_000)
    os.mkfifo(world.docs / "pipe.md")
    os.symlink("text.md", world.docs / "link.md")
    small = [{"name": "docs", "path": str(world.docs), "max_file_bytes": 4_000}]
    with world.worker(sources=small) as context:
        scan(context)
        rows = query(context, "SELECT name, state, reason, detail FROM documents ORDER BY name")
        found = {name: (state, reason) for name, state, reason, _ in rows}
        assert found.pop("text.md") == ("present", None)
        assert {state for state, _ in found.values()} == {"skipped"}
        assert {name: reason for name, (_, reason) in found.items()} == {
            "binary.md": "binary",
            "broken.md": "undecodable",
            "empty.md": "empty",
            "large.md": "too_large",
            "link.md": "symlink",
            "pipe.md": "special",
        }
        assert "5,000 bytes" in next(detail for name, _, _, detail in rows if name == "large.md")
        assert scan(context).unchanged == 7  # nothing is looked at twice


def test_a_lower_limit_holds_for_files_that_were_taken_before(world):
    """They stayed until somebody edited them, which then took them out."""
    world.write("large.md", prose("large") + "x" * 4_000)
    world.write("small.md", prose("small"))
    world.run()
    small, plain = (
        [{"name": "docs", "path": str(world.docs), "delete_grace_s": 0, **more}]
        for more in ({"max_file_bytes": 4_000}, {})
    )
    paid = world.ledger.batch_tokens
    with world.worker(sources=small) as context:
        found = scan(context)
        assert (found.unchanged, context.log.named("scan.recorded")[-1]["skipped"]) == (1, 1)
        assert scan(context).unchanged == 2, "that is settled then"
    world.run(sources=small)
    assert list(shown(world)) == ["small.md"]
    with world.worker(sources=small) as context:
        assert document(context, "large.md").reason == "too_large"
    world.run(sources=plain)
    assert list(shown(world)) == ["large.md", "small.md"]
    assert world.ledger.batch_tokens == paid


def test_a_lower_limit_that_would_take_out_too_much_freezes_the_source(world):
    for name in ("a.md", "b.md", "c.md"):
        world.write(name, prose(name) + "x" * 4_000)
    world.run()
    small = [{"name": "docs", "path": str(world.docs), "max_file_bytes": 4_000}]
    with world.worker(sources=small) as context:
        assert "3 of 3 documents are gone, or no longer text (3)" in scan(context).frozen
    world.run(sources=small)
    assert len(shown(world)) == 3
    world.run()
    with world.worker() as context:
        assert scan(context).frozen is None


def test_a_file_that_becomes_binary_leaves_the_table(world):
    world.write("a.md", prose("a"))
    world.write("b.md", prose("b"))
    world.run()
    world.write("a.md", b"\x00\x00\x00\x01" * 50)
    world.run()
    assert list(shown(world)) == ["b.md"]
    world.write("a.md", prose("a"))
    world.run()
    assert list(shown(world)) == ["a.md", "b.md"]
    assert not world.ledger.billed_more_than_once()


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO])
def test_a_file_that_cannot_be_read_keeps_being_served(world, unreadable, error):
    world.write("a.md", prose("a"))
    world.run()
    world.write("a.md", prose("a, edited"))
    unreadable[b"a.md"] = error
    with world.worker() as context:
        scan(context)
        found = document(context, "a.md")
        assert (found.state, found.reason) == ("skipped", "unreadable")
        world.take_turns(context)
        assert versions_of(context, "a.md") == ["published"]
    assert "About a, part 0" in shown(world)["a.md"][0]

    unreadable.clear()
    world.run()
    assert "edited" in shown(world)["a.md"][0]


def test_files_that_failed_before_they_vanished_are_guarded_like_any_other(world, unreadable):
    """A share that first fails every read and then is not mounted must not empty the table in two steps."""
    for number in range(3):
        world.write(f"{number}.md", prose(f"number {number}"))
    world.run()
    with world.worker() as context:
        for number in range(3):
            world.write(f"{number}.md", prose(f"number {number}, touched"))
            unreadable[b"%d.md" % number] = errno.EIO
        scan(context)
        assert document(context, "0.md").state == "skipped"
        for number in range(3):
            world.remove(f"{number}.md")
        assert "looks empty" in scan(context).frozen
        world.take_turns(context)
    assert len(shown(world)) == 3


def test_a_folder_that_cannot_be_listed_loses_nothing(world, unreadable):
    world.write("sub/a.md", prose("a"))
    world.write("sub/deeper/b.md", prose("b"))
    world.write("c.md", prose("c"))
    world.run()
    unreadable[b"sub"] = errno.EACCES
    world.run()
    assert sorted(shown(world)) == ["c.md", "sub/a.md", "sub/deeper/b.md"]
    assert world.log.named("folder.unreadable")[-1]["path"] == "sub"


def test_a_file_that_changes_while_it_is_read_waits_for_the_next_scan(world, monkeypatch):
    path = world.write("a.md", prose("a"))
    real = os.read
    changing = [True]

    def reads(fd, count):
        data = real(fd, count)
        if changing and data:
            changing.clear()
            path.write_text("grown in between")
        return data

    monkeypatch.setattr(os, "read", reads)
    with world.worker() as context:
        assert scan(context).changed == 0
        assert world.log.named("file.later")[-1]["why"] == "changing"
        assert scan(context).changed == 1


# The rules.


def test_what_the_rules_leave_out_now_leaves_the_table(world):
    world.write("keep/a.md", prose("a"))
    world.write("drafts/b.md", prose("b"))
    world.write("drafts/c.md", prose("c"))
    world.run()
    without = [{"name": "docs", "path": str(world.docs), "delete_grace_s": 0, "exclude": ["drafts/"]}]
    world.run(sources=without)
    assert list(shown(world)) == ["keep/a.md"]

    world.run()  # and comes back with them, at no cost
    assert sorted(shown(world)) == ["drafts/b.md", "drafts/c.md", "keep/a.md"]
    assert not world.ledger.billed_more_than_once()


# Names.

NAMES = [
    b"plain.md",
    b'it\'s "quoted".md',
    b"100% sure_.md",
    b"new\nline.md",
    b"tab\there.md",
    b"back\\slash.md",
    "na\u00efve.md".encode(),
    "nai\u0308ve.md".encode(),  # the same to the eye
    b"latin-\xe9.md",
    b"\xff\xfe.md",
    "\U0010ff41 itself.md".encode(),  # from the block that escapes are made of
    b"-- ; DROP TABLE chunks.md",
    b"sub dir '%'/x.md",
    b" .. .md",
]


def test_any_name_goes_into_the_table_and_out_again(world):
    from voyage_jobs.sources import names

    for number, name in enumerate(NAMES):
        world.write(name, prose(f"number {number}"))
    world.run()

    rows = {names.decode(row["path"]): row["text"] for row in world.table_rows("path", "text")}
    assert set(rows) == set(NAMES)
    for number, name in enumerate(NAMES):
        assert f"About number {number}," in rows[name]

    for name in NAMES[:-1]:  # edited one by one: each replaces its own rows and nobody else's
        world.write(name, prose("edited " + name.hex()))
    world.run()
    rows = {names.decode(row["path"]): row["text"] for row in world.table_rows("path", "text")}
    assert set(rows) == set(NAMES)
    assert all("edited " + name.hex() in rows[name] for name in NAMES[:-1])

    for name in NAMES[1:]:
        os.unlink(os.path.join(os.fsencode(world.docs), name))
    with world.worker() as context:
        from voyage_jobs.steps.acts import perform

        scan(context)
        perform(context, "confirm", {"source": "docs"}, "a test")
        world.take_turns(context)
    assert list(shown(world)) == ["plain.md"]
