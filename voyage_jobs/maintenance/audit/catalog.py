"""Every class of damage: what it counts, what it means, and how it is mended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Damage:
    """A class of damage. `unit` is what is counted; `mend` what repair does; `person`: only an operator can."""

    unit: str
    means: str
    mend: str
    person: bool = False


_REBUILD = "publish everything again from the segments, at no cost"
_REPUBLISH = "publish the document again, at no cost"
_RESCAN = "scan the source"
_REMAKE = "cut the document again; its vectors are here already"

CATALOG: dict[str, Damage] = {
    # state.db against itself
    "state_damaged": Damage(
        "lines",
        "SQLite finds the file damaged",
        "move it aside and run `voyage-jobs recover`; or move the whole data folder aside and restore a backup",
        person=True,
    ),
    "tokens_impossible": Damage(
        "numbers",
        "more tokens than anything can have: sums of them fail",
        "put the estimate in their place, and book the money again",
    ),
    "counts_wrong": Damage("versions", "open or failed chunks are counted wrong", "count them again"),
    "totals_wrong": Damage("sources", "what they have and show is counted wrong", "count it again"),
    "chunks_wrong": Damage("versions", "chunks of the version are missing", _REMAKE),
    "leftovers": Damage("versions", "chunks or texts of what nobody wants any more", "delete them"),
    "embeddings_astray": Damage("embeddings", "count as sent, and no open batch has them", "have them sent"),
    "lines_open": Damage("batches", "over, with lines whose end is not known", "close the lines"),
    "documents_unversioned": Damage("documents", "neither published nor on the way there", _RESCAN),
    "documents_unretired": Damage("documents", "gone, and still to be served", "take their rows out"),
    "spend_wrong": Damage(
        "batches", "the money does not add up to what its lines say", "book it from the lines"
    ),
    "history_wrong": Damage("things", "are where no legal move led them", "put the break on record"),
    # the sources against the state
    "source_missing": Damage(
        "sources", "the folder is not there", "mount it, or correct its path", person=True
    ),
    "folder_unreadable": Damage("folders", "cannot be listed", "give this user access", person=True),
    "file_unknown": Damage("files", "on disk, and no scan has seen them", _RESCAN),
    "file_gone": Damage("files", "known, and not on disk any more", _RESCAN),
    "file_frozen": Damage(
        "files",
        "gone from a frozen source, and still served: no scan deletes them",
        "bring them back, or `voyage-jobs confirm-deletes NAME`",
        person=True,
    ),
    "file_stale": Damage("files", "not what they were when they were last read", _RESCAN),
    # the segments against the state
    "pack_missing": Damage("segments", "not on disk", "have their vectors made again, which costs"),
    "pack_cut": Damage(
        "segments", "not of the recorded size, or not whole", "have their vectors made again, which costs"
    ),
    "pack_changed": Damage(
        "segments", "their bytes have changed", "have their vectors made again, which costs"
    ),
    "pack_unknown": Damage("segments", "on disk, and not on record", "take in what they hold"),
    "pack_unreadable": Damage("segments", "on disk, not on record, not readable", "set them aside"),
    "pack_rows": Damage(
        "embeddings",
        "the segment has another vector at their place",
        "find them in the segment, or have them made again",
    ),
    # the table against the state and the segments
    "table_missing": Damage("tables", "not there", _REBUILD),
    "table_torn": Damage("tables", "cannot be read whole", "set it aside, and " + _REBUILD),
    "table_behind": Damage("tables", "lost commits that were acknowledged", _REBUILD),
    "table_foreign": Damage(
        "tables",
        "another program's, or for other vectors",
        "do as it says, or name another table in [lancedb] table",
        person=True,
    ),
    "table_of_another": Damage(
        "tables",
        "belong to another data folder",
        "name another table in [lancedb] table, or `voyage-jobs take-over`",
        person=True,
    ),
    "index_damaged": Damage(
        "indexes", "cannot be read: searches do without them", "build them again, at no cost"
    ),
    "index_empty": Damage(
        "indexes", "cover no row of the table: searches read every row", "build them again, at no cost"
    ),
    "rows_missing": Damage("rows", "published, and not in the table", _REPUBLISH),
    "rows_extra": Damage("rows", "of known documents that do not have them", "publish again, or delete them"),
    "rows_duplicate": Damage("rows", "in the table more than once", _REPUBLISH),
    "rows_unknown": Damage("rows", "of documents that the state does not know", "delete them"),
    "rows_wrong": Damage("rows", "text, id, place or metadata are not those on record", _REPUBLISH),
    "rows_vector": Damage("rows", "the vector is not the one in its segment", _REPUBLISH),
    # the provider against the state
    "job_orphan": Damage(
        "jobs", "ours by their mark, and not on record", "take them on, if they answer texts of ours"
    ),
    "job_twice": Damage("jobs", "run for a batch that has another job, or none any more", "cancel them"),
    "job_lost": Damage(
        "batches",
        "wait for a job that the provider does not know",
        "`voyage-jobs retry` or `cancel`",
        person=True,
    ),
    "file_orphan": Damage("files", "left at the provider, and needed by nobody", "delete them"),
}
