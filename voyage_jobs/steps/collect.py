"""collect: bring the results of an ended job home.

Download output and error file (resumable, size-checked), judge every line by its content, write the vectors into a
pack, and only then record in one transaction what became of each line, what was paid and where each vector lies.
Dying before that transaction repeats the step from the downloaded files and writes the same pack again; nothing is
asked twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from voyage_jobs.clock import US, now_us
from voyage_jobs.crash import crash_point
from voyage_jobs.errors import RefusedError, VendorError
from voyage_jobs.observe import about
from voyage_jobs.states import Batch
from voyage_jobs.steps import lanes as lane
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import room_for
from voyage_jobs.steps.submit import park
from voyage_jobs.steps.windows import split_window
from voyage_jobs.store import batches, embeddings, lanes, ledger, sources, versions
from voyage_jobs.store.batches import BatchRow
from voyage_jobs.store.embeddings import (
    MALFORMED,
    MISSING,
    REFUSED,
    SUCCESS,
    TRANSIENT,
    Line,
    Settled,
)
from voyage_jobs.vectors import Billed, PackWriter, WrittenPack
from voyage_jobs.voyage.download import download
from voyage_jobs.voyage.results import Expectation, LineOutcome, LineProblem, ResultBlock, read_results

GONE_TRIES = 5
_GONE = (404, 410)
_NOT_GIVEN_HINT = (
    "The job is done and paid for, but its results are not given out. `voyage-jobs retry` sends the lines anew (they"
    " are paid again); `voyage-jobs cancel` gives them up."
)
_OUTCOMES = {
    LineOutcome.TRANSIENT: TRANSIENT,
    LineOutcome.REFUSED: REFUSED,
    LineOutcome.MALFORMED: MALFORMED,
}


# As observers count them.
_WORDS = {
    SUCCESS: "success",
    TRANSIENT: "transient",
    REFUSED: "refused",
    MALFORMED: "malformed",
    MISSING: "missing",
}


def collect(context: Context) -> bool:
    """Collect every ended batch that is due. True if anything was done."""
    with context.store.read() as connection:
        ended = batches.in_state(connection, Batch.ENDED)
    did = False
    for batch in ended:
        if context.stopping.is_set():
            break
        if batch.due_at > now_us(context.clock):
            continue
        if not lane.is_open(context, lanes.DISK):
            break
        with about(batch.ref):
            done = _download_all(context, batch)
            if done is Download.COMPLETE:
                _take_in(context, batch)
        did |= done is not Download.WAITING
    return did


# --- downloading ---


class _FileGoneError(RefusedError):
    """The vendor says that it has no such file. Only its word counts, not that of a storage host."""


class Download(Enum):
    """How far the result files of a batch are."""

    COMPLETE = "complete"  # on disk, or known to be nowhere
    TRIED = "tried"  # a call was made and did not bring it to an end
    WAITING = "waiting"  # the vendor lane is closed, or the disk is short


def _download_all(context: Context, batch: BatchRow) -> Download:
    """Bring both result files onto the disk."""
    with context.store.read() as connection:
        have = batches.downloaded(connection, batch.id)
    for kind, file_id in (("output", batch.output_file_id), ("error", batch.error_file_id)):
        if file_id is None or _is_here(context, batch, kind, have):
            continue
        if not lane.is_open(context, lanes.VENDOR):
            return Download.WAITING
        try:
            if not _download(context, batch, kind, file_id):
                return Download.WAITING
        except RefusedError as exc:
            if not _refused_for_good(context, batch, kind, exc):
                return Download.TRIED
            if not isinstance(exc, _FileGoneError):
                park(context, batch, f"the vendor refuses the {kind} file: {exc.message}", _not_given(exc))
                return Download.TRIED
        except VendorError as exc:
            lane.trouble(context, exc)
            return Download.TRIED
        else:
            lane.fine(context)
    return Download.COMPLETE


def _is_here(context: Context, batch: BatchRow, kind: str, have: dict[str, tuple[int, str]]) -> bool:
    if kind not in have:
        return False
    try:
        return context.result_path(batch.ref, kind).stat().st_size == have[kind][0]
    except FileNotFoundError:
        return False


def _download(context: Context, batch: BatchRow, kind: str, file_id: str) -> bool:
    """Download one file; False if the disk has no room for it now."""
    try:
        described = context.client.get_file(file_id)
    except RefusedError as exc:
        if exc.status in _GONE:
            raise _FileGoneError(exc.message, status=exc.status) from exc
        raise
    path = context.result_path(batch.ref, kind)
    if not room_for(context, 2 * (described.bytes or 0)):
        return False

    def on_progress(done: int) -> None:
        context.progress(f"downloading {kind} of {batch.ref[:8]}", done, described.bytes)

    got = download(context.client, file_id, path, expected_bytes=described.bytes, on_progress=on_progress)
    with context.store.write() as tx:
        batches.note_download(tx, batch.id, kind, got.bytes, got.sha256)
    crash_point("download.committed")
    context.log.info("batch.downloaded", ref=batch.ref, kind=kind, bytes=got.bytes, lines=got.lines)
    return True


def _not_given(error: RefusedError) -> VendorError:
    """The same with what to do about it: the results are paid for, so sending anew is a person's choice."""
    return VendorError(error.message, hint=_NOT_GIVEN_HINT)


def _refused_for_good(context: Context, batch: BatchRow, kind: str, error: RefusedError) -> bool:
    """A result file that the vendor does not give: wait a few times. One that is gone is then done without."""
    if batch.failures + 1 >= GONE_TRIES:
        context.log.error("results.refused", ref=batch.ref, kind=kind, error=error.message)
        return True
    with context.store.write() as tx:
        wait_s = lane.backoff_s(context, batch.failures, 30.0, 1800.0)
        batches.note(tx, batch.id, failures=batch.failures + 1, due_at=tx.now + int(wait_s * US))
    context.observer.put_off("results_not_found")
    context.log.warning("results.not_found", ref=batch.ref, kind=kind, error=error.message)
    return False


# --- taking in ---


@dataclass
class Intake:
    """What the result files of one batch say, line by line."""

    lines: dict[str, Line]
    settled: dict[int, Settled] = field(default_factory=dict)
    rows: int = 0
    duplicates: int = 0
    foreign: int = 0

    @property
    def tokens(self) -> int:
        """What is billed: the sum of its lines."""
        return sum(line.tokens or 0 for line in self.settled.values())

    def count_of(self, custom_id: str) -> int | None:
        """How many vectors a line must bring; None for an id that this batch did not ask for."""
        line = self.lines.get(custom_id)
        return None if line is None else line.vectors

    def good(self, block: ResultBlock) -> list[bool]:
        """Note the successes of a block; which of them are to be packed (each embedding once)."""
        wanted = []
        for custom_id, count, tokens in zip(block.custom_ids, block.counts, block.tokens, strict=True):
            line = self.lines[custom_id]
            before = self.settled.get(line.line)
            keep = before is None or before.outcome != SUCCESS
            if keep:
                self.settled[line.line] = Settled(
                    line.line, line.embedding_id, SUCCESS, tokens, None, self.rows
                )
                self.rows += count
            else:
                self.duplicates += 1
            wanted.append(keep)
        return wanted

    def bad(self, problem: LineProblem) -> None:
        """Note a line that brought no vectors, unless the same line brought some elsewhere."""
        line = self.lines.get(problem.custom_id or "")
        if line is None:
            self.foreign += 1
            return
        if line.line in self.settled:
            self.duplicates += 1
            return
        detail = f"{problem.code}: {problem.message}" if problem.message else problem.code
        outcome = _OUTCOMES.get(problem.outcome, MALFORMED)
        self.settled[line.line] = Settled(line.line, line.embedding_id, outcome, problem.tokens, detail, None)

    def complete(self) -> list[Settled]:
        """Every line of the batch with its outcome: those that no file mentions are missing."""
        for line in self.lines.values():
            self.settled.setdefault(
                line.line, Settled(line.line, line.embedding_id, MISSING, None, "not in the results", None)
            )
        return [self.settled[number] for number in sorted(self.settled)]


def _take_in(context: Context, batch: BatchRow) -> None:
    """Read the result files into a pack, then record everything in one transaction."""
    with context.store.read() as connection:
        intake = Intake({line.key.hex(): line for line in embeddings.lines_of(connection, batch.id)})
        profile = sources.load_profile(connection, batch.profile_id)
    writer = context.packs.writer(profile, batch.ref)
    try:
        expectation = Expectation(profile=profile, count_of=intake.count_of)
        for block in _blocks(context, batch, expectation):
            _pack_block(writer, intake, block)
            context.progress(f"reading results of {batch.ref[:8]}", len(intake.settled), len(intake.lines))
        written = writer.close(Billed(intake.tokens, now_us(context.clock))) if intake.rows else None
    finally:
        writer.abort()
    settled = intake.complete()
    _record(context, batch, intake, settled, written)


def _blocks(context: Context, batch: BatchRow, expectation: Expectation) -> Iterator[ResultBlock]:
    for kind in ("output", "error"):
        path: Path = context.result_path(batch.ref, kind)
        if path.exists():
            yield from read_results(path, expectation)


def _pack_block(writer: PackWriter, intake: Intake, block: ResultBlock) -> None:
    wanted = intake.good(block)
    for problem in block.problems:
        intake.bad(problem)
    kept = block if all(wanted) else block.keep(wanted)
    if kept.custom_ids:
        writer.append(kept.keys(), kept.slots(), kept.vectors)


def _record(
    context: Context, batch: BatchRow, intake: Intake, settled: list[Settled], written: WrittenPack | None
) -> None:
    """Lines, embeddings, versions, money and the batch itself: all or nothing."""
    tally = {word: sum(s.outcome == word for s in settled) for word in (SUCCESS, REFUSED)}
    other = len(settled) - sum(tally.values())
    vectors = {line.line: line.vectors for line in intake.lines.values()}
    windows = [s for s in settled if s.outcome == REFUSED and vectors[s.line] > 1]
    with context.store.write() as tx:
        pack_id = None
        if written is not None:
            pack_id = batches.add_pack(
                tx, written.name, batch.profile_id, batch.id, written.rows, written.bytes, written.sha256
            )
        embeddings.settle(tx, batch.id, pack_id, settled, context.settings.batching.max_attempts)
        if batch.cancel_asked_at is not None:
            embeddings.give_up(tx, batch.id)
        for each in windows:
            split_window(context, tx, each.embedding_id)
        versions.recount_batch(tx, batch.id)
        ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
        ledger.settle(tx, batch.id, intake.tokens, batch.usd_per_million)
        cause = f"{tally[SUCCESS]} held, {tally[REFUSED]} refused, {other} to be sent again"
        if intake.duplicates or intake.foreign:
            cause += f"; {intake.duplicates} repeated and {intake.foreign} unknown lines ignored"
        batches.move(tx, batch, Batch.COLLECTED, cause, collected_at=tx.now, tokens_settled=intake.tokens)
        crash_point("collect.before_commit")
    crash_point("collect.committed")
    for word, count in Counter(_WORDS[each.outcome] for each in settled).items():
        context.observer.lines(word, count)
    context.log.info(
        "batch.collected",
        ref=batch.ref,
        held=tally[SUCCESS],
        refused=tally[REFUSED],
        again=other,
        repeated=intake.duplicates,
        unknown=intake.foreign,
        tokens=intake.tokens,
    )
