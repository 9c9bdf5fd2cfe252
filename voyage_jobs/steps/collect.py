"""collect: bring the results of an ended job home.

Fetch output and error file (fetching.py), judge every line by its content, write the vectors into a segment, and only
then record in one transaction what became of each line, what was paid and where each vector lies. Dying before that
transaction repeats the step from the downloaded files and writes the same segment again; nothing is asked twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from voyage_jobs.core import retry, usage
from voyage_jobs.core.clock import now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.observe import about
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import BadAnswerError
from voyage_jobs.segments import Billed, SegmentWriter, WrittenSegment
from voyage_jobs.state import (
    batch_lines,
    batches,
    calibration,
    circuits,
    embeddings,
    ledger,
    provider_files,
    segment_rows,
    sources,
    versions,
)
from voyage_jobs.state.batch_lines import Line, Settled
from voyage_jobs.state.batches import NOT_FETCHED, REFUSED_ALIKE, UNUSABLE, BatchRow
from voyage_jobs.state.outcomes import MALFORMED, MISSING, OPEN, REFUSED, SUCCESS, TRANSIENT
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps import encoding, failed_alike
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.fetching import (
    Download,
    can_be_read_again,
    fetch_all,
    forget_results,
    next_look,
    put_off,
)
from voyage_jobs.steps.synchronous import has_answer, lose_answer
from voyage_jobs.steps.windows import split_window
from voyage_jobs.vendors.result_block import (
    ABOUT_THE_ACCOUNT,
    WRONG_DIMENSION,
    Expectation,
    LineOutcome,
    LineProblem,
    ResultBlock,
)
from voyage_jobs.version import __version__

_UNUSABLE_HINT = "Sending for this model has stopped, so that no more unusable results are paid for."
_SEND_AGAIN = "`voyage-jobs retry` sends these texts again (they are paid again) and lets sending resume."
_READ_LATER = f"The results are kept: a later release that can read them stores them. {_SEND_AGAIN}"
_WIDTH_HINT = (
    "If the model makes vectors of another width than the configuration says, correct `output_dimension`, give this"
    " batch up (`voyage-jobs cancel`), and `voyage-jobs reprofile`."
)
_TORN_HINT = (
    "The usable results are stored. `voyage-jobs retry` sends the others again (they are paid again);"
    " `voyage-jobs cancel` gives them up."
)
_REFUSED_HINT = (
    "No single text is the cause. Correct the provider's settings as its message says, then `voyage-jobs retry`: a new"
    " batch is made. `voyage-jobs cancel` gives these texts up. Nothing was billed."
)
MOSTLY_FROM = 10
"""A batch of at least so many lines, most of them unusable, stops sending even where earlier results were good."""
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
    """Collect every ended batch that is due, those that have failed least first. True if anything was done."""
    with context.store.read() as connection:
        ended = batches.in_state(connection, Batch.ENDED, Batch.PARKED)
    now, did = now_us(context.clock), False
    calls = circuit.Calls(context)
    for batch in circuit.healthiest_first([batch for batch in ended if batch.due_at <= now]):
        if context.stopping.is_set() or not circuit.may_pass(context, circuits.DISK):
            break
        with about(batch.ref):
            if batch.state is Batch.ENDED:
                did |= collect_one(context, batch, calls)
            else:
                did |= _look_at_parked(context, batch, calls)
    return did


def collect_one(context: Context, batch: BatchRow, calls: circuit.Calls) -> bool:
    """Collect one ended batch, if that can be done now. True if anything was done."""
    if batch.is_sync and not has_answer(context, batch):
        lose_answer(context, batch)
        return True
    done = fetch_all(context, batch, calls)
    if done is Download.COMPLETE:
        _take_in(context, batch)
    return done is not Download.WAITING


def _look_at_parked(context: Context, batch: BatchRow, calls: circuit.Calls) -> bool:
    """Results that could not be had, or read, are paid for: fetch them now and then, and read them by a new release."""
    if batch.code == UNUSABLE and batch.error != __version__ and can_be_read_again(context, batch):
        _resume(context, batch, f"read again by voyage-jobs {__version__}")
    elif batch.code in (NOT_FETCHED, ledger.TORN):
        if not circuit.may_pass(context, circuits.VENDOR):
            return False
        if batch.code == ledger.TORN:
            forget_results(context, batch)
        done = fetch_all(context, batch, calls)
        if done is Download.COMPLETE:
            _resume(context, batch, "its results could be fetched after all")
        return done is not Download.WAITING
    else:
        return False
    return True


def _resume(context: Context, batch: BatchRow, cause: str) -> None:
    """Results that lack lines even now are not fetched a dozen times again: what is whole is held at once."""
    tries = {"code": "download", "failures": (retry.POLICIES["download"].tries or 1) - 1}
    with context.store.write() as tx:
        batches.move(tx, batch, Batch.ENDED, cause, reason=None, hint=None, **tries)
    crash_point("poll.committed")
    context.log.info(
        "batch.unparked", ref=batch.ref, batch_id=batch.remote_id, remote_status=batch.remote_status
    )


# --- taking in ---


@dataclass
class Intake:
    """What the result files of one batch say, line by line."""

    lines: dict[str, Line]
    settled: dict[int, Settled] = field(default_factory=dict)
    rows: int = 0
    duplicates: int = 0
    foreign: int = 0
    of_account: int = 0

    @property
    def tokens(self) -> int:
        """What is billed: the sum of its lines."""
        return sum(line.tokens or 0 for line in self.settled.values())

    @property
    def assumed(self) -> list[int]:
        """The tokens of each line that does not report what it was billed."""
        return [line.tokens or 0 for line in self.settled.values() if line.assumed]

    @property
    def estimated(self) -> int:
        """The tokens of the lines that are billed, as they were estimated."""
        return sum(line.tokens for line in self.lines.values() if self.settled[line.line].tokens)

    def count_of(self, custom_id: str) -> int | None:
        """How many vectors a line must bring; None for an id that this batch did not ask for."""
        line = self.lines.get(custom_id)
        return None if line is None else line.vectors

    def good(self, block: ResultBlock) -> list[bool]:
        """Note the successes of a block; which of them are to be assembled (each embedding once)."""
        wanted = []
        for custom_id, count, tokens in zip(block.custom_ids, block.counts, block.tokens, strict=True):
            line = self.lines[custom_id]
            before = self.settled.get(line.line)
            keep = before is None or before.outcome != SUCCESS
            if keep:
                billed = usage.billed(tokens, line.tokens)
                self.settled[line.line] = Settled(
                    line.line, line.embedding_id, SUCCESS, billed.tokens, None, self.rows, billed.assumed
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
        self.of_account += problem.status in ABOUT_THE_ACCOUNT
        detail = f"{problem.code}: {problem.message}" if problem.message else problem.code
        outcome = _OUTCOMES.get(problem.outcome, MALFORMED)
        tokens, assumed = problem.tokens, False
        if outcome == MALFORMED:
            # It does not say that it failed, so it may have run, and what ran is billed. One that failed is not.
            tokens, assumed = usage.billed(problem.tokens, line.tokens)
        self.settled[line.line] = Settled(
            line.line, line.embedding_id, outcome, tokens, detail, None, assumed
        )

    def complete(self) -> list[Settled]:
        """Every line of the batch with its outcome: those that no file mentions are missing."""
        for line in self.lines.values():
            self.settled.setdefault(
                line.line, Settled(line.line, line.embedding_id, MISSING, None, "not in the results", None)
            )
        return [self.settled[number] for number in sorted(self.settled)]


def _take_in(context: Context, batch: BatchRow) -> None:
    """Read the result files into a segment, then record everything in one transaction."""
    with context.store.read() as connection:
        intake = Intake({line.key.hex(): line for line in batch_lines.lines_of(connection, batch.id)})
        profile = sources.load_profile(connection, batch.profile_id)
    writer = context.segments.writer(profile, batch.ref, batch.mode)
    try:
        expectation = Expectation(profile=profile, count_of=intake.count_of)
        for block in _blocks(context, batch, expectation):
            _write_block(writer, intake, block)
            context.progress(f"reading results of {batch.ref[:8]}", len(intake.settled), len(intake.lines))
        settled = encoding.without_blame(context, batch, intake.complete())
        torn = _is_torn(context, batch, settled)
        tries = batches.failures_of(batch, "download") + 1
        if torn and not retry.is_over("download", tries):
            _fetch_again(context, batch)
            return
        bill = Billed(intake.tokens, now_us(context.clock), sum(intake.assumed))
        written = writer.close(bill) if intake.rows else None
    finally:
        writer.abort()
    if torn:
        _keep_the_rest(context, batch, intake, settled, written, ledger.TORN)
    elif _is_unusable(context, batch, intake, settled):
        _keep_the_rest(context, batch, intake, settled, written, UNUSABLE)
    elif failed_alike.for_good(batch, settled, batch.inputs):
        _keep_the_rest(context, batch, intake, settled, written, REFUSED_ALIKE)
    else:
        _record(context, batch, intake, settled, written)


def _is_torn(context: Context, batch: BatchRow, settled: list[Settled]) -> bool:
    """Whether a file is shorter than promised and lacks lines: what it lacks is paid, and would be bought again."""
    there = sum(each.outcome != MISSING for each in settled)
    whole = all(each.outcome != MALFORMED for each in settled)
    if batch.remote_completed is not None and whole:
        whole = there >= batch.remote_completed + (batch.remote_failed or 0)
    elif there < len(settled):
        whole = False
    if whole:
        return False
    with context.store.read() as connection:
        return provider_files.is_short(connection, batch.id)


def _fetch_again(context: Context, batch: BatchRow) -> None:
    error = BadAnswerError(
        f"The result file is incomplete: its size is not the one that {context.vendor.title} names,"
        " and lines are missing."
    )
    forget_results(context, batch)
    put_off(context, batch, error)


def _is_unusable(context: Context, batch: BatchRow, intake: Intake, settled: list[Settled]) -> bool:
    """Whether the provider's answers cannot be read any more: all of the first ones of a profile, or most of a batch.

    To ask again would be to pay for the same again. Single damaged lines among good ones are asked for again.
    """
    if batch.cancel_asked_at is not None:
        return False
    good = sum(each.outcome == SUCCESS for each in settled)
    bad = sum(each.outcome == MALFORMED for each in settled)
    if intake.foreign:  # the ids came back changed
        bad += min(intake.foreign, sum(each.outcome == MISSING for each in settled))
    if len(settled) >= MOSTLY_FROM:
        return 2 * bad > len(settled)
    if good or not bad or bad < len(settled):
        return False
    with context.store.read() as connection:
        return not segment_rows.has_segment(connection, batch.profile_id)


def _blocks(context: Context, batch: BatchRow, expectation: Expectation) -> Iterator[ResultBlock]:
    for kind in ("output", "error"):
        path: Path = context.result_path(batch.ref, kind)
        if path.exists():
            yield from context.vendor.read(path, expectation)


def _write_block(writer: SegmentWriter, intake: Intake, block: ResultBlock) -> None:
    wanted = intake.good(block)
    for problem in block.problems:
        intake.bad(problem)
    kept = block if all(wanted) else block.keep(wanted)
    if kept.custom_ids:
        writer.append(kept.keys(), kept.slots(), kept.vectors)


def _record(
    context: Context, batch: BatchRow, intake: Intake, settled: list[Settled], written: WrittenSegment | None
) -> None:
    """Lines, embeddings, versions, money and the batch itself: all or nothing."""
    counts = {word: sum(s.outcome == word for s in settled) for word in (SUCCESS, REFUSED)}
    other = len(settled) - sum(counts.values())
    vectors = {line.line: line.vectors for line in intake.lines.values()}
    windows = [s for s in settled if s.outcome == REFUSED and vectors[s.line] > 1]
    failed = failed_alike.for_now(batch, settled)
    of_account = intake.of_account == len(settled)
    with context.store.write() as tx:
        pack_id = _record_segment(tx, batch, written)
        if failed and failed_alike.wait(context, tx, batch, settled, of_account=of_account):
            batch_lines.note_outcomes(tx, batch.id, settled)
            embeddings.give_back(tx, batch.id)
        else:
            embeddings.settle(tx, batch.id, pack_id, settled, context.settings.batching.max_attempts)
        if batch.cancel_asked_at is not None:
            embeddings.give_up(tx, batch.id)
        for each in windows:
            split_window(context, tx, each.embedding_id)
        versions.recount_batch(tx, batch.id)
        _record_money(tx, batch, intake)
        if intake.rows:
            encoding.accepted(context, tx, batch)
        cause = f"{counts[SUCCESS]} held, {counts[REFUSED]} refused, {other} to be sent again"
        if intake.duplicates or intake.foreign:
            cause += f"; {intake.duplicates} repeated and {intake.foreign} unknown lines ignored"
        done: dict[str, object] = {"collected_at": tx.now, "tokens_settled": intake.tokens}
        if failed:
            done["reason"] = failed_alike.REASON
        batches.move(tx, batch, Batch.COLLECTED, cause, **done)
        crash_point("collect.before_commit")
    crash_point("collect.committed")
    for word, count in Counter(_WORDS[each.outcome] for each in settled).items():
        context.observer.lines(word, count)
    context.log.info(
        "batch.collected",
        ref=batch.ref,
        held=counts[SUCCESS],
        refused=counts[REFUSED],
        again=other,
        repeated=intake.duplicates,
        unknown=intake.foreign,
        tokens=intake.tokens,
    )
    _say_what_is_assumed(context, batch, intake)


def _say_what_is_assumed(context: Context, batch: BatchRow, intake: Intake) -> None:
    if assumed := intake.assumed:
        context.log.warning("usage.assumed", ref=batch.ref, lines=len(assumed), tokens=sum(assumed))


def _record_segment(tx: Tx, batch: BatchRow, written: WrittenSegment | None) -> int | None:
    if written is None:
        return None
    return segment_rows.add_segment(
        tx, written.name, batch.profile_id, batch.id, written.rows, written.bytes, written.sha256
    )


def _record_money(tx: Tx, batch: BatchRow, intake: Intake) -> None:
    """What the job cost, once: results that are read a second time are on the bill, if perhaps with less."""
    calibration.note(tx, batch.id, intake.estimated)
    if batch.tokens_settled is None:
        ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
        ledger.settle(tx, batch.id, intake.tokens, batch.usd_per_million)
    elif batch.tokens_settled != intake.tokens:
        ledger.settle_anew(tx, batch.id, intake.tokens, batch.usd_per_million)


def _keep_the_rest(
    context: Context,
    batch: BatchRow,
    intake: Intake,
    settled: list[Settled],
    written: WrittenSegment | None,
    code: str,
) -> None:
    """What is good is held, the bill is booked, the batch is parked: the rest stays in it and is not asked again."""
    good = [each for each in settled if each.outcome == SUCCESS]
    bad = [each for each in settled if each.outcome != SUCCESS]
    kept = [replace(each, outcome=OPEN) for each in bad]
    reason, hint = _why_kept(code, bad, len(settled), whole=written is None)
    with context.store.write() as tx:
        pack_id = _record_segment(tx, batch, written)
        embeddings.settle(tx, batch.id, pack_id, good, context.settings.batching.max_attempts)
        batch_lines.note_outcomes(tx, batch.id, kept)
        versions.recount_batch(tx, batch.id)
        _record_money(tx, batch, intake)
        batches.note(tx, batch.id, tokens_settled=intake.tokens)
        if code == UNUSABLE and not intake.rows:
            encoding.is_why(context, tx, batch, reason)
        values = {
            "code": code,
            "error": __version__,
            "reason": reason,
            "hint": hint,
            "due_at": next_look(context, tx),
        }
        batches.move(tx, batch, Batch.PARKED, reason, **values)
        crash_point("collect.before_commit")
    crash_point("collect.committed")
    context.log.error("batch.parked", ref=batch.ref, reason=reason)
    _say_what_is_assumed(context, batch, intake)


def _why_kept(code: str, bad: list[Settled], count: int, *, whole: bool) -> tuple[str, str]:
    """Reason and hint. `whole`: nothing of the batch was good, so that a later release may read all of it."""
    if code == REFUSED_ALIKE:
        return f"all its {count:,} texts are refused in the same words: {bad[0].detail}", _REFUSED_HINT
    if code == ledger.TORN:
        return f"its result files are short: {len(bad):,} of its {count:,} results are missing", _TORN_HINT
    word = next((each.detail for each in bad if each.outcome == MALFORMED), None) or "the ids are not ours"
    reason = f"{len(bad):,} of its {count:,} results cannot be used: {word}"
    hint = f"{_UNUSABLE_HINT} {_READ_LATER if whole else _SEND_AGAIN}"
    return reason, f"{hint} {_WIDTH_HINT}" if whole and word == WRONG_DIMENSION else hint
