"""`voyage-jobs` as in `hurried`, but that Markdown is read in a process of its own, as formats are that need it.

python -m crash.isolated --config FILE sync
"""

from __future__ import annotations

from importlib import import_module

from crash.hurried import hurry
from voyage_jobs.cli.main import main
from voyage_jobs.readers import registry
from voyage_jobs.readers.text import MARKDOWN, RST, TEXT, TextReader


class Markdown(TextReader):
    """The very texts of the reader that it stands for."""

    isolated = True

    def __init__(self) -> None:
        super().__init__(MARKDOWN.name, *MARKDOWN.forms, MARKDOWN.suffixes)


def isolate() -> None:
    """Have this process read Markdown in another one."""
    registry._registry = registry.Registry((Markdown(), RST, TEXT), tuple)


if __name__ == "__main__":
    import_module("crash.isolated").isolate()  # by the name under which the other process finds the class
    hurry()
    main()
