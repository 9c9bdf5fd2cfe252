"""The play: what is done, what is said about it, and what must be true afterwards."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import TextIO

from voyage_jobs.config.provider import is_installed
from voyage_jobs.core.clock import Clock
from voyage_jobs.demo import documents
from voyage_jobs.demo.narrator import DemoError, Narrator
from voyage_jobs.demo.shop import ANSWER, FILTER, PDF_PAGE, PDF_QUESTION, QUESTION
from voyage_jobs.demo.stage import CONFIG_NAME, KEY, LOCAL_CONFIG_NAME, Stage, set_up
from voyage_jobs.demo.vendor import Bill
from voyage_jobs.demo.watch import Report, Watch
from voyage_jobs.readers.registry import is_here

BATCH_S = 6.0
FAST_BATCH_S = 2.0
_QUESTION = "Can it pay twice if the create call is lost?"
_MEANT, _MEANT_IN = "Can I start it automatically when the machine boots?", "systemd.md"
_LIBRARY = (
    "systemd.md",
    "docker.md",
    "kubernetes.md",
    "watching.md",
    "notifications.md",
    "ci.md",
    "glossary.md",
)
_LIBRARY_BYTES = 30_000
_MOVED = "moved-by-the-demo"
_HITS = 3
_MOST_NEW = 3  # texts that one new section may make
_ON_THE_WAY = ("waiting", "packed", "submitted", "held")


def perform(docs: Path | None, keep: Path | None, out: TextIO, clock: Clock, *, fast: bool) -> None:
    """Play all acts. Raises `DemoError` if anything that is claimed is not true; the stage is cleared in any case."""
    with set_up(keep) as stage:
        play = Play(stage, Narrator(out), clock, own=docs is None)
        count = documents.stage_copies(docs, stage.docs) if docs else documents.stage_own(stage.docs)
        stage.open_vendor(FAST_BATCH_S if fast else BATCH_S)
        play.open(count, docs)
        play.plan()
        play.send_and_die()
        play.start_again()
        play.search()
        play.search_other_kinds()
        if is_installed("local"):
            play.search_by_meaning()
        play.edit()
        play.move()
        play.bill()
        play.close(keep)


class Play:
    """The acts, in the order in which they are played. `own` says that the documents are the project's."""

    def __init__(self, stage: Stage, narrator: Narrator, clock: Clock, *, own: bool) -> None:
        self._stage = stage
        self._narrator = narrator
        self._watch = Watch(stage, narrator, clock)
        self._own = own
        self._chunks = 0
        self._edited: Path | None = None

    def open(self, count: int, docs: Path | None) -> None:
        """The scene."""
        tell, whose = self._narrator, "the project's own" if docs is None else f"copies of those in {docs}"
        tell.line("voyage-jobs, on this machine and without a key")
        tell.say(
            f"""{count} documents ({whose}) lie in {self._stage.folder}. A simulated Voyage API, a process of its own,
            answers at {self._stage.vendor.base_url}; it keeps a ledger of every text that it bills. Everything else is
            what you would run: the same commands, SQLite, LanceDB, {CONFIG_NAME}."""
        )

    def plan(self) -> None:
        """Nothing is sent."""
        self._narrator.act("What would it cost?")
        self._command("plan")
        self._narrator.claim("Nothing was sent.", holds=not self._stage.vendor.jobs())

    def send_and_die(self) -> None:
        """The worst moment: the provider has the job, nobody here knows, and the process is gone."""
        tell, stage, watch = self._narrator, self._stage, self._watch
        tell.act("Send it, and die at the worst moment")
        tell.say(
            """The daemon scans, splits, and sends a batch. The provider takes it, but its answer is lost on the way (a
            fault script sees to that), and at that moment the daemon is killed: no clean-up, no goodbye."""
        )
        tell.command("voyage-jobs run &")
        daemon = stage.start_daemon()
        watch.until(lambda: stage.vendor.answers_lost() > 0, "the daemon scans and sends")
        tell.command(f"kill -9 {daemon.pid}")
        killed = stage.end_daemon(signal.SIGKILL)
        watch.show_log()
        self._command("status")
        tell.claim("The daemon was killed by signal 9.", holds=killed == -signal.SIGKILL)
        tell.claim(
            "The provider works on a job whose name nobody here was told.", holds=_unknown(watch.report())
        )

    def start_again(self) -> None:
        """Recovery, and the whole way into the table."""
        tell, stage, watch = self._narrator, self._stage, self._watch
        tell.act("Start again")
        tell.say(
            """Sending it again would pay twice. The new daemon asks the provider for its jobs, finds this one by
            the reference that it carries, and takes it over."""
        )
        tell.command("voyage-jobs run &")
        stage.start_daemon()
        watch.until(lambda: _finished(watch.report()), "waiting for the batch")
        self._command("status")
        report = watch.report()
        self._chunks = report["chunks"]["published"]
        refs = stage.vendor.refs()
        seen = "one job, not two" if len(refs) == 1 else f"{len(refs)} jobs, none of them twice"
        tell.claim(f"The provider has seen {seen}.", holds=0 < len(refs) == len(set(refs)))
        tell.claim(
            f"All {self._chunks:,} chunks are in the table, and nothing is wrong.",
            holds=bool(report["healthy"]) and self._chunks > 0 and report["table"]["rows"] == self._chunks,
        )
        tell.command("kill -TERM %1   # a polite end, this time")
        code = stage.end_daemon(signal.SIGTERM)
        watch.show_log()
        tell.claim("The daemon ended in good order.", holds=code in (0, 128 + signal.SIGTERM))

    def search(self) -> None:
        """A question whose answer is in the documents."""
        tell = self._narrator
        found = documents.a_question(self._stage.docs)
        question = _QUESTION if self._own else found[0] if found else "What is this about?"
        tell.act("Ask")
        tell.say("The question is embedded as a query, and the nearest chunks of the table answer.")
        self._command("search", question, "-k", str(_HITS))
        hits = self._stage.ask("search", question, "-k", str(_HITS))["hits"]
        paths = [hit["path"] for hit in hits]
        if self._own:
            tell.claim("The answer is among them.", holds=any(_knows(path) for path in paths))
        else:
            there = found[1].relative_to(self._stage.docs).as_posix() if found else None
            answer = (
                f"{there}, where these words stand, is among them."
                if there in paths
                else "The table answers."
            )
            tell.claim(answer, holds=bool(paths))

    def search_other_kinds(self) -> None:
        """Rows and pages, found as documents are."""
        tell, stage, with_pdf = self._narrator, self._stage, is_here("pdf")
        tell.act("Add a catalogue and a PDF")
        stage.open_shop(with_pdf=with_pdf)
        manual = "a manual tells its pages" if with_pdf else "PDF needs pip install 'voyage-jobs[pdf]'"
        tell.say(
            f"""A second source, shop/, now stands in {CONFIG_NAME}: each row of its catalogue is a document, with a
            price to filter by; {manual}."""
        )
        self._command("sync")
        asked = ("search", QUESTION, "--source", "shop", "--where", FILTER, "-k", "1")
        self._command(*asked)
        hit = stage.ask(*asked)["hits"][0]
        tell.claim(
            f"The row under 20 answers, with its address: {hit['url']}.",
            holds=hit["path"] == ANSWER and bool(hit["url"]),
        )
        if with_pdf:
            asked = ("search", PDF_QUESTION, "--source", "shop", "--path", "*.pdf", "-k", "1")
            self._command(*asked)
            page = stage.ask(*asked)["hits"][0]["page"]
            tell.claim(f"The manual answers, on page {page}.", holds=page == PDF_PAGE)

    def search_by_meaning(self) -> None:
        """A real search, by the model of the extra: one whose quality may fail."""
        tell, stage = self._narrator, self._stage
        names = _LIBRARY if self._own else ()
        count = documents.stage_some(stage.docs, stage.open_library(), _LIBRARY_BYTES, names)
        tell.act("Ask by meaning, on this machine")
        tell.say(
            f"""The simulator's vectors know words alone. The local model reads {count} of the documents now, without a
            key or a network: the same commands, and [provider] type = "local" in {LOCAL_CONFIG_NAME}."""
        )
        config = ("--config", LOCAL_CONFIG_NAME)
        self._command(*config, "sync")
        found = documents.a_question(stage.folder / "library")
        question = _MEANT if self._own else found[0] if found else "What is this about?"
        asked = ("search", question, "--mode", "vector", "-k", str(_HITS))
        self._command(*config, *asked)
        paths = [hit["path"] for hit in stage.ask(*config, *asked)["hits"]]
        if self._own:
            tell.claim(f"{_MEANT_IN} answers first.", holds=paths[:1] == [_MEANT_IN])
        else:
            tell.claim("The table answers.", holds=bool(paths))

    def edit(self) -> None:
        """Only what changed is paid."""
        tell, before = self._narrator, self._stage.vendor.bill()
        tell.act("Edit one document")
        edit = documents.add_section(self._stage.docs)
        self._edited = edit.path
        tell.say(f"Into {edit.path.relative_to(self._stage.folder)}, before line {edit.number}:")
        for line in edit.lines:
            tell.insertion(line)
        tell.say("`sync` does what `run` does, and ends when there is nothing left to do.")
        self._command("sync")
        after = self._stage.vendor.bill()
        sent = after.billed - before.billed
        served = self._watch.report()["chunks"]["published"]
        tell.claim(
            f"{served - sent:,} of {served:,} chunks were reused; paid: {sent}.",
            holds=0 < sent <= _MOST_NEW and sent < served,
        )

    def move(self) -> None:
        """A move costs nothing."""
        tell, before = self._narrator, self._stage.vendor.bill()
        files = sorted(path for path in self._stage.docs.rglob("*") if path.is_file())
        old = next((path for path in files if path != self._edited), files[0])
        new = self._stage.docs / _MOVED / old.name
        tell.act("Move a document")
        here = self._stage.folder
        tell.command(
            f"mv {shlex.quote(str(old.relative_to(here)))} {shlex.quote(str(new.relative_to(here)))}"
        )
        new.parent.mkdir(exist_ok=True)
        old.rename(new)
        served = self._watch.report()["chunks"]["published"]
        self._command("sync")
        report = self._watch.report()
        old_name, new_name = (path.relative_to(self._stage.docs).as_posix() for path in (old, new))
        known = self._stage.ask("history", new_name)["facts"]["moved_from"]
        tell.claim("Nothing was sent, nothing was paid.", holds=self._stage.vendor.bill() == before)
        tell.claim(
            f"The table has {served:,} chunks as before, and the document's history knows its old name.",
            holds=bool(report["healthy"]) and report["chunks"]["published"] == served and known == old_name,
        )

    def bill(self) -> None:
        """The proof."""
        tell, bill = self._narrator, self._stage.vendor.bill()
        tell.act("The bill")
        tell.say(
            f"""The provider's bill: {bill.tokens:,} tokens for {bill.billed:,} texts in batches, {bill.texts:,} of them
            different, {bill.twice} billed more than once; {len(self._stage.vendor.jobs())} jobs."""
        )
        tell.claim("Every text was paid once.", holds=_paid_once(bill))

    def close(self, keep: Path | None) -> None:
        """Where to go from here."""
        tell, port = self._narrator, self._stage.vendor.base_url.removesuffix("/v1").rpartition(":")[2]
        tell.line("\nWhere to look next")
        if keep:
            tell.line(f"  cd {shlex.quote(str(self._stage.folder))} && voyage-jobs status")
            tell.line(f"  voyage-jobs simulate --port {port} --api-key {KEY} &   # then:")
            tell.line(f"  VOYAGE_API_KEY={KEY} voyage-jobs search 'what you like'")
        else:
            tell.line("  voyage-jobs demo --keep DIR    the same, in a folder that stays")
        tell.line("  voyage-jobs demo --docs DIR    the same with copies of your own documents")
        tell.line("  voyage-jobs init               a configuration for real use")
        tell.line("  README.md, docs/design.md      how it works, what is promised and what is not")

    def _command(self, *args: str) -> None:
        self._narrator.command(f"voyage-jobs {shlex.join(args)}")
        code = self._stage.run(*args)
        if code:
            raise DemoError(f"`voyage-jobs {args[0]}` ended with exit code {code}.")


def _unknown(report: Report) -> bool:
    return [batch["batch_id"] for batch in report["open_batches"] or []] == [None]


def _finished(report: Report) -> bool:
    chunks = report["chunks"]
    if not chunks["published"] or report["open_batches"]:
        return False
    return not any(chunks[place] for place in _ON_THE_WAY)


def _knows(path: str) -> bool:
    """Whether a document of ours tells about lost answers."""
    return Path(path).name in ("design.md", "reliability.md", "README.md")


def _paid_once(bill: Bill) -> bool:
    return bill.twice == 0 and bill.texts == bill.billed > 0
