"""Logs: read in segments that their lines choose; what is appended is new, and what is rotated or packed is not."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from world import World

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.readers.reader import Refused
from voyage_jobs.records.formats import LogFile
from voyage_jobs.records.formats.log import MOST_BYTES, TAIL, Reached
from voyage_jobs.report.passed_over import how_to_take
from voyage_jobs.report.status import status
from voyage_jobs.state import record_files, sources

WORDS = ["pump", "valve", "tank", "started", "stopped", "at", "rate", "with", "pressure"]


def lines(count: int, first: int = 0) -> bytes:
    """Lines of a log, each one different, and always the same."""
    found = []
    for at in range(first, first + count):
        chance = random.Random(at)
        words = " ".join(chance.choice(WORDS) for _ in range(9))
        found.append(
            f"2026-05-{at // 2400 % 28 + 1:02}T{at // 100 % 24:02}:{at // 2 % 60:02}:00Z INFO {at} {words}\n"
        )
    return "".join(found).encode()


def rows(data: bytes, before: Reached | None = None) -> tuple[list[dict[str, str]], LogFile]:
    log = LogFile(io.BytesIO(data), len(data))
    log.read_on(before)
    return [dict(row.values) for row in log.rows()], log


LOG, HEAD = lines(6_000), lines(700)


def test_all_of_a_log_is_in_its_segments_and_none_is_too_long():
    found, log = rows(LOG)
    assert "".join(each["text"] for each in found).encode() == LOG
    assert len(found) > 5
    assert all(len(each["text"]) <= MOST_BYTES for each in found)
    assert [each["id"] for each in found].index(TAIL) == len(found) - 1
    assert found[0]["id"].startswith("2026-05-01T00:00:00-")
    assert log.reached is not None
    assert log.reached.offset == len(LOG) - len(found[-1]["text"])


def test_what_is_appended_or_cut_off_at_the_head_leaves_the_other_segments_as_they_are():
    known = {each["id"] for each in rows(LOG)[0]}
    grown = {each["id"] for each in rows(LOG + lines(1_000, 6_000))[0]}
    assert known <= grown
    cut = {each["id"] for each in rows(LOG[LOG.index(b"\n", 70_000) + 1 :])[0]}
    assert len(cut - known) <= 2


def test_it_is_read_on_from_where_the_last_reading_came_to():
    known, log = rows(LOG)
    more = LOG + lines(1_000, 6_000)
    news, _ = rows(more, log.reached)
    assert [each["id"] for each in known[:-1]] + [each["id"] for each in news] == [
        each["id"] for each in rows(more)[0]
    ]
    assert rows(lines(6_000, 50_000), log.reached)[0][0]["id"].startswith(
        "2026-05-21"
    )  # another log under its name
    assert len(rows(LOG[:1_000], log.reached)[0]) == 1


ODD = [b"\n", b"a line\n", b"\xe9", "é".encode() * 70_000, b"\0" * 40_000, b" x\n" * 30_000, b"\r\n"]


@examples(40)
@given(st.lists(st.integers(0, len(ODD) - 1), max_size=12))
def test_no_byte_is_lost_and_reading_on_is_reading_whole(parts):
    data = HEAD + b"".join(ODD[at] for at in parts)
    whole, _ = rows(data)
    said = "".join(each["text"] for each in whole)
    assert "".join(said.split()) == "".join(
        data.decode("utf-8", "backslashreplace").replace("\0", " ").split()
    )
    _, log = rows(data[: len(data) // 2])
    news, _ = rows(data, log.reached)
    assert [each["id"] for each in whole][-len(news) :] == [each["id"] for each in news]


def refusal(data: bytes) -> str:
    with pytest.raises(Refused) as refused:
        rows(data)
    return str(refused.value)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], LogFile]:
    def opened(data: bytes) -> LogFile:
        (tmp_path / "a").write_bytes(data)
        return LogFile((tmp_path / "a").open("rb"), len(data))

    return opened


def test_what_is_packed_says_the_same_and_a_part_or_a_bomb_is_refused(file):
    packed = gzip.compress(LOG)
    assert [dict(row.values) for row in file(packed).rows()] == rows(LOG)[0]
    with pytest.raises(Refused, match="broken"):
        list(file(packed[:-100]).rows())
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as writer:
        for _ in range(300):
            writer.write(b"\0" * (1 << 20))
    with pytest.raises(Refused, match="reader_limit"):
        list(file(bomb.getvalue()).rows())


def test_what_is_no_text_is_refused():
    assert refusal(b"\x89PNG" + bytes(range(256)) * 100).startswith("binary")
    assert rows(b"\0" * 200_000 + b"after a hole\n")[0][-1]["text"].strip() == "after a hole"
    assert rows(b"")[0] == []


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-16", ""),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-16-le", "auto"),
        ("utf-32", ""),
    ],
)
def test_a_log_whose_characters_are_several_bytes_says_what_it_says_in_utf_8(file, encoding, said):
    text = LOG.decode() + "größer 値段\n"
    log = file(text.encode(encoding) + b"\x41")
    log.encoding = said
    assert [dict(row.values) for row in log.rows()] == rows(text.encode())[0]
    assert log.reached is None


# In a source.


class Logs(World):
    """A world whose source holds logs."""

    def __init__(self, root: Path, **source: object) -> None:
        mine = {
            "name": "docs",
            "path": str(root / "docs"),
            "delete_grace_s": 0,
            "logs": ["*.log*"],
            "max_file_bytes": 1_000,
        }
        super().__init__(root, sources=[{**mine, **source}])

    def texts(self) -> list[str]:
        """All that is served."""
        return sorted(each["text"] for each in self.table_rows("text"))

    def file(self, name: str) -> record_files.RecordFile:
        """What is on record of a log."""
        with self.state.read() as connection:
            source = sources.by_name(connection, "docs")
            assert source is not None
            return record_files.of_source(connection, source.id)["", name]


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


SHORT = lines(4_000)


def test_what_is_appended_is_all_that_is_paid_for(logs):
    logs.write("app.log", SHORT)
    logs.run()
    before, served = logs.ledger.units(), len(logs.texts())
    assert logs.file("app.log").records >= 3
    logs.write("app.log", SHORT + lines(10, 4_000))
    logs.run()
    assert logs.ledger.units() - before <= 3
    assert served <= len(logs.texts()) <= served + 3
    assert sum(text.count("INFO") for text in logs.texts()) == 4_010


def test_a_log_that_is_rotated_and_packed_is_paid_once_and_served_once(logs):
    logs.write("app.log", SHORT)
    logs.run()
    before, texts = logs.ledger.units(), logs.texts()
    (logs.docs / "app.log").rename(logs.docs / "app.log.1")
    logs.write("app.log", lines(5, 90_000))
    logs.run()
    assert logs.ledger.units() == before + 1
    (logs.docs / "app.log.1").unlink()
    logs.write("app.log.1.gz", gzip.compress(SHORT))
    logs.run()
    assert logs.ledger.units() == before + 1
    assert [text for text in logs.texts() if "INFO 9000" not in text] == texts
    assert {each["path"].partition("#")[0] for each in logs.table_rows("path")} == {"app.log", "app.log.1.gz"}


def test_a_packed_log_that_is_cut_off_is_told_as_a_log_until_it_is_excluded(logs):
    logs.write("app.log", SHORT)
    logs.write("app.log.1.gz", gzip.compress(SHORT)[:-100])
    logs.run()
    [problem] = status(logs.settings(), logs.clock)["problems"]
    assert problem["code"] == "records_unread"
    assert "cannot be read: broken (only a part of what was packed)" in problem["message"]
    assert "exclude it" in problem["hint"]
    mine = logs.sections()["sources"][0]
    logs.run(sources=[{**mine, "exclude": ["*.gz"]}])
    assert status(logs.settings(), logs.clock)["healthy"]


def test_a_log_that_is_copied_and_truncated_is_paid_once(logs):
    logs.write("app.log", SHORT)
    logs.run()
    before, texts = logs.ledger.units(), logs.texts()
    logs.write("app.log.1", SHORT)
    logs.write("app.log", b"")
    logs.run()
    assert logs.ledger.units() == before
    assert logs.texts() == texts


def test_a_log_that_is_written_to_while_it_is_read_is_taken_up_to_there(logs, monkeypatch):
    path = logs.write("app.log", SHORT)
    real = LogFile.rows

    def growing(self):
        for row in real(self):
            with path.open("ab") as file:
                file.write(lines(1, 20_000))
            yield row

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(LogFile, "rows", growing)
        logs.run()
    assert sum(text.count("INFO") for text in logs.texts()) >= 4_000
    logs.run()
    assert sum(text.count("INFO") for text in logs.texts()) == path.read_bytes().count(b"INFO")


def test_a_pattern_is_for_names_and_logs_are_no_records(tmp_path):
    for wrong in ({"logs": ["old/*.log"]}, {"logs": ["*.log"], "records": {"text": "{a}"}}):
        with pytest.raises(ValueError, match=r"without folders|has logs and records"):
            SourceSettings(name="a", path=str(tmp_path), **wrong)


def test_packed_files_that_are_passed_over_tell_of_logs():
    assert how_to_take({".gz": 2, ".md": 1}) == (
        "`logs` of its source names logs, packed ones (.gz) among them: see docs/readers.md. "
        "Add *.md to `include` to have 1 of them read."
    )
