"""Why a file that is on the disk is not known: outside, excluded, hidden, unfit, or simply not scanned yet."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from voyage_jobs.config.sections import SourceSettings
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import iso
from voyage_jobs.core.plural import counted
from voyage_jobs.records.formats import takes
from voyage_jobs.records.rows import LACKS
from voyage_jobs.report.find import OnDisk
from voyage_jobs.sources import names
from voyage_jobs.sources.files import FileStat, Skip
from voyage_jobs.sources.ignored import GENERATED, GITIGNORED
from voyage_jobs.state import documents, record_files, sources
from voyage_jobs.state.history import View
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.steps.reading import read_document, reader_for, source_of, with_defaults

_SHOWN = 5
_SCANS = "`voyage-jobs sync` scans it; a running `voyage-jobs run` does so by itself."

_LEFT_OUT = {
    GITIGNORED: ("gitignore", "{by} ignores {what}"),
    GENERATED: ("default_exclude", "{what} is what a tool has made (told by {by})"),
}
# Why a file that the rules want is not taken: what it is, and what one could do.
SKIPPED = {
    "symlink": ("it is, or lies below, a symbolic link", "Set follow_symlinks of source {source} to true."),
    "outside": ("its symbolic link leads out of the source", "Make the folder it leads to a source."),
    "cycle": ("its symbolic link leads back to a folder above it", None),
    "special": ("it is no regular file", None),
    "unreadable": ("it cannot be read", "Let this user read it; the next scan takes it."),
    "too_large": ("it is too large", "Raise max_file_bytes of source {source}; the next scan takes it."),
    "empty": ("it is empty", "Nothing to do: it is taken once there is text in it."),
    "binary": ("it is binary", "Save it as text, or exclude it."),
    "undecodable": (
        "it cannot be decoded",
        'Save it as UTF-8, or set encoding of source {source}: by name, or "auto".',
    ),
    "only_data": (
        "it holds data and no words",
        "Set skip_data of source {source} to false to embed it all the same.",
    ),
    "no_reader": ("its reader is not installed here", "`voyage-jobs doctor` lists the readers."),
    "reader_failed": (
        "its reader failed",
        "Tell whoever wrote the reader; the next scan after an edit tries again.",
    ),
    "reader_timeout": ("its reader found no end", "Exclude it, or save it in a simpler form."),
    "reader_memory": ("its reader needs more memory than it may have", "Exclude it, or take it apart."),
    "reader_crashed": (
        "its reader crashed",
        "Exclude it, or save it again; the next scan after that tries again.",
    ),
    "reader_limit": ("it has more in it than its reader takes", "Take it apart, or exclude it."),
    "encrypted": ("it needs a password", "Save it without one, or exclude it."),
    "no_text": (
        "there is no text in it, but pictures of text perhaps",
        "Give it a text layer (OCR), or exclude it.",
    ),
    "garbled": (
        "its fonts do not say which letters they draw",
        "Save it again from its source, or exclude it.",
    ),
    "broken": ("it is not what its ending says, or only a part of it", "Save it again, or exclude it."),
    "changing": ("it was being written when it was read", _SCANS),
    "vanished": ("it was gone before it could be read", _SCANS),
}


@dataclass(frozen=True)
class Unseen:
    """A reason: a stable code, one or two sentences, and the next step if there is one."""

    code: str
    text: str
    next: str | None


def unseen(connection: View | None, settings: Settings, file: OnDisk) -> Unseen:
    """Why the state knows nothing of what is on the disk there. `connection` is None where there is no state."""
    shown = names.display(file.path)
    source = None if file.source is None else in_force(connection, file.source)
    if source is None:
        listed = ", ".join(
            f"{each.name} ({names.display(names.encode(os.fsencode(each.path)))})"
            for each in settings.sources[:_SHOWN]
        )
        return Unseen(
            "outside_sources",
            f"{shown} is on disk and outside every source: {listed}.",
            "Add its folder to the configuration as one of [[sources]], then `voyage-jobs sync`.",
        )
    if takes(file.inside, source.recipe) and connection is not None:
        found = _records(connection, source, file.inside)
        if found is not None:
            return found
    name = names.display(file.inside) or shown
    where = f"{name} is on disk in source {source.name}"
    refused = judge(source, file.inside) if file.inside else None
    if refused is not None:
        return Unseen(refused.code, f"{where}, and is not taken: {refused.text}.", refused.next)
    if os.path.isdir(names.decode(file.path)):
        return _folder(connection, file, where)
    row = _row(connection, source.name)
    return Unseen("not_scanned", f"{where}, but no scan has seen it yet{_scans(connection, row)}.", _SCANS)


def _records(connection: View, source: SourceSettings, inside: str) -> Unseen | None:
    """What is on record of a file of records; None before it was read."""
    row = _row(connection, source.name)
    known = {} if row is None else record_files.of_source(connection, row.id)
    folder, _, name = inside.rpartition("/")
    each = known.get((folder, name))
    if each is None:
        return None
    shown = f"{source.name}:{names.display(inside)}"
    said = f"{shown} holds {counted(each.records, 'record')}, each a document of its own."
    for what, lack in each.left_out.items():
        first = names.display(", ".join(lack.first))
        said += f" {counted(lack.count, 'row')} {LACKS.get(what, what)} (line {first})."
    if each.reason is None:
        return Unseen("records", said, f"`voyage-jobs why '{shown}#ID'` for one of them.")
    if each.reason == record_files.FROZEN:
        said += f" It is frozen, and no record of it is deleted: {each.detail}."
        return Unseen(
            "records_frozen", said, f"Make it whole, or `voyage-jobs confirm-deletes {source.name}`."
        )
    said += f" It cannot be read: {skipped(each.reason, each.detail, source.name).text}."
    return Unseen("records_unread", said, "Mend it, or `records` of its source.")


def in_force(connection: View | None, source: SourceSettings) -> SourceSettings:
    """The settings of a source as scans go by them."""
    return with_defaults(source, _row(connection, source.name))


def judge(source: SourceSettings, inside: str) -> Unseen | None:
    """Why a scan of the source would not take the path as it is now; None if it would. Reads the file."""
    found = _by_rules(source, inside) or _by_links(source, inside)
    if found is not None:
        return found
    path = os.path.join(os.fsencode(source.path), names.decode(inside))
    try:
        now = os.stat(path, follow_symlinks=source.follow_symlinks)
    except OSError as exc:
        return skipped("unreadable", exc.strerror, source.name)
    if stat.S_ISDIR(now.st_mode):
        return None
    if not stat.S_ISREG(now.st_mode):
        return skipped("special", None, source.name)
    looked = FileStat.of(names.encode(os.path.basename(path)), now)
    if takes(inside, source.recipe):
        return None
    read = read_document(source_of(source), inside, looked, reader_for(source, inside))
    return skipped(str(read.reason), read.detail, source.name) if isinstance(read, Skip) else None


def skipped(reason: str, detail: str | None, source: str) -> Unseen:
    """A reason for which a file is skipped, in words."""
    said, hint = SKIPPED.get(reason, (reason, None))
    text = f"{said} ({detail})" if detail else said
    return Unseen(reason, text, hint.format(source=source) if hint else None)


def by_rules(source: SourceSettings, inside: str) -> Unseen | None:
    """Why the patterns of the source do not want a file; None if they do."""
    return _by_rules(source, inside, folder=False)


def _by_rules(source: SourceSettings, inside: str, folder: bool | None = None) -> Unseen | None:
    rules = source_of(source).rules
    path = os.path.join(os.fsencode(source.path), names.decode(inside))
    is_folder = os.path.isdir(path) if folder is None else folder
    refused = rules.why_not(f"{inside}/" if is_folder else inside)
    if refused is None or (is_folder and (refused.rule == "not_included" or rules.enters(inside))):
        return None
    part = names.display(refused.part)
    if refused.rule == "hidden":
        return Unseen(
            "hidden",
            f"the name {part} begins with a dot, and hidden files are left out",
            f"Set hidden of source {source.name} to true.",
        )
    if refused.rule == "excluded":
        what = "it" if refused.part.rstrip("/") == inside else f"the folder {part}"
        return Unseen(
            "excluded",
            f"the exclude pattern {refused.pattern!r} of source {source.name} fits {what}",
            f"Change exclude of source {source.name}, then `voyage-jobs sync`.",
        )
    if refused.rule in _LEFT_OUT:
        key, said = _LEFT_OUT[refused.rule]
        what = "it" if refused.part.rstrip("/") == inside else f"the folder {part}"
        return Unseen(
            refused.rule,
            said.format(what=what, by=refused.pattern),
            f"Set {key} = false for source {source.name} to take it, then `voyage-jobs sync`.",
        )
    kinds = (
        "none of its include patterns" if source.include else "none of the usual endings (*.md, *.rst, ...)"
    )
    return Unseen(
        "not_included",
        f"{kinds} fits it",
        f"Add a pattern to include of source {source.name}, then `voyage-jobs sync`.",
    )


def _by_links(source: SourceSettings, inside: str) -> Unseen | None:
    """Whether a symbolic link on the way, or the file itself, keeps a scan out."""
    root = os.fsencode(source.path)
    at = root
    for part in names.decode(inside).split(b"/"):
        at = os.path.join(at, part)
        if not os.path.islink(at):
            continue
        if not source.follow_symlinks:
            link = names.display(names.encode(os.path.relpath(at, root)))
            return skipped("symlink", f"{link}, not followed", source.name)
        real, inner = os.path.realpath(at), os.path.realpath(root)
        if os.path.commonpath([real, inner]) != inner:
            return skipped("outside", names.display(names.encode(real)), source.name)
    return None


def _folder(connection: View | None, file: OnDisk, where: str) -> Unseen:
    """A folder that scans enter: what is known below it."""
    assert file.source is not None  # noqa: S101 - for the type checker: the caller has looked
    known = {} if connection is None else documents.below(connection, file.source.name, file.inside)
    total = sum(each[0] for each in known.values())
    if not total:
        return Unseen("folder", f"{where}, and is a folder of which no file is known yet.", _SCANS)
    served, coming = (sum(each[i] for each in known.values()) for i in (1, 2))
    skips = known.get("skipped", (0, 0, 0))[0]
    return Unseen(
        "folder",
        f"{where}, and is a folder: of {counted(total, 'file')} that scans have seen there, {served:,} are in the"
        f" table, {coming:,} have a version on its way, {skips:,} are skipped.",
        "`voyage-jobs why FILE` for one of them.",
    )


def _row(connection: View | None, name: str) -> SourceRow | None:
    return None if connection is None else sources.by_name(connection, name)


def _scans(connection: View | None, row: SourceRow | None) -> str:
    if connection is None or row is None:
        return ": nothing was scanned with this configuration"
    if row.frozen_reason is not None:
        return f": the source is frozen ({row.frozen_reason})"
    if row.scanned_at is None:
        return ": the first scan of the source has not come to its end"
    text = f": the last whole one ended at {iso(row.scanned_at)}"
    return text + (f", the next is due at {iso(row.scan_due_at)}" if row.scan_due_at else "")
