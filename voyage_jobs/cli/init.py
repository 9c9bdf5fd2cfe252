"""`voyage-jobs init`: a commented configuration to start from, with the folders it can see for itself."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.cli import paths
from voyage_jobs.cli.context import json_option
from voyage_jobs.errors import ConfigError

if TYPE_CHECKING:
    from voyage_jobs.config import Settings
    from voyage_jobs.config.source_sections import SourceSettings

_REPOSITORY = (
    "    That is the root of a repository: it may hold more than documents. What .gitignore names and\n"
    "    what tools make is left out, and `plan` lists the folders that cost most. Perhaps you mean a\n"
    "    folder in it, such as docs; or name in `exclude` what you do not mean."
)
_DEFAULT_PATH = "voyage-jobs.toml"
_DATA_DIR = ".voyage-jobs"
_TEXT_SUFFIXES = (".md", ".markdown", ".mdx", ".rst", ".txt")
_LOOKED_AT = 20_000  # names; enough to see what a folder holds without walking a disk
_NAME_CHARS = 64


@click.command()
@click.option(
    "--path",
    type=paths.FILE,
    default=Path(_DEFAULT_PATH),
    show_default=True,
    help="The file to write.",
)
@click.option(
    "--source",
    "folders",
    type=paths.FOLDER_THERE,
    multiple=True,
    metavar="DIR",
    help="A folder of documents; may be repeated.  [default: docs, or this folder]",
)
@click.option("--full", is_flag=True, help="List every setting, not only those that most projects decide.")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@json_option
@click.argument("extra", nargs=-1, metavar="")
def init(
    path: Path, folders: tuple[Path, ...], full: bool, force: bool, as_json: bool, extra: tuple[str, ...]
) -> None:
    """Write a commented configuration.

    It asks nothing: the folders are those given, else `docs`, else this folder if it holds documents. State and table
    are kept in `.voyage-jobs` beside the file; a file that is overwritten keeps its data folder. Without
    an API key, and with the extra [local], the provider is the local model.
    """
    from voyage_jobs.config import parse_settings
    from voyage_jobs.config.example import example_with
    from voyage_jobs.config.provider import is_installed
    from voyage_jobs.core.durable import is_there

    if extra:
        named = " ".join(f"--source {shlex.quote(folder)}" for folder in extra)
        raise click.UsageError(f"Folders are named by --source: `voyage-jobs init {named}`.")
    path = Path(os.path.abspath(os.path.expanduser(path)))
    if is_there(path) and not force:
        raise ConfigError(
            f"{path} already exists.", hint="Use --force to overwrite it, or --path for another."
        )
    sources = _named(list(folders) or [_proposal(Path.cwd())], path.parent)
    data_dir = _data_dir(path, os.environ)
    text = example_with(sources, data_dir=data_dir, full=full)
    settings = parse_settings(text, path, os.environ)
    if not settings.api_key.available() and is_installed("local"):
        text = example_with(sources, data_dir=data_dir, provider="local", full=full)
        settings = parse_settings(text, path, os.environ)
    _write(path, text)
    _tell(_report(path, settings), as_json)


def _write(path: Path, text: str) -> None:
    from voyage_jobs.core.durable import writing

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as out:
            out.write(text.encode("utf-8"))
    except OSError as exc:
        raise ConfigError(
            f"{path} cannot be written: {exc.strerror}.", hint="Use --path for another place."
        ) from exc


def _report(path: Path, settings: Settings) -> dict[str, Any]:
    """What was written, as `init --json` says it."""
    from voyage_jobs.config.provider import vendor_of

    key = settings.api_key
    option = "" if path == Path.cwd() / _DEFAULT_PATH else f" --config {shlex.quote(str(path))}"
    return {
        "path": str(path),
        "sources": [
            {
                "name": source.name,
                "path": str(source.path),
                "exists": source.path.is_dir(),
                "repository": (source.path / ".git").exists(),
                **_found(source),
            }
            for source in settings.sources
        ],
        "data_dir": str(settings.data_dir),
        "provider": settings.provider.type,
        "model": settings.section.model,
        "key": {
            "needed": vendor_of(settings).traits.needs_key,
            "found": key.available() and bool(key()),
            "from": key.describe(),
        },
        "next": [f"voyage-jobs{option} plan", f"voyage-jobs{option} sync"],
    }


def _tell(report: dict[str, Any], as_json: bool) -> None:
    from voyage_jobs.cli.output import emit_json, printable, wrapped

    if as_json:
        emit_json(report)
        return
    click.echo(f"Wrote {printable(report['path'])}")
    for source in report["sources"]:
        click.echo(f"  source {source['name']}: {printable(source['path'])}")
        click.echo(wrapped(f"    {_found_told(source)}", indent=4))
        if source["repository"]:
            click.echo(_REPOSITORY)
    click.echo(f"  data   {printable(report['data_dir'])}")
    if not report["key"]["needed"]:
        click.echo(f"  model  {report['model']}, on this machine: no key, no price")
    elif report["key"]["found"]:
        click.echo(f"API key: from {report['key']['from']}.")
    else:
        click.echo("API key: none yet; set VOYAGE_API_KEY, or VOYAGE_API_KEY_FILE to a file that holds it.")
    plan, sync = report["next"]
    click.echo(f"Next:\n  {plan}   what would be sent, and its price; sends nothing\n  {sync}   do it")


def _found(source: SourceSettings) -> dict[str, Any]:
    """What a scan would find there now; of a large folder only its first part is looked at."""
    from voyage_jobs.sources.kinds import Kinds
    from voyage_jobs.sources.source import RootMissing
    from voyage_jobs.steps.reading import source_of

    documents, kinds, seen, more = 0, Kinds(), 0, False
    try:
        for folder in source_of(source).discover(lambda _: {}):
            documents += len(folder.changed)
            kinds.add(folder.passed_over)
            seen += 1 + len(folder.changed) + sum(folder.passed_over.values())
            if more := seen > _LOOKED_AT:
                break
    except RootMissing:
        return {"documents": None, "passed_over": None, "more": False}
    return {"documents": documents, "passed_over": kinds.as_dict(), "more": more}


def _found_told(source: dict[str, Any]) -> str:
    from voyage_jobs.core.plural import counted
    from voyage_jobs.report.passed_over import how_to_take
    from voyage_jobs.sources.kinds import told

    if not source["exists"]:
        return "not there yet: correct it in the file"
    least = "at least " if source["more"] else ""
    documents = counted(source["documents"], "document") if source["documents"] else "no documents"
    others = told(source["passed_over"])
    if not source["documents"] and not others:
        return "no documents: the folder is empty"
    return (
        least
        + documents
        + (f"; passed over: {others}. {how_to_take(source['passed_over'])}" if others else "")
    )


def _data_dir(path: Path, environ: Mapping[str, str]) -> str | None:
    """The data folder to write: one beside the file, or that of the file which is overwritten; None: the default.

    A file that names none has its paid vectors in the user's data folder: another folder would pay for them again. So
    a file that does not tell is refused.
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8")).get("data_dir")
    except (FileNotFoundError, NotADirectoryError):
        return None if environ.get("STATE_DIRECTORY") else _DATA_DIR
    except (OSError, ValueError) as exc:
        why = (exc.strerror if isinstance(exc, OSError) else str(exc)) or "it is no TOML"
    else:
        if said is None or isinstance(said, str):
            return said
        why = "data_dir is not a text"
    raise ConfigError(
        f"{path} cannot be read, so the data folder that it keeps is not known: {why}.",
        hint="Mend the file, or move it aside: a new one gets a data folder of its own.",
    )


def _proposal(here: Path) -> Path:
    """`docs` if it is there or nothing better is seen; this folder if it holds documents itself."""
    docs = here / "docs"
    return here if not docs.is_dir() and _holds_documents(here) else docs


def _holds_documents(folder: Path) -> bool:
    return any(name.lower().endswith(_TEXT_SUFFIXES) for name in islice(_visible(folder), _LOOKED_AT))


def _visible(folder: Path) -> Iterator[str]:
    for _, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from files


def _named(folders: list[Path], base: Path) -> list[tuple[str, str]]:
    """Each folder with a name of its own, its path relative to the file where it lies below it."""
    taken: set[str] = set()
    result = []
    for folder in folders:
        absolute = Path(os.path.abspath(os.path.expanduser(folder)))
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", absolute.name).strip("-")[: _NAME_CHARS - 4] or "source"
        name = next(c for c in (stem, *(f"{stem}-{n}" for n in range(2, 999))) if c not in taken)
        taken.add(name)
        below = absolute == base or base in absolute.parents
        result.append((name, str(absolute.relative_to(base)) if below else str(absolute)))
    return result
