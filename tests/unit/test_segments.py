"""Segments: written whole or not at all, read by row, and never wrong in silence when damaged."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from voyage_jobs.core.crash import arm
from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.errors import CorruptionError, DiskFullError
from voyage_jobs.segments import ROWS_PER_BATCH, SegmentReader, SegmentStore, SegmentWriter

PROFILE = Profile(endpoint=EMBEDDINGS, model="voyage-4", dimension=8, dtype="float", input_type="document")
REF = "ref1"


def some_rows(count, profile=PROFILE, first=0):
    """`count` rows whose key, slot and vector all tell the row number."""
    number = np.arange(first, first + count)
    keys = np.zeros((count, 20), np.uint8)
    keys[:, :8] = number.astype(">u8")[:, None].view(np.uint8).reshape(count, 8)
    vectors = np.repeat((number[:, None] + 1), profile.width, axis=1).astype(profile.storage_dtype)
    return keys, (number % 7).astype(np.int32), vectors


def write_segment(store, count, ref=REF, profile=PROFILE, portions=1000):
    with store.writer(profile, ref) as writer:
        for first in range(0, count, portions):
            writer.append(*some_rows(min(portions, count - first), profile, first))
        return writer.close()


@pytest.fixture
def store(tmp_path):
    return SegmentStore(tmp_path / "vectors")


@contextmanager
def file_size_limit(size):
    """A disk with no room: writes beyond `size` bytes of a file fail with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# Writing that fails


@pytest.mark.parametrize("rows", [10, 500_000 // 32])
def test_no_room_is_one_error_and_leaves_nothing(store, tmp_path, rows):
    with pytest.raises(DiskFullError, match=REF), file_size_limit(2048):
        write_segment(store, rows)

    assert files_below(tmp_path) == []
    assert write_segment(store, rows).rows == rows


def test_an_error_between_appends_leaves_nothing(store, tmp_path):
    def fail_in_the_middle():
        with store.writer(PROFILE, REF) as writer:
            writer.append(*some_rows(5000))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_the_middle()

    assert files_below(tmp_path) == []


def test_an_abandoned_writer_does_not_touch_the_pack_it_would_have_replaced(store):
    written = write_segment(store, 10)
    with store.writer(PROFILE, REF) as writer:
        writer.append(*some_rows(3))

    assert store.check(written.name, written.sha256)
    assert store.open(written.name).rows == 10


@pytest.mark.parametrize(
    ("keys", "slots", "vectors"),
    [
        (np.zeros((2, 19), np.uint8), np.zeros(2, np.int32), np.zeros((2, 8), np.float32)),
        (np.zeros((2, 20), np.uint8), np.zeros(3, np.int32), np.zeros((2, 8), np.float32)),
        (np.zeros((2, 20), np.uint8), np.zeros(2, np.int32), np.zeros((2, 7), np.float32)),
        (np.zeros((2, 20), np.uint8), np.zeros(2, np.int32), np.zeros((2, 8), np.float64)),
        (np.zeros((2, 20), np.int8), np.zeros(2, np.int32), np.zeros((2, 8), np.float32)),
    ],
)
def test_rows_of_another_shape_or_type_are_refused(store, keys, slots, vectors):
    with store.writer(PROFILE, REF) as writer, pytest.raises(ValueError, match="do not fit"):
        writer.append(keys, slots, vectors)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../state.db",
        "abc/x.arrow",
        "0123456789ab/../../x.arrow",
        "0123456789ab/x.arrow.tmp",
        "/etc/passwd",
    ],
)
def test_only_names_of_packs_are_ever_touched(store, name):
    for act in (store.path, store.open, store.remove, store.set_aside):
        with pytest.raises(ValueError, match="not the name of a segment"):
            act(name)


@pytest.mark.parametrize("ref", ["", "a/b", "..", "x" * 201, "new\nline"])
def test_a_ref_that_is_no_file_name_is_refused(store, ref):
    with pytest.raises(ValueError, match="no segment can be named"):
        store.writer(PROFILE, ref)


# Crash points


def test_the_crash_points_lie_around_the_rename(store):
    seen = []
    name = f"{PROFILE.fingerprint[:12]}/{REF}.arrow"
    arm(lambda point: seen.append((point, store.path(name).exists())))
    try:
        write_segment(store, 10)
    finally:
        arm(None)

    assert seen == [("segment.written", False), ("segment.renamed", True)]


@pytest.mark.parametrize(("point", "segments"), [("segment.written", 0), ("segment.renamed", 1)])
def test_a_killed_writer_leaves_the_whole_pack_or_a_file_that_is_discarded(store, tmp_path, point, segments):
    script = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
from pathlib import Path
from test_segments import SegmentStore, write_segment
from voyage_jobs.core.crash import arm_from_environment
arm_from_environment()
write_segment(SegmentStore(Path({str(tmp_path / "vectors")!r})), 3000)
"""
    env = {**os.environ, "VOYAGE_JOBS_CRASH_AT": f"{point}:1"}
    done = subprocess.run([sys.executable, "-c", script], env=env, check=False)

    assert done.returncode == 137
    assert len(store.names()) == segments
    assert store.discard_unfinished() == 1 - segments
    assert len(files_below(tmp_path)) == segments
    assert write_segment(store, 3000).rows == store.open(store.names()[0]).rows == 3000


# Reading what was written


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("portions", [7, 700, 1024, 5000])
def test_every_row_comes_back(store, count, portions):
    written = write_segment(store, count, portions=portions)
    reader = store.open(written.name)

    keys, slots, vectors = some_rows(count)
    assert written.rows == reader.rows == count
    assert np.array_equal(reader.take(np.arange(count)), vectors)
    found = list(reader.keys())
    assert all(len(part) == ROWS_PER_BATCH for part, _ in found[:-1])
    assert np.array_equal(np.concatenate([keys[:0], *[part for part, _ in found]]), keys)
    assert np.array_equal(np.concatenate([slots[:0], *[part for _, part in found]]), slots)


@pytest.mark.parametrize(
    ("dtype", "dimension"), [("float", 8), ("int8", 8), ("uint8", 8), ("binary", 64), ("ubinary", 64)]
)
def test_a_pack_knows_its_profile_and_ref(store, dtype, dimension):
    profile = Profile(EMBEDDINGS, "voyage-4", dimension, dtype, None)
    reader = store.open(write_segment(store, 100, profile=profile).name)

    assert (reader.profile, reader.ref) == (profile, REF)
    assert reader.take(np.arange(100)).dtype == profile.storage_dtype
    assert np.array_equal(reader.take(np.arange(100)), some_rows(100, profile)[2])


def test_rows_that_are_written_in_other_portions_make_the_same_file(store):
    first = write_segment(store, 5000, "a", portions=1)
    again = write_segment(store, 5000, "a", portions=1024)

    assert first == again
    data = store.path(first.name).read_bytes()
    assert (first.bytes, first.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@examples(100)
@given(
    rows=st.lists(st.integers(0, 4999), max_size=60)
    | st.integers(0, 4000).map(lambda i: list(range(i, i + 900)))
)
def test_take_answers_in_the_order_asked(segment_of_5000, rows):
    found = segment_of_5000.take(np.array(rows, np.int64))

    assert found.flags.c_contiguous
    assert found.shape == (len(rows), PROFILE.width)
    assert found[:, 0].tolist() == [row + 1 for row in rows]


@pytest.fixture(scope="module")
def segment_of_5000(tmp_path_factory):
    store = SegmentStore(tmp_path_factory.mktemp("segments") / "vectors")
    return store.open(write_segment(store, 5000).name)


def test_a_segment_that_is_cut_while_it_is_read_is_corruption(store):
    """Under a memory map this would be SIGBUS, and the end of the daemon."""
    reader = store.open(write_segment(store, 5000).name)
    os.truncate(reader.path, 4096)

    with pytest.raises(CorruptionError, match="cut while it was read"):
        reader.take(np.array([4000]))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much of a mapped file is in memory")
def test_a_segment_that_is_read_whole_does_not_stay_in_memory(store):
    wide = Profile(EMBEDDINGS, "voyage-4", 1024, "float", "document")
    reader = store.open(write_segment(store, 12_000, profile=wide).name)
    anyhow = np.random.default_rng(1).permutation(12_000)  # results come in any order
    for part in np.array_split(anyhow, 12):
        assert reader.take(part).any()

    assert resident_mib(reader.path) < 5  # of 48


def resident_mib(path):
    lines = Path("/proc/self/smaps").read_text().splitlines()
    starts = [at for at, line in enumerate(lines) if line.endswith(str(path))]
    sizes = [line for at in starts for line in lines[at + 1 : at + 5] if line.startswith("Rss:")]
    assert sizes
    return sum(int(line.split()[1]) for line in sizes) / 1024


@pytest.mark.parametrize("rows", [[-1], [5000], [0, 10**12]])
def test_a_row_that_is_not_there_is_corruption(segment_of_5000, rows):
    with pytest.raises(CorruptionError, match="ref1"):
        segment_of_5000.take(np.array(rows, np.int64))


# Damage


def damaged(store, name, data):
    path = store.path(name)
    path.unlink()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("rows", [0, 3, 3000])
def test_a_cut_pack_is_corruption_wherever_it_was_cut(store, rows):
    written = write_segment(store, rows)
    data = store.path(written.name).read_bytes()
    cuts = {
        *range(min(200, len(data))),
        *range(max(0, len(data) - 600), len(data)),
        *range(0, len(data), 1009),
    }
    for cut in sorted(cuts):
        path = damaged(store, written.name, data[:cut])
        with pytest.raises(CorruptionError, match=REF):
            SegmentReader(path)
        assert not store.check(written.name, written.sha256)


@pytest.mark.parametrize("rows", [3, 3000])
def test_a_tail_of_zeros_is_corruption(store, rows):
    written = write_segment(store, rows)
    data = store.path(written.name).read_bytes()
    for lost in sorted({1, 5, 6, 7, 10, 11, 100, 500, 512, 4096, len(data) // 2, len(data)}):
        if lost <= len(data):
            path = damaged(store, written.name, data[: len(data) - lost] + bytes(lost))
            with pytest.raises(CorruptionError, match=REF):
                SegmentReader(path)


def test_foreign_files_are_corruption(store):
    import pyarrow as pa

    name = write_segment(store, 10).name
    path = store.path(name)
    wrong = pa.schema([("key", pa.binary(20)), ("slot", pa.int32()), ("vector", pa.list_(pa.float32(), 8))])
    for schema in (
        pa.schema([("x", pa.int32())]),
        wrong,
        wrong.with_metadata(SegmentSchema.of(path).metadata),
    ):
        path.unlink()
        pa.ipc.new_file(str(path), schema).close()
        with pytest.raises(CorruptionError, match=REF):
            SegmentReader(path)
    for data in (b"", b"ARROW1", b"ARROW1ARROW1", b"<html>" * 100, b"ARROW1\0\0" + bytes(5000) + b"ARROW1"):
        damaged(store, name, data)
        with pytest.raises(CorruptionError, match="not a whole segment"):
            SegmentReader(path)


class SegmentSchema:
    """The Arrow schema of a segment on disk, as any Arrow reader sees it."""

    @staticmethod
    def of(path):
        import pyarrow as pa

        return pa.ipc.open_file(pa.OSFile(str(path))).schema


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"voyage_jobs.format", b"2"),
        (b"voyage_jobs.fingerprint", b"00" * 20),
        (b"voyage_jobs.profile", b"{}"),
        (b"voyage_jobs.profile", b"not json"),
        (b"voyage_jobs.profile", b"[1]"),
        (b"voyage_jobs.profile", PROFILE.to_json().replace("8", '"8"').encode()),
        (b"voyage_jobs.profile", b"\xff"),
        (b"voyage_jobs.ref", None),
    ],
)
def test_a_pack_whose_metadata_does_not_fit_is_corruption(store, key, value):
    import pyarrow as pa

    path = store.path(write_segment(store, 10).name)
    schema = SegmentSchema.of(path)
    metadata = {**schema.metadata, key: value}
    path.unlink()
    schema = schema.with_metadata({k: v for k, v in metadata.items() if v is not None})
    pa.ipc.new_file(str(path), schema).close()

    with pytest.raises(CorruptionError, match=REF):
        SegmentReader(path)


def test_batches_of_other_sizes_are_corruption(store):
    """Otherwise a row number would lead to another row's vector."""
    import pyarrow as pa

    path = store.path(write_segment(store, 3000).name)
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    path.unlink()
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)

    with pytest.raises(CorruptionError, match="record batch 1 follows one that is not full"):
        SegmentReader(path)


def test_a_damaged_footer_never_leads_to_other_vectors(store):
    written = write_segment(store, 2100)
    data = store.path(written.name).read_bytes()
    footer = int.from_bytes(data[-10:-6], "little") + 10
    random = np.random.default_rng(20_260_102)
    print("seed 20260102")
    for _ in range(2000):
        broken = bytearray(data)
        for at in random.integers(len(data) - footer, len(data), random.integers(1, 4)):
            broken[at] = random.integers(256)
        path = damaged(store, written.name, bytes(broken))
        try:
            reader = SegmentReader(path)
        except CorruptionError:
            continue
        assert np.array_equal(reader.take(np.arange(2100)), some_rows(2100)[2])


def test_flipped_bytes_never_crash_and_are_found_by_the_checksum(store):
    written = write_segment(store, 1500)
    data = store.path(written.name).read_bytes()
    random = np.random.default_rng(20_260_101)
    print("seed 20260101")
    near_the_end = random.integers(len(data) - 1200, len(data), 150)
    for at in [*random.integers(0, len(data), 150), *range(0, 900, 11), *near_the_end]:
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(random.integers(8))
        path = damaged(store, written.name, bytes(flipped))
        assert not store.check(written.name, written.sha256)
        try:
            reader = SegmentReader(path)
        except CorruptionError:
            continue
        assert reader.take(np.arange(reader.rows)).shape == (reader.rows, PROFILE.width)


# The store


def test_a_missing_pack_is_corruption_and_no_match(store):
    name = f"{PROFILE.fingerprint[:12]}/gone.arrow"

    with pytest.raises(CorruptionError, match="missing"):
        store.open(name)
    assert not store.check(name, "00")
    store.remove(name)
    assert store.names() == []


def test_trouble_of_the_system_is_not_mistaken_for_damage(store):
    name = write_segment(store, 10).name
    path = store.path(name)
    path.unlink()
    path.mkdir()

    with pytest.raises(IsADirectoryError):
        store.open(name)


def test_check_knows_the_bytes_that_were_written(store):
    written = write_segment(store, 2000)

    assert store.check(written.name, written.sha256)
    assert not store.check(written.name, "00" * 32)


def test_a_replaced_pack_is_read_anew_and_old_views_stay(store):
    name = write_segment(store, 10).name
    before = store.open(name)
    view = before.take(np.arange(10))
    assert store.open(name) is before
    write_segment(store, 20)

    assert store.open(name).rows == 20
    assert view[:, 0].tolist() == [float(i + 1) for i in range(10)]


def test_a_pack_that_vanished_is_not_read_from_memory(store):
    name = write_segment(store, 10).name
    store.open(name)
    store.path(name).unlink()

    with pytest.raises(CorruptionError, match="missing"):
        store.open(name)


def test_few_packs_are_kept_open(tmp_path):
    store = SegmentStore(tmp_path / "vectors", max_open=2)
    names = [write_segment(store, 10, f"ref{i}").name for i in range(4)]
    readers = [store.open(name) for name in names]

    assert store.open(names[3]) is readers[3]
    assert store.open(names[0]) is not readers[0]
    assert store.names() == sorted(names)


def test_set_aside_and_remove(store, tmp_path):
    name = write_segment(store, 10).name
    asides = [store.set_aside(name)]
    assert store.names() == []
    write_segment(store, 10)
    asides.append(store.set_aside(name))

    assert [path.name for path in asides] == [f"{REF}.arrow.damaged", f"{REF}.arrow.damaged-2"]
    write_segment(store, 10)
    store.remove(name)
    store.remove(name)
    assert files_below(tmp_path) == [path.name for path in asides]


def test_adopt_tells_all_there_is_to_know_and_names_the_damaged(store):
    written = [write_segment(store, rows, f"ref{rows}") for rows in (10, 2000, 3000)]
    store.path(written[1].name).write_bytes(b"ARROW1 no more")
    bad = []
    adopted = list(store.adopt(store.names(), lambda name, error: bad.append((name, error))))

    assert [segment.written for segment in adopted] == [written[0], written[2]]
    assert sum(len(keys) for segment in adopted for keys, _ in segment.reader.keys()) == 3010  # noqa: SIM118
    assert [name for name, _ in bad] == [written[1].name]
    assert isinstance(bad[0][1], CorruptionError)


def test_importing_packs_and_results_is_cheap():
    code = (
        "import sys, voyage_jobs.segments, voyage_jobs.vendors.rest.results, voyage_jobs.vendors.rest.lines\n"
    )
    code += "print([m for m in ('numpy', 'pyarrow', 'simdjson', 'pybase64') if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_writer_can_be_made_by_path(tmp_path):
    path = tmp_path / "0123456789ab" / "direct.arrow"
    path.parent.mkdir()
    with SegmentWriter(path, PROFILE, "direct") as writer:
        for first in range(0, 20_000, 1024):
            writer.append(*some_rows(1024, first=first))
        written = writer.close()

    assert written.name == "0123456789ab/direct.arrow"
    assert SegmentReader(path).ref == "direct"
