"""What must hold: after every turn, and when everything has come to rest."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.splits import of_new_state, sent, split
from voyage_jobs.config.sections import FreshSettings
from voyage_jobs.core import states
from voyage_jobs.core.clock import now_us
from voyage_jobs.core.profile import KeyMaker, Profile
from voyage_jobs.records.recipe import Recipe, Record
from voyage_jobs.records.rows import Row as RecordRow
from voyage_jobs.segments import SegmentStore
from voyage_jobs.simulator.catalog import MODELS
from voyage_jobs.simulator.endpoints import list_digest, text_digest
from voyage_jobs.simulator.vectors import Embedder, in_context
from voyage_jobs.state import circuits, ledger, setback
from voyage_jobs.state.fresh import NEVER_CALLED
from voyage_jobs.steps.context import profile_of
from voyage_jobs.steps.known_jobs import are_known
from voyage_jobs.vendors.remote import METADATA_REF

from .folders import Document, is_record
from .memory_table import Row
from .story import Violation

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .life import Life

SPLITS = (200, 400)
DIMENSIONS = (8, 16)

# A batch that is over has no line whose end is not known.
_OPEN_LINES = (
    "SELECT COUNT(*) FROM lines l JOIN batches b ON b.id = l.batch_id WHERE l.outcome = 0"
    " AND b.state IN ('collected', 'closed', 'refused', 'cancelled')"
)
# An embedding is with the provider, or on its way, exactly when one line of one open batch asks for it. But for those
# that somebody wanted at once although a batch had them: one line more, of a batch of mode sync; and once one of the
# two has brought the vector, it is held while the other is open. And for those that an older state finds in segments.
_ASTRAY = (
    "SELECT COUNT(*) FROM (SELECT e.id AS wanted, e.state, COUNT(b.id) AS open,"
    "  COALESCE(SUM(b.mode = 'sync'), 0) AS at_once FROM embeddings e"
    " LEFT JOIN lines l ON l.embedding_id = e.id AND l.outcome = 0"
    " LEFT JOIN batches b ON b.id = l.batch_id AND b.state NOT IN ('collected', 'closed', 'refused', 'cancelled')"
    " GROUP BY e.id) WHERE open - at_once > 1 OR at_once > 1"
    " OR ((open > 0) != (state = 1) AND NOT (open = 1 AND state = 2 AND (EXISTS (SELECT 1 FROM lines x"
    "  JOIN batches y ON y.id = x.batch_id WHERE x.embedding_id = wanted AND x.outcome = 1"
    "  AND (at_once OR y.mode = 'sync')) OR EXISTS (SELECT 1 FROM meta WHERE key = 'set_back'))))"
)
# A batch of mode sync has no job, one request at a time, and only such a batch makes the moves that need none.
_NO_JOB = (
    "SELECT COUNT(*) FROM batches b WHERE b.mode = 'sync' AND (b.remote_id IS NOT NULL OR b.input_file_id IS NOT NULL"
    "  OR (b.state = 'creating') != EXISTS (SELECT 1 FROM attempts a WHERE a.batch_id = b.id AND a.state = 'open'))"
)
# What a request was billed, or may have been: exactly that is booked.
_SPENT = "(SELECT COALESCE(SUM(tokens), 0) FROM spend s WHERE s.batch_id = b.id AND s.kind = '{}')"
_AT_ONCE = (
    "SELECT COUNT(*) FROM (SELECT b.state, b.tokens_estimated, b.tokens_settled,"
    "  (SELECT COUNT(*) FROM attempts a WHERE a.batch_id = b.id AND a.state = 'lost') AS lost,"
    f"  {_SPENT.format('maybe_paid')} AS maybe, {_SPENT.format('expedited')} AS billed,"
    "  (SELECT COALESCE(SUM(tokens), 0) FROM lines l WHERE l.batch_id = b.id) AS of_lines FROM batches b"
    "  WHERE b.mode = 'sync') WHERE lost > 1 OR maybe != lost * tokens_estimated"
    " OR billed != COALESCE(tokens_settled, 0) OR of_lines NOT IN (0, billed)"
    " OR (lost AND (billed OR state NOT IN ('cancelled', 'closed')))"
)
# What is reserved is what the open batches may cost.
_RESERVED = (
    "SELECT (SELECT COALESCE(SUM(CASE kind WHEN 'reserved' THEN tokens WHEN 'released' THEN -tokens ELSE 0 END), 0)"
    " FROM spend) - (SELECT COALESCE(SUM(tokens_estimated), 0) FROM batches"
    " WHERE state NOT IN ('collected', 'closed', 'refused', 'cancelled') AND tokens_settled IS NULL)"
)
# How often an operator chose to pay again: for what was in a batch whose results could not be had, or used. Where it
# was given up for the sake of one source (6), what it held of others (7) is wanted again.
_CHOSEN_AGAIN = (
    "SELECT e.key, COUNT(*) FROM lines l JOIN batches b ON b.id = l.batch_id JOIN embeddings e ON e.id = l.embedding_id"
    " WHERE b.remote_id IS NOT NULL AND l.outcome IN (6, 7) AND EXISTS (SELECT 1 FROM transitions t"
    "  WHERE t.batch_id = b.id AND t.kind = 'batch' AND t.origin = 'parked' AND t.target = 'cancelled') GROUP BY e.id"
)
_WRITTEN_OFF = (
    "SELECT COALESCE(SUM(s.tokens), 0) FROM spend s JOIN batches b ON b.id = s.batch_id"
    " WHERE s.kind = 'maybe_paid' AND b.mode = 'batch'"
)
# How often a text may have been bought on top of the one time: requests whose answer was lost, and those that asked for
# what was in a batch at that moment: by the order of moves, as clocks are set.
_BOUGHT_AGAIN = (
    "SELECT e.key, SUM(a.state = 'lost') + SUM(a.state = 'created' AND EXISTS (SELECT 1 FROM lines o"
    "  JOIN batches t ON t.id = o.batch_id WHERE o.embedding_id = e.id AND t.mode = 'batch' AND t.id < b.id"
    "  AND NOT EXISTS (SELECT 1 FROM transitions x WHERE x.batch_id = t.id AND x.kind = 'batch'"
    "   AND x.target IN ('collected', 'refused', 'cancelled')"
    "   AND x.id < (SELECT MIN(y.id) FROM transitions y WHERE y.batch_id = b.id)))) FROM lines l"
    " JOIN batches b ON b.id = l.batch_id AND b.mode = 'sync' JOIN embeddings e ON e.id = l.embedding_id"
    " JOIN attempts a ON a.batch_id = b.id GROUP BY e.id"
)
# What may be lacking in the table: it has failed, or had when it was published.
_EVER_FAILED = (
    "SELECT e.key FROM lines l JOIN embeddings e ON e.id = l.embedding_id WHERE l.outcome IN (2, 3, 4, 5)"
)
_KINDS = {
    "source": states.Source,
    "document": states.Document,
    "version": states.Version,
    "batch": states.Batch,
    "attempt": states.Attempt,
}


# What people wanted to keep, and whether the table should show it at this moment.
_PINNED = (
    "SELECT d.id, s.name, CASE f.path WHEN '' THEN d.name ELSE f.path || '/' || d.name END,"
    " EXISTS (SELECT 1 FROM versions v WHERE v.document_id = d.id AND v.state = 'published' AND v.retire = 0"
    "  AND v.doubtful = 0) FROM documents d JOIN folders f ON f.id = d.folder_id JOIN sources s ON s.id = d.source_id"
    " WHERE d.state = 'missing' AND d.reason = 'kept'"
)


# What the fresh lane was billed on a day (UTC), or may have been; it has at stake what the limit left.
_FRESH_A_DAY = (
    "SELECT COALESCE(MAX(tokens), 0), COALESCE(MAX(usd), 0.0) FROM (SELECT SUM(s.tokens) AS tokens, SUM(s.usd) AS usd"
    "  FROM spend s JOIN batches b ON b.id = s.batch_id WHERE b.fresh_documents IS NOT NULL"
    "  AND s.kind IN ('expedited', 'maybe_paid') GROUP BY s.at / 86400000000)"
)
_FRESH_DOCUMENTS_A_DAY = (
    "SELECT COALESCE(MAX(documents), 0) FROM (SELECT SUM(fresh_documents) AS documents FROM batches b"
    f" WHERE fresh_documents IS NOT NULL AND NOT {NEVER_CALLED} GROUP BY created_at / 86400000000)"
)
_FRESH_CALLS = "SELECT COUNT(*) FROM batches WHERE fresh_documents IS NOT NULL"
# What was sent once is never again one of the fresh lane.
_FRESH_AGAIN = (
    "SELECT COUNT(*) FROM lines l JOIN batches b ON b.id = l.batch_id WHERE b.fresh_documents IS NOT NULL"
    " AND EXISTS (SELECT 1 FROM lines o WHERE o.embedding_id = l.embedding_id AND o.batch_id < l.batch_id)"
)


class Checker:
    """Watches one life."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._seen_version = 0
        self._kept: set[Document] = set()
        self._came_at: dict[Document, int] = {}
        self._pinned: set[int] = set()
        self._rebuilt = 0
        self._failed: set[bytes] = set()
        self._profiles = {width: profile_of(life.settings(width)) for width in DIMENSIONS}
        self.profile: Profile = self._profiles[life.dimension]
        self._keys = {width: KeyMaker(profile) for width, profile in self._profiles.items()}
        self._replaced = 0
        life.folders.on_come_or_go = self._came_or_went

    # --- after every turn ---

    def after_turn(self) -> None:
        """What must hold at any moment."""
        context = self._life.context
        if context is None:
            return  # it has just died; the next turn looks
        with context.store.read() as connection:
            self._check_state(connection, context.settings.fresh)
            self._check_pinned(connection)
        self.note_rebuilds()
        table = self._life.door.table
        if table is None:
            return
        if table.version() != self._seen_version:
            self._seen_version = table.version()
            for document, rows in table.documents.items():
                self._check_whole(document, rows)
            widths = {len(row["vector"]) for rows in table.documents.values() for row in rows}
            if len(widths) > 1:
                self._broken(f"vectors of two profiles are mixed: {widths}")
        if table.replaced != self._replaced:
            self._replaced = table.replaced
            if self._life.leaving_out or self._life.going_back:
                self.forget_kept()
            self._life.leaving_out = self._life.going_back = False
        self._check_kept()

    def _check_state(self, connection: Connection, limits: FreshSettings) -> None:
        run = connection.exec_driver_sql
        for rule, sql in (
            ("a batch that is over has open lines", _OPEN_LINES),
            ("embeddings and open lines disagree", _ASTRAY),
            ("reservations and open batches disagree", _RESERVED),
            ("what is sent at once has a job, or two requests", _NO_JOB),
            ("the money of what is sent at once is not what came of it", _AT_ONCE),
        ):
            found = run(sql).scalar_one()
            if found:
                self._broken(f"{rule}: {found}")
        self._failed.update(row[0] for row in run(_EVER_FAILED))
        self._check_fresh(connection, limits)

    def _check_fresh(self, connection: Connection, limits: FreshSettings) -> None:
        """The allowance of the fresh lane holds, and nothing goes by it for a second time."""
        run = connection.exec_driver_sql
        tokens, usd = run(_FRESH_A_DAY).one()
        documents = run(_FRESH_DOCUMENTS_A_DAY).scalar_one()
        used = (tokens, usd, documents)
        allowed = (limits.daily_tokens, limits.daily_usd, limits.daily_documents)
        if any(most is not None and part > most + 1e-9 for part, most in zip(used, allowed, strict=True)):
            self._broken(f"the fresh lane had {used} on one day of {allowed} (tokens, USD, documents)")
        if again := run(_FRESH_AGAIN).scalar_one():
            self._broken(f"the fresh lane sends {again} texts again")

    def _check_pinned(self, connection: Connection) -> None:
        """What somebody wanted to keep is served until its file is back, or its deletion is confirmed."""
        run = connection.exec_driver_sql
        pinned = {row[0]: (row[1], row[2], row[3]) for row in run(_PINNED)}
        for document_id in self._pinned - pinned.keys() if not self._life.at_peace else ():
            state = run("SELECT state FROM documents WHERE id = ?", (document_id,)).scalar_one()
            if state not in ("present", "skipped"):
                self._broken(f"document {document_id} was to be kept, and is {state}")
        self._pinned = set(pinned)
        table = self._life.door.table
        for source, path, served in pinned.values():
            if served and (table is None or (source, path) not in table.documents):
                self._broken(f"{source}:{path} is kept, and the table does not show it")

    def _check_whole(self, document: Document, rows: list[Row]) -> None:
        """The rows of a document are those of one of its versions, less the chunks the provider refused."""
        hashes = {row["content_hash"] for row in rows}
        history = {_hash(document, text): text for text in self._life.folders.history.get(document, ())}
        if len(hashes) != 1 or not hashes <= history.keys():
            self._broken(f"{document} shows a mix or a stranger: {hashes}")
        text = history[hashes.pop()]
        shown = [(row["ordinal"], row["text"]) for row in rows]
        for size in SPLITS:
            wanted = list(enumerate(chunks(text, document[1], size, self.profile.contextualized)))
            lacking = [each for each in wanted if each not in shown]
            fits = [each for each in wanted if each in shown] == shown
            refused = self._refused(text, document[1], size)
            if fits and all(ordinal in refused for ordinal, _ in lacking):
                return
        self._broken(f"{document} shows {shown}, which is no version of it")

    def _refused(self, text: str, path: str, size: int) -> set[int]:
        """The chunks of a version that stand in a request which failed once."""
        return {
            first + at
            for first, window in self._windows(text, path, size)
            if any(keys.key(window) in self._failed for keys in self._keys.values())
            for at in range(len(window))
        }

    def _windows(self, text: str, path: str, size: int) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Every request that a version may make: (number of its first chunk, its texts)."""
        cut = requests(text, path, size, self.profile.contextualized)
        if not self.profile.contextualized:
            yield from ((at, (chunk,)) for at, chunk in enumerate(cut))
            return
        left = [(0, cut)] if cut else []
        while left:
            first, window = left.pop()
            yield first, window
            if (half := len(window) // 2) > 0:
                left += [(first, window[:half]), (first + half, window[half:])]

    def _check_kept(self) -> None:
        """What was served and is still wanted is served without a gap."""
        table = self._life.door.table
        assert table is not None
        gap = self._kept - table.documents.keys()
        if gap:
            self._broken(f"no longer served: {sorted(gap)}")
        self._kept = {
            document
            for document in table.documents
            if document in self._life.folders.texts
            and table.flipped_at[document] > self._came_at.get(document, 0)
        }

    def _came_or_went(self, document: Document) -> None:
        """The user took a document away, or put one there: it may leave, until a publication that is newer than this.

        One that came back counts again: what is published meanwhile, or leaves, may be what stood there before.
        """
        table = self._life.door.table
        self._kept.discard(document)
        self._came_at[document] = table.version() if table is not None else 0

    def note_rebuilds(self) -> None:
        """A table that was lost or set aside is filled again: gaps are to be expected."""
        if self._life.door.rebuilt != self._rebuilt:
            self._rebuilt = self._life.door.rebuilt
            self.forget_kept()
            self._came_at.clear()
            self._seen_version = 0

    def forget_state(self) -> None:
        """The state is another one, which knows nothing of what was asked of the one before."""
        self._pinned.clear()

    def forget_kept(self) -> None:
        """What is served may have gone back to an older version of the table."""
        self._kept.clear()

    # --- at the end ---

    def table_is_right(self) -> bool:
        """Whether the table is the dictionary."""
        return not self.what_is_wrong()

    def what_is_wrong(self) -> dict[str, Any]:
        """Where table and dictionary differ; empty if they agree."""
        table = self._life.door.table
        shown = {} if table is None else table.documents
        size = self._life.max_chars
        wanted = {
            document: list(chunks(text, document[1], size, self.profile.contextualized))
            for document, text in self._life.folders.texts.items()
        }
        served = {document: [row["text"] for row in rows] for document, rows in shown.items()}
        wanted = {document: texts for document, texts in wanted.items() if texts}
        if wanted == served:
            return {}
        keys = sorted(key for key in wanted.keys() | served.keys() if wanted.get(key) != served.get(key))
        return {str(key): {"wanted": wanted.get(key), "served": served.get(key)} for key in keys}

    def at_the_end(self) -> None:
        """What must hold when everything is at rest."""
        life = self._life
        assert life.context is not None
        self.check_money()
        with life.context.store.read() as connection:
            self._check_history(connection)
            self._check_at_rest(connection)
            self._check_segments(connection)
            life.tally.acts["fresh call"] += connection.exec_driver_sql(_FRESH_CALLS).scalar_one()
        if life.door.table is not None:
            rows = [row for rows in life.door.table.documents.values() for row in rows]
            keys = [row["embedding_key"].partition("/") for row in rows]
            places = [(bytes.fromhex(key), int(slot or 0)) for key, _, slot in keys]
            self._check_vectors(places, [row["vector"] for row in rows])
            if any(len(row["vector"]) != life.dimension for row in rows):
                self._broken(f"the table has not the {life.dimension} dimensions that are asked for")

    def check_money(self) -> None:
        """Nothing was paid twice, and what was billed is what is booked."""
        self._life.sim.settle()
        assert self._life.context is not None
        with self._life.context.store.read() as connection:
            totals = ledger.totals(connection)
            again = dict(connection.exec_driver_sql(_BOUGHT_AGAIN).all())
            chosen = dict(connection.exec_driver_sql(_CHOSEN_AGAIN).all())
            written_off = connection.exec_driver_sql(_WRITTEN_OFF).scalar_one()
            unclaimed = self._billed_unclaimed(
                setback.jobs_left(connection) | self._never_asked_about(connection)
            )
            made_again = self._made_again(connection)
        unclaimed += sum(made_again.values())
        for key in self._asked_by(made_again):
            chosen[key] = chosen.get(key, 0) + 1
        allowed = self._allowed(chosen)
        twice = self._life.ledger.billed_more_than_once()
        beyond = {name: times for name, times in twice.items() if times > allowed[name.rpartition("/")[2]]}
        if beyond:
            self._broken(f"paid more than once: {beyond}")
        self._check_calls(totals, Counter(again) + Counter(chosen), totals.maybe_paid_tokens - written_off)
        settled = totals.settled_tokens - totals.expedited_tokens
        billed = (self._life.ledger.batch_tokens, self._life.ledger.spoilt_tokens)
        if not billed[0] - written_off - unclaimed <= settled <= sum(billed) + totals.assumed_tokens:
            self._broken(f"{settled} tokens are settled, the provider billed {billed} (good, spoilt)")

    def _made_again(self, connection: Connection) -> dict[str, int]:
        """Tokens of jobs whose create call got no answer and which the provider then hid from its list, by batch.

        Nobody can find such a job, so it is made again, or its batch is given up (docs: "What is not promised").
        """
        sim = self._life.sim
        if not sim.faults.fired["job_deleted"]:
            return {}
        closed = f"CASE WHEN state = '{states.Batch.CLOSED}' THEN '' END"
        kept = dict(
            connection.exec_driver_sql(f"SELECT ref, COALESCE(remote_id, {closed}) FROM batches").all()
        )
        billed = self._life.ledger.export()["batches"]
        again: dict[str, int] = {}
        for job in sim.state()["batches"]:
            ref = (job["metadata"] or {}).get(METADATA_REF)
            if kept.get(ref, job["id"]) not in (None, job["id"]):
                again[ref] = again.get(ref, 0) + billed.get(job["id"], {}).get("tokens", 0)
        return again

    def _asked_by(self, refs: Mapping[str, int]) -> Iterator[bytes]:
        """The keys that these batches ask for."""
        assert self._life.context is not None
        with self._life.context.store.read() as connection:
            for ref in refs:
                yield from connection.exec_driver_sql(
                    "SELECT e.key FROM lines l JOIN batches b ON b.id = l.batch_id"
                    " JOIN embeddings e ON e.id = l.embedding_id WHERE b.ref = ?",
                    (ref,),
                ).scalars()

    def _never_asked_about(self, connection: Connection) -> frozenset[str]:
        """Jobs that an older copy of the folder forgot, while it had nothing to send and so never read the list."""
        assert self._life.context is not None
        if are_known(self._life.context):
            return frozenset()
        known = set(connection.exec_driver_sql("SELECT ref FROM batches").scalars())
        made = {(job["metadata"] or {}).get(METADATA_REF) for job in self._life.sim.state()["batches"]}
        return frozenset(ref for ref in made - known if ref)

    def _billed_unclaimed(self, refs: frozenset[str]) -> int:
        """Tokens of jobs that an older copy of the folder forgot and did not claim: its settings were others, or it had
        nothing to send.

        Such a job is on record by its ref; what it cost, the state cannot know (docs: "What is not promised").
        """
        sim = self._life.sim
        billed = self._life.ledger.export()["batches"]
        jobs = [job for job in sim.state()["batches"] if (job["metadata"] or {}).get(METADATA_REF) in refs]
        return sum(billed.get(job["id"], {}).get("tokens", 0) for job in jobs)

    def _allowed(self, again: Mapping[bytes, int]) -> dict[str, int]:
        """How often each text may have been paid, by its digest."""
        allowed: dict[str, int] = {}
        for key, window in self._known().items():
            digest = list_digest(window) if self.profile.contextualized else text_digest(window[0])
            allowed[digest.hex()] = max(allowed.get(digest.hex(), 1), 1 + again.get(key, 0))
        return allowed

    def _check_calls(self, totals: ledger.Totals, again: Mapping[bytes, int], maybe_paid: int) -> None:
        """Synchronous calls: booked as billed, and nothing bought twice but what is on record as such."""
        billed = self._life.ledger
        paid = billed.sync_tokens + billed.sync_spoilt_tokens
        if (
            not totals.expedited_tokens - totals.assumed_tokens
            <= paid
            <= totals.expedited_tokens + maybe_paid
        ):
            booked = (totals.expedited_tokens, maybe_paid)
            self._broken(f"{booked} tokens are booked as (expedited, maybe paid), the provider billed {paid}")
        allowed = self._allowed(again)
        for name, times in billed.billed_at_both_prices().items():
            if times > allowed[name.rpartition("/")[2]]:
                self._broken(f"{name} was paid {times} times")

    def _check_history(self, connection: Connection) -> None:
        """Every row came to its state by legal moves, all on record, none by an instance that was superseded."""
        last: dict[tuple[str, int], str] = {}
        newest = 0
        at_once = set(connection.exec_driver_sql("SELECT id FROM batches WHERE mode = 'sync'").scalars())
        sql = "SELECT kind, subject, origin, target, epoch FROM transitions ORDER BY id"
        for kind, subject, origin, target, epoch in connection.exec_driver_sql(sql):
            if epoch < newest:
                self._broken(f"a superseded instance moved {kind} {subject} to {target}")
            newest = epoch
            if kind == "embedding":
                continue
            if last.get((kind, subject)) != origin:
                self._broken(f"{kind} {subject} moved from {origin}, but was {last.get((kind, subject))}")
            if origin is not None and origin != target:
                states.check(_KINDS[kind](origin), _KINDS[kind](target))
            if kind == "batch" and origin not in (None, target):
                mode = states.Mode.SYNC if subject in at_once else states.Mode.BATCH
                states.check_batch(mode, states.Batch(origin), states.Batch(target))
            last[kind, subject] = target
        for kind in _KINDS:
            table = "batches" if kind == "batch" else f"{kind}s"
            for row_id, state in connection.exec_driver_sql(f"SELECT id, state FROM {table}"):
                if last.get((kind, row_id)) != state:
                    self._broken(
                        f"{kind} {row_id} is {state}; its last move went to {last.get((kind, row_id))}"
                    )

    def _check_at_rest(self, connection: Connection) -> None:
        run = connection.exec_driver_sql
        for rule, sql in (
            ("attempts are open", "SELECT COUNT(*) FROM attempts WHERE state = 'open'"),
            ("publications are open", "SELECT COUNT(*) FROM publications WHERE done_at IS NULL"),
            ("sources are frozen", "SELECT COUNT(*) FROM sources WHERE state = 'frozen'"),
            ("versions wait", "SELECT COUNT(*) FROM versions WHERE state IN ('waiting', 'ready')"),
            (
                "texts are left",
                "SELECT COUNT(*) FROM texts t JOIN versions v ON v.id = t.version_id"
                " WHERE v.splitter NOT LIKE 'records:%' OR v.state != 'published'",
            ),
            (
                "records lack their texts",
                "SELECT COUNT(*) FROM versions v WHERE v.splitter LIKE 'records:%' AND v.state = 'published'"
                " AND NOT EXISTS (SELECT 1 FROM texts t WHERE t.version_id = v.id)",
            ),
            ("files of records are frozen", "SELECT COUNT(*) FROM record_files WHERE reason IS NOT NULL"),
            (
                "chunks are left of what nobody wants",
                "SELECT COUNT(*) FROM chunks c JOIN versions v ON v.id = c.version_id"
                " WHERE v.state IN ('retired', 'superseded')",
            ),
            (
                "needed embeddings are not held",
                "SELECT COUNT(*) FROM embeddings e WHERE e.state != 2"
                " AND EXISTS (SELECT 1 FROM chunks c WHERE c.embedding_id = e.id)",
            ),
        ):
            found = run(sql).scalar_one()
            if found:
                self._broken(f"at rest, {rule}: {found}")
        now = now_us(self._life.clock)
        shut = {
            name: circuit for name, circuit in circuits.tripped(connection).items() if circuit.until_at > now
        }
        if shut:
            self._broken(f"at rest, circuits are closed: {shut}")

    def check_told(self, connection: Connection) -> None:
        """Whatever was worth telling was told, or given up on record."""
        if connection.exec_driver_sql("SELECT COUNT(*) FROM deliveries WHERE done_at IS NULL").scalar():
            self._broken("people are told of everything")
        noted = connection.exec_driver_sql("SELECT token FROM notices").scalars()
        sent = {body["id"] for post in self._life.posts for _, body in post.sent}
        given_up = connection.exec_driver_sql(
            "SELECT COUNT(*) FROM deliveries WHERE error IS NOT NULL"
        ).scalar()
        if len(set(noted) - sent) > int(given_up or 0):
            self._broken("people are told of everything")

    def _check_segments(self, connection: Connection) -> None:
        """Every held embedding lies where the state says, and is what the provider gives for its text."""
        segments = SegmentStore(self._life.data_dir / "vectors")
        sql = (
            "SELECT e.key, e.vectors, p.name, e.pack_row FROM embeddings e JOIN packs p ON p.id = e.pack_id"
            " WHERE e.state = 2"
        )
        places, vectors = [], []
        for key, count, name, row in connection.exec_driver_sql(sql).all():
            places += [(key, slot) for slot in range(count)]
            vectors += list(segments.open(name).take(np.arange(row, row + count)))
        self._check_vectors(places, vectors)

    def _check_vectors(self, places: list[tuple[bytes, int]], vectors: list[Any]) -> None:
        """Vectors by (key, slot) are those of the request with that key."""
        known = self._known()
        spaces = {width: MODELS[profile.model].space for width, profile in self._profiles.items()}
        embedders = {width: Embedder(space, width) for width, space in spaces.items()}
        for (key, slot), vector in zip(places, vectors, strict=True):
            if self._keys[len(vector)].key(known[key]) != key:
                self._broken(f"a vector of {len(vector)} numbers stands under a key of another profile")
            expected = embedders[len(vector)].embed(known[key])
            if self.profile.contextualized:
                expected = in_context(expected)
            if not np.allclose(expected[slot], np.array(vector, np.float32), atol=1e-5):
                self._broken(f"a vector is not that of its text: {known[key][slot]}")

    def _known(self) -> dict[bytes, tuple[str, ...]]:
        """Key -> the texts of every request that any content of any document may have made."""
        return {
            keys.key(window): window
            for keys in self._keys.values()
            for (_, path), texts in self._life.folders.history.items()
            for text in texts
            for size in SPLITS
            for _, window in self._windows(text, path, size)
        }

    def _broken(self, promise: str) -> None:
        raise Violation(promise)


RECIPE = Recipe("{text}", id=("id",))


def _hash(document: Document, text: str) -> str:
    if is_record(document):
        record = RECIPE.record(RecordRow(1, {"id": document[1].partition("#")[2], "text": text}))
        assert isinstance(record, Record)
        return record.digest.hex()
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


@functools.lru_cache(maxsize=4096)
def chunks(text: str, path: str, max_chars: int, contextualized: bool) -> tuple[str, ...]:
    """The chunk texts of a document."""
    if not text.strip():
        return ()
    found = split(text, path, of_new_state(max_chars, contextualized=contextualized)).chunks
    return tuple(text[chunk.start : chunk.end] for chunk in found)


@functools.lru_cache(maxsize=4096)
def requests(text: str, path: str, max_chars: int, contextualized: bool) -> tuple[str, ...]:
    """What is embedded for each of them."""
    if not text.strip():
        return ()
    return tuple(sent(text, path, of_new_state(max_chars, contextualized=contextualized)))
