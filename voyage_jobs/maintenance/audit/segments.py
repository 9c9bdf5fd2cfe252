"""The segments against the state: are they here, are they what was written, and does each hold what the state says?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from voyage_jobs.errors import CorruptionError
from voyage_jobs.maintenance.audit.findings import Findings
from voyage_jobs.segments import SegmentReader, SegmentStore
from voyage_jobs.state import audit, segment_rows
from voyage_jobs.state.audit import HeldEmbedding
from voyage_jobs.state.door import Reader
from voyage_jobs.state.segment_rows import SegmentRow
from voyage_jobs.steps.context import Progress

if TYPE_CHECKING:
    import numpy as np


def audit_segments(store: Reader, segments: SegmentStore, found: Findings, progress: Progress) -> set[str]:
    """Look at every segment on disk and on record; the names of those whose vectors cannot be relied on."""
    with store.read() as connection:
        known = {segment.id: segment for segment in segment_rows.all_segments(connection)}
        bad: set[str] = set()
        for done, (pack_id, group) in enumerate(groupby(audit.held(connection), lambda each: each.pack_id)):
            segment = known[pack_id]
            progress("checking segments", done, len(known))
            found.looked_at("packs")
            held = list(group)
            found.looked_at("embeddings", len(held))
            if not _is_sound(segments, segment, found):
                bad.add(segment.name)
                continue
            for each in misplaced(segments.open(segment.name), held):
                found.add("pack_rows", f"{each.key.hex()} in {segment.name}", each.id)
    _audit_strangers(segments, {segment.name for segment in known.values()}, found)
    return bad


def _is_sound(segments: SegmentStore, segment: SegmentRow, found: Findings) -> bool:
    try:
        size = segments.path(segment.name).stat().st_size
    except FileNotFoundError:
        found.add("pack_missing", segment.name, segment.name)
        return False
    try:
        rows = segments.open(segment.name).rows
    except CorruptionError:
        rows = -1
    if size != segment.bytes or rows != segment.rows:
        found.add("pack_cut", segment.name, segment.name)
        return False
    if not segments.check(segment.name, segment.sha256):
        found.add("pack_changed", segment.name, segment.name)
        return False
    return True


def _audit_strangers(segments: SegmentStore, known: set[str], found: Findings) -> None:
    for name in segments.names():
        if name not in known:
            found.looked_at("packs")
            try:
                segments.open(name)
            except CorruptionError:
                found.add("pack_unreadable", name, name)
            else:
                found.add("pack_unknown", name, name)


def misplaced(reader: SegmentReader, held: Iterable[HeldEmbedding]) -> Iterator[HeldEmbedding]:
    """Those of these embeddings (all of one segment) whose rows there are not theirs."""
    keys, slots = _columns(reader)
    for each in held:
        end = each.row + each.vectors
        here = each.row >= 0 and end <= reader.rows
        if (
            not here
            or keys[each.row].tobytes() != each.key
            or slots[each.row] != 0
            or (each.vectors > 1 and not _is_run(keys[each.row : end], slots[each.row : end]))
        ):
            yield each


def _is_run(keys: np.ndarray, slots: np.ndarray) -> bool:
    import numpy as np

    return bool((keys == keys[0]).all() and (slots == np.arange(len(slots))).all())


def first_rows(reader: SegmentReader) -> dict[bytes, int]:
    """key -> its first row, of everything that a segment holds."""
    keys, slots = _columns(reader)
    return {keys[row].tobytes(): row for row in range(reader.rows) if slots[row] == 0}


def _columns(reader: SegmentReader) -> tuple[np.ndarray, np.ndarray]:
    """Keys and slots of a whole segment: 24 bytes a row, at most 100,000 rows or so."""
    import numpy as np

    keys = [np.empty((0, 20), np.uint8)]
    slots = [np.empty(0, np.int32)]
    parts = reader.keys()
    for part, numbers in parts:
        keys.append(part)
        slots.append(numbers)
    return np.concatenate(keys), np.concatenate(slots)
