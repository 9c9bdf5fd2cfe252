"""`voyage-jobs retry`, `cancel`, `confirm-deletes` and `recover`: what an operator decides or asks for."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import click

from voyage_jobs.cli.context import json_option, settings_of, start_logging
from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.cli.output import number
from voyage_jobs.core.plural import counted

_SYNC = " `voyage-jobs sync` continues with it."


@click.command()
@click.argument("ref", required=False)
@click.option("--failed", is_flag=True, help="Only what has failed, not what was cancelled or is parked.")
@click.option("--source", metavar="NAME", help="Only texts of this source.")
@click.option("--code", metavar="WORD", help="Only failures of this kind, such as http_400.")
@json_option
@click.pass_context
def retry(
    ctx: click.Context, ref: str | None, failed: bool, source: str | None, code: str | None, as_json: bool
) -> int:
    """Try again everything that failed, was cancelled or is parked, or only what is named.

    REF is a batch (the beginning of its ref is enough), of documents or of `eval --batch`, the path of a document
    (SOURCE:PATH), a chunk_id or an embedding key. The texts of a parked batch go into a new one. Waits after a refusal
    by the provider end at once.
    """
    asked = {"failed": failed, "source": source, "code": code, **_meaning(ctx, ref)}
    arguments = {name: value for name, value in asked.items() if value not in (None, False)}
    return carry_out(ctx, "retry", arguments, _retried, as_json, queries=True)


def _meaning(ctx: click.Context, word: str | None) -> dict[str, object]:
    """What a word means, as an argument of `retry`. Raises ConfigError for nothing, or more than one thing."""
    if word is None:
        return {}
    from voyage_jobs.errors import ConfigError, VoyageJobsError
    from voyage_jobs.evaluation.jobs import with_batch
    from voyage_jobs.report.find import ChunkRef, EmbeddingRef, find
    from voyage_jobs.state.documents import DocumentRow
    from voyage_jobs.state.door import open_state

    settings = settings_of(ctx)
    try:
        with open_state(settings).read() as connection:
            found = find(connection, settings, word)
    except ConfigError:
        if with_batch(settings, word) is None:
            raise
        return {"ref": word}
    except VoyageJobsError:  # the command itself reports a state that cannot be read
        return {"ref": word}
    if isinstance(found, DocumentRow):
        return {"document_id": found.id}
    if isinstance(found, ChunkRef):
        return {"document_id": found.document.id}
    if isinstance(found, EmbeddingRef):
        return {"embedding_id": found.embedding.id}
    return {"ref": word}


@click.command()
@click.argument("ref", required=False)
@click.option("--source", metavar="NAME", help="Cancel everything of this source that is not answered yet.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def cancel(ctx: click.Context, ref: str | None, source: str | None, yes: bool, as_json: bool) -> int:
    """Cancel batch REF (the beginning of its ref is enough), of documents or of `eval --batch`, or everything in
    flight for a source.

    What is answered already is kept and paid. The rest is not sent again until `voyage-jobs retry`. Texts of other
    sources in the same batches are sent again by themselves. To keep a source from sending more, pause it first.

    On a terminal it shows how many texts it would cancel, and asks; elsewhere it does not ask.
    """
    if (ref is None) == (source is None):
        raise click.UsageError("Name a batch, or a source with --source.")
    arguments: dict[str, object] = {"ref": ref} if source is None else {"source": source}
    if not yes and not as_json and on_terminal():
        _ask_first(ctx, arguments)
    return carry_out(ctx, "cancel", arguments, _cancelled, as_json, queries=True)


def on_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def _ask_first(ctx: click.Context, arguments: dict[str, object]) -> None:
    """Say what is about to be cancelled, and end here if that is not wanted."""
    from voyage_jobs.evaluation.jobs import with_batch
    from voyage_jobs.state.door import open_state
    from voyage_jobs.steps.cancelling import affected

    settings = settings_of(ctx)
    settings = with_batch(settings, arguments.get("ref")) or settings
    with open_state(settings).read() as connection:
        found = affected(connection, arguments)
    said = f"Cancel {counted(found.unanswered, 'text')}"
    if found.waiting:
        said += (
            f" in {counted(found.batches, 'batch')} and {counted(found.waiting, 'text')} that wait to be sent"
        )
    elif "source" in arguments:
        said += f" in {counted(found.batches, 'batch')}"
    if found.answered:
        said += f" ({number(found.answered)} are answered already: kept and paid)"
    click.confirm(f"{said}?", abort=True)


@click.command("confirm-deletes")
@click.argument("source")
@json_option
@click.pass_context
def confirm_deletes(ctx: click.Context, source: str, as_json: bool) -> int:
    """Confirm that the documents missing from SOURCE were deleted on purpose.

    The next scan lets them go, with those that `undelete` or `keep = true` has kept: each leaves the table once it has
    been missing for `delete_grace_s`. The last row of a CSV that has lost its line end is taken as it stands. If the
    folder is only not mounted, mount it instead: the source is then no longer frozen. For a source that is not in the
    configuration any more this removes all its documents.
    """
    return carry_out(ctx, "confirm", {"source": source}, _confirmed, as_json)


@click.command()
@click.argument("path", required=False)
@click.option("--all", "source", metavar="SOURCE", help="Keep everything that is missing from a source.")
@json_option
@click.pass_context
def undelete(ctx: click.Context, path: str | None, source: str | None, as_json: bool) -> int:
    """Keep a document (SOURCE:PATH) whose file is gone, or all of a source, within their grace period.

    They stay in the table until `voyage-jobs confirm-deletes`, or until their files are back. A document that has
    left the table comes back at no cost if another file has the same text, or else by itself when its file is back.
    """
    if (path is None) == (source is None):
        raise click.UsageError("Name a document as SOURCE:PATH, or a source with --all.")
    arguments: dict[str, object] = {"source": source} if path is None else _document(ctx, path)
    return carry_out(ctx, "undelete", arguments, _undeleted, as_json)


def _document(ctx: click.Context, word: str) -> dict[str, object]:
    """The document that a word means. Raises ConfigError if it is something else, or nothing."""
    from voyage_jobs.errors import ConfigError
    from voyage_jobs.report.find import find
    from voyage_jobs.sources.names import in_shell
    from voyage_jobs.state.documents import DocumentRow
    from voyage_jobs.state.door import open_state

    settings = settings_of(ctx)
    with open_state(settings).read() as connection:
        found = find(connection, settings, word)
    if not isinstance(found, DocumentRow):
        raise ConfigError(
            f"{word} is not a document that was ever published.", hint=f"`voyage-jobs why {in_shell(word)}`"
        )
    return {"document_id": found.id}


@click.command()
@click.option(
    "--lost-folder", is_flag=True, help="The whole data_dir is lost: claim the jobs that it sent, too."
)
@json_option
@click.pass_context
def recover(ctx: click.Context, lost_folder: bool, as_json: bool) -> int:
    """Find again what a lost or older state.db does not know: paid vectors on disk, and jobs at the provider.

    Run it after state.db was deleted, or an older copy was put back. It sends nothing and costs nothing: it scans the
    sources, records every paid vector on disk, and claims the jobs of this folder that the provider still has (Voyage
    keeps results for 30 days), so that `voyage-jobs sync` collects them instead of paying again.

    Jobs of another data folder under the same account are left alone, whatever texts the two share. Where the folder
    itself is lost, nothing here tells that its jobs were ours: say so by --lost-folder. Jobs of which at least half of
    the texts are here are claimed then; no other folder with the same documents may be at work meanwhile.
    """
    arguments: dict[str, object] = {"lost_folder": True} if lost_folder else {}
    return carry_out(ctx, "recover", arguments, _recovered, as_json)


def carry_out(
    ctx: click.Context,
    command: str,
    arguments: dict[str, object],
    describe: Callable[[dict[str, Any]], str],
    as_json: bool,
    *,
    queries: bool = False,
) -> int:
    """Have an act carried out, here or by the process at work, and tell what came of it (`describe` puts it in words).

    `queries`: its `ref` may mean a batch of `eval --batch`, whose state is another.
    """
    from voyage_jobs.cli.output import emit_json, printable
    from voyage_jobs.core.clock import SystemClock
    from voyage_jobs.evaluation.jobs import with_batch
    from voyage_jobs.service.ask import ask
    from voyage_jobs.telemetry.logs import get_logger

    settings = settings_of(ctx)
    if queries and (of_queries := with_batch(settings, arguments.get("ref"))) is not None:
        settings, describe = of_queries, _of_queries
    start_logging(ctx, "error")
    reply = ask(settings, SystemClock(), get_logger(), command, arguments, who())
    done = reply.answer is not None
    if as_json:
        by = "this call" if reply.here else "running process"
        emit_json({"command": command, "done": done, "by": by, **(reply.answer or {})})
    elif reply.answer is None:
        click.echo("The running process has taken note and will do it when its present step is over.")
    else:
        click.echo(
            printable(describe(reply.answer))
            + (_SYNC if reply.here and describe is not _of_queries and _left_to_do(reply.answer) else "")
        )
    return ExitCode.DONE if done else ExitCode.UNFINISHED


def who() -> str:
    """Who asks, for the record: login name, host and process, never a secret."""
    name = os.environ.get("SUDO_USER")
    if not name:
        try:
            name = getpass.getuser()
        except (OSError, KeyError):  # a user id without a name, as in many containers
            name = str(os.getuid())
    return f"{name}@{socket.gethostname()} (pid {os.getpid()})"


def _left_to_do(answer: dict[str, Any]) -> bool:
    """Whether something must run for the answer to come true."""
    if "told_vendor" in answer:
        return False
    states = ("confirmed", "removed", "cancelling")
    if answer.get("how") in ("on_disk", "copy"):
        return True
    return answer.get("state") in states or any(answer.get(key) for key in ("batches", "embeddings", "jobs"))


def _retried(answer: dict[str, Any]) -> str:
    parked, embeddings = answer["batches"], answer["embeddings"]
    if not parked and not embeddings:
        return "Nothing has failed and nothing is parked."
    said = [f"The texts of {counted(parked, 'parked batch')} go into new ones."] if parked else []
    if embeddings:
        said.append(f"{counted(embeddings, 'failed or cancelled text')} to be sent again.")
    return " ".join(said)


def _cancelled(answer: dict[str, Any]) -> str:
    if "source" in answer:
        return _source_cancelled(answer)
    ref, texts, answered = answer["ref"], counted(answer["texts"], "text"), answer["answered"]
    if answer["state"] == "cancelled":
        return f"Batch {ref} is cancelled: its {texts} are not sent until `voyage-jobs retry`."
    kept = f" {number(answered)} are answered already: they are kept." if answered else ""
    if answer.get("told_vendor"):
        return f"The provider cancels batch {ref}, up to {texts}, in up to ten minutes.{kept}"
    return f"Batch {ref} will be cancelled (up to {texts}); the provider is asked at the next poll.{kept}"


def _of_queries(answer: dict[str, Any]) -> str:
    """What came of an act on a batch of `eval --batch`."""
    again = "The same `voyage-jobs eval` with --batch asks for them again."
    if "ref" not in answer:
        return f"{counted(answer['batches'], 'batch')} of queries given up, to be sent in another. {again}"
    if answer["state"] == "cancelled" or answer.get("told_vendor"):
        return f"Batch {answer['ref']} of {counted(answer['texts'], 'query')} is cancelled. {again}"
    return f"Batch {answer['ref']} of {counted(answer['texts'], 'query')} will be cancelled at the next poll. {again}"


def _source_cancelled(answer: dict[str, Any]) -> str:
    stopped, under_way, texts = len(answer["refs"]), len(answer["under_way"]), answer["texts"]
    said = (
        f"Source {answer['source']}: {counted(stopped, 'batch')} cancelled, up to {counted(texts, 'text')}"
        if stopped
        else "No batch was open"
    )
    if under_way:
        when = "in up to ten minutes" if answer.get("told_vendor") else "at the next poll"
        said += f", {under_way} of them at the provider {when}; what is answered until then is kept"
    waited = "text that waited is" if answer["waiting"] == 1 else "texts that waited are"
    return f"{said}. {number(answer['waiting'])} {waited} not sent until `voyage-jobs retry`."


def _recovered(answer: dict[str, Any]) -> str:
    said = (
        f"Held: {counted(answer['embeddings'], 'paid embedding')} in {counted(answer['packs'], 'segment')}. "
    )
    if answer["vendor"]:
        return said + f"The provider's jobs could not be listed: {answer['vendor']}"
    left = (
        f" Jobs of others, left alone: {counted(len(answer['jobs_left']), 'other')}."
        if answer["jobs_left"]
        else ""
    )
    if answer.get("maybe_lost"):
        left += " If the data folder that sent them is lost: `voyage-jobs recover --lost-folder`."
    return said + f"Claimed: {counted(len(answer['jobs']), 'job')} at the provider.{left}"


def _confirmed(answer: dict[str, Any]) -> str:
    name = answer["source"]
    if answer["state"] == "active":
        return f"Source {name} is not frozen and keeps nothing that has gone: there is nothing to confirm."
    if answer["state"] == "removed":
        return f"Leaving the table: {counted(answer['documents'], 'document')} of source {name}."
    said = (
        f"Confirmed: the next scan of source {name} lets what is gone leave the table after its grace period"
    )
    if count := answer.get("last_rows"):
        said += f", and takes the last row of {counted(count, 'file')} as it stands, without a line end"
    return f"{said}."


def _undeleted(answer: dict[str, Any]) -> str:
    if "path" in answer:
        from voyage_jobs.sources.names import display

        name = f"{answer['source']}:{display(answer['path'])}"
        if answer["how"] == "on_disk":
            return f"The file of {name} is back: the next scan publishes it again, at no cost if it is what it was."
        if answer["how"] == "copy":
            return f"{name} comes back into the table, at no cost: another file has the same text."
        return f"{name} stays in the table." if answer["kept"] else f"{name} was kept already."
    gone = f" Gone from the table already: {counted(answer['gone'], 'other')}." if answer["gone"] else ""
    return f"Kept in the table: {counted(answer['kept'], 'missing document')} of source {answer['source']}.{gone}"
