"""The folders that a walk of a source would enter, and nothing about the files in them: what there is to watch."""

from __future__ import annotations

import os
from collections.abc import Iterator

from voyage_jobs.sources import names
from voyage_jobs.sources.links import LinkRefused, Links
from voyage_jobs.sources.rules import PathRules
from voyage_jobs.sources.walk import root_identity


def folders(root: bytes, rules: PathRules, *, follow_symlinks: bool) -> Iterator[bytes]:
    """Their paths as the system names them, the root first; what cannot be listed is left out. Raises RootMissing."""
    root_identity(root)
    links = Links(root) if follow_symlinks else None
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        place = os.path.join(root, names.decode(folder)) if folder else root
        try:
            with os.scandir(place) as entries:
                waiting.extend(_below(folder, entries, rules, links))
        except OSError:
            continue
        yield place


def _below(
    folder: str, entries: Iterator[os.DirEntry[bytes]], rules: PathRules, links: Links | None
) -> Iterator[str]:
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False) and not (links is not None and entry.is_dir()):
            continue
        name = names.encode(entry.name)
        path = f"{folder}/{name}" if folder else name
        if rules.enters(path) and (not entry.is_symlink() or _is_inside(links, entry.path)):
            yield path


def _is_inside(links: Links | None, path: bytes) -> bool:
    """Whether a link leads to a folder of the source that was not entered by a link before."""
    if links is None:
        return False
    try:
        links.resolve(path, ())
    except (LinkRefused, OSError):
        return False
    return True
